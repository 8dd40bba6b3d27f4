"""Decoders for typed JSON, made by one thread at a time.

msgspec (up to 0.21 at least) builds what it knows of a struct type when the type is first
decoded. Two threads that do so at once crash the interpreter: a segmentation fault in
the middle of a run, seen when several chunks were sent at the same moment.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, Final

import msgspec

_made: Final[dict[Any, Callable[[bytes], Any]]] = {}
_lock: Final = threading.Lock()


def decode(data: bytes, kind: Any) -> Any:
    """Decode JSON into a type.

    Raises:
        msgspec.DecodeError: It is no JSON, or does not fit the type.
    """
    made = _made.get(kind)
    if made is None:
        with _lock:
            made = _made.setdefault(kind, msgspec.json.Decoder(kind).decode)
    return made(data)
