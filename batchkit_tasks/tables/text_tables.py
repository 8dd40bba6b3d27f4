"""What CSV and JSON Lines have in common: types that one reading of all rows has found."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import IO

import pyarrow as pa

from batchkit_tasks.errors import SourceError


@dataclass(frozen=True, slots=True)
class TextTable:
    """A table in text files, whose types fit every row of it."""

    schema: pa.Schema
    rows: int
    batches: Callable[[], Iterator[pa.Table]]
    """Reads all rows again, typed and in order, some megabytes at a time."""


def not_utf8(url: str, path: str, opened: IO[bytes]) -> SourceError | None:
    """Find the first byte of a file that is not UTF-8, and say where it is."""
    offset, line, rest = 0, 1, b""
    with opened:
        while block := opened.read(1 << 22):
            block = rest + block
            try:
                block.decode()
                rest = b""
            except UnicodeDecodeError as error:
                # A character that the end of the block has cut in two is no error yet.
                at = error.start
                if len(block) - at >= 4 or "unexpected end" not in error.reason:
                    return _bad_byte(url, path, block, at, offset, line)
                rest = block[at:]
                block = block[:at]
            offset += len(block)
            line += block.count(b"\n")
    return _bad_byte(url, path, rest, 0, offset, line) if rest else None


def _bad_byte(
    url: str, path: str, block: bytes, at: int, offset: int, line: int
) -> SourceError:
    line += block.count(b"\n", 0, at)
    return SourceError(
        url,
        f"{path}, line {line:,} is not UTF-8 (byte 0x{block[at]:02x} at offset "
        f"{offset + at:,} of the file). Save it as UTF-8.",
    )
