"""Whether a run that has written everything counts as failed."""

from __future__ import annotations

from batchkit_tasks.errors import RunFailedError
from batchkit_tasks.summary import RunSummary


def judge(summary: RunSummary, fail_above_percent: float) -> None:
    """Raise if too many of the rows that were sent did not succeed.

    Answers taken over from an earlier run count as sent: a table with one bad row in
    a thousand is no worse when only that row had to be sent again.

    Raises:
        RunFailedError: More than the limit, or all of them. The output is written.
    """
    asked = summary.failed + summary.succeeded
    if not summary.sent or not summary.failed:
        return
    too_many = 100 * summary.failed > fail_above_percent * asked
    if too_many or not summary.succeeded:
        kinds = ", ".join(
            f"{count:,} {status}"
            for status, count in sorted(summary.by_status.items())
            if status not in ("succeeded", "skipped", "oversized") and count
        )
        raise RunFailedError(
            summary.failed, asked, fail_above_percent, kinds, summary.output
        )
