"""Connections that can be cut.

ASGI has no word for "drop the connection", so the protocol class hands its transport to
the application in the scope.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable, Generator, MutableMapping
from contextlib import contextmanager
from typing import Any, Final, cast

from uvicorn.protocols.http.h11_impl import H11Protocol

FLUSH_SECONDS: Final = 0.05
"""How long sent bytes get to leave before a reset throws away the rest."""

_TRANSPORT: Final = "sandbox.transport"

# SO_LINGER on, with zero seconds: `close` sends RST instead of FIN.
_NO_LINGER: Final = struct.pack("ii", 1, 0)


def cuttable_protocol(resets_new: Callable[[], bool]) -> type[H11Protocol]:
    """Return uvicorn's protocol, with the transport among the scope's extensions.

    Args:
        resets_new: Asked for each new connection, whether to reset it at once.
    """

    class CuttableProtocol(H11Protocol):
        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            _send_at_once(transport)
            if resets_new():
                reset_transport(transport)
                return
            app = self.app

            async def with_transport(scope: Any, receive: Any, send: Any) -> None:
                scope.setdefault("extensions", {})[_TRANSPORT] = transport
                await app(scope, receive, send)

            self.app = with_transport

    return CuttableProtocol


def _send_at_once(transport: asyncio.Transport) -> None:
    """Switch Nagle's algorithm off, for which asyncio overlooks this listener.

    It looks for the protocol number, which `socket.create_server` leaves at 0. Each
    answer would wait 40 ms for the acknowledgement of its headers.
    """
    opened = transport.get_extra_info("socket")
    opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


async def reset(scope: MutableMapping[str, Any]) -> None:
    """End the connection with a TCP reset: the peer sees `ECONNRESET`."""
    reset_transport(_transport(scope))
    await asyncio.sleep(0)  # uvicorn hears of it, and expects no answer any more


async def close(scope: MutableMapping[str, Any]) -> None:
    """End the connection the polite way (FIN), without an answer."""
    _transport(scope).close()
    await asyncio.sleep(0)


def reset_transport(transport: asyncio.Transport) -> None:
    """Throw away what is unsent and send RST."""
    opened = transport.get_extra_info("socket")
    if opened is not None:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
    transport.abort()


def _transport(scope: MutableMapping[str, Any]) -> asyncio.Transport:
    return cast("asyncio.Transport", scope["extensions"][_TRANSPORT])


@contextmanager
def unreachable_url() -> Generator[str]:
    """Give a URL to which connecting hangs: no answer, no refusal (on Linux).

    The listener never accepts and its queue is full, so that the kernel drops what
    arrives, as a firewall does.
    """
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        waiting = [socket.socket() for _ in range(4)]
        for one in waiting:
            one.setblocking(False)
            one.connect_ex(listener.getsockname())
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            for one in waiting:
                one.close()
