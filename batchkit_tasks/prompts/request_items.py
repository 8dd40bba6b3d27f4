"""What stands around the params of requests: names, commas, brackets; and their hashes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from hashlib import blake2b
from itertools import chain, repeat
from typing import Any, Final

import msgspec
import numpy as np
import numpy.typing as npt

NONCE_CHARS: Final = 16
"""A nonce has 64 bits, in lowercase hexadecimal."""

BODY_START: Final = b'{"requests":['
BODY_STOP: Final = b"]}"
BODY_OVERHEAD: Final = len(BODY_START) + len(BODY_STOP)
"""Bytes of a body around its items."""

_ITEM_START: Final = b'{"custom_id":"'
_ITEM_MIDDLE: Final = b'","params":'
_ITEM_OVERHEAD: Final = len(_ITEM_START) + NONCE_CHARS + 1 + len(_ITEM_MIDDLE) + 1

_encode: Final = msgspec.json.Encoder().encode


def custom_id(nonce: str, position: int) -> str:
    """Name a row's request: unique over all sendings, and telling where it belongs."""
    return f"{nonce}-{position}"


def encode_item(nonce: str, position: int, params: bytes) -> bytes:
    """Give one element of the body's `requests`."""
    return b'{"custom_id":"%b-%d","params":%b}' % (nonce.encode(), position, params)


def encode_items(
    nonce: str, positions: Sequence[int], params: Sequence[bytes | None]
) -> bytes:
    """Give `encode_item` of many rows, joined by commas.

    Args:
        params: None of them `None`; there is one at least.
    """
    numbers = _encode(positions)[1:-1].split(b",")
    start = b',{"custom_id":"%b-' % nonce.encode()
    pieces: Any = zip(
        repeat(start), numbers, repeat(_ITEM_MIDDLE), params, repeat(b"}"), strict=False
    )
    return b"".join(chain.from_iterable(pieces))[1:]


def item_bytes(position: int, params: bytes) -> int:
    """Size of `encode_item` for any nonce, in bytes, without a comma."""
    return _ITEM_OVERHEAD + len(str(position)) + len(params)


def item_sizes(
    positions: npt.ArrayLike, params_bytes: npt.ArrayLike
) -> npt.NDArray[np.int64]:
    """Give `item_bytes` for many rows at once.

    Args:
        params_bytes: Length of each row's params, in bytes.
    """
    places = np.asarray(positions, np.int64)
    powers = 10 ** np.arange(1, 19, dtype=np.int64)
    digits = np.searchsorted(powers, places, side="right") + 1
    return _ITEM_OVERHEAD + digits + np.asarray(params_bytes, np.int64)


def body_bytes(sizes: Sequence[int] | npt.NDArray[np.int64]) -> int:
    """Size of a body with items of these sizes, commas included."""
    return BODY_OVERHEAD + int(np.sum(sizes, dtype=np.int64)) + max(len(sizes) - 1, 0)


def request_hash(params: bytes) -> bytes:
    """Give 16 bytes that are equal exactly for equal params."""
    return blake2b(params, digest_size=16).digest()


def request_hashes(params: Iterable[bytes | None]) -> list[bytes]:
    """Give `request_hash` of each, and zeros where there is no request."""
    hashes: list[bytes] = []
    for request in params:
        if request is None:
            hashes.append(NO_HASH)
            continue
        hash = _NEW_HASH.copy()  # half the time of making one
        hash.update(request)
        hashes.append(hash.digest())
    return hashes


_NEW_HASH: Final = blake2b(digest_size=16)
NO_HASH: Final = bytes(16)
"""In place of the hash of a row without a request."""
