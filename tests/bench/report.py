"""What was measured, as Markdown and as charts."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from tests.bench.running import ORCHESTRATED, Runs

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
        f"{datetime.now(UTC):%d %B %Y}, Python {platform.python_version()}, "
        f"{os.cpu_count()} cores ({model}), load average {load:.1f} at the end"
    )


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
        f"| {run.rows:,} | {run.fact('batches'):.0f} | {run.cpu() * run.rows / 1e6:.1f} | "
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


def flow_table(runs: Mapping[str, Runs]) -> str:
    """A Prefect run beside a bare one."""
    head = (
        "| | message batches | CPU s | wall s | peak memory | task runs |\n"
        "|---|---|---|---|---|---|\n"
    )
    return head + "\n".join(
        f"| {NAMES[name]} | {run.fact('batches'):.0f} | "
        f"{run.cpu() * run.rows / 1e6:.1f} | {run.wall:.1f} | {run.peak_mb:,.0f} MB | "
        f"{run.fact('task_runs') if name in ORCHESTRATED else 0:.0f} |"
        for name, run in runs.items()
    )
