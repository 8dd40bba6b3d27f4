"""The run directory: everything that a run decided, sent and received.

    plan.json               what is asked, of which table; written once
    input.parquet           the staged rows, where the source cannot be read by position
    rows-9f3a61c2.parquet   per row: hash of its request, or why it is not sent
    taken-over-9f3a61c2/    answers that were paid for before, one file per 10,000 rows
    rounds/00001.json       the chunks of the first sending; 00002: rows sent again, …
    rounds/split-00012.json the halves of a chunk that the API found too large
    chunks/00012-1.json     chunk 12, first sending: intended, submitted or unsent
    parts/00012.parquet     what came back for chunk 12, one row per position
    paused-after-00001.json a person was asked to buy credits after round 1
    estimate.json           what the first round was expected to cost
    budget-00001.json       what the run may cost: as asked, then as people decided
    summary.json            at the end

A folder on any fsspec filesystem. Files are small, whole and never changed, but for
`chunks/`, where a record moves on from *intended*. A file that is there but cannot be
read stops the run: what is not known must not be sent again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

import msgspec
from msgspec.structs import replace

from batchkit_tasks import storage
from batchkit_tasks.errors import RecordUnreadableError
from batchkit_tasks.records import (
    FORMAT,
    Chunk,
    ChunkRecord,
    Intended,
    Plan,
    Round,
    Submitted,
)

T = TypeVar("T")


class RunDir:
    """One run directory, by its URL."""

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")

    def prepare(self) -> None:
        """Create the folders."""
        for name in ("rounds", "chunks", "parts"):
            storage.make_folder(storage.join(self.url, name))

    # ------------------------------------------------------------------ places

    @property
    def input_url(self) -> str:
        """The staged rows."""
        return storage.join(self.url, "input.parquet")

    def rows_url(self, token: str) -> str:
        """Hash and fate of every row, as planned for the first round of that token."""
        return storage.join(self.url, f"rows-{token}.parquet")

    def taken_over_url(self, token: str, number: int) -> str:
        """Answers from before, for some rows of the table."""
        return storage.join(self.url, f"taken-over-{token}", f"{number:05d}.parquet")

    def taken_over(self, token: str) -> list[int]:
        """The numbers of the files with answers from before."""
        listed = storage.names(storage.join(self.url, f"taken-over-{token}"))
        return [int(name.split(".")[0]) for name in listed if name[0].isdigit()]

    def part_url(self, chunk: int) -> str:
        """The results of a chunk."""
        return storage.join(self.url, "parts", f"{chunk:05d}.parquet")

    def record_url(self, chunk: int, sending: int) -> str:
        """The record of one sending of a chunk."""
        return storage.join(self.url, "chunks", f"{chunk:05d}-{sending}.json")

    # ---------------------------------------------------------- plan and rounds

    def plan(self) -> Plan | None:
        """What the run was asked to do; None before it was planned."""
        return self._read(storage.join(self.url, "plan.json"), Plan)

    def create_plan(self, plan: Plan) -> Plan:
        """Write the plan, or return the one that another process wrote first."""
        return self._create(storage.join(self.url, "plan.json"), plan)

    def rounds(self) -> list[Round]:
        """All rounds so far, in order."""
        folder = storage.join(self.url, "rounds")
        found = (
            self._read(storage.join(folder, name), Round)
            for name in storage.names(folder)
            if not name.startswith("split-")
        )
        return [self._with_splits(round_) for round_ in found if round_ is not None]

    def split(self, chunk: Chunk, halves: Sequence[Chunk]) -> None:
        """Put smaller chunks in the place of one whose body the API found too large."""
        url = storage.join(self.url, "rounds", f"split-{chunk.number:05d}.json")
        self._create(url, Round(number=0, chunks=tuple(halves)))

    def _with_splits(self, round_: Round) -> Round:
        folder = storage.join(self.url, "rounds")
        splits = {
            int(name[6:-5]): self._read(storage.join(folder, name), Round)
            for name in storage.names(folder)
            if name.startswith("split-")
        }
        chunks = [c for chunk in round_.chunks for c in _expanded(chunk, splits)]
        return replace(round_, chunks=tuple(chunks))

    def create_round(self, round_: Round) -> Round:
        """Write a round, or return the one that another process wrote first."""
        name = f"{round_.number:05d}.json"
        return self._create(storage.join(self.url, "rounds", name), round_)

    def pause(self, round_number: int) -> bool:
        """Note that the run stops after this round for a person; True the first time."""
        url = storage.join(self.url, f"paused-after-{round_number:05d}.json")
        return storage.create(url, b"{}")

    # ----------------------------------------------------------------- sendings

    def claim(self, intent: Intended) -> bool:
        """Write an intent if no process has one for this sending."""
        url = self.record_url(intent.chunk, intent.sending)
        return storage.create(url, msgspec.json.encode(intent))

    def replace(self, record: ChunkRecord) -> None:
        """Move a record on."""
        intent = record if isinstance(record, Intended) else record.intent
        url = self.record_url(intent.chunk, intent.sending)
        storage.write(url, msgspec.json.encode(record))

    def record(self, chunk: int, sending: int) -> ChunkRecord | None:
        """The record of one sending; None if it was never intended."""
        return self._read(self.record_url(chunk, sending), ChunkRecord)

    def latest_records(self) -> dict[int, ChunkRecord]:
        """The newest record of every chunk that was ever intended."""
        latest: dict[int, int] = {}
        for name in storage.names(storage.join(self.url, "chunks")):
            chunk, sending = _numbers(self.url, name)
            latest[chunk] = max(sending, latest.get(chunk, 0))
        found = {chunk: self.record(chunk, latest[chunk]) for chunk in sorted(latest)}
        return {chunk: record for chunk, record in found.items() if record is not None}

    def batch_ids(self) -> list[str]:
        """The ids of all batches of the run, of every sending."""
        records = (
            self._read(storage.join(self.url, "chunks", name), ChunkRecord)
            for name in storage.names(storage.join(self.url, "chunks"))
        )
        return [record.batch_id for record in records if isinstance(record, Submitted)]

    # -------------------------------------------------------- parts and summary

    def collected(self) -> set[int]:
        """The numbers of the chunks whose results are here."""
        listed = storage.names(storage.join(self.url, "parts"))
        return {int(name.split(".")[0]) for name in listed}

    def write_summary(self, summary: dict[str, Any]) -> None:
        """Keep the summary: the run is over."""
        storage.write(
            storage.join(self.url, "summary.json"), msgspec.json.encode(summary)
        )

    def summary(self) -> dict[str, Any] | None:
        """The summary of a run that is over."""
        return self._read(storage.join(self.url, "summary.json"), dict[str, Any])

    # ---------------------------------------------------------- what else is kept

    def keep(self, name: str, record: T) -> T:
        """Write a file of its own, or return what another process wrote first."""
        return self._create(storage.join(self.url, name), record)

    def kept(self, name: str, kind: Any) -> Any:
        """What `keep` wrote; None if nothing."""
        return self._read(storage.join(self.url, name), kind)

    def kept_names(self, prefix: str) -> list[str]:
        """The names of such files, in order."""
        return [name for name in storage.names(self.url) if name.startswith(prefix)]

    # ------------------------------------------------------------------- inside

    def _create(self, url: str, record: T) -> T:
        if storage.create(url, msgspec.json.encode(record)):
            return record
        found = self._read(url, type(record))
        if found is None:
            raise RecordUnreadableError(url, "it was there and vanished")
        return found

    def _read(self, url: str, kind: Any) -> Any:
        data = storage.read(url)
        if data is None:
            return None
        try:
            record = msgspec.json.decode(data, type=kind)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise RecordUnreadableError(url, _problem(data, str(error))) from error
        if getattr(record, "format", FORMAT) != FORMAT:
            raise RecordUnreadableError(url, _problem(data, "unknown format"))
        return record


def _problem(data: bytes, error: str) -> str:
    if not data.strip():
        return "it is empty"
    try:
        version = msgspec.json.decode(data).get("format", FORMAT)
    except (msgspec.DecodeError, UnicodeDecodeError, AttributeError):
        return f"it is torn or not ours: {error}"
    if isinstance(version, int) and version > FORMAT:
        return f"format {version} was written by a newer batchkit; upgrade to go on"
    return f"it is torn or not ours: {error}"


def _numbers(run: str, name: str) -> tuple[int, int]:
    chunk, _, sending = name.removesuffix(".json").partition("-")
    if not (chunk.isdigit() and sending.isdigit()):
        raise RecordUnreadableError(storage.join(run, "chunks", name), "not our name")
    return int(chunk), int(sending)


def _expanded(chunk: Chunk, splits: dict[int, Round]) -> Iterator[Chunk]:
    if chunk.number not in splits:
        yield chunk
        return
    for half in splits[chunk.number].chunks:
        yield from _expanded(half, splits)


def positions(chunk: Chunk) -> Any:
    """All positions of a chunk, ascending, as an int64 array."""
    import numpy as np

    spans = [np.arange(start, stop, dtype=np.int64) for start, stop in chunk.ranges]
    return np.concatenate(spans)
