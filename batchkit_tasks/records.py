"""What a run directory remembers: the plan, the rounds, and a record per sending.

Each type is one JSON file (docs in `run_dir`). Unknown fields are refused and the
format has a version: a record that a newer batchkit wrote must stop an older one,
never mislead it. Positions are row numbers of the source, from 0.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

import msgspec

FORMAT = 1
"""Version of all records; raised when an older batchkit could misread a newer one."""


Proof = Literal["answer", "nonce", "count", "empty"]
"""Why a batch is taken for ours. `answer`: the API's own answer to our POST; `nonce`:
its results bear our nonce; `count`: only its size and time fit, so provisionally;
`empty`: it has ended without a line, so that nothing will ever tell more."""


class Record(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of all records."""

    format: int = FORMAT


class SourceFile(msgspec.Struct, frozen=True):
    """One file of the source, and how to see that it has changed."""

    url: str
    size: int
    version: str
    """ETag where the filesystem has one, else the modification time."""
    rows: int
    """Rows in this file; -1 where the kind of file does not say without reading it."""


class Source(msgspec.Struct, frozen=True):
    """The table a run reads, as it was when the run was planned."""

    url: str
    kind: str
    """`parquet`, `csv`, `jsonl` or `frame`."""
    files: tuple[SourceFile, ...]
    rows: int
    schema_digest: str


class Plan(Record, frozen=True):
    """`plan.json`: written once, before anything is sent."""

    run_key: str
    created_at: datetime
    job: dict[str, Any]
    source: Source
    table: tuple[SourceFile, ...]
    """The Parquet files that hold the rows: the source's own, or the staged copy."""
    rows: int
    flow_run_id: str | None = None


class Chunk(msgspec.Struct, frozen=True):
    """The rows of one message batch."""

    number: int
    """Unique in the run, from 0."""
    ranges: tuple[tuple[int, int], ...]
    """Positions, as ranges `start` (inclusive) to `stop` (exclusive), ascending."""
    requests: int
    body_bytes: int
    """Size of the body on the wire."""
    attempt: int = 1
    """Which attempt of its rows this is; an expiry does not use one up."""
    expiries: int = 0
    """How often its rows have expired before."""
    max_tokens: int = 0
    """Differs from the job's only where truncated rows are sent again."""

    @property
    def start(self) -> int:
        """First position."""
        return self.ranges[0][0]

    @property
    def stop(self) -> int:
        """One past the last position."""
        return self.ranges[-1][1]


class Round(Record, frozen=True):
    """`rounds/00001.json`: the chunks of one round of sending, cut once and kept."""

    number: int
    chunks: tuple[Chunk, ...]
    unsent: dict[str, int] = {}
    """Rows of the table that are not sent, by status (round 1 only)."""
    token: str = ""
    """Names `rows-….parquet` and `taken-over-…/`, which were made for this round."""
    duplicates: int = 0
    """Rows that get the answer of an equal row which is sent."""
    reused: int = 0
    """Rows that get an answer which was paid for before."""
    taken_over_rows: int = 0
    """Rows of the table for each file in `taken-over-…/`."""
    notes: tuple[str, ...] = ()
    """What is to be said about the plan."""


class Intended(Record, frozen=True, tag_field="state", tag="intended"):
    """Written before the POST: a batch with these marks may exist from now on."""

    chunk: int
    sending: int
    nonce: str
    requests: int
    body_bytes: int
    digest: str
    """SHA-256 of the body, hexadecimal."""
    intended_at: datetime
    """By our clock."""
    clock_skew_seconds: float | None
    """The server's clock less ours, by its newest `Date` header; None without one."""
    deadline: datetime
    """The body's last byte is never handed over after this moment."""
    key_fingerprint: str
    claimed_by: str
    workspace: str = ""
    """Where the batch would be, as far as the API has said."""
    over: bool = False
    """Whether the create is certainly over: its process said so, or is gone."""
    foreign: tuple[str, ...] = ()
    """Batches that were taken for this one and turned out to be others'."""


class Missed(Record, frozen=True):
    """`missed/msgbatch_….json`: the API says that it does not know a batch of ours."""

    first_at: datetime
    times: int


class Submitted(Record, frozen=True, tag_field="state", tag="submitted"):
    """The batch exists at the API under this id."""

    intent: Intended
    batch_id: str
    created_at: datetime
    expires_at: datetime
    proof: Proof = "answer"


class Unsent(Record, frozen=True, tag_field="state", tag="unsent"):
    """This sending created no batch: the chunk may be sent again under a new nonce."""

    intent: Intended
    why: str
    at: datetime


ChunkRecord = Intended | Submitted | Unsent
"""`chunks/00012-1.json`: chunk 12, first sending."""


def intent_of(record: ChunkRecord) -> Intended:
    """What was intended before the record became what it is."""
    return record if isinstance(record, Intended) else record.intent
