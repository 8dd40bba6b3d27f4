"""Starting and stopping the sandbox."""

from __future__ import annotations

import contextlib
import shutil
import signal
import socket
import sys
import tempfile
import threading
from collections.abc import Generator
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from batchkit_tasks.sandbox.app import Door, build_app
from batchkit_tasks.sandbox.connections import cuttable_protocol
from batchkit_tasks.sandbox.control import Control
from batchkit_tasks.sandbox.control_routes import control_routes
from batchkit_tasks.sandbox.faults import CONNECT
from batchkit_tasks.sandbox.settings import Settings
from batchkit_tasks.sandbox.thread import ServerThread

API_KEY: Final = "sk-ant-sandbox-0000"
"""The key in `client_options`: no secret, any other would do as well."""


class Sandbox(Control):
    """A server that speaks the Message Batches API, in a thread of this process.

        with Sandbox(batch_seconds=0.1) as sandbox:
            client = Anthropic(**sandbox.client_options)

    Args:
        port: 0 takes a free one.
        host: The loopback address; nothing else should see a sandbox.
        state_dir: Where batches are kept beyond the end of the sandbox, so that the
            next one with this folder knows them. Without one all is forgotten.
        settings: Any field of `Settings`.

    Raises:
        TypeError: There is no such setting.
        OSError: The port is taken.
    """

    def __init__(
        self,
        *,
        port: int = 0,
        host: str = "127.0.0.1",
        state_dir: str | Path | None = None,
        **settings: Any,
    ) -> None:
        chosen = Settings()
        chosen.change(**settings)
        self._keeps_state = state_dir is not None
        self._folder = _folder(state_dir)
        super().__init__(chosen, self._folder, keeps_state=self._keeps_state)
        self._host, self._port = host, port
        self._server: ServerThread | None = None
        door = Door(self.store, self.faults, self.calls)
        self._app = build_app(door, control_routes(self))

    def __enter__(self) -> Self:
        self.connect()
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

    def connect(self) -> None:
        """Listen (again) on the same port; returns when calls are answered."""
        listener = socket.create_server((self._host, self._port), backlog=1024)
        self._port = listener.getsockname()[1]
        protocol = cuttable_protocol(lambda: self.faults.take(CONNECT) is not None)
        self._server = ServerThread(self._app, listener, protocol)

    def disconnect(self) -> None:
        """Cut all connections and refuse new ones; the batches stay."""
        if self._server is not None:
            self._server.stop()
            self._server = None

    @contextlib.contextmanager
    def offline(self) -> Generator[None]:
        """Refuse all connections for a while."""
        self.disconnect()
        try:
            yield
        finally:
            self.connect()

    def stop(self) -> None:
        """Stop, cutting what is still connected; forget all but a `state_dir`."""
        self.disconnect()
        self.store.runner.stop()
        if not self._keeps_state:
            shutil.rmtree(self._folder, ignore_errors=True)


def _folder(state_dir: str | Path | None) -> Path:
    """Return the folder for bodies and results: the given one, or a temporary one."""
    if state_dir is None:
        return Path(tempfile.mkdtemp(prefix="batchkit-sandbox-"))
    folder = Path(state_dir)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def serve(
    *,
    port: int = 8123,
    host: str = "127.0.0.1",
    batch_seconds: float = 2.0,
    stop_after: float | None = None,
    state_dir: str | Path | None = None,
    **settings: Any,
) -> None:
    """Serve until SIGINT or SIGTERM, or for `stop_after` seconds.

    The first line on standard output is the base URL, once calls are answered.
    """
    stopped = threading.Event()
    _stop_on_sigterm(stopped)
    with Sandbox(
        port=port,
        host=host,
        state_dir=state_dir,
        batch_seconds=batch_seconds,
        **settings,
    ) as box:
        sys.stdout.write(f"{box.url}\n")
        sys.stdout.flush()
        with contextlib.suppress(KeyboardInterrupt):
            stopped.wait(stop_after)


def _stop_on_sigterm(stopped: threading.Event) -> None:
    """Turn SIGTERM into an orderly stop; only the main thread may ask for that."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, lambda number, frame: stopped.set())
