"""The run directory: everything that a run decided, sent and received.

    plan.json               what is asked, of which table; written once
    input.parquet           the staged rows, where the source cannot be read by position
    rows-9f3a61c2.parquet   per row: hash of its request, or why it is not sent
    taken-over-9f3a61c2/    answers that were paid for before, one file per 10,000 rows
    rounds/00001.json       the chunks of the first sending; 00002: rows sent again, …
    rounds/split-00012.json the halves of a chunk that the API found too large
    chunks/00012-1.json     chunk 12, first sending: intended, submitted or unsent
    missed/msgbatch_….json  since when the API says that it does not know a batch
    parts/00012.parquet     what came back for chunk 12, one row per position
    paused-after-00001.json a person was asked to buy credits after round 1
    estimate.json           what the first round was expected to cost
    budget-00001.json       what the run may cost: as asked, then as people decided
    stopped.json            the run was canceled: nothing more is sent (`stopping`)
    summary.json            at the end

A folder on any fsspec filesystem. Files are whole and never changed, but for `chunks/`,
where a record moves on from *intended*, `missed/` and `stopped.json`. A file that is
there but cannot be read stops the run: what is not known must not be sent again.

**Formats.** The JSON files are the types of `records`, each with `"format": 1`; a field
that is not known, or another format, stops the run as a torn file does. `chunks/` hold
one of three, told apart by `state`:

    {"state": "intended", "format": 1, "chunk": 12, "sending": 1, "nonce": "…",
     "requests": 9988, "body_bytes": …, "digest": "…", "intended_at": "…Z",
     "clock_skew_seconds": 0.2, "deadline": "…Z", "key_fingerprint": "…",
     "claimed_by": "…", "workspace": "…", "over": false, "foreign": ["msgbatch_…"]}
    {"state": "submitted", "format": 1, "intent": {…}, "batch_id": "msgbatch_…",
     "created_at": "…Z", "expires_at": "…Z", "proof": "answer"}
    {"state": "unsent", "format": 1, "intent": {…}, "why": "429 …", "at": "…Z"}

The Parquet files have the columns of `results.PART_SCHEMA` and of
`plans.weighing.ROWS_SCHEMA`.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

import msgspec
from msgspec.structs import replace

from batchkit_tasks.errors import RecordUnreadableError
from batchkit_tasks.ground import storage
from batchkit_tasks.records import (
    Chunk,
    Plan,
    Round,
)
from batchkit_tasks.run_dir.record_files import create_record, read_record
from batchkit_tasks.run_dir.sendings import Sendings

T = TypeVar("T")

_PART = re.compile(r"(\d{5,})\.parquet$")
_ROUND = re.compile(r"(\d{5,})\.json$")
_SPLIT = re.compile(r"split-(\d{5,})\.json$")


class RunDir(Sendings):
    """One run directory, by its URL."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self._rounds_read: dict[str, Round] = {}

    def prepare(self) -> None:
        """Create the folders, and find out whether files can be put there."""
        for name in ("rounds", "chunks", "parts"):
            storage.make_folder(storage.join(self.url, name))
        probe = storage.join(self.url, ".probe")
        storage.write(probe, b"")
        storage.remove(probe)

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

    def plan(self) -> Plan | None:
        """What the run was asked to do; None before it was planned."""
        url = storage.join(self.url, "plan.json")
        plan: Plan | None = read_record(url, Plan)
        if plan is not None and plan.run_key != self.url.rpartition("/")[2]:
            raise RecordUnreadableError(url, f"it is that of run {plan.run_key}")
        return plan

    def create_plan(self, plan: Plan) -> Plan:
        """Write the plan, or return the one that another process wrote first."""
        return create_record(storage.join(self.url, "plan.json"), plan)

    def rounds(self) -> list[Round]:
        """All rounds so far, in order."""
        splits = self._splits()
        found: list[Round] = []
        for number, url in self._numbered("rounds", _ROUND):
            round_ = self._round(url)
            if round_.number != number:
                raise RecordUnreadableError(url, f"it is that of round {round_.number}")
            if number != len(found) + 1:
                raise RecordUnreadableError(url, f"round {len(found) + 1} is not there")
            if splits:
                chunks = (
                    c for chunk in round_.chunks for c in _expanded(chunk, splits)
                )
                round_ = replace(round_, chunks=tuple(chunks))
            found.append(round_)
        return found

    def _round(self, url: str) -> Round:
        """A round as it was first read: it never changes, and may have many ranges."""
        if url not in self._rounds_read:
            self._rounds_read[url] = read_record(url, Round)
        return self._rounds_read[url]

    def _splits(self) -> dict[int, Round]:
        found = self._numbered("rounds", _SPLIT)
        return {number: read_record(url, Round) for number, url in found}

    def _numbered(self, folder: str, pattern: re.Pattern[str]) -> list[tuple[int, str]]:
        """The files of a folder whose names have a number in this place."""
        home = storage.join(self.url, folder)
        matches = ((pattern.match(name), name) for name in storage.names(home))
        return sorted((int(m[1]), storage.join(home, name)) for m, name in matches if m)

    def split(self, chunk: Chunk, halves: Sequence[Chunk]) -> None:
        """Put smaller chunks in the place of one whose body the API found too large."""
        create_record(
            self.split_url(chunk.number), Round(number=0, chunks=tuple(halves))
        )

    def create_round(self, round_: Round) -> Round:
        """Write a round, or return the one that another process wrote first."""
        name = f"{round_.number:05d}.json"
        return create_record(storage.join(self.url, "rounds", name), round_)

    def pause(self, round_number: int) -> bool:
        """Note that the run stops after this round for a person; True the first time."""
        url = storage.join(self.url, f"paused-after-{round_number:05d}.json")
        # Unlike any other's: who finds the very same takes it for its own.
        return storage.create(url, msgspec.json.encode({"id": secrets.token_hex(8)}))

    def collected(self) -> set[int]:
        """The numbers of the chunks whose results are here."""
        listed = storage.names(storage.join(self.url, "parts"))
        return {int(found[1]) for name in listed if (found := _PART.match(name))}

    def write_summary(self, summary: dict[str, Any]) -> None:
        """Keep the summary: the run is over."""
        storage.write(
            storage.join(self.url, "summary.json"), msgspec.json.encode(summary)
        )

    def summary(self) -> dict[str, Any] | None:
        """The summary of a run that is over."""
        return read_record(storage.join(self.url, "summary.json"), dict[str, Any])

    # ---------------------------------------------------------- what else is kept

    def keep(self, name: str, record: T) -> T:
        """Write a file of its own, or return what another process wrote first."""
        return create_record(storage.join(self.url, name), record)

    def kept(self, name: str, kind: Any) -> Any:
        """What `keep` wrote; None if nothing."""
        return read_record(storage.join(self.url, name), kind)

    def kept_names(self, prefix: str) -> list[str]:
        """The names of such files, in order."""
        return [name for name in storage.names(self.url) if name.startswith(prefix)]


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
