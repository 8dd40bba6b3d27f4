"""Answers that do not arrive, or late.

Those named `accepted_then_…` do what was asked first: the batch exists, and the client
does not know.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from batchkit_tasks.sandbox import connections

CONNECTION_KINDS: Final = frozenset(
    (
        "reset_before_body",
        "reset_during_body",
        "reset_after_body",
        "hang",
        "slow",
        "half_answer",
        "accepted_then_reset",
        "accepted_then_closed",
        "accepted_then_slow",
        "accepted_then_hang",
    )
)

Proceed = Callable[[], Awaitable[Response]]
"""Does what was asked, and returns the answer."""

_ENDLESS: Final = 24 * 3600.0


class NoAnswer(Response):
    """Sends nothing: the connection is gone already."""

    def __init__(self) -> None:
        super().__init__()
        self.status_code = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        return


class HalfAnswer(Response):
    """Sends the headers and half of the body, then resets."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        start = {"type": "http.response.start", "status": self.status_code}
        await send({**start, "headers": self.raw_headers})
        half = bytes(self.body)[: len(self.body) // 2]
        await send({"type": "http.response.body", "body": half, "more_body": True})
        await asyncio.sleep(connections.FLUSH_SECONDS)
        await connections.reset(scope)


async def meet(
    kind: str, options: Mapping[str, Any], request: Request, proceed: Proceed
) -> Response:
    """Answer a call the way the fault wants it."""
    scope = request.scope
    seconds = float(options.get("seconds", _ENDLESS if "hang" in kind else 1.0))
    if kind == "half_answer":
        answer = await proceed()
        return HalfAnswer(answer.body, answer.status_code, dict(answer.headers))
    if kind in ("slow", "accepted_then_slow"):
        await request.body()  # it has arrived, even if the client leaves meanwhile
        return await _late(proceed, seconds, accepted=kind != "slow")
    if kind.startswith("accepted_then_"):
        await proceed()
    elif kind == "reset_during_body":
        await _read_some(request, int(options.get("bytes", 1)))
    elif kind != "reset_before_body":
        await request.body()
    if "hang" in kind:
        await asyncio.sleep(seconds)
    if kind == "accepted_then_closed":
        await connections.close(scope)
    else:
        await connections.reset(scope)
    return NoAnswer()


async def _late(proceed: Proceed, seconds: float, *, accepted: bool) -> Response:
    """Answer after a while, having done what was asked before or after it."""
    if accepted:
        answer = await proceed()
        await asyncio.sleep(seconds)
        return answer
    await asyncio.sleep(seconds)
    return await proceed()


async def _read_some(request: Request, size: int) -> None:
    """Read the body until that many bytes have come."""
    read = 0
    async for chunk in request.stream():
        read += len(chunk)
        if read >= size:
            return
