"""Give memory back that allocators keep for later.

Arrow's and the C library's allocators keep what was freed, for each thread. With chunks
that several threads work on in turn, this adds up to a multiple of what is in use.
"""

from __future__ import annotations

import ctypes
from functools import cache
from typing import Any

import pyarrow as pa


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
