"""The SDK as its users write it: iterrows, create, the results loop, a merge."""

from __future__ import annotations

import time
from typing import Any

import anthropic
import pandas as pd

from tests.bench.measuring import Meter, Work
from tests.bench.tables import PROMPT


def run(work: Work, meter: Meter) -> None:
    """Build and submit all batches, wait, collect them, write."""
    client = anthropic.Anthropic(base_url=work.url, api_key="test-key")
    with meter.phase("build"):
        table = pd.read_parquet(work.source)
        batches = [
            client.messages.batches.create(requests=requests(part)).id
            for part in parts(table, work.rows_per_batch)
        ]
    for batch in batches:
        while client.messages.batches.retrieve(batch).processing_status != "ended":
            time.sleep(0.2)
    with meter.phase("collect"):
        answers = pd.DataFrame(
            [row for batch in batches for row in results(client, batch)]
        )
    with meter.phase("write"):
        answers["id"] = answers["custom_id"].str.removeprefix("row-").astype(int)
        merged = table.merge(answers, on="id", how="left")
        merged.to_parquet(work.output)
    assert merged["response"].notna().all()


def parts(table: pd.DataFrame, rows: int) -> list[pd.DataFrame]:
    return [table.iloc[at : at + rows] for at in range(0, len(table), rows)]


def requests(part: pd.DataFrame) -> list[Any]:
    return [
        {
            "custom_id": f"row-{row['id']}",
            "params": {
                "model": "claude-haiku-5-5",
                "max_tokens": 1024,
                "messages": [
                    {
                        "role": "user",
                        "content": PROMPT.format(title=row["title"], body=row["body"]),
                    }
                ],
            },
        }
        for _, row in part.iterrows()
    ]


def results(client: anthropic.Anthropic, batch: str) -> list[dict[str, Any]]:
    return [row_of(entry) for entry in client.messages.batches.results(batch)]


def row_of(entry: Any) -> dict[str, Any]:
    """One line of the results as a row."""
    row: dict[str, Any] = {"custom_id": entry.custom_id, "status": entry.result.type}
    if entry.result.type == "succeeded":
        message = entry.result.message
        row |= {
            "response": "".join(
                block.text for block in message.content if block.type == "text"
            ),
            "stop_reason": message.stop_reason,
            "input_tokens": message.usage.input_tokens,
            "output_tokens": message.usage.output_tokens,
        }
    return row
