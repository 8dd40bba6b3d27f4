"""Connections that can be cut.

ASGI has no word for "drop the connection", so the protocol class hands its transport to
the application in the scope.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import MutableMapping
from typing import Any, Final, cast

from uvicorn.protocols.http.h11_impl import H11Protocol

_TRANSPORT: Final = "sandbox.transport"

_NO_LINGER: Final = struct.pack("ii", 1, 0)


class CuttableProtocol(H11Protocol):
    """uvicorn's protocol, with the transport among the scope's extensions."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        app = self.app

        async def with_transport(scope: Any, receive: Any, send: Any) -> None:
            scope.setdefault("extensions", {})[_TRANSPORT] = transport
            await app(scope, receive, send)

        self.app = with_transport


def _transport(scope: MutableMapping[str, Any]) -> asyncio.Transport:
    return cast("asyncio.Transport", scope["extensions"][_TRANSPORT])


async def reset(scope: MutableMapping[str, Any]) -> None:
    """End the connection with a TCP reset: the peer sees `ECONNRESET`."""
    reset_transport(_transport(scope))
    await asyncio.sleep(0)  # uvicorn hears of it, and expects no answer any more


def reset_transport(transport: asyncio.Transport) -> None:
    """Throw away what is unsent and send RST instead of FIN."""
    opened = transport.get_extra_info("socket")
    if opened is not None:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
    transport.abort()


async def close(scope: MutableMapping[str, Any]) -> None:
    """End the connection the polite way (FIN), without an answer."""
    _transport(scope).close()
    await asyncio.sleep(0)
