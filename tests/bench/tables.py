"""Tables to work on: real text, in lengths as tables have them."""

from __future__ import annotations

import importlib.metadata
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

PROMPT = "Classify this note about a package.\n\nTitle: {title}\n\n{body}"
"""Both text columns, and text around them."""

ROWS_PER_WRITE = 50_000


@dataclass(frozen=True, slots=True)
class Case:
    """One table."""

    name: str
    body_chars: int
    """Median length; lengths are log-normal, so that a few rows are much longer."""
    spread: float = 0.8


SHORT = Case("short rows", 150)
LONG = Case("rows of 5 KB", 4_600, 0.4)
LONGER = Case("rows of 24 KB", 22_500, 0.2)


@cache
def corpus() -> str:
    """The descriptions of the Python packages of this machine: English, Markdown,
    code, some emoji and other scripts."""
    found: Any = (d.metadata for d in importlib.metadata.distributions())
    texts = (str(m.get_payload() or m.get("Description") or "") for m in found)
    text = "\n".join(sorted(t for t in texts if t.strip()))
    assert len(text) > 100_000, "this machine has too few package descriptions"
    return text.encode("utf-8", "replace").decode()


def cuts(rng: np.random.Generator, count: int, chars: int, spread: float) -> list[str]:
    """Pieces of the corpus, of log-normal lengths around a median."""
    text = corpus()
    lengths = rng.lognormal(np.log(chars), spread, count).astype(int)
    lengths = lengths.clip(3, len(text) // 2)
    starts = (rng.random(count) * (len(text) - lengths)).astype(int)
    pairs = zip(starts.tolist(), lengths.tolist(), strict=True)
    return [text[a : a + n].strip() or "nothing" for a, n in pairs]


def write_source(path: Path, case: Case, rows: int) -> None:
    """Write a table; the same for the same case and number of rows."""
    rng = np.random.default_rng(rows)
    schema = pa.schema(
        [
            ("id", pa.int64()),
            ("title", pa.string()),
            ("body", pa.string()),
            ("stars", pa.float64()),
        ]
    )
    with pq.ParquetWriter(path, schema) as writer:
        for start in range(0, rows, ROWS_PER_WRITE):
            count = min(ROWS_PER_WRITE, rows - start)
            columns = [
                pa.array(np.arange(start, start + count)),
                pa.array([t.replace("\n", " ") for t in cuts(rng, count, 40, 0.5)]),
                pa.array(cuts(rng, count, case.body_chars, case.spread)),
                pa.array(rng.random(count).round(2)),
            ]
            writer.write_table(pa.table(columns, schema=schema), row_group_size=count)


def answers() -> list[str]:
    """What the draining server answers, in turn: lines of about a kilobyte."""
    return cuts(np.random.default_rng(7), 20_000, 350, 0.7)
