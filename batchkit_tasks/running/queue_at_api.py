"""What the API's answers tell about room in its queue, for all chunks of a run."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from datetime import UTC, datetime

from batchkit_tasks.steps import Sent


@dataclass(slots=True)
class Queue:
    """A 429 for one chunk is one for all: they wait, then one goes ahead alone.

    Otherwise each of a hundred chunks would upload its body only to be turned away.
    """

    is_careful: bool = False
    """Whether one chunk at a time is sent, because the last one was turned away."""
    why: str = ""
    _closed_until: datetime | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def learn(self, sent: Sent) -> None:
        """Take in what became of a chunk; called from the threads that send."""
        with self._lock:
            if sent.busy:
                self.is_careful, self.why = True, sent.why
                self._closed_until = sent.again_at
            elif sent.batch_id is not None:
                self.is_careful, self._closed_until = False, None

    def closed_until(self) -> datetime | None:
        """Until when nothing is to be sent; None if the API may be tried."""
        with self._lock:
            closed = self._closed_until
        return closed if closed and closed > datetime.now(UTC) else None

    def is_full(self, *, under_way: int) -> bool:
        """Whether no further chunk should be started now."""
        if self.closed_until():
            return True
        return self.is_careful and under_way > 0
