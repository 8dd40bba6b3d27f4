"""Made-up strings of a JSON Schema `format`, length or simple `pattern`."""

from __future__ import annotations

import re
from typing import Any, Final

from batchkit_tasks.sandbox.seeds import Seed

PREFIX: Final = "[sandbox] "
"""Opens every free text: nobody shall take it for a model's answer."""

_FILLING: Final = "made-up "


def fitting_string(
    seed: Seed, fewest: int, most: int | None, named: str | None, pattern: str | None
) -> str:
    """Return a string of that format or pattern, else free text of a fitting length."""
    if named and (made := _formatted(seed, named)):
        return made
    if pattern and (made := matching(seed, pattern)) is not None:
        return made
    text = f"{PREFIX}made-up text {seed.word()}"
    if most is not None and len(text) > most:
        text = seed.word(16)[:most]
    if len(text) < fewest:
        text += " " + _FILLING * (fewest // len(_FILLING) + 1)
        text = text[:fewest]
    return text


def _formatted(seed: Seed, named: str) -> str | None:
    """Return a string of a named format; `None` for a name that is unknown."""
    year, month, day = 2000 + seed.below(27), 1 + seed.below(12), 1 + seed.below(28)
    date = f"{year:04d}-{month:02d}-{day:02d}"
    time = f"{seed.below(24):02d}:{seed.below(60):02d}:{seed.below(60):02d}Z"
    word = seed.word(8)
    match named:
        case "date":
            return date
        case "time":
            return time
        case "date-time":
            return f"{date}T{time}"
        case "duration":
            return f"P{1 + seed.below(30)}D"
        case "email":
            return f"{word}@sandbox.example"
        case "hostname":
            return f"h{word}.sandbox.example"
        case "uri":
            return f"https://sandbox.example/{word}"
        case "ipv4":
            return f"192.0.2.{seed.below(256)}"
        case "ipv6":
            return f"2001:db8::{seed.below(65536):x}"
        case "uuid":
            whole = seed.word(16) + seed.word(16)
            parts = whole[:8], whole[8:12], "4" + whole[13:16], "8" + whole[17:20]
            return "-".join((*parts, whole[20:]))
        case _:
            return None


_CLASSES: Final = {"d": "0123456789", "w": "abcdefghij0123456789_", "s": " "}

_ATOM: Final = re.compile(
    r"\[(?P<set>[^\]^][^\]]*)\]|\\(?P<class>[dws])|\\(?P<escaped>\W)|(?P<plain>[^\\\[\](){}|*+?^$.])"
)
_COUNT: Final = re.compile(r"\{(\d+)(?:,(\d*))?\}|([*+?])")


def matching(seed: Seed, pattern: str) -> str | None:
    """Return a string for a pattern of plain characters, sets and counts.

    `None` when the pattern is beyond that (groups, alternatives).
    """
    rest, made = pattern.removeprefix("^").removesuffix("$"), ""
    while rest:
        if (atom := _ATOM.match(rest)) is None:
            return None
        rest = rest[atom.end() :]
        times = 1
        if count := _COUNT.match(rest):
            rest = rest[count.end() :]
            times = _times(seed, count)
        letters = _letters(atom)
        made += "".join(letters[seed.below(len(letters))] for _ in range(times))
    return made if re.search(pattern, made) else None


def _times(seed: Seed, count: re.Match[str]) -> int:
    """Return how often an atom is repeated."""
    fewest, most, sign = count.groups()
    if sign is not None:
        return {"*": 2, "+": 3, "?": 1}[sign]
    least = int(fewest)
    return least + seed.below(int(most) - least + 1) if most else least


def _letters(atom: re.Match[str]) -> str:
    """Return the characters that an atom allows."""
    parts: dict[str, Any] = atom.groupdict()
    if parts["class"]:
        return _CLASSES[parts["class"]]
    if parts["set"] is None:
        return parts["escaped"] or parts["plain"]
    written = re.sub(r"\\([dws])", lambda m: _CLASSES[m[1]], parts["set"])
    written = re.sub(r"\\(\W)", r"\1", written)
    spans = re.compile(r"(.)-(.)")
    plain = spans.sub("", written)
    return plain + "".join(
        chr(code)
        for first, last in spans.findall(written)
        for code in range(ord(first), ord(last) + 1)
    )
