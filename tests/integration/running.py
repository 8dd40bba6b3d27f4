"""Runs over tables, as the tests of whole runs start them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from batchkit_tasks import steps
from batchkit_tasks.credentials import AnthropicCredentials
from batchkit_tasks.hosts import InProcess
from batchkit_tasks.parameters import Advanced, Job
from batchkit_tasks.pipeline import run_to_end
from batchkit_tasks.sandbox.answers import answer_text
from batchkit_tasks.sandbox.server import Sandbox
from batchkit_tasks.summary import RunSummary

FAST = Advanced(check_every_seconds=0.1)
"""Looks often: the sandbox's batches end at once."""

PROGRAM = """
import sys
from pydantic_core import from_json
from batchkit_tasks.credentials import AnthropicCredentials
from batchkit_tasks.parameters import Job
from tests.integration.running import run_job
run_job(Job.model_validate(from_json(sys.argv[1])), sys.argv[2])
"""


def credentials(url: str) -> AnthropicCredentials:
    """A key that the sandbox takes."""
    return AnthropicCredentials.model_validate({"api_key": "test-key", "base_url": url})


def job(source: object, output: object, prompt: str, **options: Any) -> Job:
    """A job with quick looks."""
    options.setdefault("advanced", FAST)
    options.setdefault("model", "claude-haiku-5-5")
    options.setdefault("answer", {"column": "response"})
    values = {"source": str(source), "output": str(output), "prompt": prompt, **options}
    return Job.model_validate(values)


def run_job(asked: Job, url: str) -> RunSummary:
    """Run it in this process."""
    return run_to_end(steps.stage_input(asked), credentials(url), InProcess())


def start_process(asked: Job, url: str, **environment: str) -> subprocess.Popen[bytes]:
    """Run it in a process of its own, which can be killed."""
    root = str(Path(__file__).parents[2])
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, asked.model_dump_json(), url],
        env={**os.environ, "PYTHONPATH": root, **environment},
        cwd=root,
    )


def kill(process: subprocess.Popen[bytes]) -> None:
    """End a process as a power cut would."""
    process.send_signal(signal.SIGKILL)
    process.wait()


def wait_until(condition: Callable[[], object], description: str) -> None:
    """Wait for something that is about to happen.

    Raises:
        AssertionError: It did not happen within a minute.
    """
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, f"never happened: {description}"
        time.sleep(0.02)


def right_answer(prompt: str, model: str = "claude-haiku-5-5") -> str:
    """What the sandbox answers to a prompt, recomputed from its rule."""
    messages = [{"role": "user", "content": prompt}]
    return answer_text({"model": model, "max_tokens": 1024, "messages": messages})


def read(path: object) -> list[dict[str, Any]]:
    """The rows of a Parquet file."""
    return pq.read_table(str(path)).to_pylist()


def positions_sent(sandbox: Sandbox) -> list[int]:
    """Every row's position, as often as an accepted batch held it."""
    ids = sandbox.ledger().all_custom_ids().values()
    return sorted(
        int(custom_id.rpartition("-")[2]) for batch in ids for custom_id in batch
    )
