"""Laws of cutting: every row once, both limits, telling counts."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from batchkit_tasks.chunks import cut_rows
from batchkit_tasks.prompts.requests import BODY_OVERHEAD, body_bytes
from batchkit_tasks.records import Chunk


@st.composite
def cuts(draw: st.DrawFn) -> tuple[list[int], list[int], int, int, set[int]]:
    steps = draw(st.lists(st.sampled_from([1, 1, 1, 2, 50]), max_size=120))
    positions = np.cumsum([draw(st.integers(0, 5)), *steps]).tolist()
    sizes = draw(
        st.lists(st.integers(50, 400), min_size=len(positions), max_size=len(positions))
    )
    max_bytes = draw(st.integers(400 + BODY_OVERHEAD, 20_000))
    used = draw(st.sets(st.integers(1, 60), max_size=30))
    return positions, sizes, draw(st.integers(1, 60)), max_bytes, used


def rows_of(chunk: Chunk) -> list[int]:
    return [row for start, stop in chunk.ranges for row in range(start, stop)]


@given(cuts())
def test_every_row_is_in_exactly_one_chunk_and_in_order(
    cut: tuple[list[int], list[int], int, int, set[int]],
):
    positions, sizes, max_requests, max_bytes, used = cut

    chunks = cut_rows(
        positions, sizes, max_requests=max_requests, max_bytes=max_bytes,
        used_counts=used, first_number=3,
    )  # fmt: skip

    assert [row for chunk in chunks for row in rows_of(chunk)] == positions
    assert [chunk.number for chunk in chunks] == list(range(3, 3 + len(chunks)))
    assert all(chunk.requests == len(rows_of(chunk)) > 0 for chunk in chunks)


@given(cuts())
def test_both_limits_hold_and_sizes_are_exact(
    cut: tuple[list[int], list[int], int, int, set[int]],
):
    positions, sizes, max_requests, max_bytes, used = cut
    size_of = dict(zip(positions, sizes, strict=True))

    chunks = cut_rows(
        positions,
        sizes,
        max_requests=max_requests,
        max_bytes=max_bytes,
        used_counts=used,
    )

    for chunk in chunks:
        assert chunk.requests <= max_requests
        assert chunk.body_bytes == body_bytes([size_of[row] for row in rows_of(chunk)])
        assert chunk.body_bytes <= max_bytes


@given(cuts())
def test_a_count_is_new_unless_that_would_leave_half_of_the_room_empty(
    cut: tuple[list[int], list[int], int, int, set[int]],
):
    positions, sizes, max_requests, max_bytes, used = cut
    size_of = dict(zip(positions, sizes, strict=True))

    chunks = cut_rows(
        positions,
        sizes,
        max_requests=max_requests,
        max_bytes=max_bytes,
        used_counts=used,
    )

    taken, start = set(used), 0
    for chunk in chunks:
        fits = 1
        rest = positions[start : start + max_requests]
        while (
            fits < len(rest)
            and body_bytes([size_of[row] for row in rest[: fits + 1]]) <= max_bytes
        ):
            fits += 1
        free = [n for n in range(1, fits + 1) if n not in taken and 2 * n >= fits]
        assert chunk.requests == (max(free) if free else fits)
        taken.add(chunk.requests)
        start += chunk.requests


@given(st.integers(1, 3_000), st.integers(100, 200))
def test_all_counts_differ_while_there_is_room(rows: int, max_requests: int):
    chunks = cut_rows(
        range(rows), [10] * rows, max_requests=max_requests, max_bytes=10**8
    )

    counts = [chunk.requests for chunk in chunks]
    full = [count for count in counts if count * 2 > max_requests]
    assert len(set(full)) == len(full)
