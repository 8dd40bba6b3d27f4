"""Hashes of requests as numbers: finding equal ones among millions in little memory.

A request's hash has 16 bytes. They are kept as two 64-bit numbers a row, and compared
by the first one, sorted, and then exactly. Should two different requests ever agree in
the first number, equal ones beside them may be overlooked, which costs a request;
different ones are never taken for equal.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

Hashes = npt.NDArray[np.uint64]
"""One row of two numbers per request."""

Positions = npt.NDArray[np.int64]


def from_bytes(hashes: Sequence[bytes]) -> Hashes:
    """Give hashes of 16 bytes as numbers."""
    return np.frombuffer(b"".join(hashes), dtype="<u8").reshape(-1, 2)


def from_column(column: pa.ChunkedArray | pa.Array) -> Hashes:
    """Give a column of hashes as numbers; a null becomes zeros, which no request has."""
    chunks = column.chunks if isinstance(column, pa.ChunkedArray) else [column]
    pieces: list[Hashes] = []
    for chunk in chunks:
        fixed = chunk.fill_null(bytes(16)).cast(pa.binary(16))
        data: Any = fixed.buffers()[1]
        assert data is not None, "hashes have bytes"
        whole = np.frombuffer(data, dtype="<u8").reshape(-1, 2)
        pieces.append(whole[fixed.offset : fixed.offset + len(fixed)])
    return np.concatenate(pieces) if pieces else np.empty((0, 2), np.uint64)


def leaders(hashes: Hashes) -> Positions:
    """Give for each request the index of the first one that is equal; its own if none."""
    order, starts = _groups(hashes)
    first = np.empty(len(hashes), dtype=np.int64)
    sizes = np.diff(np.append(starts, len(hashes)))
    first[order] = np.repeat(order[starts], sizes)
    return first


def all_differ(hashes: Hashes) -> bool:
    """Whether no two are equal; in a third of the memory that `leaders` takes.

    False is said too where two requests agree in the first number only.
    """
    first = np.sort(hashes[:, 0])
    return not (first[1:] == first[:-1]).any()


class Wanted:
    """The requests that are looked for, each at most once answered.

    Args:
        hashes: Of the requests; equal ones take different answers.
        positions: What to call each of them.
    """

    def __init__(self, hashes: Hashes, positions: Positions) -> None:
        self._hashes, self._positions = hashes, positions
        # Nothing is copied and sorted before there is something to match.
        self._starts: Positions | None = None

    def __len__(self) -> int:
        return len(self._positions)

    def match(self, found: Hashes) -> tuple[Positions, Positions]:
        """Give pairs of a found answer's index and a wanted position, each used once."""
        own = self._sort()
        order, starts = _groups(found)
        heads = found[order[starts]]
        at = np.searchsorted(self._hashes[own, 0], heads[:, 0])
        inside = at < len(own)
        at = np.minimum(at, max(len(own) - 1, 0))
        if not len(own):
            return np.empty(0, np.int64), np.empty(0, np.int64)
        same = inside & (self._hashes[own[at]] == heads).all(axis=1)
        have = np.diff(np.append(starts, len(found)))[same]
        want = np.diff(np.append(own, len(self)))[at[same]]
        pairs = np.minimum(have, want)
        within = np.arange(pairs.sum()) - np.repeat(np.cumsum(pairs) - pairs, pairs)
        ours = np.repeat(own[at[same]], pairs) + within
        theirs = np.repeat(starts[same], pairs) + within
        matched = self._positions[ours]
        self._remove(ours)
        return order[theirs], matched

    def _sort(self) -> Positions:
        """Bring equal ones together; give where each group of them starts."""
        if self._starts is None:
            order, self._starts = _groups(self._hashes)
            self._hashes, self._positions = self._hashes[order], self._positions[order]
        return self._starts

    def _remove(self, rows: Positions) -> None:
        if not len(rows):
            return
        keep = np.ones(len(self), dtype=bool)
        keep[rows] = False
        self._hashes, self._positions = self._hashes[keep], self._positions[keep]
        self._starts = _starts(self._hashes)


def _groups(hashes: Hashes) -> tuple[Positions, Positions]:
    """Give an order in which equal hashes are neighbours, and where groups start."""
    order = np.argsort(hashes[:, 0], kind="stable")
    return order, _starts(hashes[order])


def _starts(grouped: Hashes) -> Positions:
    if not len(grouped):
        return np.empty(0, np.int64)
    new = (grouped[1:] != grouped[:-1]).any(axis=1)
    return np.flatnonzero(np.concatenate(([True], new)))
