"""Faults that were ordered, and which call gets which.

A fault is ordered for an endpoint and waits for its call. What each kind does is in
`fault_answers` (a wrong answer), `fault_connections` (a cut or late one) and `streams`
(wrong result lines).
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import Any, Final

from batchkit_tasks.sandbox.fault_answers import ANSWERS
from batchkit_tasks.sandbox.fault_connections import CONNECTION_KINDS
from batchkit_tasks.sandbox.streams import STREAM_KINDS

FOREVER: Final = -1

CONNECT: Final = "connect"
"""The endpoint of a fault that meets a connection before it says anything."""

ENDPOINTS: Final = frozenset(
    (
        "create",
        "retrieve",
        "list",
        "cancel",
        "delete",
        "results",
        "count_tokens",
        "models",
        CONNECT,
    )
)


@dataclass(slots=True)
class Fault:
    """One order."""

    endpoint: str
    kind: str
    times: int = 1
    """How many calls it meets; `FOREVER` until it is cleared."""
    after: int = 0
    """How many calls it lets through first."""
    batch: str | None = None
    """Only calls for this batch."""
    options: dict[str, Any] = field(default_factory=dict[str, Any])
    met: int = 0
    """How many calls it has met."""

    def __post_init__(self) -> None:
        if self.endpoint not in ENDPOINTS:
            raise ValueError(f"no such endpoint: {self.endpoint}")
        if self.kind not in kinds_for(self.endpoint):
            raise ValueError(f"no such fault for {self.endpoint}: {self.kind}")

    @property
    def is_spent(self) -> bool:
        return self.met == self.times

    def wants(self, endpoint: str, batch_id: str | None) -> bool:
        return endpoint == self.endpoint and self.batch in (None, batch_id)


def kinds_for(endpoint: str) -> frozenset[str]:
    """Return the names of the faults that an endpoint can have."""
    if endpoint == CONNECT:
        return frozenset(("reset",))
    streams = STREAM_KINDS if endpoint == "results" else frozenset[str]()
    return frozenset(ANSWERS) | CONNECTION_KINDS | streams


class FaultBook:
    """The orders, oldest first; a call gets the first one that wants it."""

    def __init__(self) -> None:
        self._orders: list[Fault] = []
        self._lock = threading.Lock()

    def order(
        self,
        endpoint: str,
        kind: str,
        *,
        times: int = 1,
        after: int = 0,
        batch: str | None = None,
        **options: Any,
    ) -> Fault:
        """Order a fault for the next `times` calls.

        Raises:
            ValueError: There is no such endpoint, or no such kind for it.
        """
        fault = Fault(endpoint, kind, times, after, batch, options)
        with self._lock:
            self._orders.append(fault)
        return fault

    def take(self, endpoint: str, batch_id: str | None = None) -> Fault | None:
        """Return the fault that this call meets, if any."""
        with self._lock:
            for fault in self._orders:
                if fault.is_spent or not fault.wants(endpoint, batch_id):
                    continue
                if fault.after > 0:
                    fault.after -= 1
                    continue
                fault.met += 1
                return fault
        return None

    def pending(self) -> list[Fault]:
        """Return the orders that still wait for calls."""
        with self._lock:
            return [fault for fault in self._orders if not fault.is_spent]

    def clear(self) -> None:
        """Forget all orders."""
        with self._lock:
            self._orders.clear()
