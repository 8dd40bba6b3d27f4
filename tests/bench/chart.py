"""Bars and lines as SVG: no library is needed to draw a few of them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape

INK, PALE, OURS, OTHERS = "#24292f", "#d0d7de", "#0969da", "#8c959f"
WIDTH, BAR, LEFT, LABEL = 720, 26, 190, 16


def bars(title: str, groups: Mapping[str, Mapping[str, float]], unit: str) -> str:
    """Draw groups of horizontal bars; each group has a scale of its own."""
    parts: list[str] = []
    y = 34
    for group, values in groups.items():
        parts.append(_text(10, y + 16, group, weight="bold"))
        y += BAR
        longest = max(values.values())
        for name, value in values.items():
            width = (WIDTH - LEFT - 110) * value / longest
            colour = OURS if "batchkit" in name else OTHERS
            parts.append(_text(LEFT - 8, y + 16, name, anchor="end"))
            parts.append(
                f'<rect x="{LEFT}" y="{y + 3}" width="{width:.1f}" height="{BAR - 8}" '
                f'rx="2" fill="{colour}"/>'
            )
            parts.append(_text(LEFT + width + 6, y + 16, f"{value:.3g} {unit}"))
            y += BAR
        y += 10
    return _page(title, y, parts)


def lines(
    title: str, xs: Sequence[float], series: Mapping[str, Sequence[float]]
) -> str:
    """Draw lines over logarithmic axes, each relative to its own first value."""
    left, right, top, bottom = 60, 560, 50, 300
    grown = {name: [v / values[0] for v in values] for name, values in series.items()}
    most = max(max(values) for values in grown.values())
    least = min(min(values) for values in grown.values())
    spread = math.log10(most) - math.log10(least) or 1.0

    def at(x: float, value: float) -> tuple[float, float]:
        share = (math.log10(x) - math.log10(xs[0])) / (
            math.log10(xs[-1]) - math.log10(xs[0]) or 1.0
        )
        height = (math.log10(value) - math.log10(least)) / spread
        return left + share * (right - left), bottom - height * (bottom - top)

    parts = [f'<path d="M{left} {top}V{bottom}H{right}" fill="none" stroke="{PALE}"/>']
    for x in xs:
        px, _ = at(x, 1)
        parts.append(_text(px, bottom + 18, f"{x:,.0f} rows", anchor="middle"))
    labels: list[tuple[float, str, str]] = []
    colours = [OURS, "#cf222e", "#1a7f37", "#9a6700", "#8250df"]
    for (name, values), colour in zip(grown.items(), colours, strict=False):
        points = [at(x, v) for x, v in zip(xs, values, strict=True)]
        path = " ".join(f"{px:.1f},{py:.1f}" for px, py in points)
        parts.append(
            f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>'
        )
        labels.append((points[-1][1], f"{name} ×{values[-1]:.3g}", colour))
    below = 0.0
    for y, label, colour in sorted(labels):
        below = max(y + 4, below + LABEL)
        parts.append(_text(right + 8, below, label, colour=colour))
    return _page(title, bottom + 40, parts)


def _text(
    x: float,
    y: float,
    text: str,
    *,
    anchor: str = "start",
    weight: str = "normal",
    colour: str = INK,
) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-weight="{weight}" '
        f'fill="{colour}">{escape(text)}</text>'
    )


def _page(title: str, height: float, parts: Sequence[str]) -> str:
    body = "\n".join(parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:.0f}" '
        'font-family="system-ui, sans-serif" font-size="13">\n'
        f'<rect width="100%" height="100%" fill="white"/>\n'
        f"{_text(10, 22, title, weight='bold')}\n{body}\n</svg>\n"
    )
