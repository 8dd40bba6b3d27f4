"""A file of the run that is torn, empty, foreign or newer stops it, and is named."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from batchkit_tasks import steps
from batchkit_tasks.errors import RecordUnreadableError
from batchkit_tasks.parameters import Job
from batchkit_tasks.sandbox.server import Sandbox
from tests.integration.impatience import impatient
from tests.integration.running import credentials, job, positions_sent, read, run_job

__all__ = ["impatient"]
pytestmark = pytest.mark.usefixtures("impatient")

Change = Callable[[Path], None]


def tear(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def fill_with_zeros(path: Path) -> None:
    path.write_bytes(b"\0" * path.stat().st_size)


def scribble(path: Path) -> None:
    path.write_text('["some other program\'s file"]')


def make_newer(path: Path) -> None:
    record = json.loads(path.read_bytes())
    path.write_text(json.dumps({**record, "format": 2}))


def make_newer_in_form(path: Path) -> None:
    record = json.loads(path.read_bytes())
    path.write_text(json.dumps({**record, "format": 2, "region": "moon"}))


def add_a_field(path: Path) -> None:
    record = json.loads(path.read_bytes())
    path.write_text(json.dumps({**record, "region": "moon"}))


def lock(path: Path) -> None:
    path.unlink()
    path.mkdir()  # unreadable for root as well


CHANGES: list[tuple[Change, str]] = [
    (tear, "torn or not ours"),
    (empty, "it is empty"),
    (fill_with_zeros, "torn or not ours"),
    (scribble, "torn or not ours"),
    (make_newer, "newer batchkit; upgrade"),
    (make_newer_in_form, "newer batchkit; upgrade"),
    (add_a_field, "torn or not ours"),
    (lock, "directory"),
]
RECORDS = ["plan.json", "rounds/00001.json", "chunks/00000-1.json"]


@pytest.fixture
def asked(tmp_path: Path, sandbox: Sandbox) -> Job:
    """Ten rows in two batches, of which one is sent."""
    source = tmp_path / "in.parquet"
    pd.DataFrame({"text": [f"row {n}" for n in range(10)]}).to_parquet(source)
    advanced = {"rows_per_batch": 6, "check_every_seconds": 0.1}
    asked = job(source, tmp_path / "out.parquet", "{text}", advanced=advanced)
    run = steps.stage_input(asked)
    first, _ = steps.plan_chunks(run)
    steps.submit_chunk(run, first, credentials(sandbox.url))
    return asked


def record(asked: Job, name: str) -> Path:
    """A file of the run."""
    (run,) = Path(asked.output).parent.glob("_batchkit/*/*")
    return run / name


@pytest.mark.parametrize("name", RECORDS)
@pytest.mark.parametrize(("change", "said"), CHANGES)
def test_a_record_that_cannot_be_read_stops_the_run_and_nothing_is_sent(
    sandbox: Sandbox, asked: Job, name: str, change: Change, said: str
) -> None:
    path = record(asked, name)
    whole = path.read_bytes()
    change(path)
    creates = sandbox.ledger().calls["create"]

    with pytest.raises(RecordUnreadableError) as caught:
        run_job(asked, sandbox.url)

    assert str(path) in str(caught.value)
    assert said in str(caught.value).lower().replace("is a directory", "directory")
    assert "Restore the file from a backup" in str(caught.value)
    assert sandbox.ledger().calls["create"] == creates
    if path.is_dir():
        path.rmdir()
    path.write_bytes(whole)
    run_job(asked, sandbox.url)
    assert positions_sent(sandbox) == list(range(10))


@pytest.mark.parametrize(
    ("name", "other"),
    [
        ("chunks/00001-1.json", "chunks/00000-1.json"),
        ("chunks/00000-2.json", "chunks/00000-1.json"),
        ("rounds/00002.json", "rounds/00001.json"),
    ],
)
def test_a_record_of_another_chunk_sending_or_round_is_foreign(
    sandbox: Sandbox, asked: Job, name: str, other: str
) -> None:
    record(asked, name).write_bytes(record(asked, other).read_bytes())

    with pytest.raises(RecordUnreadableError, match=f"{name}.*it is that of"):
        run_job(asked, sandbox.url)

    assert sandbox.ledger().calls["create"] == 1


def test_the_plan_of_another_run_is_foreign(sandbox: Sandbox, asked: Job) -> None:
    path = record(asked, "plan.json")
    plan = json.loads(path.read_bytes())
    path.write_text(json.dumps({**plan, "run_key": "0123456789abcdef"}))

    with pytest.raises(RecordUnreadableError, match="run 0123456789abcdef"):
        run_job(asked, sandbox.url)


def test_a_round_that_vanished_is_missed(sandbox: Sandbox, asked: Job) -> None:
    path = record(asked, "rounds/00001.json")
    second = json.loads(path.read_bytes()) | {"number": 2}
    path.with_name("00002.json").write_text(json.dumps(second))
    path.unlink()

    with pytest.raises(RecordUnreadableError, match="round 1 is not there"):
        run_job(asked, sandbox.url)


@pytest.mark.parametrize("change", [tear, empty, fill_with_zeros])
def test_a_torn_part_stops_the_run_and_is_named(
    sandbox: Sandbox, asked: Job, change: Change
) -> None:
    run_job(asked, sandbox.url)
    part = record(asked, "parts/00000.parquet")
    change(part)
    Path(asked.output).unlink()

    with pytest.raises(RecordUnreadableError, match=r"parts/00000\.parquet"):
        run_job(asked, sandbox.url)

    part.unlink()  # reading the results again costs nothing
    run_job(asked, sandbox.url)
    assert len(read(asked.output)) == 10
    assert positions_sent(sandbox) == list(range(10))


def test_what_desktops_and_killed_processes_leave_lying_around_is_no_record(
    sandbox: Sandbox, asked: Job
) -> None:
    for folder in ("chunks", "rounds", "parts"):
        record(asked, f"{folder}/.DS_Store").write_bytes(b"\0")
        record(asked, f"{folder}/00000-1.json.{os.urandom(4).hex()}.tmp").touch()

    run_job(asked, sandbox.url)

    assert positions_sent(sandbox) == list(range(10))
