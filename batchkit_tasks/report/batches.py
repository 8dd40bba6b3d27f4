"""The report's message batches: one line each, and when each ran."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from batchkit_tasks.batch_numbers import batch_name
from batchkit_tasks.ground.amounts import dollars
from batchkit_tasks.report.text import (
    Columns,
    code,
    counted,
    duration,
    table,
    timeline,
)
from batchkit_tasks.report.values import BatchLine, ReportFacts

SHOWN_BATCHES: Final = 40
"""More would hide what comes after them."""

_IN_WORDS: Final = {"in_progress": "in progress", "unanswered": "looking for it"}


def batch_section(facts: ReportFacts, now: datetime) -> list[str]:
    """A table of message batches: those that still run first, if there are too many."""
    if not facts.lines:
        return []
    lines = _most_telling(facts.lines)
    shown = [_row(line, now, several=_has_rounds(facts)) for line in lines]
    hidden = len(facts.lines) - len(lines)
    columns: Columns = [
        ("#", "right"),
        ("Message batch", "left"),
        ("State", "left"),
        ("Rows", "right"),
        ("Succeeded", "right"),
        ("Failed", "right"),
        ("Cost", "right"),
    ]
    more = ["", f"… and {counted(hidden, 'batch', 'batches')} more."] if hidden else []
    total = [_total(facts)] if len(facts.lines) > 1 else []
    return ["## Batches", "", *table(columns, [*shown, *total]), *more]


def _most_telling(lines: tuple[BatchLine, ...]) -> list[BatchLine]:
    if len(lines) <= SHOWN_BATCHES:
        return list(lines)
    first = sorted(lines, key=lambda line: (line.state == "collected", line.chunk))
    return sorted(first[:SHOWN_BATCHES], key=lambda line: line.chunk)


def _has_rounds(facts: ReportFacts) -> bool:
    return any(line.round > 1 for line in facts.lines)


def _row(line: BatchLine, now: datetime, *, several: bool) -> list[str]:
    again = f" (round {line.round})" if several and line.round > 1 else ""
    came_back = line.state == "collected"
    return [
        batch_name(line.chunk),
        (code(line.batch_id) or "–") + again,
        _state(line, now),
        f"{line.rows:,}",
        f"{line.succeeded:,}" if came_back else "–",
        f"{sum(line.failed.values()):,}" if came_back else "–",
        dollars(line.cost_usd) if came_back else "–",
    ]


def _state(line: BatchLine, now: datetime) -> str:
    if line.created_at is None:
        return _IN_WORDS.get(line.state, line.state)
    if line.ended_at is not None:
        return f"ended in {duration(line.ended_at - line.created_at)}"
    if line.state in ("collected", "ended"):
        return "ended"
    state = _IN_WORDS.get(line.state, line.state)
    return f"{state}, {duration(now - line.created_at)}"


def _total(facts: ReportFacts) -> list[str]:
    lines = facts.lines
    good = sum(line.succeeded for line in lines)
    bad = sum(sum(line.failed.values()) for line in lines)
    rows = sum(line.rows for line in lines)
    spent = dollars(facts.spent) if facts.digests else "–"
    shown = ["", "All requests", "", f"{rows:,}", f"{good:,}", f"{bad:,}", spent]
    return [f"**{cell}**" if cell else "" for cell in shown]


def timeline_section(facts: ReportFacts, now: datetime) -> list[str]:
    """When each batch ran: a picture where there is one."""
    started = [line for line in _most_telling(facts.lines) if line.created_at]
    if len(started) < 2 or not any(line.ended_at for line in started):
        return []
    if picture := facts.pictures.get("timeline"):
        return ["## When the batches ran", "", f"![timeline of the batches]({picture})"]
    spans = [
        (batch_name(line.chunk), line.created_at, _end(line)) for line in started
        if line.created_at
    ]  # fmt: skip
    return ["## When the batches ran", "", "```text", *timeline(spans, now), "```"]


def _end(line: BatchLine) -> datetime | None:
    return line.ended_at or (line.created_at if line.state == "collected" else None)
