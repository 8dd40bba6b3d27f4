"""No row is lost, none comes twice, each has its own answer: for any cutting of rows
into chunks and rounds, any order of the parts and any size of the windows."""

from __future__ import annotations

import tempfile
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batchkit_tasks.errors import RowsLostError
from batchkit_tasks.output.table import write_table
from batchkit_tasks.parts.joined import Absent, Part, Parts
from batchkit_tasks.records import Chunk
from tests.made_tables import TEXT, chunk, numbered, part, planned, positions_of

STATUSES = ["succeeded", "truncated", "refused", "errored", "expired", "missing"]


@dataclass
class Run:
    """A run as it might have gone: what each row got, and the chunks that say so."""

    rows: int
    status: list[str]
    attempts: list[int]
    unsent: dict[int, tuple[str, str | None]] = field(default_factory=dict[Any, Any])
    chunks: list[tuple[int, Chunk, dict[int, Any]]] = field(
        default_factory=list[tuple[int, Chunk, dict[int, Any]]]
    )
    absent: list[Absent] = field(default_factory=list[Absent])


def ranges(positions: list[int]) -> list[tuple[int, int]]:
    found: list[tuple[int, int]] = []
    for position in positions:
        if found and found[-1][1] == position:
            found[-1] = (found[-1][0], position + 1)
        else:
            found.append((position, position + 1))
    return found


@st.composite
def runs(draw: st.DrawFn) -> Run:
    rows = draw(st.integers(1, 60))
    run = Run(rows, ["skipped"] * rows, [0] * rows)
    sent = [p for p in range(rows) if draw(st.integers(0, 9)) > 0]
    run.unsent = {
        p: (draw(st.sampled_from(["skipped", "oversized"])), None)
        for p in sorted(set(range(rows)) - set(sent))
    }
    for position, (status, _) in run.unsent.items():
        run.status[position] = status
    for number in range(1, draw(st.integers(1, 3)) + 1):
        sent = _round(draw, run, number, sent)
    return run


def _round(draw: st.DrawFn, run: Run, number: int, sent: list[int]) -> list[int]:
    """One round; gives the rows that are sent again in the next."""
    failed: list[int] = []
    while sent:
        size = draw(st.integers(1, len(sent)))
        here, sent = sent[:size], sent[size:]
        made = chunk(len(run.chunks) + len(run.absent), *ranges(here), attempt=number)
        if draw(st.integers(0, 5)) == 0:
            run.absent.append(Absent(made, "skipped", "the run was stopped"))
            continue
        got = {p: draw(st.sampled_from(STATUSES)) for p in here}
        run.chunks.append((number, made, {p: {"status": s} for p, s in got.items()}))
        for position, status in got.items():
            run.status[position] = status
            run.attempts[position] = number
        failed += [p for p, status in got.items() if status != "succeeded"]
    return failed


def parts_of(folder: str, run: Run) -> list[Part]:
    return [
        part(folder, made, round=number, rows=rows) for number, made, rows in run.chunks
    ]


@settings(max_examples=60, deadline=None)
@given(run=runs(), window_rows=st.integers(1, 70), data=st.data())
def test_every_row_is_there_once_in_order_with_its_last_answer(
    run: Run, window_rows: int, data: st.DataObject
):
    with tempfile.TemporaryDirectory() as folder:
        parts = data.draw(st.permutations(parts_of(folder, run)))

        counts = write_table(
            rows=numbered(run.rows),
            fates=planned(run.rows, run.unsent),
            parts=Parts(parts, TEXT.fields, run.absent),
            to_url=f"{folder}/out.parquet",
            window_rows=window_rows,
        )

        table = pq.read_table(f"{folder}/out.parquet")
        failed_url = f"{folder}/out.failed.parquet"
        failed: Any = [p for p in range(run.rows) if run.status[p] != "succeeded"]
        if failed:
            assert pq.read_table(failed_url)["n"].to_pylist() == failed
    assert table["n"].to_pylist() == list(range(run.rows))
    assert table["_status"].to_pylist() == run.status
    assert table["response"].to_pylist() == [
        f"answer {p} of round {n}" if n else None for p, n in enumerate(run.attempts)
    ]
    meta: Any = table["_meta"].to_pylist()
    assert [row["attempts"] for row in meta] == run.attempts
    assert counts.by_status == Counter(run.status)
    assert counts.by_status.total() == counts.rows == run.rows


@settings(max_examples=40, deadline=None)
@given(run=runs(), data=st.data())
def test_a_row_taken_out_of_the_only_part_it_is_in_is_never_written_as_if_it_were_none(
    run: Run, data: st.DataObject
):
    first = [each for each in run.chunks if each[0] == 1]
    with tempfile.TemporaryDirectory() as folder:
        parts = parts_of(folder, run)
        if not first:
            return
        _, made, rows = data.draw(st.sampled_from(first))
        once = [p for p in positions_of(made) if run.attempts[p] == 1]
        if not once or len(positions_of(made)) == 1:
            return
        lost = data.draw(st.sampled_from(once))
        part(folder, made, rows=rows, without=[lost])

        with pytest.raises(RowsLostError) as caught:
            write_table(
                rows=numbered(run.rows),
                fates=planned(run.rows, run.unsent),
                parts=Parts(parts, TEXT.fields),
                to_url=f"{folder}/out.parquet",
            )

        assert lost in caught.value.first or caught.value.rows > len(caught.value.first)
