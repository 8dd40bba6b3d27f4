"""The rows of one message batch, only read: what that adds to memory."""

from __future__ import annotations

from tests.bench.contenders.upload import added_mb, planned
from tests.bench.measuring import Meter, Work


def run(work: Work, meter: Meter) -> None:
    """Plan all rows, then read those of the first message batch once more."""
    from batchkit_tasks.engine import Run
    from batchkit_tasks.plans.reading import read_chunk
    from batchkit_tasks.run_dir import positions

    run = Run(planned(work))
    chunk = run.rounds()[0].chunks[0]

    def read() -> None:
        for _ in read_chunk(run, chunk, positions(chunk), run.requests.columns):
            pass

    with meter.phase("read"):
        meter.facts = {"added_mb": added_mb(read)}
