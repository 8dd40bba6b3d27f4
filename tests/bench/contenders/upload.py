"""One message batch through the engine: what its body adds to memory."""

from __future__ import annotations

import gc
from pathlib import Path

from batchkit_tasks import steps
from tests.bench.contenders.ours import job, key
from tests.bench.measuring import Meter, Work, memory_mb


def run(work: Work, meter: Meter) -> None:
    """Plan all rows, then build and send the body of the first message batch."""
    asked = job(work)
    advanced = asked.advanced.model_copy(update={"mb_per_batch": 250})
    run_url = steps.stage_input(asked.model_copy(update={"advanced": advanced}))
    chunks = steps.plan_chunks(run_url)
    gc.collect()
    before = memory_mb("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")
    with meter.phase("submit"):
        steps.submit_chunk(run_url, chunks[0], key(work))
    added = memory_mb("VmHWM") - before
    body = opened_bytes(run_url) / 1e6
    meter.facts = {"body_mb": body, "added_mb": added}


def opened_bytes(run_url: str) -> int:
    from batchkit_tasks.engine import Run

    return Run(run_url).rounds()[0].chunks[0].body_bytes
