"""The newest of a chunk's sendings."""

from __future__ import annotations

from pathlib import Path

import pytest

from batchkit_tasks.errors import RecordUnreadableError
from batchkit_tasks.records import Unsent, intent_of
from batchkit_tasks.run_dir import RunDir
from tests.made_records import NOW, intent


def refuse(run: RunDir, chunk: int, sendings: int) -> None:
    """Send a chunk so many times, and hear each time that the API is busy."""
    for sending in range(1, sendings + 1):
        sent = intent(chunk=chunk, sending=sending)
        assert run.claim(sent)
        assert run.note(Unsent(intent=sent, why="429", at=NOW))


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    made = RunDir(str(tmp_path / "run"))
    made.prepare()
    return made


@pytest.mark.parametrize("sendings", [*range(18), 63, 64, 65])
def test_the_newest_of_any_number_of_sendings_is_found(
    run: RunDir, sendings: int
) -> None:
    refuse(run, 7, sendings)
    refuse(run, 8, 3)

    number, record = run.latest_record(7)

    assert number == sendings
    assert record == (run.record(7, sendings) if sendings else None)
    latest = {n: intent_of(r).sending for n, r in run.latest_records().items()}
    assert latest == ({7: sendings} if sendings else {}) | {8: 3}
    assert run.latest_records(without={7}).keys() == {8}


def test_one_torn_record_among_many_stops_the_run(run: RunDir) -> None:
    for chunk in range(5):
        refuse(run, chunk, 2)
    Path(run.record_url(3, 2)).write_bytes(b"{")

    with pytest.raises(RecordUnreadableError, match=r"00003-2\.json"):
        run.latest_records()
