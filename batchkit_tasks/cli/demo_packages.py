"""The table of the demo: the Python packages of its environment, and what is asked.

A real table that every machine has.
"""

from __future__ import annotations

from importlib.metadata import distributions
from pathlib import Path
from typing import TYPE_CHECKING, Final

from batchkit_tasks.parameters import (
    DEFAULT_MODEL,
    Advanced,
    ColumnsAnswer,
    Job,
    OutputColumn,
)

if TYPE_CHECKING:
    import pandas as pd

PROMPT: Final = 'The Python package "{name}" ({version}): {summary}\n\nWhat is it for?'

ANSWER: Final = ColumnsAnswer(
    columns=[
        OutputColumn(
            name="topic",
            description="What the package is about",
            choices=[
                "web",
                "data",
                "files",
                "testing",
                "terminal",
                "security",
                "other",
            ],
        ),
        OutputColumn(
            name="audience",
            description="Who uses it directly",
            choices=["developers", "analysts", "operators", "other packages"],
        ),
        OutputColumn(name="one_line", description="What it does, in at most ten words"),
    ]
)

ROWS_PER_BATCH: Final = 40
"""Small, so that the demo has several message batches."""


def installed_packages() -> pd.DataFrame:
    """Name, version and summary of every package installed here, by name."""
    import pandas as pd

    found: dict[str, tuple[str, str, str | None]] = {}
    for package in distributions():
        name = package.metadata["Name"]
        if name:
            summary = package.metadata["Summary"]
            found.setdefault(name.lower(), (name, package.version, summary))
    rows = [found[key] for key in sorted(found)]
    return pd.DataFrame(rows, columns=["name", "version", "summary"])


def write_once(table: pd.DataFrame, path: Path) -> None:
    """Write the table, unless the very same one is there: a new file is a new run."""
    import pandas as pd

    if path.exists() and pd.read_parquet(path).equals(table):
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    table.to_parquet(path)


def demo_job(source: Path, output: str, *, check_every_seconds: float) -> Job:
    """What is asked about each package."""
    return Job(
        source=str(source),
        prompt=PROMPT,
        output=output,
        model=DEFAULT_MODEL,
        answer=ANSWER,
        advanced=Advanced(
            rows_per_batch=ROWS_PER_BATCH,
            max_tokens=300,
            check_every_seconds=check_every_seconds,
        ),
    )


def first_rows(output: str, count: int) -> tuple[list[str], dict[str, list[str]]]:
    """Headings and columns of the output's head, without what is too wide to show."""
    import pandas as pd

    shown = ["name", *(column.name for column in ANSWER.columns), "_status"]
    head = pd.read_parquet(output, columns=shown).head(count).fillna("").astype(str)
    return shown, {name: head[name].tolist() for name in shown}
