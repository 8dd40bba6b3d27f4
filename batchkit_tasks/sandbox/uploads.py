"""Reading a request's body: no more than allowed, and slowly where that is ordered."""

from __future__ import annotations

import asyncio

from starlette.requests import ClientDisconnect, Request

from batchkit_tasks.sandbox.settings import Settings


class TooLargeError(Exception):
    """The body is over the limit. It was read to its end, so that the answer arrives."""


class GoneError(Exception):
    """The client left before its body was complete."""


async def read_body(request: Request, settings: Settings) -> bytes:
    """Return the body.

    Raises:
        TooLargeError: It is over `max_body_bytes`.
        GoneError: It did not come to its end.
    """
    chunks: list[bytes] = []
    size = 0
    try:
        async for chunk in request.stream():
            size += len(chunk)
            if size <= settings.max_body_bytes:
                chunks.append(chunk)
            if pace := settings.upload_bytes_per_second:
                await asyncio.sleep(len(chunk) / pace)
    except ClientDisconnect as gone:
        raise GoneError from gone
    if size > settings.max_body_bytes:
        raise TooLargeError
    return b"".join(chunks)
