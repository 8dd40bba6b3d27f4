"""Whether a run that has written everything counts as failed."""

from __future__ import annotations

from batchkit_tasks.errors import RunFailedError
from batchkit_tasks.summary import RunSummary


def judge(summary: RunSummary, fail_above_percent: float) -> None:
    """Raise if too many of the rows that were sent did not succeed.

    Raises:
        RunFailedError: More than the limit, or all of them. The output is written.
    """
    if not summary.sent or not summary.failed:
        return
    none_succeeded = summary.failed >= summary.sent
    if none_succeeded or 100 * summary.failed > fail_above_percent * summary.sent:
        kinds = ", ".join(
            f"{count:,} {status}"
            for status, count in sorted(summary.by_status.items())
            if status not in ("succeeded", "skipped", "oversized") and count
        )
        raise RunFailedError(
            summary.failed, summary.sent, fail_above_percent, kinds, summary.output
        )
