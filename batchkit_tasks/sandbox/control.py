"""The handle on a running sandbox: time, faults, batches, ledger.

In the process that runs the sandbox it is the `Sandbox` object; `control_routes` gives
the same to other processes.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from batchkit_tasks.sandbox.access import DEFAULT_WORKSPACE
from batchkit_tasks.sandbox.batches import Batch
from batchkit_tasks.sandbox.calls import CallLog
from batchkit_tasks.sandbox.clock import Clock
from batchkit_tasks.sandbox.faults import Fault, FaultBook
from batchkit_tasks.sandbox.foreign import foreign_body
from batchkit_tasks.sandbox.ledger import Ledger
from batchkit_tasks.sandbox.settings import Settings
from batchkit_tasks.sandbox.state import StateFolder
from batchkit_tasks.sandbox.store import Store


class Control:
    """Everything about a sandbox that is not the network."""

    def __init__(
        self, settings: Settings, folder: Path, *, keeps_state: bool = False
    ) -> None:
        self.settings = settings
        self.clock = Clock()
        self.faults = FaultBook()
        self.calls = CallLog()
        self.store = Store(
            settings,
            self.clock,
            folder,
            state=StateFolder(folder) if keeps_state else None,
        )

    def fault(
        self,
        endpoint: str,
        kind: str,
        *,
        times: int = 1,
        after: int = 0,
        batch: str | None = None,
        **options: Any,
    ) -> Fault:
        """Order a fault for the next `times` calls of an endpoint.

        Args:
            endpoint: `create`, `retrieve`, `list`, `cancel`, `delete`, `results`,
                `count_tokens`, `models`, or `connect`.
            kind: See the table in the package's docstring.
            times: -1 until the faults are cleared.
            after: So many calls are let through first.
            batch: Only calls for this batch id.
            options: What the kind takes.

        Raises:
            ValueError: There is no such endpoint, or no such kind for it.
        """
        return self.faults.order(
            endpoint, kind, times=times, after=after, batch=batch, **options
        )

    def ledger(self) -> Ledger:
        """Return the view of what was accepted, called and billed."""
        return Ledger(self.store, self.calls)

    def advance(self, by: timedelta | None = None, **units: float) -> None:
        """Move the clock: `advance(hours=25)`."""
        self.clock.advance((by or timedelta()) + timedelta(**units))

    def set_clock(self, moment: datetime) -> None:
        """Move the clock to an aware moment."""
        self.clock.set(moment)

    def end(self, batch_id: str) -> None:
        """Let a batch end now: canceled if that was begun, else finished."""
        self.store.end(self.store.get(batch_id))

    def end_all(self) -> None:
        """Let all running batches end now."""
        now = self.clock.now()
        for batch in self.store.all():
            if not batch.has_ended(now):
                self.store.end(batch)

    def hold(self, batch_id: str, *, progress: float | None = None) -> None:
        """Keep a running batch from ending; `progress` (0 to 1) moves its counts."""
        self.store.hold(self.store.get(batch_id), progress=progress)

    def cancel(self, batch_id: str) -> None:
        """Cancel a batch as somebody in the Console would."""
        self.store.cancel(self.store.get(batch_id))

    def create_foreign(
        self,
        requests: int = 1,
        *,
        workspace: str = DEFAULT_WORKSPACE,
        seconds_ago: float = 0.0,
        prefix: str = "foreign-",
    ) -> str:
        """Create a batch as somebody else in the workspace would; return its id."""
        batch: Batch = self.store.add(
            foreign_body(requests, prefix),
            requests,
            workspace=workspace,
            created_at=self.clock.now() - seconds_ago,
            foreign=True,
        )
        return batch.id

    def refuse_key(self, key: str, status: int = 401) -> None:
        """Answer a key with 401, 402 or 403 from now on."""
        self.settings.refused_keys[key] = status

    def accept_key(self, key: str, *, workspace: str | None = None) -> None:
        """Accept a key again (or newly), in a workspace of its own if given."""
        self.settings.refused_keys.pop(key, None)
        if workspace is not None:
            self.settings.workspaces[key] = workspace

    def count(self, method: str, path: str) -> int:
        """Return how many of the last calls had that method and exact path."""
        return sum(
            call.method == method and call.path == path for call in self.calls.recent
        )
