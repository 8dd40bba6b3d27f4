"""uvicorn in a thread, with a start and a stop that can be waited for."""

from __future__ import annotations

import asyncio
import socket
import threading
from typing import Final

import uvicorn
from starlette.applications import Starlette
from uvicorn.protocols.http.h11_impl import H11Protocol

_PATIENCE_SECONDS: Final = 10.0


class ServerThread(uvicorn.Server):
    """A server that answers when this returns."""

    def __init__(
        self, app: Starlette, listener: socket.socket, protocol: type[H11Protocol]
    ) -> None:
        config = uvicorn.Config(
            app,
            http=protocol,
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
        super().__init__(config)
        self._is_up = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._asked_to_stop = asyncio.Event()
        self._thread = threading.Thread(
            target=self.run, args=([listener],), name="sandbox-server", daemon=True
        )
        self._thread.start()
        if not self._is_up.wait(_PATIENCE_SECONDS):
            raise RuntimeError("the sandbox's server did not start")

    async def main_loop(self) -> None:
        """Wait to be stopped: uvicorn's own loop would look only now and then."""
        self._loop = asyncio.get_running_loop()
        self._is_up.set()
        await self._asked_to_stop.wait()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Cut everything at once: streams and ordered hangs are not waited for."""
        for server in self.servers:
            server.close()
        for listener in sockets or ():
            listener.close()
        for connection in list(self.server_state.connections):
            if transport := getattr(connection, "transport", None):
                transport.abort()
        tasks = list(self.server_state.tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def stop(self) -> None:
        """Cut everything, and return when the thread has ended."""
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._asked_to_stop.set)
        self._thread.join(_PATIENCE_SECONDS)
