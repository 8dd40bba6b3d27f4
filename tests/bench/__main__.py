"""`python -m tests.bench`: measure, print, and with `--write` keep tables and charts."""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from tests.bench import chart, report
from tests.bench.running import Bench, Runs
from tests.bench.tables import LONG, LONGER, SHORT

HERE = Path(__file__).parent
CONTENDERS = ("floor", "ours", "steps", "sdk", "airflow", "instructor", "batchata")


def main(arguments: list[str] | None = None) -> str:
    """Measure what the options ask for, and give it as Markdown."""
    options = parser().parse_args(arguments)
    with tempfile.TemporaryDirectory(dir=options.folder, prefix="batchkit-") as folder:
        bench = Bench(
            Path(folder), options.rows_per_batch, options.peers, options.peer_rows
        )
        text, charts = measure_all(bench, options)
    print(text)
    if options.write:
        (HERE / "RESULTS.md").write_text(text)
        for name, drawn in charts.items():
            (HERE / name).write_text(drawn)
    return text


def parser() -> argparse.ArgumentParser:
    """The options; the sizes are those of the committed results."""
    made = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    made.add_argument("--rows", type=int, default=100_000, help="short rows")
    made.add_argument("--long-rows", type=int, default=20_000, help="rows of 5 KB")
    made.add_argument("--cases", default="short,long", help="which of the two")
    made.add_argument("--rounds", type=int, default=3)
    made.add_argument("--rows-per-batch", type=int, default=10_000)
    made.add_argument("--scale", default="1000,10000,100000,1000000")
    made.add_argument("--upload-rows", type=int, default=10_000)
    made.add_argument("--no-flow", action="store_true", help="without Prefect")
    made.add_argument("--peers", help="an interpreter that has the peers")
    made.add_argument("--peer-rows", type=int, default=10_000, help="rows for peers")
    made.add_argument("--folder", help="where to work; needs some gigabytes")
    made.add_argument("--write", action="store_true", help="keep the results here")
    return made


def measure_all(
    bench: Bench, options: argparse.Namespace
) -> tuple[str, dict[str, str]]:
    """Run everything, the largest tables last."""
    rounds = options.rounds
    tables = {"short": (SHORT, options.rows), "long": (LONG, options.long_rows)}
    cases = {
        case.name: bench.take_turns(case, rows, CONTENDERS, rounds)
        for case, rows in map(tables.__getitem__, options.cases.split(","))
    }
    uploads = [
        bench.take_turns(case, options.upload_rows, ["upload", "reading"], 2 * rounds)
        for case in (LONG, LONGER)
        if options.upload_rows
    ]
    growing = ("ours",) if options.no_flow else ("ours", "flow")
    sizes = [int(size) for size in options.scale.split(",")]
    scale = [bench.take_turns(SHORT, rows, growing, rounds) for rows in sizes]
    last = () if options.no_flow else ("empty_flow",)
    alone = bench.take_turns(SHORT, sizes[-1], last, rounds)
    text = TEXT.format(
        machine=report.machine(),
        engine=report.engine_table(cases),
        phases=report.phase_table(cases),
        uploads=report.upload_table(uploads),
        scale=report.scale_table([runs["ours"] for runs in scale]),
        flow=report.flow_table(scale, alone) if alone else "Not measured.",
    )
    return text, charts(cases, scale)


def charts(
    cases: dict[str, dict[str, Runs]], scale: list[dict[str, Runs]]
) -> dict[str, str]:
    """Draw the contenders, and what grows."""
    compared = {
        case: {report.NAMES[n]: run.cpu() for n, run in runs.items() if n != "steps"}
        for case, runs in cases.items()
    }
    bare = [runs["ours"] for runs in scale]
    flows = [runs["flow"] for runs in scale if "flow" in runs]
    grown = {
        "CPU": [run.cpu() * run.rows for run in bare],
        "files": [run.fact("files") for run in bare],
        "peak memory": [max(run.peak_mb, 1.0) for run in bare],
    }
    if flows:
        grown["task runs"] = [run.fact("task_runs") for run in flows]
        grown["API calls"] = [run.fact("api_calls") for run in flows]
    xs = [run.rows for run in bare]
    return {
        "contenders.svg": chart.bars("CPU time a row, whole run", compared, "µs"),
        "scale.svg": chart.lines("Growth with the rows, from the first", xs, grown),
    }


TEXT = """# How fast: measured

{machine}. Medians of runs that took turns, on a machine that others use as well: read
the ratios, not the seconds. `python -m tests.bench --write` measures again.

## Whole runs

Read a Parquet file, build, submit, wait, fetch, read, join, write a Parquet file,
against a server that drains requests and answers with texts of 50 to 3,000 characters.
CPU time of the contender's process, after its imports. The floor moves the same bytes
by Arrow kernels and a plain socket; it keeps no records, checks and hashes nothing,
reads no JSON, and its texts keep their escapes.

{engine}

![CPU time of the contenders](contenders.svg)

## Phases

What each phase takes of the floor shows how far it could be brought down at all.

{phases}

## Memory of an upload

{uploads}

## As the table grows

Short rows, batches of 10,000.

{scale}

## As a Prefect run

The same tables, bare and as the flow `batch-table` on a local Prefect server, which is a
process of its own and not counted; nor are events, which go to it over a WebSocket.

{flow}

![Growth with the rows](scale.svg)
"""

if __name__ == "__main__":
    main()
