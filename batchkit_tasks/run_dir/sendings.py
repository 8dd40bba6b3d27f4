"""The records of sendings: what was intended, and what became of it.

A sending belongs to whoever created its file first. From then on its record is only
ever replaced by a conclusion drawn from that very record, or by what the API itself
said. So of two processes that come to different conclusions, one acts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Set
from datetime import datetime
from typing import Any

import msgspec
from msgspec.structs import replace

from batchkit_tasks.errors import RecordUnreadableError
from batchkit_tasks.ground import storage
from batchkit_tasks.records import (
    ChunkRecord,
    Intended,
    Missed,
    Submitted,
    Unsent,
    intent_of,
)
from batchkit_tasks.run_dir.record_files import read_record, read_records


class Sendings:
    """The part of a run directory that the API calls depend on."""

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")

    def record_url(self, chunk: int, sending: int) -> str:
        """The record of one sending of a chunk."""
        return storage.join(self.url, "chunks", f"{chunk:05d}-{sending}.json")

    def part_url(self, chunk: int) -> str:
        """The results of a chunk."""
        return storage.join(self.url, "parts", f"{chunk:05d}.parquet")

    def is_collected(self, chunk: int) -> bool:
        """Whether the results of a chunk are here, or why there are none."""
        return storage.exists(self.part_url(chunk))

    def split_url(self, chunk: int) -> str:
        """The smaller chunks that stand in the place of one."""
        return storage.join(self.url, "rounds", f"split-{chunk:05d}.json")

    def is_split(self, chunk: int) -> bool:
        """Whether smaller chunks stand in the place of this one."""
        return storage.exists(self.split_url(chunk))

    def claim(self, intent: Intended) -> bool:
        """Write an intent if no process has one for this sending.

        Only once the sending before it is known to have made no batch, and if nothing
        else stands in the place of the chunk (see `stand_in`).
        """
        with storage.locked(self._chunks):
            if self.is_split(intent.chunk) or self.is_collected(intent.chunk):
                return False
            if intent.sending > 1:
                before = self.record(intent.chunk, intent.sending - 1)
                if not isinstance(before, Unsent):
                    return False
            url = self.record_url(intent.chunk, intent.sending)
            return storage.create(url, msgspec.json.encode(intent))

    def move_on(self, expected: ChunkRecord, record: ChunkRecord) -> bool:
        """Put a conclusion in the place of the very record that it was drawn from.

        Returns:
            Whether it was still there; if not, another process knows better.
        """
        with storage.locked(self._chunks):
            intent = intent_of(record)
            if self.record(intent.chunk, intent.sending) != expected:
                return False
            self._write(record)
            return True

    def note(self, record: Submitted | Unsent) -> bool:
        """Write what the API itself said about a sending, whatever others concluded.

        Returns:
            Whether this is the chunk's last sending: others may have given it up.
        """
        with storage.locked(self._chunks):
            self._write(record)
            return self.record(record.intent.chunk, record.intent.sending + 1) is None

    def stand_in(self, unsent: Unsent, write: Callable[[], None]) -> bool:
        """Put something else in the place of a chunk that was too large to be sent.

        Not if others have given this sending up and sent the chunk again: a process
        that was frozen comes back with a verdict that is out of date.

        Args:
            write: Writes what stands there from now on. It is written first: who finds
                the sending unsent must find that too.

        Returns:
            Whether it stands there.
        """
        with storage.locked(self._chunks):
            intent = unsent.intent
            if is_last := self.record(intent.chunk, intent.sending + 1) is None:
                write()
            self._write(unsent)
            return is_last

    def record(self, chunk: int, sending: int) -> ChunkRecord | None:
        """The record of one sending; None if it was never intended."""
        url = self.record_url(chunk, sending)
        return _checked(url, read_record(url, ChunkRecord), chunk, sending)

    def latest_record(self, chunk: int) -> tuple[int, ChunkRecord | None]:
        """The number of a chunk's last sending, and its record; 0 and None without."""
        # A list would have to name those of all chunks. Sendings have no gaps, so that
        # steps that double, and are halved again, find the last of many soon.
        last, found, step = 0, None, 1
        while step:
            if later := self.record(chunk, last + step):
                last, found, step = last + step, later, 2 * step
            else:
                step //= 2
        return last, found

    def latest_records(
        self, *, without: Set[int] = frozenset()
    ) -> dict[int, ChunkRecord]:
        """The newest record of every chunk that was ever intended.

        Args:
            without: Chunks whose record does not matter to the caller, such as those
                that are collected: a run of many batches asks often.
        """
        latest = self._sendings()
        wanted = sorted(latest.keys() - without)
        urls = [self.record_url(chunk, latest[chunk]) for chunk in wanted]
        found: dict[int, ChunkRecord] = {}
        for chunk, url, read in zip(
            wanted, urls, read_records(urls, ChunkRecord), strict=True
        ):
            if record := _checked(url, read, chunk, latest[chunk]):
                found[chunk] = record
        return found

    def records(self) -> Iterator[ChunkRecord]:
        """The records of every sending, in order."""
        for name in storage.names(self._chunks):
            record = self.record(*_numbers(self.url, name))
            if record is not None:
                yield record

    def batch_ids(self) -> list[str]:
        """The ids of all batches of the run, of every sending."""
        return [r.batch_id for r in self.records() if isinstance(r, Submitted)]

    def missed(self) -> set[str]:
        """Batches of ours that the API did not know when it was last asked."""
        listed = storage.names(storage.join(self.url, "missed"))
        return {name.removesuffix(".json") for name in listed}

    def miss(self, batch_id: str, now: datetime) -> Missed:
        """Note that the API does not know a batch; return since when, and how often."""
        url = self._missed_url(batch_id)
        found = read_record(url, Missed) or Missed(first_at=now, times=0)
        noted = replace(found, times=found.times + 1)
        storage.make_folder(storage.join(self.url, "missed"))
        storage.write(url, msgspec.json.encode(noted))
        return noted

    def find_again(self, batch_id: str) -> None:
        """Forget that a batch was missed."""
        storage.remove(self._missed_url(batch_id))

    # ------------------------------------------------------------------- inside

    @property
    def _chunks(self) -> str:
        return storage.join(self.url, "chunks")

    def _missed_url(self, batch_id: str) -> str:
        return storage.join(self.url, "missed", f"{batch_id}.json")

    def _sendings(self) -> dict[int, int]:
        """The number of each chunk's last sending."""
        latest: dict[int, int] = {}
        for name in storage.names(self._chunks):
            chunk, sending = _numbers(self.url, name)
            latest[chunk] = max(sending, latest.get(chunk, 0))
        return latest

    def _write(self, record: ChunkRecord) -> None:
        intent = intent_of(record)
        url = self.record_url(intent.chunk, intent.sending)
        storage.write(url, msgspec.json.encode(record))


def _checked(url: str, record: Any, chunk: int, sending: int) -> ChunkRecord | None:
    """Refuse a record that is not the one its name says."""
    if record is None:
        return None
    intent = intent_of(record)
    if (intent.chunk, intent.sending) != (chunk, sending):
        raise RecordUnreadableError(
            url, f"it is that of chunk {intent.chunk}, sending {intent.sending}"
        )
    return record


def _numbers(run: str, name: str) -> tuple[int, int]:
    chunk, _, sending = name.removesuffix(".json").partition("-")
    if not (chunk.isdigit() and sending.isdigit()):
        raise RecordUnreadableError(storage.join(run, "chunks", name), "not our name")
    return int(chunk), int(sending)
