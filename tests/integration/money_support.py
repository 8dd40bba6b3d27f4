"""What a run must have cost, worked out from the sandbox's own ledger.

The prices are written down here once more, from the price page: what is tested must
not be its own measure.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from batchkit_tasks.sandbox.server import Sandbox

MILLION = 1_000_000

BATCH_PRICES = {
    "claude-haiku-5-5": (0.05, 0.0625, 0.10, 0.005, 0.25),
    "claude-sonnet-4-6": (1.5, 1.875, 3.0, 0.15, 7.5),
    "claude-opus-5-5": (2.0, 2.5, 4.0, 0.10, 10.0),
}
"""USD per million tokens in a batch: input, 5-minute write, 1-hour write, read, output."""

WEB_SEARCH = 0.01


def price(model: str, usage: dict[str, Any]) -> float:
    """What one billed request costs, by hand."""
    fresh, short, hour, read, output = BATCH_PRICES[model]
    written = usage.get("cache_creation") or {}
    tokens = (
        usage["input_tokens"] * fresh
        + (written.get("ephemeral_5m_input_tokens") or 0) * short
        + (written.get("ephemeral_1h_input_tokens") or 0) * hour
        + (usage.get("cache_read_input_tokens") or 0) * read
        + usage["output_tokens"] * output
    )
    if usage.get("inference_geo") == "us":
        tokens *= 1.1
    tools = usage.get("server_tool_use") or {}
    return tokens / MILLION + tools.get("web_search_requests", 0) * WEB_SEARCH


def billed(sandbox: Sandbox, model: str = "claude-haiku-5-5") -> dict[str, float]:
    """What each batch of a sandbox cost, by its id."""
    ledger = sandbox.ledger()
    return {
        entry.id: sum(price(model, use) for use in ledger.billed(entry.id).values())
        for entry in ledger.batches()
    }


def table(path: Path, texts: list[str]) -> Path:
    """A source with one text per row."""
    pd.DataFrame({"text": texts}).to_parquet(path)
    return path


def requests_sent(sandbox: Sandbox) -> int:
    """Requests of all batches that were accepted."""
    return sum(entry.requests for entry in sandbox.ledger().batches())


def exactly(usd: float) -> Any:
    """The same amount but for the rounding of floats."""
    return pytest.approx(usd, rel=1e-9, abs=1e-12)
