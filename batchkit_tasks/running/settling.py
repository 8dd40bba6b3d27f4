"""Clean up behind a run that is over before its batches are.

Cancels what is still running at Anthropic, keeps what had finished, and writes the
output with honest statuses. Every step can be done again, by several processes at
once, and at any time later: canceling what is canceled does nothing, results are read
from where they are, and the output is written whole or not at all.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from batchkit_tasks.records import Intended, Submitted
from batchkit_tasks.run_dir import RunDir
from batchkit_tasks.run_dir.stopping import Stopped, read_stop, write_stop
from batchkit_tasks.waiting import looking

if TYPE_CHECKING:
    from batchkit_tasks.keys import Key

CANCELED: Final = "canceled"
"""`_status` of rows that have no result because their run was canceled."""


def is_settled(run: str) -> bool:
    """Whether nothing of a run that was stopped is left to clean up."""
    stopped = read_stop(run)
    return stopped is not None and stopped.settled


def has_open_ends(run: str) -> bool:
    """Whether a batch of the run may still be running, or is not collected yet."""
    directory = RunDir(run)
    records = directory.latest_records(without=directory.collected())
    return any(isinstance(found, Intended | Submitted) for found in records.values())


def stop(run: str, credentials: Key, *, by: str) -> list[str]:
    """Let nothing more be sent for a run, and cancel what is still running.

    Returns:
        The ids of the batches that are canceling now.

    Raises:
        KeyRefusedError: The key cannot cancel the batches; they go on.
    """
    if read_stop(run) is None:
        write_stop(run, Stopped(by=by, at=datetime.now(UTC)))
    if not has_open_ends(run):
        return []
    from batchkit_tasks import steps

    return steps.cancel_batches(run, credentials)


def settle(run: str, credentials: Key, *, reason: str) -> bool:
    """Collect what a stopped run had finished; once all has ended, write its output.

    Args:
        reason: Why rows without a result have none; for their `_error`.

    Returns:
        Whether that is done; if not, batches have not ended yet: call again.

    Raises:
        KeyRefusedError: The key cannot read the batches.
    """
    directory = RunDir(run)
    stopped = read_stop(run)
    if stopped is None or stopped.settled:
        return True
    if looking.open_batches(directory):
        from batchkit_tasks import steps

        for chunk in steps.poll_batches(run, credentials).ended:
            steps.collect_batch(run, chunk, credentials)
    if has_open_ends(run):
        return False
    written: dict[str, Any] = {}
    if _came_back(directory):
        from batchkit_tasks import steps

        written = steps.write_output(run, CANCELED, reason).as_dict()
    done = Stopped(by=stopped.by, at=stopped.at, settled=True, written=written)
    write_stop(run, done)
    return True


def _came_back(directory: RunDir) -> bool:
    """Whether there is something to write: nothing must not replace an older output."""
    return directory.summary() is None and bool(directory.collected())
