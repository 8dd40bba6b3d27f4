"""Runs whose table, run directory and output are in a bucket."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import fsspec
import pandas as pd
import pyarrow.parquet as pq
import pytest
from fsspec.config import conf
from moto.moto_server.werkzeug_app import (
    DomainDispatcherApplication,
    create_backend_app,
)
from werkzeug.serving import make_server

from batchkit_tasks.errors import ParameterError, SourceError
from batchkit_tasks.ground import storage
from batchkit_tasks.records import Submitted
from batchkit_tasks.run_dir import RunDir
from batchkit_tasks.sandbox.server import Sandbox
from tests.integration.running import (
    job,
    kill,
    positions_sent,
    right_answer,
    run_job,
    start_process,
    wait_until,
)

ROWS = 3_000
ADVANCED = {"rows_per_batch": 1_200, "check_every_seconds": 0.1}


@pytest.fixture(scope="module")
def s3_options() -> Iterator[dict[str, str]]:
    """Give what reaches a server that speaks S3."""
    s3, putting = DomainDispatcherApplication(create_backend_app), threading.Lock()

    def application(environ: Any, start: Any) -> list[bytes]:
        # As on S3, nothing comes between the look whether a file is there and the put.
        with putting if environ["REQUEST_METHOD"] == "PUT" else nullcontext():
            return [*s3(environ, start)]

    server = make_server("127.0.0.1", 0, application, threaded=True)
    thread = threading.Thread(target=server.serve_forever, name="s3")
    thread.start()
    address = f"http://127.0.0.1:{server.server_port}"
    yield {"endpoint_url": address, "key": "key", "secret": "secret"}
    server.shutdown()
    thread.join()


@pytest.fixture
def bucket(s3_options: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> str:
    """The URL of an empty bucket, which this process and those it starts can reach."""
    monkeypatch.setitem(conf, "s3", s3_options)
    monkeypatch.setenv("FSSPEC_S3", json.dumps(s3_options))
    fs: Any = fsspec.filesystem("s3")
    if fs.exists("tables"):
        fs.rm("tables", recursive=True)
    fs.mkdir("tables")
    return "s3://tables"


def test_of_many_who_claim_a_name_in_a_bucket_one_gets_it(bucket: str) -> None:
    for claim in range(5):
        url = f"{bucket}/{claim}.json"

        with ThreadPoolExecutor(8) as pool:
            won = list(
                pool.map(lambda n, u=url: storage.create(u, b"%d" % n), range(8))
            )

        assert won.count(True) == 1
        assert storage.read(url) == b"%d" % won.index(True)


def test_a_run_in_a_bucket_that_is_killed_twice_goes_on_and_pays_nothing_twice(
    held_sandbox: Sandbox, bucket: str
) -> None:
    texts = [f"row {n}" for n in range(ROWS)]
    source, output = f"{bucket}/in.csv", f"{bucket}/out.parquet"
    storage.write(source, pd.DataFrame({"text": texts}).to_csv(index=False).encode())
    asked = job(source, output, "Say {text}", advanced=ADVANCED)

    waiting = start_process(asked, held_sandbox.url)
    wait_until(lambda: _batches_known(bucket) == 3, "all ids are recorded")
    kill(waiting)

    held_sandbox.end_all()
    held_sandbox.settings.results_bytes_per_second = 100_000
    collecting = start_process(asked, held_sandbox.url)
    wait_until(lambda: held_sandbox.ledger().calls.get("results"), "results are read")
    kill(collecting)
    held_sandbox.settings.results_bytes_per_second = None
    assert not storage.exists(output)

    run_job(asked, held_sandbox.url)

    with fsspec.open(output) as file:
        rows = pq.read_table(file).to_pylist()
    assert [row["text"] for row in rows] == texts
    assert [row["response"] for row in rows] == [
        right_answer(f"Say {text}") for text in texts
    ]
    assert positions_sent(held_sandbox) == list(range(ROWS))


def test_an_output_in_a_bucket_that_is_not_there_is_named_and_makes_none(
    sandbox: Sandbox, bucket: str
) -> None:
    storage.write(f"{bucket}/in.csv", b"text\none\n")
    asked = job(f"{bucket}/in.csv", "s3://tabels/out.parquet", "{text}")

    with pytest.raises(ParameterError, match=r"output: s3://tabels/.* cannot be used"):
        run_job(asked, sandbox.url)

    assert not fsspec.filesystem("s3").exists("tabels")
    assert not sandbox.ledger().calls


def test_a_store_out_of_reach_is_named(
    sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nobody = {"endpoint_url": "http://127.0.0.1:9", "key": "key", "secret": "secret"}
    at_once = {"config_kwargs": {"retries": {"max_attempts": 0}}}
    monkeypatch.setitem(conf, "s3", nobody | at_once)
    here, far = tmp_path / "in.csv", "s3://tables/in.csv"
    here.write_text("text\none\n")

    with pytest.raises(SourceError, match=rf"{far}: it cannot be opened: .+ connect"):
        run_job(job(far, tmp_path / "out.parquet", "{text}"), sandbox.url)
    with pytest.raises(ParameterError, match=r"s3://tables/out.* cannot be used"):
        run_job(job(here, "s3://tables/out.parquet", "{text}"), sandbox.url)


def _batches_known(bucket: str) -> int:
    """How many batches the records of the only run name."""
    home = f"{bucket}/_batchkit/out.parquet"
    records = [
        record
        for run in storage.names(home)
        for record in RunDir(f"{home}/{run}").records()
    ]
    return sum(isinstance(record, Submitted) for record in records)
