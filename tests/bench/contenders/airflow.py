"""The hook of Airflow's provider, as its example uses it; needs its own environment."""

from __future__ import annotations

import importlib
import json
import logging
import os
import time
from typing import Any

import pandas as pd

from tests.bench.contenders.sdk import parts, requests, row_of
from tests.bench.measuring import Meter, Work


def run(work: Work, meter: Meter) -> None:
    """Build and submit by the hook, wait, collect by it, merge and write."""
    connection = {"conn_type": "anthropic", "password": "key", "host": work.url}
    os.environ["AIRFLOW_CONN_ANTHROPIC_DEFAULT"] = json.dumps(connection)
    module: Any = importlib.import_module("airflow.providers.anthropic.hooks.anthropic")
    logging.disable(logging.WARNING)
    hook = module.AnthropicHook()
    with meter.phase("build"):
        table = pd.read_parquet(work.source)
        batches = [
            hook.create_batch(requests(part)).id
            for part in parts(table, work.rows_per_batch)
        ]
    for batch in batches:
        while hook.get_batch(batch).processing_status != "ended":
            time.sleep(0.2)
    with meter.phase("collect"):
        answers = pd.DataFrame(
            [row_of(e) for b in batches for e in hook.stream_batch_results(b)]
        )
    with meter.phase("write"):
        answers["id"] = answers["custom_id"].str.removeprefix("row-").astype(int)
        table.merge(answers, on="id", how="left").to_parquet(work.output)
    assert len(answers) == len(table)
