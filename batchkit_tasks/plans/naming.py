"""Names that a run gives: of its output, and of its flow run."""

from __future__ import annotations

import re
from datetime import date
from typing import Any, Final

from batchkit_tasks.errors import ParameterError

PLACEHOLDERS: Final = ("source", "date", "run")


def resolve_output(pattern: str, *, source: str, day: date, run: str) -> str:
    """Replace `{source}`, `{date}` and `{run}` in an output path.

    Raises:
        ParameterError: Another placeholder is used.
    """
    values = {"source": source_stem(source), "date": day.isoformat(), "run": run}

    def value(match: re.Match[str]) -> str:
        name = match[1]
        if name not in values:
            raise ParameterError(
                "output",
                f"{{{name}}} is not known; there are {{source}}, {{date}} and {{run}}.",
            )
        return values[name]

    return re.sub(r"\{([^{}]*)\}", value, pattern)


def source_stem(source: str) -> str:
    """A short name for a source: the file's or folder's own, without its ending."""
    name = source.rstrip("/").rpartition("/")[2]
    if any(character in name for character in "*?["):
        name = source.rstrip("/").rpartition("/")[0].rpartition("/")[2] or name
    stem = re.sub(
        r"\.(parquet|pq|csv|jsonl|ndjson|json)(\.\w+)?$", "", name, flags=re.I
    )
    return re.sub(r"[^\w.-]+", "-", stem).strip("-") or "table"


def run_name(source: str, rows: int, model: str, *, dry_run: bool = False) -> str:
    """The name of a flow run, such as `reviews.parquet: 24,310 rows, haiku-5-5`."""
    name = source.rstrip("/").rpartition("/")[2]
    tried = "dry run, " if dry_run else ""
    return f"{name}: {tried}{rows:,} rows, {model.removeprefix('claude-')}"


GREEK: Final = (
    "chi|epsilon|eta|iota|kappa|mu|nu|omicron|psi|rho|tau|theta|upsilon|xi|zeta"
)
"""Letters that the older interface begins a name with. A ninth of its names have no
number; after alpha, beta, delta and their like these are kept, as a person may have
chosen them: `beta-test`."""

FROM_A_PAGE: Final = re.compile(
    rf"^([A-Z][a-z]+(-[A-Za-z]+)+|([a-z]+\d+|{GREEK})(-[a-z]+)+)$"
)
"""Names that Prefect's two interfaces make up: `Intelligent-Gnat`, and
`tau3-gauss-expanse` or `eta-sirith`."""


def is_automatic(name: str) -> bool:
    """Whether nobody chose this name."""
    return FROM_A_PAGE.match(name) is not None or _is_from_server(name)


def _is_from_server(name: str) -> bool:
    """Whether it is made of two words of the list that Prefect's server takes names
    from, such as `wise-otter`: a name such as `reviews-daily` was chosen by a person."""
    from coolname.data import config  # comes with Prefect

    parts = name.split("-")
    lists: list[Any] = [kind.get("words", ()) for kind in config.values()]
    known = {word for words in lists for word in words}
    return len(parts) == 2 and known.issuperset(parts)
