"""Give memory back that allocators keep for later.

Arrow's and the C library's allocators keep what was freed, for each thread. With chunks
that several threads work on in turn, this adds up to a multiple of what is in use, and
grows with the number of chunks although nothing more is in use.
"""

from __future__ import annotations

import ctypes
import os
import threading
from functools import cache
from typing import Any, Final

import pyarrow as pa

RELEASE_EVERY: Final = 32_000_000
"""Bytes after which freed memory is returned: to touch it anew costs about as much as
to fill it, so it is not done each time."""

ARENAS: Final = 2
"""Heaps of the C library, for as many processors as Python's lock leaves busy."""

M_ARENA_MAX: Final = -8
"""From glibc's `malloc.h`."""


@cache
def share_heaps() -> None:
    """Let all threads of this process allocate from a few heaps, for good.

    What one thread has freed, another one can take: else each keeps holes of its own.
    Whoever has set `MALLOC_ARENA_MAX` is not overruled. Does nothing without glibc.
    """
    library = _library()
    if library is not None and "MALLOC_ARENA_MAX" not in os.environ:
        library.mallopt(M_ARENA_MAX, ARENAS)


def note_freed(freed: int) -> None:
    """Count bytes that have been freed; every so often, return them to the system."""
    global _freed
    with _counting:
        _freed += freed
        if _freed < RELEASE_EVERY:
            return
        _freed = 0
    release_unused()


_counting: Final = threading.Lock()
_freed = 0


def release_unused() -> None:
    """Return freed memory to the system; takes a few milliseconds."""
    pa.default_memory_pool().release_unused()
    library = _library()
    if library is not None:
        library.malloc_trim(0)


@cache
def _library() -> Any:
    """The C library, if it is glibc, which alone has `malloc_trim`."""
    try:
        library = ctypes.CDLL(None)
        return library if library.malloc_trim and library.mallopt else None
    except (AttributeError, OSError, TypeError):
        return None
