"""The report's two pictures, for those who installed the extra `report`.

PNG inside the Markdown, as no interface loads pictures of ours from elsewhere. The
background is transparent and the lines are mid-grey, so that they are readable on
light and on dark pages alike.
"""

from __future__ import annotations

import base64
import importlib.util
import io
from datetime import UTC, datetime
from typing import Any, Final

from batchkit_tasks.batch_numbers import batch_name
from batchkit_tasks.report.values import BatchLine, ReportFacts

GREY: Final = "#888888"
BLUE: Final = "#3b82f6"
RED: Final = "#dd5555"

BINS: Final = 60

BARS: Final = 60
"""More batches than this are drawn as one picture that is no taller."""

NARROW: Final = 8
"""Where the longest answer is this many times shorter than `max_tokens`, the picture
ends at the longest answer."""


def can_draw() -> bool:
    """Whether matplotlib is installed; it is not loaded for that."""
    return importlib.util.find_spec("matplotlib") is not None


def draw(facts: ReportFacts, now: datetime | None = None) -> dict[str, str]:
    """Draw what there is to draw, as data URIs by name; nothing without matplotlib."""
    if not can_draw():
        return {}
    lengths: dict[int, int] = {}
    for digest in facts.digests.values():
        for length, rows in digest.output_tokens.items():
            lengths[length] = lengths.get(length, 0) + rows
    started = [line for line in facts.lines if line.created_at]
    pictures: dict[str, str] = {}
    if lengths:
        pictures["lengths"] = _lengths(lengths, facts.max_tokens)
    if len(started) > 1 and any(line.ended_at for line in started):
        pictures["timeline"] = _timeline(started, now or datetime.now(UTC))
    return pictures


def _lengths(lengths: dict[int, int], max_tokens: int) -> str:
    figure, axes = _axes(2.6)
    longest = max(lengths)
    end = max_tokens if longest * NARROW >= max_tokens else longest * 1.1 + 1
    end = max(end, longest + 1)
    bins = min(BINS, int(end) + 1)
    axes.hist(
        list(lengths), bins=bins, range=(0, end), weights=list(lengths.values()),
        color=BLUE,
    )  # fmt: skip
    label = "output tokens per answer"
    if max_tokens <= end:
        axes.axvline(max_tokens, color=RED, linewidth=1.2)
        label += " (red: max_tokens)"
    else:
        label += f" (max_tokens is {max_tokens:,})"
    axes.set_xlabel(label, color=GREY)
    axes.set_ylabel("answers", color=GREY)
    _count(axes.xaxis, axes.yaxis)
    return _data_uri(figure)


def _timeline(lines: list[BatchLine], now: datetime) -> str:
    height = min(len(lines), BARS) * 0.16 + 0.9
    figure, axes = _axes(height)
    start = min(line.created_at for line in lines if line.created_at)
    last = max(line.ended_at or line.created_at or now for line in lines)
    last = now if any(_runs(line) for line in lines) else last
    unit, seconds = _unit((last - start).total_seconds())
    for at, line in enumerate(lines):
        assert line.created_at is not None
        begin = (line.created_at - start).total_seconds() / seconds
        open_ = _runs(line)
        end_at = now if open_ else line.ended_at or line.created_at
        length = max((end_at - line.created_at).total_seconds() / seconds, 0.01)
        axes.barh(at, length, left=begin, color=BLUE, alpha=0.5 if open_ else 1.0)
    if len(lines) > BARS / 2:
        axes.set_yticks([0, len(lines) - 1], ["1", f"{len(lines):,}"])
    else:
        axes.set_yticks(range(len(lines)), [batch_name(line.chunk) for line in lines])
    axes.invert_yaxis()
    runs = any(_runs(line) for line in lines)
    faint = f" (faint: had not ended at {now:%H:%M} UTC)" if runs else ""
    axes.set_xlabel(f"{unit} since the first was sent{faint}", color=GREY)
    axes.set_ylabel("batch", color=GREY)
    return _data_uri(figure)


def _runs(line: BatchLine) -> bool:
    """Whether a batch is still at work; of some that are collected no end was seen."""
    return line.ended_at is None and line.state != "collected"


def _unit(seconds: float) -> tuple[str, int]:
    """What a time is best told in, and how many seconds that has."""
    if seconds < 180:
        return "seconds", 1
    return ("minutes", 60) if seconds < 3 * 3600 else ("hours", 3600)


def _count(*axes: Any) -> None:
    """Answers and tokens come whole: 1,000 and not 1000.0, and never 17.5."""
    from matplotlib.ticker import MaxNLocator

    for axis in axes:
        axis.set_major_locator(MaxNLocator(integer=True, nbins=8))
        axis.set_major_formatter("{x:,.0f}")


def _axes(height: float) -> tuple[Any, Any]:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    # Not pyplot: it keeps every figure, and chooses a backend for the whole process.
    figure = Figure(figsize=(7.2, height), dpi=110, layout="tight")
    FigureCanvasAgg(figure)
    figure.patch.set_alpha(0)
    axes = figure.add_subplot()
    axes.patch.set_alpha(0)
    axes.tick_params(colors=GREY, labelsize=8)
    for spine in axes.spines.values():
        spine.set_color(GREY)
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _data_uri(figure: Any) -> str:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", transparent=True)
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"
