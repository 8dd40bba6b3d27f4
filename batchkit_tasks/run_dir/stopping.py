"""A mark in the run directory: nothing more is sent, until the run is started anew.

A process can outlive its flow run (its worker was killed, its run then canceled). It
asks here before each batch that it would buy.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

import msgspec

from batchkit_tasks.errors import RunStoppedError
from batchkit_tasks.ground import storage
from batchkit_tasks.records import Record
from batchkit_tasks.run_dir.record_files import read_record

NAME: Final = "stopped.json"


class Stopped(Record, frozen=True):
    """`stopped.json`: why nothing more is sent."""

    by: str
    """The flow run that was canceled, or is dead."""
    at: datetime
    settled: bool = False
    """Whether its batches have ended and what they had finished is written."""
    written: dict[str, Any] = {}  # noqa: RUF012 - msgspec copies it
    """The summary of what was written then; empty if nothing was."""


def read_stop(run: str) -> Stopped | None:
    """The mark; None if nothing is in the way."""
    return read_record(storage.join(run, NAME), Stopped)


def write_stop(run: str, stopped: Stopped) -> None:
    """Let no process send anything more for this run."""
    storage.write(storage.join(run, NAME), msgspec.json.encode(stopped))


def go_on(run: str) -> None:
    """Let things be sent again: the run was started anew."""
    storage.remove(storage.join(run, NAME))


def refuse_if_stopped(run: str) -> None:
    """Send nothing for a run that is stopped.

    Raises:
        RunStoppedError: It is. Nothing was created.
    """
    if stopped := read_stop(run):
        raise RunStoppedError(stopped.by, run)
