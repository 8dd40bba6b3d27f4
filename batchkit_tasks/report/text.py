"""Markdown that both of Prefect's interfaces show alike: tables, bars, code, moments.

Only what both render: headings, tables, bold, code and pictures as data URIs. No HTML,
no call-outs, no diagrams. What comes from data is made harmless: a pipe would cut a
table, a backtick would end the code.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final, Literal

Align = Literal["left", "right"]

Columns = list[tuple[str, Align]]

BAR_WIDTH: Final = 25

SHOWN_CHARACTERS: Final = 200
"""Of a message from outside; the whole is in the output table."""


def table(
    columns: Sequence[tuple[str, Align]], rows: Sequence[Sequence[str]]
) -> list[str]:
    """Lines of a table."""
    rule = ["---:" if align == "right" else "---" for _, align in columns]
    lines = [[name for name, _ in columns], rule, *rows]
    return [f"| {' | '.join(line)} |" for line in lines]


def facts_table(facts: Sequence[tuple[str, str]]) -> list[str]:
    """A table of names and values, without a heading."""
    shown = [(name, value) for name, value in facts if value]
    return table([("", "left"), ("", "left")], shown)


def bar(share: float, width: int = BAR_WIDTH) -> str:
    """A bar of text, such as `██████░░░░`; full only if nothing is left."""
    full = int(max(0.0, min(1.0, share)) * width)
    return "█" * full + "░" * (width - full)


def percent(share: float) -> str:
    """A share: never 0 % of something, and 100 % only of everything."""
    if 0 < share < 0.01:
        return "under 1 %"
    return f"{int(100 * share)} %"


def code(text: str) -> str:
    """Text in code type, on one line of a table."""
    clean = " ".join(text.split()).replace("`", "'").replace("|", "¦")
    return f"`{clean}`" if clean else ""


def quoted(text: str, characters: int = SHOWN_CHARACTERS) -> str:
    """A message from outside: short, on one line, and in code type."""
    line = " ".join(text.split())
    return code(line if len(line) <= characters else f"{line[: characters - 1]}…")


def quote(text: str) -> str:
    """A paragraph from outside, whose signs are no Markdown."""
    line = " ".join(text.split())
    return re.sub(r"([\\`*_\[\]<>|#~])", r"\\\1", line)


def moment(at: datetime) -> str:
    """A day and a time."""
    return f"{at:%d %b %Y, %H:%M} UTC"


def duration(length: timedelta) -> str:
    """A length of time, such as `2 h 05 min`."""
    seconds = max(0, int(length.total_seconds()))
    if seconds < 60:
        return f"{seconds} s"
    if seconds < 3600:
        return f"{seconds // 60} min"
    return f"{seconds // 3600} h {seconds % 3600 // 60:02d} min"


def counted(number: int, one: str, many: str) -> str:
    """A number with its noun."""
    return f"{number:,} {one if number == 1 else many}"


def histogram(lengths: dict[int, int], limit: int, bins: int = 12) -> list[str]:
    """Answers by length in tokens, as lines of text."""
    longest = max(lengths)
    width = max(1, -(-(longest + 1) // bins))
    if width > 10:
        step = 10 ** (len(str(width)) - 1)
        width = -(-width // step) * step
    counts = [0] * (longest // width + 1)
    for length, rows in lengths.items():
        counts[length // width] += rows
    most = max(counts)
    lines = [
        f"{at * width:>7,} – {(at + 1) * width - 1:>7,}  {count:>9,}  "
        + "█" * max(round(30 * count / most), 1 if count else 0)
        for at, count in enumerate(counts)
    ]
    return [" output tokens       answers", *lines, f" max_tokens {limit:,}"]


def timeline(
    batches: Sequence[tuple[str, datetime, datetime | None]], now: datetime
) -> list[str]:
    """From creation to end of each batch, as lines of text; `→` where one still runs."""
    start = min(created for _, created, _ in batches)
    end = max([ended or now for _, _, ended in batches])
    whole = max((end - start).total_seconds(), 1.0)
    lines: list[str] = []
    for name, created, ended in batches:
        before = int(30 * (created - start).total_seconds() / whole)
        length = ((ended or now) - created).total_seconds()
        drawn = max(1, round(30 * length / whole))
        mark = "" if ended else "→"
        took = duration((ended or now) - created)
        lines.append(f"{name:>6}  {' ' * before}{'█' * drawn}{mark} {took}")
    return lines
