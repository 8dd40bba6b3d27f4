"""Give memory back that allocators keep for later.

Arrow's and the C library's allocators keep what was freed, for each thread. With chunks
that several threads work on in turn, this adds up to a multiple of what is in use.
"""

from __future__ import annotations

import ctypes
import threading
from functools import cache
from typing import Any, Final

import pyarrow as pa

RELEASE_EVERY: Final = 32_000_000
"""Bytes after which freed memory is returned: to touch it anew costs about as much as
to fill it, so it is not done each time."""


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
    trim = _trim()
    if trim is not None:
        trim(0)


@cache
def _trim() -> Any:
    """`malloc_trim`, where the C library is glibc."""
    try:
        return ctypes.CDLL(None).malloc_trim
    except (AttributeError, OSError, TypeError):
        return None
