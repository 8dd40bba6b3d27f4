"""Result lines on their way out."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from starlette.responses import Response, StreamingResponse

CHUNK_BYTES: Final = 1 << 18


@dataclass(frozen=True, slots=True)
class ResultsFault:
    """What is wrong with one results stream."""

    kind: str


def results_answer(
    path: Path, fault: ResultsFault | None, *, bytes_per_second: float | None
) -> Response:
    """Return the file as `application/x-jsonl`, in chunks and without a length."""
    chunks = _paced(_file_chunks(path), bytes_per_second)
    return StreamingResponse(chunks, media_type="application/x-jsonl")


def _file_chunks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            yield chunk


async def _paced(
    chunks: Iterator[bytes], bytes_per_second: float | None
) -> AsyncIterator[bytes]:
    for chunk in chunks:
        yield chunk
        if bytes_per_second:
            await asyncio.sleep(len(chunk) / bytes_per_second)
