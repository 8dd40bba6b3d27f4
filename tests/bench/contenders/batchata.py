"""batchata (PyPI), as its README shows it; needs an environment of its own."""

from __future__ import annotations

import json
import logging
import time
from pathlib import Path
from typing import Any

import pandas as pd

from tests.bench.measuring import Meter, Work
from tests.bench.tables import PROMPT


def run(work: Work, meter: Meter) -> None:
    """Give it all prompts, wait, and read its results into a table."""
    import importlib
    import os

    os.environ["ANTHROPIC_BASE_URL"] = work.url
    batchata: Any = importlib.import_module("batchata")
    logging.disable(logging.WARNING)
    folder = Path(work.output).with_suffix(f".{time.monotonic_ns()}")
    with meter.phase("all"):
        table = pd.read_parquet(work.source)
        batch = batchata.Batch(
            results_dir=str(folder),
            max_parallel_batches=4,
            items_per_batch=work.rows_per_batch,
            raw_files=False,
        ).set_default_params(model="claude-3-5-haiku-latest", max_tokens=1024)
        rows: Any = table.itertuples()
        for row in rows:
            batch.add_job(
                messages=[{"role": "user", "content": PROMPT.format(**row._asdict())}]
            )
        done = batch.run()
        answers = done.results()["completed"]
        texts = pd.Series([answer.raw_response for answer in answers], dtype=object)
        table.assign(response=texts).to_parquet(work.output)
    assert len(answers) == len(table), json.dumps({"answers": len(answers)})
