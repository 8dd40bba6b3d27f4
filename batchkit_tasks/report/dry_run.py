"""The report of a dry run: what would be sent, and what it would cost."""

from __future__ import annotations

import re

import msgspec

from batchkit_tasks.plans.estimating import Estimate
from batchkit_tasks.plans.money import in_words
from batchkit_tasks.report.text import code, facts_table
from batchkit_tasks.summary import RunSummary


def dry_report(summary: RunSummary) -> str:
    """Write the report of a dry run as Markdown."""
    found = msgspec.convert(summary.estimate, Estimate)
    facts = [
        ("Rows", f"{summary.rows:,}"),
        ("Model", code(found.model)),
        ("Output", f"{code(summary.output)} (not written)"),
    ]
    lines = [
        "**Dry run** · nothing was sent, nothing is left behind",
        "",
        *facts_table(facts),
        "",
        "## What it would cost",
        "",
        *(f"- {line}" for line in in_words(found)),
    ]
    if summary.prompts:
        lines += ["", "## The first prompts"]
    for text in summary.prompts:
        lines += ["", *_fenced(text)]
    return "\n".join(lines) + "\n"


def _fenced(text: str) -> list[str]:
    """Text as it is; the fence is longer than any in it."""
    longest = max(map(len, re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return [f"{fence}text", text, fence]
