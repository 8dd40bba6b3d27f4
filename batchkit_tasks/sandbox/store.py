"""All batches of the sandbox, by workspace."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, Literal, TypedDict

from batchkit_tasks.sandbox.batches import Batch
from batchkit_tasks.sandbox.clock import Clock
from batchkit_tasks.sandbox.envelope import Request, decode_requests
from batchkit_tasks.sandbox.ids import new_id
from batchkit_tasks.sandbox.results import custom_id_of
from batchkit_tasks.sandbox.running import Runner
from batchkit_tasks.sandbox.settings import Settings
from batchkit_tasks.sandbox.state import StateFolder
from batchkit_tasks.sandbox.validation import Rules


class RunOptions(TypedDict):
    """How the runner treats each batch."""

    fixed: Sequence[str] | None
    keep_requests: bool


TICK: Final = 1e-6
"""The shortest run: even the answer to its creation shows a batch in progress."""


class Store:
    """Keeps batches in order of creation; their bodies and results are on disk."""

    def __init__(
        self,
        settings: Settings,
        clock: Clock,
        folder: Path,
        *,
        state: StateFolder | None = None,
    ) -> None:
        self.settings = settings
        self.clock = clock
        self.runner = Runner(folder)
        self._batches: dict[str, Batch] = {}
        self._lock = threading.RLock()
        self.accepting = threading.Lock()
        """Held from the look at the queue until a batch is in it."""
        self._state = state
        for batch in state.load() if state else ():
            self._batches[batch.id] = batch
            self.runner.resume(batch, **self._run_options())

    def _run_options(self) -> RunOptions:
        return {
            "fixed": (
                self.settings.fixed_answers
                if self.settings.answers == "fixed"
                else None
            ),
            "keep_requests": self.settings.keep_requests,
        }

    def _save(self, batch: Batch) -> None:
        if self._state is not None:
            self._state.save(batch)

    def add(
        self,
        body: bytes,
        requests: int,
        *,
        workspace: str,
        key: str = "",
        rules: Rules | None = None,
        created_at: float | None = None,
        foreign: bool = False,
    ) -> Batch:
        """Take in a batch whose body was checked, and begin to run it."""
        settings, now = self.settings, self.clock.now()
        batch_id = new_id("msgbatch")
        self.runner.body_path(batch_id).write_bytes(body)
        with self._lock:
            created = now if created_at is None else created_at
            seconds = settings.seconds_for(len(self._batches), requests)
            batch = Batch(
                id=batch_id,
                number=len(self._batches),
                workspace=workspace,
                key=key,
                created_at=created,
                requests=requests,
                body_bytes=len(body),
                rules=rules or Rules(),
                runs_until=None if seconds is None else created + max(seconds, TICK),
                listed_from=now + (0 if foreign else settings.list_delay_seconds),
                expire_share=settings.expire_share,
                foreign=foreign,
            )
            self._batches[batch_id] = batch
            self._save(batch)
        self.runner.submit(batch, **self._run_options())
        return batch

    def all(self) -> list[Batch]:
        """Return all batches, oldest first, also deleted ones."""
        return list(self._batches.values())

    def get(self, batch_id: str) -> Batch:
        """Return a batch of any workspace.

        Raises:
            KeyError: There is none with this id.
        """
        return self._batches[batch_id]

    def find(self, batch_id: str, workspace: str) -> Batch | None:
        """Return a batch that this workspace can see."""
        batch = self._batches.get(batch_id)
        if batch is None or batch.deleted or batch.workspace != workspace:
            return None
        return batch

    def listed(self, workspace: str) -> list[Batch]:
        """Return what the list shows to a workspace, newest first."""
        now = self.clock.now()
        seen = [
            batch
            for batch in self.all()
            if batch.workspace == workspace
            and not batch.deleted
            and batch.listed_from <= now
        ]
        seen.sort(key=lambda batch: (batch.created_at, batch.number), reverse=True)
        return seen

    def queued_requests(self) -> int:
        """Return how many requests are in batches that have not ended."""
        now = self.clock.now()
        return sum(
            batch.requests
            for batch in self.all()
            if not batch.deleted and not batch.has_ended(now)
        )

    def cancel(self, batch: Batch) -> Literal["initiated", "already", "ended"]:
        """Begin to cancel a batch, once."""
        with self._lock:
            now = self.clock.now()
            if batch.has_ended(now):
                return "ended"
            if batch.cancel_initiated_at is not None:
                return "already"
            seconds = self.settings.cancel_seconds
            batch.cancel_initiated_at = now
            batch.cancel_until = None if seconds is None else now + seconds
            batch.cancel_share = self._cancel_share(batch, now)
            self._save(batch)
            return "initiated"

    def _cancel_share(self, batch: Batch, now: float) -> float:
        """Return the share that still runs: no less than moving counts have shown."""
        if self.settings.counts == "moving" or batch.progress is not None:
            return max(self.settings.cancel_share, batch.share_run(now))
        return self.settings.cancel_share

    def end(self, batch: Batch) -> None:
        """Let a batch end now: canceled if that was begun, else finished."""
        with self._lock:
            now = self.clock.now()
            if batch.cancel_initiated_at is not None:
                batch.cancel_until = now
            else:
                batch.runs_until = now
            self._save(batch)

    def hold(self, batch: Batch, *, progress: float | None = None) -> None:
        """Keep a running batch from ending; `progress` is what moving counts show."""
        with self._lock:
            batch.runs_until = batch.cancel_until = None
            batch.progress = progress
            self._save(batch)

    def delete(self, batch: Batch) -> None:
        """Hide an ended batch for good; the ledger still knows it."""
        with self._lock:
            batch.deleted = True
            self._save(batch)

    def requests(self, batch: Batch) -> list[Request]:
        """Return the requests of a batch, in the order sent.

        Raises:
            FileNotFoundError: They were not to be kept.
        """
        return decode_requests(self.runner.body_path(batch.id).read_bytes())

    def custom_ids(self, batch: Batch) -> Iterator[str]:
        """Yield the custom_ids of a batch in the order sent; else that of the lines."""
        if self.runner.body_path(batch.id).exists():
            yield from (request.custom_id for request in self.requests(batch))
            return
        batch.kinds.result()
        with self.runner.whole_path(batch.id).open("rb") as lines:
            yield from (custom_id_of(line).decode() for line in lines)
