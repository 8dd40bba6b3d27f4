"""Result lines on their way out, and what can go wrong with them."""

from __future__ import annotations

import asyncio
import gzip
import re
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from batchkit_tasks.sandbox import connections

CHUNK_BYTES: Final = 1 << 18

_MEDIA_TYPE: Final = "application/x-jsonl"


def results_answer(path: Path, *, bytes_per_second: float | None) -> Response:
    """Return the file as `application/x-jsonl`, in chunks and without a length."""
    chunks = _paced(_file_chunks(path), bytes_per_second)
    return StreamingResponse(chunks, media_type=_MEDIA_TYPE)


def faulty_answer(
    path: Path, kind: str, options: Mapping[str, Any], request: Request
) -> Response:
    """Return the file changed by a fault; all of it is in memory meanwhile."""
    whole = path.read_bytes()
    if kind in _CUTS:
        half = whole[: int(len(whole) * float(options.get("share", 0.5)))]
        chunks = _then_cut(half, request, _CUTS[kind])
        return StreamingResponse(chunks, media_type=_MEDIA_TYPE)
    pieces = _CHANGES[kind](whole, options)
    answer = StreamingResponse(_one_by_one(pieces), media_type=_MEDIA_TYPE)
    if kind.startswith("gzip"):
        answer.headers["content-encoding"] = "gzip"
    return answer


def _file_chunks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            yield chunk


async def _paced(
    chunks: Iterator[bytes], bytes_per_second: float | None
) -> AsyncIterator[bytes]:
    for chunk in chunks:
        if not bytes_per_second:
            yield chunk
            continue
        step = max(1, int(bytes_per_second / 10))
        for at in range(0, len(chunk), step):
            yield chunk[at : at + step]
            await asyncio.sleep(0.1)


async def _one_by_one(pieces: Iterable[bytes]) -> AsyncIterator[bytes]:
    """Send pieces in TCP segments of their own, as far as that can be had."""
    for piece in pieces:
        yield piece
        await asyncio.sleep(0.001)


async def _then_cut(
    start: bytes, request: Request, cut: Callable[[Any], Any]
) -> AsyncIterator[bytes]:
    yield start
    await asyncio.sleep(connections.FLUSH_SECONDS)
    await cut(request.scope)


_CUTS: Final[Mapping[str, Callable[[Any], Any]]] = {
    "reset_half_way": connections.reset,
    "closed_half_way": connections.close,
}


def _cut_mid_line(whole: bytes, options: Mapping[str, Any]) -> Iterator[bytes]:
    half = _whole_lines(whole, options)
    rest = whole[len(half) :]
    yield half + rest[: max(1, rest.find(b"\n") // 2)]


def _cut_at_line_end(whole: bytes, options: Mapping[str, Any]) -> Iterator[bytes]:
    yield _whole_lines(whole, options)


def _whole_lines(whole: bytes, options: Mapping[str, Any]) -> bytes:
    """Return a share of the lines, and not all of them."""
    lines = whole.splitlines(keepends=True)
    return b"".join(lines[: int(len(lines) * float(options.get("share", 0.5)))])


def _blank_lines(whole: bytes, options: Mapping[str, Any]) -> Iterator[bytes]:
    yield b"\n" + whole.replace(b"\n", b"\n\n\r\n")


def _gzip(whole: bytes, options: Mapping[str, Any]) -> Iterator[bytes]:
    yield from _sliced(gzip.compress(whole, 1), options)


def _gzip_members(whole: bytes, options: Mapping[str, Any]) -> Iterator[bytes]:
    lines = whole.splitlines(keepends=True)
    size = max(1, len(lines) // int(options.get("members", 10)))
    for at in range(0, len(lines), size):
        yield gzip.compress(b"".join(lines[at : at + size]), 1)


def _sliced(whole: bytes, options: Mapping[str, Any]) -> Iterator[bytes]:
    size = int(options.get("chunk_bytes", 1000))
    for at in range(0, len(whole), size):
        yield whole[at : at + size]


def _split_utf8(whole: bytes, options: Mapping[str, Any]) -> Iterator[bytes]:
    """Cut after the first byte of characters that have more."""
    fewest = int(options.get("chunk_bytes", 1000))
    start = 0
    for lead in re.finditer(rb"[\xc2-\xf4]", whole):
        if lead.end() - start >= fewest or start == 0:
            yield whole[start : lead.end()]
            start = lead.end()
    yield whole[start:]


def _line_separator(whole: bytes, options: Mapping[str, Any]) -> Iterator[bytes]:
    yield whole.replace(b'"text":"', '"text":"\u2028\x85'.encode())


def _no_final_newline(whole: bytes, options: Mapping[str, Any]) -> Iterator[bytes]:
    yield whole.removesuffix(b"\n")


def _broken_line(whole: bytes, options: Mapping[str, Any]) -> Iterator[bytes]:
    yield b'{"custom_id": "broken", "result"\n' + whole


def _foreign_line(whole: bytes, options: Mapping[str, Any]) -> Iterator[bytes]:
    yield b'{"custom_id":"foreign-row-0","result":{"type":"expired"}}\n' + whole


_CHANGES: Final[Mapping[str, Callable[[bytes, Mapping[str, Any]], Iterator[bytes]]]] = {
    "cut_mid_line": _cut_mid_line,
    "cut_at_line_end": _cut_at_line_end,
    "blank_lines": _blank_lines,
    "gzip": _gzip,
    "gzip_members": _gzip_members,
    "small_chunks": _sliced,
    "split_utf8": _split_utf8,
    "line_separator": _line_separator,
    "no_final_newline": _no_final_newline,
    "broken_line": _broken_line,
    "foreign_line": _foreign_line,
}

STREAM_KINDS: Final = frozenset(_CUTS) | frozenset(_CHANGES)
