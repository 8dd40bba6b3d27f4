"""The report of a run: facts in, Markdown out.

One report per run, from the first batch to the last row: what it waits for while it
waits, and what it came to when it is over. The most important stands first.

Here too: its sections, the facts that it is made of (`facts` reads them, `values` says
what they are), and the artifact that shows it (`artifact`).
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

from batchkit_tasks.ground.amounts import dollars
from batchkit_tasks.report.batches import batch_section, timeline_section
from batchkit_tasks.report.rows import failed_section, length_section
from batchkit_tasks.report.text import (
    bar,
    code,
    counted,
    facts_table,
    moment,
    percent,
    quote,
)
from batchkit_tasks.report.values import ReportFacts

HEADLINES: Final = {
    "sending": "Sending",
    "waiting": "Waiting for Anthropic",
    "asking": "Waiting for you",
    "completed": "Completed",
    "failed": "Failed",
    "canceled": "Canceled",
}


def report(facts: ReportFacts, *, now: datetime | None = None) -> str:
    """Write the report of a run as Markdown."""
    now = now or datetime.now(UTC)
    sections = [
        _headline(facts),
        _progress(facts),
        facts_table(_facts(facts)),
        batch_section(facts, now),
        failed_section(facts),
        _money(facts),
        length_section(facts),
        timeline_section(facts, now),
        _read_it(facts),
    ]
    return "\n\n".join("\n".join(lines) for lines in sections if lines) + "\n"


def card(facts: ReportFacts) -> str:
    """The report in one line; a card shows about its first 40 characters."""
    parts = [f"**{_share(facts)}** · {_rows(facts)}"]
    if facts.failed:
        parts.append(f"{facts.failed:,} failed")
    parts.append(_spent(facts))
    return " · ".join(part for part in parts if part)


# -------------------------------------------------------------------- headline


def _headline(facts: ReportFacts) -> list[str]:
    parts = [f"**{HEADLINES.get(facts.stage, facts.stage)}**", _rows(facts)]
    if facts.failed:
        parts.append(f"{facts.failed:,} did not succeed")
    parts.append(_spent(facts))
    if facts.lines:
        parts.append(counted(len(facts.lines), "message batch", "message batches"))
    lines = [" · ".join(part for part in parts if part)]
    # How a completed run ended is what the rest of the report says.
    told = facts.stage == "completed" or not facts.message
    return lines if told else [*lines, "", quote(facts.message)]


def _rows(facts: ReportFacts) -> str:
    if facts.written:
        good = facts.written.get("succeeded", 0)
        return f"{good:,} of {facts.rows:,} rows succeeded"
    return f"{facts.back:,} of {facts.sendable:,} rows back"


def _spent(facts: ReportFacts) -> str:
    if not facts.digests:
        return ""
    spent = f"{dollars(facts.spent)} spent"
    return f"{spent} of {dollars(facts.budget_usd)}" if facts.budget_usd else spent


def _share(facts: ReportFacts) -> str:
    if facts.is_over or facts.stage == "asking":
        return HEADLINES[facts.stage]
    return percent(facts.back / facts.sendable) if facts.sendable else "0 %"


def _progress(facts: ReportFacts) -> list[str]:
    """Two bars: a batch counts when it has ended, as its rows all come at once."""
    if not facts.lines or facts.stage == "completed":
        return []
    rows = facts.back / max(facts.sendable, 1)
    batches = facts.ended / len(facts.lines)
    return [
        f"`{bar(rows)}` {percent(rows)} of the rows",
        "",
        f"`{bar(batches)}` {facts.ended:,} of {len(facts.lines):,} batches ended",
    ]


# ----------------------------------------------------------------------- facts


def _facts(facts: ReportFacts) -> list[tuple[str, str]]:
    return [
        ("Source", f"{code(facts.source)} ({_what_is_sent(facts)})"),
        ("Output", code(facts.output)),
        ("Failed rows", code(facts.failed_output)),
        ("Model", f"{code(facts.model)} · {_limits(facts)}"),
        ("Sent", _sent(facts)),
        ("Expected", _expected(facts)),
        ("Last look", moment(facts.looked_at) if facts.looked_at else ""),
        ("Next look", _next_look(facts)),
        ("Run directory", code(facts.run)),
    ]


def _what_is_sent(facts: ReportFacts) -> str:
    said = [f"{facts.rows:,} rows"]
    said += [f"{count:,} {status}" for status, count in facts.unsent.items() if count]
    if facts.duplicates:
        said.append(f"{facts.duplicates:,} equal to another row")
    if facts.reused:
        said.append(f"{facts.reused:,} answered before")
    if len(said) > 1:
        said.append(f"{facts.sendable:,} sent")
    return ", ".join(said)


def _limits(facts: ReportFacts) -> str:
    return f"at most {facts.max_tokens:,} tokens per answer · batch price, half of list"


def _sent(facts: ReportFacts) -> str:
    sent = [line.created_at for line in facts.lines if line.created_at]
    if not sent:
        return ""
    first, last = moment(min(sent)), moment(max(sent))
    return first if first == last else f"{first} to {last}"


def _expected(facts: ReportFacts) -> str:
    if facts.is_over:
        return ""
    running = [line for line in facts.lines if line.is_open and line.state != "ended"]
    ends = [line.expires_at for line in running if line.expires_at]
    if not ends:
        return ""
    return f"most batches end within an hour; all end by **{moment(max(ends))}**"


def _next_look(facts: ReportFacts) -> str:
    if facts.is_over or facts.next_look_at is None:
        return ""
    at = moment(facts.next_look_at)
    return f"{at}, by itself: nothing need be done (looks are 1 to 15 minutes apart)"


# ----------------------------------------------------------------------- money


def _money(facts: ReportFacts) -> list[str]:
    if not facts.digests and not facts.estimate:
        return []
    digests = facts.digests.values()
    listed = [digest.list_usd for digest in digests]
    uncached = [digest.uncached_usd for digest in digests]
    spent = facts.spent
    half = _more_than(spent, listed)
    cached = facts.saved_by_cache_usd if facts.written else _more_than(spent, uncached)
    reused_rows = _price_of_rows(facts, facts.reused)
    rows = [
        ("Estimate", facts.estimate),
        ("Budget", dollars(facts.budget_usd) if facts.budget_usd else ""),
        ("Spent", f"**{dollars(spent)}**{_tokens(facts)}" if facts.digests else ""),
        ("Saved by the batch price", dollars(half) if half else ""),
        ("Saved by the prompt cache", dollars(cached) if cached else ""),
        ("Saved by sending equal rows once", _saved_by_sharing(facts)),
        ("Saved by answers from before", reused_rows),
    ]
    return ["## Money", "", *facts_table(rows)]


def _more_than(spent: float | None, others: list[float | None]) -> float | None:
    """What something would have cost besides; None where that is not known."""
    known = [other for other in others if other is not None]
    if spent is None or len(known) != len(others) or not known:
        return None
    return max(0.0, sum(known) - spent)


def _saved_by_sharing(facts: ReportFacts) -> str:
    """Exact once the output is written; before, at the price of the rows sent."""
    if not facts.duplicates or not facts.written:
        return _price_of_rows(facts, facts.duplicates)
    return f"{dollars(facts.saved_by_sharing_usd)} ({facts.duplicates:,} rows)"


def _price_of_rows(facts: ReportFacts, rows: int) -> str:
    """What rows would have cost that were not sent, at the price of those that were."""
    answered = sum(digest.succeeded for digest in facts.digests.values())
    if not rows or not answered or not facts.spent:
        return ""
    return f"about {dollars(facts.spent * rows / answered)} ({rows:,} rows)"


def _tokens(facts: ReportFacts) -> str:
    total: dict[str, int] = {}
    for digest in facts.digests.values():
        for name, count in digest.tokens.items():
            total[name] = total.get(name, 0) + count
    read = total.get("cache_read_tokens", 0)
    written = total.get("cache_creation_5m_tokens", 0)
    written += total.get("cache_creation_1h_tokens", 0)
    whole = total.get("input_tokens", 0) + read + written
    said = f" for {whole:,} input tokens and {total.get('output_tokens', 0):,} output"
    cache = f" ({read:,} read from the cache)" if read else ""
    return f"{said} tokens{cache}"


# ------------------------------------------------------------------ the result


def _read_it(facts: ReportFacts) -> list[str]:
    if not facts.written:
        return []
    columns = [facts.id_column, *facts.answer_columns, "_status", "_error"]
    names = ", ".join(f'"{name}"' for name in columns if name)
    return [
        "## Read the result",
        "",
        "```python",
        "import pandas as pd",
        "",
        f'df = pd.read_parquet("{facts.output}")',
        f"df[[{names}]]",
        "```",
    ]
