"""What stands around the params of requests: names, commas, brackets; and their hashes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from hashlib import sha256
from itertools import chain, groupby, repeat
from typing import Any, Final, cast

import msgspec
import numpy as np
import numpy.typing as npt

Piece = bytes | list[bytes]
"""A piece of JSON: the same for all rows, or one for each."""

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
    nonce: str, positions: Sequence[int], params: Sequence[Piece]
) -> bytes:
    """Give `encode_item` of many rows, joined by commas.

    Args:
        positions: Of one row at least.
        params: Their params in pieces, as `joined` takes them.
    """
    start = b',{"custom_id":"%b-' % nonce.encode()
    numbers = _encode(positions)[1:-1].split(b",")
    pieces = [start, numbers, _ITEM_MIDDLE, *params, b"}"]
    return b"".join(chain.from_iterable(_by_row(pieces, len(positions))))[1:]


def joined(pieces: Sequence[Piece], count: int) -> list[bytes]:
    """Give each row's pieces as one.

    Args:
        pieces: What is the same in all rows as bytes, else a list with one per row.
    """
    return list(map(b"".join, _by_row(pieces, count)))


def _by_row(pieces: Sequence[Piece], count: int) -> Iterator[tuple[bytes, ...]]:
    """Give each row's pieces; neighbours that are the same in all rows become one."""
    columns: list[Iterable[bytes]] = []
    for is_same, group in groupby(pieces, lambda piece: isinstance(piece, bytes)):
        if is_same:
            columns.append(repeat(b"".join(cast("Any", group)), count))
        else:
            columns += cast("Any", group)
    return zip(*columns, strict=True)


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
    return sha256(params).digest()[:HASH_BYTES]


def request_hashes(params: Iterable[bytes | None]) -> list[bytes]:
    """Give `request_hash` of each, and zeros where there is no request."""
    hashes: list[bytes] = []
    for request in params:
        if request is None:
            hashes.append(NO_HASH)
            continue
        hash = _NEW_HASH.copy()  # less than making one
        hash.update(request)
        hashes.append(hash.digest()[:HASH_BYTES])
    return hashes


_NEW_HASH: Final = sha256()
"""Processors have instructions for SHA-256: it takes half the time of BLAKE2b."""

HASH_BYTES: Final = 16
"""Kept of each: among a billion requests, two agree by chance once in 10^20 tables."""

NO_HASH: Final = bytes(HASH_BYTES)
"""In place of the hash of a row without a request."""
