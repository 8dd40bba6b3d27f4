"""The flow of the demo: the pipeline with Prefect's tasks for its steps."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prefect import flow

from batchkit_tasks import tasks
from batchkit_tasks.cli.terminal import with_bar
from batchkit_tasks.credentials import AnthropicCredentials
from batchkit_tasks.parameters import Job
from batchkit_tasks.pipeline import run_to_end
from batchkit_tasks.summary import RunSummary
from batchkit_tasks.waiting.progress import ProgressBar

if TYPE_CHECKING:
    from rich.console import Console


def run_demo_flow(
    job: Job, credentials: AnthropicCredentials, console: Console
) -> RunSummary:
    """Run a job as a flow, with a progress bar."""

    @flow(name="batchkit-demo", persist_result=False)
    def batchkit_demo() -> RunSummary:
        run_url = tasks.stage_input(job)
        with ProgressBar(console) as bar:
            host = with_bar(bar, None)
            host.steps = tasks
            return run_to_end(run_url, credentials, host)

    return batchkit_demo()
