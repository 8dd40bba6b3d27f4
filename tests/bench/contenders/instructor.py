"""instructor's batch processor; needs an environment of its own, and answers in JSON."""

from __future__ import annotations

import contextlib
import importlib
import io
import os
import time
from typing import Any

import pandas as pd
from pydantic import BaseModel

from tests.bench.contenders.sdk import parts
from tests.bench.measuring import Meter, Work
from tests.bench.tables import PROMPT


class Answer(BaseModel):
    """What the server answers to it."""

    text: str


def run(work: Work, meter: Meter) -> None:
    """Build and submit, wait, read the results, write them beside the rows."""
    os.environ["ANTHROPIC_BASE_URL"] = work.url
    module: Any = importlib.import_module("instructor.batch")
    processor = module.BatchProcessor("anthropic/claude-haiku-5-5", Answer)
    with contextlib.redirect_stdout(io.StringIO()):
        with meter.phase("build"):
            table = pd.read_parquet(work.source)
            batches = [
                processor.submit_batch(
                    processor.create_batch_from_messages(messages(part))
                )
                for part in parts(table, work.rows_per_batch)
            ]
        for batch in batches:
            while processor.get_batch_status(batch)["status"] != "ended":
                time.sleep(0.2)
        with meter.phase("collect"):
            results = [
                found
                for batch in batches
                for found in processor.retrieve_results(batch)
            ]
    with meter.phase("write"):
        texts = pd.Series([found.result.text for found in results], dtype=object)
        table.assign(response=texts).to_parquet(work.output)
    assert len(results) == len(table)


def messages(part: pd.DataFrame) -> list[Any]:
    """One conversation a row."""
    return [
        [{"role": "user", "content": PROMPT.format(title=title, body=body)}]
        for title, body in zip(part["title"], part["body"], strict=True)
    ]
