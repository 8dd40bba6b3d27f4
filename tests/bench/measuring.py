"""Run a contender in a fresh process and measure it."""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Generator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Protocol

ROOT = Path(__file__).parents[2]
ADDED = {"PYTHONPATH": str(ROOT), "ANTHROPIC_API_KEY": "test-key"}


@dataclass(frozen=True, slots=True)
class Work:
    """What a contender is asked to do."""

    contender: str
    source: str
    output: str
    url: str
    rows_per_batch: int
    warm_source: str
    """A table of a few rows, done before, so that everything is loaded."""


@dataclass(slots=True)
class Meter:
    """Phases, each with its CPU seconds; memory is watched over all of them."""

    cpu: dict[str, float] = field(default_factory=dict[str, float])
    wall: float = 0.0
    facts: dict[str, float] = field(default_factory=dict[str, float])

    @contextlib.contextmanager
    def phase(self, name: str) -> Generator[None]:
        """Add what the block costs to a phase."""
        cpu, wall = cpu_seconds(), time.perf_counter()
        yield
        self.cpu[name] = self.cpu.get(name, 0.0) + cpu_seconds() - cpu
        self.wall += time.perf_counter() - wall


class Contender(Protocol):
    """A module of `contenders`."""

    def run(self, work: Work, meter: Meter) -> None: ...


@dataclass(frozen=True, slots=True)
class Measured:
    """One run of a contender."""

    cpu: dict[str, float]
    wall: float
    peak_mb: float
    facts: dict[str, float]

    @property
    def total(self) -> float:
        """CPU seconds of all phases."""
        return sum(self.cpu.values())


def cpu_seconds() -> float:
    """CPU time of this process, all threads."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def measure(
    work: Work,
    python: str = sys.executable,
    environment: Mapping[str, str] | None = None,
) -> Measured:
    """Run a contender in a process of its own.

    Args:
        environment: By default that of this process.

    Raises:
        RuntimeError: It failed; its last words are in the message.
    """
    done = subprocess.run(
        [python, "-m", "tests.bench.measuring", json.dumps(asdict(work))],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={
            **(environment or os.environ),
            "PYTHONPATH": str(ROOT),
            "ANTHROPIC_API_KEY": "test-key",
        },
    )
    if done.returncode:
        raise RuntimeError(f"{work.contender} failed:\n{done.stderr[-3000:]}")
    return Measured(**json.loads(done.stdout.splitlines()[-1]))


def main() -> None:
    """Warm up with a few rows, then do the work and print what it took."""
    work = Work(**json.loads(sys.argv[1]))
    module = importlib.import_module(f"tests.bench.contenders.{work.contender}")
    warm = replace(work, source=work.warm_source, output=work.output + ".warm.parquet")
    module.run(warm, Meter())
    gc.collect()
    before = memory_mb("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    meter = Meter()
    module.run(work, meter)
    peak = memory_mb("VmHWM") - before
    measured = Measured(meter.cpu, meter.wall, peak, meter.facts)
    sys.stdout.write(json.dumps(asdict(measured)) + "\n")


def memory_mb(field_name: str) -> float:
    """What Linux says of this process's resident memory, in MB."""
    status = Path("/proc/self/status").read_text().splitlines()
    line = next(line for line in status if line.startswith(field_name))
    return int(line.split()[1]) * 1024 / 1e6


if __name__ == "__main__":
    main()
