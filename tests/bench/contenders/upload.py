"""One message batch through the engine: what its body adds to memory."""

from __future__ import annotations

import gc
from collections.abc import Callable
from pathlib import Path

from batchkit_tasks import steps
from batchkit_tasks.ground.memory import release_unused
from tests.bench.contenders.ours import job, key
from tests.bench.measuring import Meter, Work, memory_mb


def run(work: Work, meter: Meter) -> None:
    """Plan all rows, then build and send the body of the first message batch."""
    run_url = planned(work)
    with meter.phase("submit"):
        added = added_mb(lambda: steps.submit_chunk(run_url, 0, key(work)))
    meter.facts = {"body_mb": opened_bytes(run_url) / 1e6, "added_mb": added}


def planned(work: Work) -> str:
    """A run whose chunks are as large as the API takes them."""
    asked = job(work)
    advanced = asked.advanced.model_copy(update={"mb_per_batch": 250})
    run_url = steps.stage_input(asked.model_copy(update={"advanced": advanced}))
    steps.plan_chunks(run_url)
    return run_url


def added_mb(work: Callable[[], object]) -> float:
    """What a piece of work adds to resident memory at its peak."""
    gc.collect()
    release_unused()
    before = memory_mb("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")
    work()
    return memory_mb("VmHWM") - before


def opened_bytes(run_url: str) -> int:
    from batchkit_tasks.engine import Run

    return Run(run_url).rounds()[0].chunks[0].body_bytes
