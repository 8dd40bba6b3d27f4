"""What a person sees of a run in a notebook, and where no bar can be drawn."""

from __future__ import annotations

import io

from rich.console import Console

from batchkit_tasks.records import Chunk, Round
from batchkit_tasks.summary import RunSummary
from batchkit_tasks.waiting.progress import ProgressBar


def test_a_notebook_shows_a_summary_as_a_table_of_what_matters() -> None:
    summary = RunSummary(
        output="out/<labels>.parquet",
        failed_output=None,
        run="out/_batchkit/labels.parquet/1f",
        rows=1200,
        sent=1200,
        by_status={"refused": 2, "succeeded": 1198},
        batches=("msgbatch_1",),
        rounds=1,
        cost_usd=1.5,
        message="1,198 of 1,200 rows succeeded",
    )

    html = summary._repr_html_()  # pyright: ignore[reportPrivateUsage]

    assert "<caption>1,198 of 1,200 rows succeeded</caption>" in html
    assert html.index("succeeded</th>") < html.index("refused</th>")
    assert "out/&lt;labels&gt;.parquet" in html
    assert "$1.50" in html


def test_where_no_bar_can_be_drawn_each_batch_is_a_line() -> None:
    file = io.StringIO()
    chunks = tuple(
        Chunk(number=n, ranges=((n * 10, n * 10 + 10),), requests=10, body_bytes=99)
        for n in range(2)
    )

    with ProgressBar(Console(file=file, width=120)) as bar:
        bar.planned(Round(number=1, chunks=chunks), 20)
        bar.collected(0, 10)
        bar.collected(1, 10)

    assert "Batches: 1 of 2 ended · 10 of 20 rows back\n" in file.getvalue()
    assert "Batches: 2 of 2 ended · 20 of 20 rows back\n" in file.getvalue()
