"""A process that runs a job, and dies where it was told to.

It is killed by SIGKILL at the n-th event that Python's audit hooks report of the run
directory: nothing of the product is changed for that. Importing takes seconds, so all
processes are forked from one that has imported everything.
"""

from __future__ import annotations

import faulthandler
import multiprocessing
import os
import signal
import sys
import threading
import traceback
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, Final

EVENTS: Final = frozenset(
    ("open", "os.rename", "os.link", "os.remove", "socket.connect")
)

PATIENCE: Final = {
    "PROPAGATION_GRACE": "2",
    "ANSWER_TO_CREATE": "0.8",
    "ANSWER_TO_READ": "2",
    "LOOK_AGAIN": "0.1",
    "REREAD": "0.05",
    "WHEN_BUSY": "0.1",
    "WITHOUT_CONNECTION": "0.1",
}
"""Patience in fractions of a second; the sandbox is as quick as that."""

_ONE_THREAD_AT_A_TIME: Final = threading.Lock()
"""`multiprocessing` looks at all children whenever it starts one. If two threads look
at a child that has just died, one gets its exit code and the other one makes it 255."""

STOPPED: Final = 3
"""Exit code of a run that stopped with one of our errors."""


@dataclass(frozen=True, slots=True)
class Death:
    """Die at the n-th event of this kind on a file with this in its name."""

    event: str
    """Of `EVENTS`, or empty for any of them."""
    where: str
    number: int


def start(
    job: str, url: str, death: Death | None, log: Path, **patience: str
) -> BaseProcess:
    """Run a job (as JSON) in a process of its own."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__, "tests.histories.warm"])
    process = context.Process(
        target=_run, args=(job, url, death, str(log), patience), daemon=True
    )
    with _ONE_THREAD_AT_A_TIME:
        process.start()
    return process


def is_alive(process: BaseProcess) -> bool:
    """Whether a process has not ended yet."""
    with _ONE_THREAD_AT_A_TIME:
        return process.is_alive()


def _run(
    job: str, url: str, death: Death | None, log: str, patience: dict[str, str]
) -> None:
    for name, seconds in (PATIENCE | patience).items():
        os.environ[f"BATCHKIT_{name}_SECONDS"] = seconds
    from batchkit_tasks.errors import BatchkitError
    from batchkit_tasks.parameters import Job
    from tests.integration.running import run_job

    faulthandler.enable(Path(log).open("a"))  # noqa: SIM115 - until the end
    if death is not None:
        _die_at(death)
    try:
        run_job(Job.model_validate_json(job), url)
    except BatchkitError:
        _leave(log, STOPPED)
    except BaseException:
        _leave(log, 4)
    os._exit(0)


def _leave(log: str, code: int) -> None:
    with Path(log).open("a") as file:
        traceback.print_exc(file=file)
    os._exit(code)


def _die_at(death: Death) -> None:
    left = death.number

    def watch(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal left
        if event not in EVENTS or (death.event and event != death.event):
            return
        if death.where and death.where not in str(arguments[:2]):
            return
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(watch)
