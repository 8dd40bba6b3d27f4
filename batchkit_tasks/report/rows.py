"""The report's rows: which did not succeed and what to do, and how long answers are."""

from __future__ import annotations

from typing import Final

from batchkit_tasks.report.text import Columns, code, histogram, percent, quoted, table
from batchkit_tasks.report.values import ReportFacts

ADVICE: Final = {
    "truncated": "raise `max_tokens`, or choose `truncated` under *Send again if*",
    "refused": "the model declined; look at these prompts",
    "paused": "the model stopped for a tool; choose `paused` under *Send again if*",
    "invalid_answer": "describe the columns better, or choose `invalid_answer` under "
    "*Send again if*",
    "invalid_request_error": "mend the request as the message says; sending it again "
    "would fail again",
    "request_too_large": "shorten the text of these rows",
    "expired": "did not run in 24 hours, not billed; feed the failed rows in again",
    "canceled": "not run and not billed; feed the failed rows in again",
    "missing": "no answer came back; feed the failed rows in again",
    "results_gone": "the API deletes results after 29 days; feed the failed rows in "
    "again",
    "oversized": "shorten the text of these rows, or raise `mb_per_batch`",
}
"""What to do about rows that failed."""

PASSING: Final = "a fault that passes; feed the failed rows in again"


def failed_section(facts: ReportFacts) -> list[str]:
    """Rows that failed and are not under way again, by kind, with examples."""
    if not facts.kinds:
        return []
    where = code(facts.failed_output) if facts.failed_output else ""
    all_of_them = f"All of them are in {where}." if where else ""
    kinds = [
        [code(kind.kind), f"{kind.rows:,}", ADVICE.get(kind.kind, PASSING)]
        for kind in facts.kinds
    ]
    columns: Columns = [("Kind", "left"), ("Rows", "right"), ("What to do", "left")]
    return [
        f"## Rows that did not succeed: {facts.failed:,}",
        "",
        *table(columns, kinds),
        "",
        *_examples(facts),
        *(["", all_of_them] if all_of_them else []),
    ]


def _examples(facts: ReportFacts) -> list[str]:
    named = facts.id_column
    columns: Columns = [("Row", "right"), ("Kind", "left"), ("Message", "left")]
    if named:
        columns.insert(1, (code(named), "left"))
    rows = [
        [
            f"{row.position:,}",
            *([quoted(row.row_id, 60)] if named else []),
            code(kind.kind),
            quoted(row.message.removeprefix(f"{kind.kind}: ")),
        ]
        for kind in facts.kinds
        for row in kind.examples
    ]
    if not rows:
        return []
    return ["Examples (rows are counted from 0):", "", *table(columns, rows)]


def length_section(facts: ReportFacts) -> list[str]:
    """How long the answers are, against the longest that was allowed."""
    lengths: dict[int, int] = {}
    for digest in facts.digests.values():
        for length, rows in digest.output_tokens.items():
            lengths[length] = lengths.get(length, 0) + rows
    if not lengths:
        return []
    if picture := facts.pictures.get("lengths"):
        shown = [f"![answers by their length in tokens]({picture})"]
    else:
        shown = ["```text", *histogram(lengths, facts.max_tokens), "```"]
    return ["## Length of answers", "", *shown, "", _truncated(facts, lengths)]


def _truncated(facts: ReportFacts, lengths: dict[int, int]) -> str:
    cut = sum(kind.rows for kind in facts.kinds if kind.status == "truncated")
    if not cut:
        return f"No answer was cut at `max_tokens` ({facts.max_tokens:,})."
    share = percent(cut / sum(lengths.values()))
    noun = "answer was" if cut == 1 else "answers were"
    return f"{cut:,} {noun} cut at `max_tokens` ({share}): {ADVICE['truncated']}."
