"""Starting and stopping the sandbox."""

from __future__ import annotations

import contextlib
import shutil
import signal
import socket
import sys
import tempfile
import threading
from datetime import datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import uvicorn

from batchkit_tasks.sandbox.app import Door, build_app
from batchkit_tasks.sandbox.batches import Batch
from batchkit_tasks.sandbox.clock import Clock
from batchkit_tasks.sandbox.connections import CuttableProtocol
from batchkit_tasks.sandbox.settings import Settings
from batchkit_tasks.sandbox.store import Store

API_KEY: Final = "sk-ant-sandbox-0000"
"""The key in `client_options`: no secret, any other would do as well."""


class Sandbox:
    """A server that speaks the Message Batches API, in a thread of this process.

    with Sandbox(batch_seconds=0.1) as sandbox:
        client = Anthropic(**sandbox.client_options)

    Args:
        port: 0 takes a free one.
        host: The loopback address; nothing else should see a sandbox.
        settings: Any field of `Settings`.
    """

    def __init__(
        self, *, port: int = 0, host: str = "127.0.0.1", **settings: Any
    ) -> None:
        self.settings = Settings()
        self.settings.change(**settings)
        self.clock = Clock()
        self._host, self._port = host, port
        self._folder: Path | None = None
        self._server: _Server | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    @property
    def url(self) -> str:
        """The base URL, without a trailing slash."""
        return f"http://{self._host}:{self._port}"

    @property
    def client_options(self) -> dict[str, Any]:
        """What `anthropic.Anthropic(**...)` needs to talk to this sandbox."""
        return {"base_url": self.url, "api_key": API_KEY}

    def start(self) -> None:
        """Start to listen; returns when calls are answered."""
        self._folder = Path(tempfile.mkdtemp(prefix="batchkit-sandbox-"))
        self.store = Store(self.settings, self.clock, self._folder)
        self.door = Door(self.store)
        self.connect()

    def stop(self) -> None:
        """Stop, cutting what is still connected, and forget everything."""
        self.disconnect()
        self.store.runner.stop()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)

    def connect(self) -> None:
        """Listen (again) on the same port."""
        listener = socket.create_server((self._host, self._port), backlog=1024)
        self._port = listener.getsockname()[1]
        config = uvicorn.Config(
            build_app(self.door),
            http=CuttableProtocol,
            ws="none",
            lifespan="off",
            log_config=None,
            log_level="critical",
            access_log=False,
            date_header=False,  # ours follows the sandbox's clock
            server_header=False,
            timeout_keep_alive=60,
            timeout_graceful_shutdown=1,
        )
        self._server = _Server(config, listener)
        self._server.start()

    def disconnect(self) -> None:
        """Cut all connections and refuse new ones; the batches stay."""
        if self._server is not None:
            self._server.stop()
            self._server = None

    def end(self, batch: Batch | str) -> None:
        """Let a batch end now."""
        self.store.end(self._batch(batch))

    def hold(self, batch: Batch | str, *, progress: float | None = None) -> None:
        """Keep a running batch from ending."""
        self.store.hold(self._batch(batch), progress=progress)

    def advance(self, **by: float) -> None:
        """Move the clock: `advance(hours=25)`."""
        self.clock.advance(timedelta(**by))

    def set_clock(self, moment: datetime) -> None:
        """Move the clock to a moment."""
        self.clock.set(moment)

    def count(self, method: str, path: str) -> int:
        """Return how many calls of a method and exact path arrived."""
        return sum(
            call.method == method and call.path == path for call in self.door.recent
        )

    def _batch(self, batch: Batch | str) -> Batch:
        return self.store.get(batch) if isinstance(batch, str) else batch


def serve(
    *,
    port: int = 8123,
    host: str = "127.0.0.1",
    batch_seconds: float = 2.0,
    stop_after: float | None = None,
    **settings: Any,
) -> None:
    """Serve until SIGINT or SIGTERM, or for `stop_after` seconds.

    The first line on standard output is the base URL, once calls are answered.
    """
    stopped = threading.Event()
    _stop_on_sigterm(stopped)
    with Sandbox(port=port, host=host, batch_seconds=batch_seconds, **settings) as box:
        sys.stdout.write(f"{box.url}\n")
        sys.stdout.flush()
        with contextlib.suppress(KeyboardInterrupt):
            stopped.wait(stop_after)


def _stop_on_sigterm(stopped: threading.Event) -> None:
    """Turn SIGTERM into an orderly stop; only the main thread may ask for that."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, lambda number, frame: stopped.set())


class _Server(uvicorn.Server):
    """uvicorn in a thread, with a start and a stop that can be waited for."""

    def __init__(self, config: uvicorn.Config, listener: socket.socket) -> None:
        super().__init__(config)
        self._listener = listener
        self._is_up = threading.Event()
        self._thread = threading.Thread(
            target=self.run, args=([listener],), name="sandbox-server", daemon=True
        )

    def start(self) -> None:
        self._thread.start()
        self._is_up.wait(10)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._is_up.set()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        # Streams and ordered hangs would be waited for otherwise.
        for connection in list(self.server_state.connections):
            if transport := getattr(connection, "transport", None):
                transport.abort()
        for task in list(self.server_state.tasks):
            task.cancel()
        await super().shutdown(sockets)

    def stop(self) -> None:
        self.should_exit = True
        self._thread.join(10)
