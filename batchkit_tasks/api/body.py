"""The body of one create: built once into a temporary file, then hashed, counted, sent.

A body can have 200 MB. It is spooled to disk, so that memory holds one block of it at
a time, and the bytes that were hashed and counted are the very bytes that are sent.
"""

from __future__ import annotations

import hashlib
import tempfile
import time
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import IO, Final, Self, cast

BLOCK_BYTES: Final = 1 << 18
SPOOL_BYTES: Final = 4 << 20
"""Bodies up to this size stay in memory."""


LAST_BYTES: Final = 2
"""The closing `]}` goes by itself: without it no reader takes a body for whole."""


class UploadTooSlowError(Exception):
    """The deadline passed before the last byte was handed over: it never is."""


class Body:
    """The bytes of `{"requests":[…]}`, ready to be sent."""

    def __init__(self, items: Iterable[bytes]) -> None:
        """Write the body to a temporary file.

        Args:
            items: Elements of `requests`; each may be several, joined by commas.
        """
        self._file: IO[bytes] = cast(
            "IO[bytes]",
            tempfile.SpooledTemporaryFile(max_size=SPOOL_BYTES),  # noqa: SIM115 - close()
        )
        digest = hashlib.sha256()
        self.size = 0
        for piece in _pieces(items):
            digest.update(piece)
            self._file.write(piece)
            self.size += len(piece)
        self.digest = digest.hexdigest()
        self.handed_over_at: datetime | None = None
        """When the last byte was given out: until then, nothing can be created."""

    @property
    def was_handed_over(self) -> bool:
        """Whether the last byte was given out."""
        return self.handed_over_at is not None

    def until(self, deadline: datetime) -> Iterator[bytes]:
        """The body in blocks, the last of which is only given before the deadline.

        So a process that was stopped for an hour and goes on cannot complete a body
        that others have meanwhile given up: with its Content-Length unmet, the API
        cannot accept it. The time is measured by two clocks, one of which nobody sets.
        """
        seconds = (deadline - datetime.now(UTC)).total_seconds()
        ends = time.monotonic() + seconds
        self._file.seek(0)
        self.handed_over_at = None
        left = self.size
        while left:
            block = self._file.read(
                min(BLOCK_BYTES, max(left - LAST_BYTES, LAST_BYTES))
            )
            left -= len(block)
            now = datetime.now(UTC)
            if now >= deadline or time.monotonic() >= ends:
                raise UploadTooSlowError("the upload took longer than it may")
            self.handed_over_at = None if left else now
            yield block

    def close(self) -> None:
        """Delete the temporary file."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _pieces(items: Iterable[bytes]) -> Iterator[bytes]:
    """Join the items with commas inside the envelope, in pieces worth a write."""
    waiting: list[bytes] = []
    held = 0
    opening = b'{"requests":['
    for item in items:
        waiting.append(item)
        held += len(item)
        if held >= BLOCK_BYTES:
            yield opening + b",".join(waiting)
            opening, waiting, held = b",", [], 0
    yield opening + b",".join(waiting) + b"]}" if waiting else b"]}"
