"""The engine as a script runs it: all steps side by side, no Prefect run."""

from __future__ import annotations

from pathlib import Path

from batchkit_tasks import steps
from batchkit_tasks.credentials import AnthropicCredentials
from batchkit_tasks.hosts import InProcess
from batchkit_tasks.parameters import Job
from batchkit_tasks.pipeline import run_to_end
from tests.bench.measuring import Meter, Work
from tests.bench.tables import PROMPT


def run(work: Work, meter: Meter) -> None:
    """Plan, submit, collect and write."""
    with meter.phase("all"):
        summary = run_to_end(steps.stage_input(job(work)), key(work), InProcess())
    assert summary.by_status == {"succeeded": summary.rows}, summary
    files = sum(path.is_file() for path in Path(summary.run).rglob("*"))
    meter.facts = {"batches": len(summary.batches), "files": files}


def job(work: Work) -> Job:
    """The same job for all ways of running it."""
    return Job.model_validate(
        {
            "source": work.source,
            "output": work.output,
            "prompt": PROMPT,
            "model": "claude-haiku-5-5",
            "answer": {"column": "response"},
            "advanced": {
                "rows_per_batch": work.rows_per_batch,
                "check_every_seconds": 0.2,
            },
        }
    )


def key(work: Work) -> AnthropicCredentials:
    """A key that the server takes."""
    values = {"api_key": "test-key", "base_url": work.url}
    return AnthropicCredentials.model_validate(values)
