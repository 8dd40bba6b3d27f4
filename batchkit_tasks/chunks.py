"""Cutting rows into message batches.

Laws: every row once and in order; both limits hold for the bytes that really go out; and
the counts of one run differ as far as possible, because the count is the only mark by
which a batch can be told in the API's list when the answer to its creation was lost.
"""

from __future__ import annotations

from collections.abc import Sequence, Set

import numpy as np
import numpy.typing as npt

from batchkit_tasks.limits import API_MAX_REQUESTS_PER_BATCH
from batchkit_tasks.prompts.requests import BODY_OVERHEAD
from batchkit_tasks.records import Chunk

Integers = Sequence[int] | npt.NDArray[np.int64]


def cut_rows(
    positions: Integers,
    item_sizes: Integers,
    *,
    max_requests: int,
    max_bytes: int,
    used_counts: Set[int] = frozenset(),
    first_number: int = 0,
    attempt: int = 1,
    expiries: int = 0,
    max_tokens: int = 0,
) -> list[Chunk]:
    """Cut rows into consecutive chunks that respect both limits.

    Each chunk takes the largest count that fits and that no chunk of the run has yet,
    unless that is less than half of what fits: then it takes what fits.

    Args:
        positions: Rows to send, ascending, each once.
        item_sizes: Size of each row's request on the wire, in bytes, without a comma.
        max_bytes: Most bytes of a body, commas and brackets included.
        used_counts: Counts that chunks of this run have already.
        first_number: Number of the first chunk; the others follow.

    Raises:
        ValueError: A row alone exceeds `max_bytes`, positions do not ascend, or a limit
            cannot be met. Nothing was cut.
    """
    places = np.asarray(positions, np.int64)
    ends = _body_ends(places, np.asarray(item_sizes, np.int64), max_requests, max_bytes)
    used = set(used_counts)
    chunks: list[Chunk] = []
    start = 0
    while start < len(places):
        fits = _fitting(ends, start, max_requests, max_bytes)
        count = _telling_count(fits, used)
        used.add(count)
        stop = start + count
        chunks.append(
            Chunk(
                number=first_number + len(chunks),
                ranges=merge_positions(places[start:stop]),
                requests=count,
                body_bytes=_size(ends, start, stop),
                attempt=attempt,
                expiries=expiries,
                max_tokens=max_tokens,
            )
        )
        start = stop
    return chunks


def split_count(rows: int, used_counts: Set[int]) -> int:
    """How many of a chunk's rows go into the first of its two halves.

    As near to the middle as leaves both with counts that no chunk of the run has.
    """
    middle = rows // 2
    for count in range(middle, middle // 2, -1):
        other = rows - count
        if count != other and not {count, other} & used_counts:
            return count
    return middle


def merge_positions(places: npt.NDArray[np.int64]) -> tuple[tuple[int, int], ...]:
    """Give ascending positions as ranges, `start` inclusive to `stop` exclusive."""
    if not len(places):
        return ()
    gaps = np.flatnonzero(np.diff(places) != 1)
    starts = places[np.concatenate(([0], gaps + 1))].tolist()
    stops = (places[np.concatenate((gaps, [len(places) - 1]))] + 1).tolist()
    return tuple(zip(starts, stops, strict=True))


def _body_ends(
    places: npt.NDArray[np.int64],
    sizes: npt.NDArray[np.int64],
    max_requests: int,
    max_bytes: int,
) -> npt.NDArray[np.int64]:
    """Sum up sizes with one comma each, from 0, after checking that rows can be cut."""
    if len(places) != len(sizes):
        raise ValueError(f"{len(places)} positions, but {len(sizes)} sizes")
    if not 1 <= max_requests <= API_MAX_REQUESTS_PER_BATCH:
        raise ValueError(f"max_requests is {max_requests}")
    if (places[1:] <= places[:-1]).any():
        raise ValueError("positions must ascend")
    too_large = np.flatnonzero(sizes + BODY_OVERHEAD > max_bytes)
    if len(too_large):
        row = int(too_large[0])
        raise ValueError(
            f"row {places[row]} alone has {sizes[row]:,} bytes; a body holds {max_bytes:,}"
        )
    ends = np.zeros(len(sizes) + 1, np.int64)
    np.cumsum(sizes + 1, out=ends[1:])
    return ends


def _size(ends: npt.NDArray[np.int64], start: int, stop: int) -> int:
    return int(ends[stop] - ends[start]) - 1 + BODY_OVERHEAD


def _fitting(
    ends: npt.NDArray[np.int64], start: int, max_requests: int, max_bytes: int
) -> int:
    """Count the rows from `start` that fit into one body."""
    last = ends[start] + max_bytes - BODY_OVERHEAD + 1
    stop = int(np.searchsorted(ends, last, side="right")) - 1
    return min(stop - start, max_requests)


def _telling_count(fits: int, used: Set[int]) -> int:
    """Give the largest unused count that fits and is worth a batch, else what fits."""
    least = (fits + 1) // 2
    return next((n for n in range(fits, least - 1, -1) if n not in used), fits)
