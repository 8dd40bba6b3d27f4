"""Let contenders take turns, and keep what each of them took."""

from __future__ import annotations

import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from tests.bench.measuring import Measured, Work, measure
from tests.bench.prefect_server import prefect_server
from tests.bench.server import draining_server
from tests.bench.tables import Case, write_source

WARM_ROWS = 40


@dataclass(slots=True)
class Runs:
    """All runs of one contender over one table."""

    rows: int
    found: list[Measured] = field(default_factory=list[Measured])

    def cpu(self, *phases: str) -> float:
        """Median microseconds of CPU per row, of some phases or of all."""
        sums = [
            sum(s for name, s in run.cpu.items() if not phases or name in phases)
            for run in self.found
        ]
        return statistics.median(sums) / self.rows * 1e6

    @property
    def peak_mb(self) -> float:
        """Median of the peak memory above imports."""
        return statistics.median(run.peak_mb for run in self.found)

    @property
    def wall(self) -> float:
        """Median seconds."""
        return statistics.median(run.wall for run in self.found)

    def fact(self, name: str) -> float:
        """Median of something a contender tells."""
        return statistics.median(run.facts[name] for run in self.found)


@dataclass(frozen=True, slots=True)
class Bench:
    """Where to work, and how big batches are."""

    folder: Path
    rows_per_batch: int
    peers: str | None
    """An interpreter that has the peers installed."""
    peer_rows: int
    """Peers do at most so many rows: some take a thousand times as long."""

    def take_turns(
        self, case: Case, rows: int, contenders: Iterable[str], rounds: int
    ) -> dict[str, Runs]:
        """Run all contenders over a table, one after the other, several times.

        A peer's run that fails is told and left out, and so is a peer without any.
        """
        names = [name for name in contenders if self._is_here(name)]
        runs = {name: Runs(self._rows(name, rows)) for name in names}
        for number in range(rounds):
            for name in names:
                try:
                    one = self.run_once(case, runs[name].rows, name)
                except RuntimeError as failure:
                    if name not in PEERS:
                        raise
                    print(f"  {number + 1}: {case.name}: {failure}", flush=True)
                    continue
                runs[name].found.append(one)
                per_row = one.total / runs[name].rows * 1e6
                said = f"  {number + 1}: {case.name}, {name}: {per_row:.1f} µs a row"
                print(said, flush=True)
        return {name: run for name, run in runs.items() if run.found}

    def run_once(self, case: Case, rows: int, contender: str) -> Measured:
        """Run one contender in a fresh process against a fresh server."""
        out = Path(tempfile.mkdtemp(dir=self.folder))
        try:
            with draining_server(json_answers=contender in JSON_READERS) as url:
                work = Work(
                    contender=contender,
                    source=str(self.source(case, rows)),
                    output=str(out / "out.parquet"),
                    url=url,
                    rows_per_batch=self.rows_per_batch,
                    warm_source=str(self.source(case, WARM_ROWS)),
                )
                if contender not in ORCHESTRATED:
                    return measure(work, self._python(contender))
                with prefect_server(out) as environment:
                    return measure(work, environment=environment)
        finally:
            shutil.rmtree(out)

    def source(self, case: Case, rows: int) -> Path:
        """The table, written when it is first asked for."""
        path = self.folder / f"{case.body_chars}-{rows}.parquet"
        if not path.exists():
            write_source(path, case, rows)
        return path

    def _rows(self, contender: str, rows: int) -> int:
        return min(rows, self.peer_rows) if contender in PEERS else rows

    def _python(self, contender: str) -> str:
        return self.peers if contender in PEERS and self.peers else sys.executable

    def _is_here(self, contender: str) -> bool:
        if contender not in PEERS:
            return True
        if self.peers is None:
            return False
        tried = subprocess.run(
            [self.peers, "-c", f"import {PEERS[contender]}, pandas, pyarrow"],
            stderr=subprocess.DEVNULL,
        )
        return tried.returncode == 0


ORCHESTRATED = frozenset(("flow", "empty_flow"))
"""Contenders that need a Prefect server, which is not counted."""

PEERS = {
    "batchata": "batchata",
    "instructor": "instructor.batch",
    "airflow": "airflow.providers.anthropic.hooks.anthropic",
}
"""Contenders that are installed elsewhere, if at all: what they import."""

JSON_READERS = frozenset(("instructor",))
"""Contenders that read answers in JSON only."""
