"""The sandbox's own time, which can be moved.

Every date that the sandbox shows (fields, `Date` headers, expiry, archive) comes from
here, so that 24 hours and 29 days pass in a test by one call.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from email.utils import formatdate


class Clock:
    """Wall clock time plus an offset; frozen on request."""

    def __init__(self) -> None:
        self._offset = 0.0
        self._frozen_at: float | None = None

    def now(self) -> float:
        """Return the moment in seconds since the epoch."""
        if self._frozen_at is not None:
            return self._frozen_at
        return time.time() + self._offset

    def advance(self, by: timedelta | float) -> None:
        """Move the clock by a duration (a number is in seconds); negative is back."""
        seconds = by.total_seconds() if isinstance(by, timedelta) else by
        self._offset += seconds
        if self._frozen_at is not None:
            self._frozen_at += seconds

    def set(self, moment: datetime) -> None:
        """Move the clock to an aware moment, from which it goes on."""
        self.advance(moment.timestamp() - self.now())

    def freeze(self) -> None:
        """Stop the clock where it is; `advance` still moves it."""
        self._frozen_at = self.now()

    def resume(self) -> None:
        """Let a frozen clock go on from where it stands."""
        if self._frozen_at is not None:
            self._offset = self._frozen_at - time.time()
            self._frozen_at = None


def timestamp(moment: float) -> str:
    """Write a moment the way the API does: RFC 3339, microseconds, `Z`."""
    written = datetime.fromtimestamp(moment, UTC).isoformat(timespec="microseconds")
    return written.replace("+00:00", "Z")


def http_date(moment: float) -> str:
    """Write a moment as an HTTP date."""
    return formatdate(moment, usegmt=True)
