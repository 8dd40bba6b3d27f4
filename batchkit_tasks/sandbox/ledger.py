"""What was accepted, and what it costs.

The ledger is how a test knows the truth: which batches really exist, with which
custom_ids, and what was billed. It reads from disk, and only what is asked for, so that
it stays cheap for large runs.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import msgspec

from batchkit_tasks.sandbox.batches import Batch, request_counts
from batchkit_tasks.sandbox.calls import CallLog, CallRecord
from batchkit_tasks.sandbox.clock import timestamp
from batchkit_tasks.sandbox.store import Store


@dataclass(frozen=True, slots=True)
class Entry:
    """One accepted batch."""

    id: str
    workspace: str
    key: str
    """The end of the key that created it."""
    created_at: str
    requests: int
    body_bytes: int
    processing_status: str
    request_counts: dict[str, int]
    cancel_initiated_at: str | None
    deleted: bool
    foreign: bool


class _Message(msgspec.Struct):
    content: list[msgspec.Raw]
    usage: dict[str, Any]
    stop_reason: str | None = None


class _Result(msgspec.Struct):
    type: str
    message: _Message | None = None


class _Line(msgspec.Struct):
    custom_id: str
    result: _Result


_lines = msgspec.json.Decoder(_Line)


class Ledger:
    """A view of the store: it always tells the present state."""

    def __init__(self, store: Store, calls: CallLog) -> None:
        self._store = store
        self._calls = calls

    @property
    def calls(self) -> dict[str, int]:
        """How many calls of each endpoint arrived, refused ones too."""
        return dict(self._calls.counts)

    @property
    def recent_calls(self) -> list[CallRecord]:
        """The last calls, oldest first."""
        return list(self._calls.recent)

    def batches(self, *, foreign: bool = False) -> list[Entry]:
        """Return the accepted batches, oldest first; foreign ones only if asked for."""
        return [
            self._entry(batch)
            for batch in self._store.all()
            if foreign or not batch.foreign
        ]

    def batch(self, batch_id: str) -> Entry:
        """Return one accepted batch.

        Raises:
            KeyError: No such batch was accepted.
        """
        return self._entry(self._store.get(batch_id))

    def custom_ids(self, batch_id: str) -> list[str]:
        """Return the custom_ids of a batch, in the order sent."""
        return list(self._store.custom_ids(self._store.get(batch_id)))

    def all_custom_ids(self) -> dict[str, list[str]]:
        """Return the custom_ids of every batch that is not foreign, by batch id."""
        return {entry.id: self.custom_ids(entry.id) for entry in self.batches()}

    def params(self, batch_id: str) -> dict[str, dict[str, Any]]:
        """Return the params of a batch's requests, by custom_id."""
        batch = self._store.get(batch_id)
        return {
            request.custom_id: msgspec.json.decode(request.params)
            for request in self._store.requests(batch)
        }

    def billed(self, batch_id: str) -> dict[str, dict[str, Any]]:
        """Return the usage billed for each request of an ended batch, by custom_id.

        Only what succeeded is billed, and not a refusal without content.
        """
        batch = self._store.get(batch_id)
        if not batch.has_ended(self._store.clock.now()):
            return {}
        return {
            line.custom_id: line.result.message.usage
            for line in self._result_lines(batch)
            if line.result.message is not None and _is_billed(line.result.message)
        }

    def billed_totals(self, batch_id: str) -> dict[str, int]:
        """Return the sum of each billed token kind, and the number of requests."""
        usages = self.billed(batch_id).values()
        totals = {"requests": len(usages)}
        for usage in usages:
            for name, tokens in _token_counts(usage):
                totals[name] = totals.get(name, 0) + tokens
        return totals

    def dump(
        self, *, batch_id: str | None = None, detail: str = "summary"
    ) -> dict[str, Any]:
        """Return the ledger as JSON-able values.

        Args:
            batch_id: Only this batch.
            detail: `summary`, or one more thing for each batch: `custom_ids`, `params`,
                `billed` (by request) or `billed_totals`.

        Raises:
            KeyError: No such batch, or no such detail.
        """
        entries = [self.batch(batch_id)] if batch_id else self.batches(foreign=True)
        dumped = [asdict(entry) for entry in entries]
        if detail != "summary":
            read = {
                "custom_ids": self.custom_ids,
                "params": self.params,
                "billed": self.billed,
                "billed_totals": self.billed_totals,
            }[detail]
            for entry in dumped:
                entry[detail] = read(entry["id"])
        return {"batches": dumped, "calls": self.calls}

    def _entry(self, batch: Batch) -> Entry:
        now = self._store.clock.now()
        canceled = batch.cancel_initiated_at
        return Entry(
            id=batch.id,
            workspace=batch.workspace,
            key=batch.key,
            created_at=timestamp(batch.created_at),
            requests=batch.requests,
            body_bytes=batch.body_bytes,
            processing_status=batch.status(now),
            request_counts=request_counts(batch, now, moving=False),
            cancel_initiated_at=None if canceled is None else timestamp(canceled),
            deleted=batch.deleted,
            foreign=batch.foreign,
        )

    def _result_lines(self, batch: Batch) -> Iterator[_Line]:
        batch.kinds.result()
        with self._store.runner.results_path(batch).open("rb") as file:
            for line in file:
                yield _lines.decode(line)


def _is_billed(message: _Message) -> bool:
    return bool(message.content) or message.stop_reason != "refusal"


def _token_counts(usage: dict[str, Any]) -> Iterator[tuple[str, int]]:
    """Yield the counts of a usage, those of nested objects too."""
    for name, value in usage.items():
        if isinstance(value, dict):
            yield from _token_counts(value)
        elif isinstance(value, int):
            yield name, value
