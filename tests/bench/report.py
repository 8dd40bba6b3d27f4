"""What was measured, as Markdown and as charts."""

from __future__ import annotations

import os
import platform
import sysconfig
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from tests.bench.running import Runs

NAMES = {
    "floor": "floor (memcpy-like)",
    "ours": "batchkit",
    "steps": "batchkit, step by step",
    "flow": "batchkit as a Prefect flow",
    "empty_flow": "Prefect, with tasks that do nothing",
    "sdk": "SDK, iterrows and merge",
    "airflow": "Airflow's provider (hook)",
    "instructor": "instructor",
    "batchata": "batchata",
}


def machine() -> str:
    """Where and when this was measured."""
    model = "unknown processor"
    info = Path("/proc/cpuinfo")
    if info.exists():
        named = [x for x in info.read_text().splitlines() if x.startswith("model name")]
        model = named[0].partition(":")[2].strip() if named else model
    load = os.getloadavg()[0]
    return (
        f"{datetime.now(UTC):%d %B %Y}, Python {platform.python_version()} ({_build()}), "
        f"{os.cpu_count()} cores ({model}), load average {load:.1f} at the end"
    )


def _build() -> str:
    """How the interpreter was compiled: it makes pure Python up to a third faster."""
    options = str(sysconfig.get_config_var("CONFIG_ARGS"))
    is_optimized = "--enable-optimizations" in options
    return "built with PGO" if is_optimized else "built without PGO"


def engine_table(cases: Mapping[str, Mapping[str, Runs]]) -> str:
    """CPU and memory of whole runs."""
    head = (
        "| table | contender | CPU µs a row | × floor | peak memory |\n"
        "|---|---|---|---|---|\n"
    )
    rows = [
        f"| {run.rows:,} {case} | {NAMES[name]} | {run.cpu():.1f} | "
        f"{run.cpu() / runs['floor'].cpu():.2f} | {run.peak_mb:,.0f} MB |"
        for case, runs in cases.items()
        for name, run in runs.items()
    ]
    return head + "\n".join(rows)


def phase_table(cases: Mapping[str, Mapping[str, Runs]]) -> str:
    """The phases, step by step, against those of others."""
    head = (
        "| table | phase | others | | batchkit | ratio |\n|---|---|---|---|---|---|\n"
    )
    return head + "\n".join(
        _phase_row(
            case, phase, NAMES[name], runs[name].cpu(*names), runs["steps"], ours
        )
        for case, runs in cases.items()
        for phase, names, ours in PHASES
        for name in ("floor", "sdk", "airflow", "instructor")
        if name in runs
    )


PHASES: Final = (
    ("build and send", ("build",), ("build", "submit")),
    ("collect", ("collect",), ("collect",)),
    ("join and write", ("write",), ("write",)),
)
"""A phase, and what it is called there and here."""


def _phase_row(
    case: str, phase: str, name: str, theirs: float, steps: Runs, ours: tuple[str, ...]
) -> str:
    mine = steps.cpu(*ours)
    return (
        f"| {case} | {phase} | {name} | {theirs:.1f} µs | {mine:.1f} µs | "
        f"{theirs / mine:.1f} × |"
    )


def scale_table(runs: Sequence[Runs]) -> str:
    """What grows with the rows."""
    head = (
        "| rows | message batches | CPU s | CPU µs a row | wall s | peak memory | files |\n"
        "|---|---|---|---|---|---|---|\n"
    )
    return head + "\n".join(
        f"| {run.rows:,} | {run.fact('batches'):.0f} | {_seconds(run):.1f} | "
        f"{run.cpu():.1f} | {run.wall:.1f} | {run.peak_mb:,.0f} MB | "
        f"{run.fact('files'):.0f} |"
        for run in runs
    )


def upload_table(runs: Sequence[Mapping[str, Runs]]) -> str:
    """What a body adds to memory."""
    head = (
        "| body | added while it is read, built and sent | by reading alone |\n"
        "|---|---|---|\n"
    )
    return head + "\n".join(
        f"| {run['upload'].fact('body_mb'):.0f} MB | "
        f"{run['upload'].fact('added_mb'):.0f} MB | "
        f"{run['reading'].fact('added_mb'):.0f} MB |"
        for run in runs
    )


def flow_table(scale: Sequence[Mapping[str, Runs]], alone: Mapping[str, Runs]) -> str:
    """Prefect runs beside bare ones, and what Prefect takes by itself."""
    head = (
        "| rows | CPU s, bare | CPU s, as a flow | ratio | wall s, as a flow | "
        "peak memory | task runs | Prefect API calls |\n"
        "|---|---|---|---|---|---|---|---|\n"
    )
    rows = [_flow_row(runs["ours"], runs["flow"]) for runs in scale]
    empty = alone["empty_flow"]
    return (
        head
        + "\n".join(rows)
        + f"\n\nPrefect by itself: a flow of {empty.fact('task_runs'):.0f} task runs that "
        f"do nothing takes {_seconds(empty):.1f} s of CPU."
    )


def _flow_row(bare: Runs, flow: Runs) -> str:
    cells = (
        f"{bare.rows:,}",
        f"{_seconds(bare):.1f}",
        f"{_seconds(flow):.1f}",
        f"{flow.cpu() / bare.cpu():.2f}",
        f"{flow.wall:.1f}",
        f"{flow.peak_mb:,.0f} MB",
        f"{flow.fact('task_runs'):.0f}",
        f"{flow.fact('api_calls'):.0f}",
    )
    return f"| {' | '.join(cells)} |"


def _seconds(run: Runs) -> float:
    return run.cpu() * run.rows / 1e6
