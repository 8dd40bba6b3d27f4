"""Which calls arrived."""

from __future__ import annotations

import time
from collections import Counter, deque
from dataclasses import dataclass
from typing import Final

from starlette.requests import Request

KEPT_CALLS: Final = 10_000
"""Of how many calls the details are kept; the counts are of all."""


@dataclass(slots=True)
class CallRecord:
    """One call that arrived, and how it was answered."""

    at: float
    endpoint: str
    method: str
    path: str
    query: str
    key: str
    """The key's last characters."""
    headers: dict[str, str]
    """All but the key."""
    body_bytes: int = 0
    status: int = 0
    """0: not answered (yet)."""


class CallLog:
    """Counts calls by endpoint, and keeps the last ones."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.recent: deque[CallRecord] = deque(maxlen=KEPT_CALLS)

    def begin(self, endpoint: str, request: Request, key: str) -> CallRecord:
        """Note a call that has arrived; its end is filled in later."""
        record = CallRecord(
            at=time.time(),
            endpoint=endpoint,
            method=request.method,
            path=request.url.path,
            query=request.url.query,
            key=key,
            headers={
                name: value
                for name, value in request.headers.items()
                if name not in ("authorization", "x-api-key")
            },
        )
        self.counts[endpoint] += 1
        self.recent.append(record)
        return record
