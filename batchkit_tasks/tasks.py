"""The steps as Prefect tasks, for the flows here and for people who write their own.

Tasks get names and small values, never rows: the run's URL, a chunk's number, the
credentials block. So any of them can run in any process. Prefect's caching, results
and retries are off: the run directory knows what is done, and a create that failed is
judged, never repeated.
"""

from __future__ import annotations

from typing import Any

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.runtime import task_run

from batchkit_tasks import steps
from batchkit_tasks.collecting import CollectedPart
from batchkit_tasks.credentials import AnthropicCredentials
from batchkit_tasks.parameters import Job
from batchkit_tasks.polling import Look
from batchkit_tasks.steps import Sent
from batchkit_tasks.summary import RunSummary

_OURS: dict[str, Any] = {"cache_policy": NO_CACHE, "persist_result": False}


def _file_name(url: str) -> str:
    return url.rstrip("/").rpartition("/")[2]


def _named(verb: str) -> Any:
    """Name a task run after the source or the chunk it works on."""

    def name() -> str:
        given = task_run.get_parameters()
        if "job" in given:
            return f"{verb} {_file_name(given['job'].source)}"
        return f"{verb} {given['chunk'] + 1}"

    return name


@task(task_run_name=_named("read"), **_OURS)
def stage_input(job: Job, *, flow_run_id: str | None = None) -> str:
    return steps.stage_input(job, flow_run_id=flow_run_id)


@task(task_run_name="cut into batches", **_OURS)
def plan_chunks(run: str) -> list[int]:
    return steps.plan_chunks(run)


@task(task_run_name="look for rows to send again", **_OURS)
def plan_rerun(run: str) -> list[int]:
    return steps.plan_rerun(run)


@task(task_run_name=_named("submit batch"), **_OURS)
def submit_chunk(run: str, chunk: int, credentials: AnthropicCredentials) -> Sent:
    return steps.submit_chunk(run, chunk, credentials)


@task(task_run_name="wait for batches", **_OURS)
def poll_batches(
    run: str, credentials: AnthropicCredentials, *, hold: bool = False, **options: Any
) -> Look:
    return steps.poll_batches(run, credentials, hold=hold, **options)


@task(task_run_name=_named("collect batch"), **_OURS)
def collect_batch(
    run: str, chunk: int, credentials: AnthropicCredentials
) -> CollectedPart | None:
    return steps.collect_batch(run, chunk, credentials)


@task(task_run_name="write output", **_OURS)
def write_output(run: str, absent_status: str = "", reason: str = "") -> RunSummary:
    return steps.write_output(run, absent_status, reason)


@task(task_run_name="cancel batches", **_OURS)
def cancel_batches(run: str, credentials: AnthropicCredentials) -> list[str]:
    return steps.cancel_batches(run, credentials)


for _task in (
    stage_input,
    plan_chunks,
    plan_rerun,
    submit_chunk,
    poll_batches,
    collect_batch,
    write_output,
    cancel_batches,
):
    _task.__doc__ = getattr(steps, _task.fn.__name__).__doc__
    _task.description = _task.__doc__
