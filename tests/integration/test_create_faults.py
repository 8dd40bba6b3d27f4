"""Every fault that a create can meet, over the real wire: each row is bought once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from batchkit_tasks.errors import RefusedError, SpendLimitError
from batchkit_tasks.parameters import Job
from batchkit_tasks.records import Submitted, Unsent
from batchkit_tasks.run_dir import RunDir
from batchkit_tasks.sandbox.server import Sandbox
from tests.integration.impatience import impatient
from tests.integration.running import job, positions_sent, read, right_answer, run_job

__all__ = ["impatient"]
pytestmark = pytest.mark.usefixtures("impatient")

ROWS = 25

NOTHING_WAS_CREATED: list[tuple[str, dict[str, Any]]] = [
    ("rate_limited", {"retry_after": 0}),
    ("rate_limited_until", {"retry_after": 0}),
    ("rate_limited_bare", {}),
]
"""Known at once: sent again without looking for a batch."""

UNCLEAR: list[tuple[str, dict[str, Any]]] = [
    ("timeout", {}),
    ("conflict", {}),
    ("server_error", {}),
    ("server_error_final", {}),
    ("bad_gateway", {}),
    ("unavailable", {}),
    ("gateway_timeout", {}),
    ("overloaded", {}),
    ("status", {"status": 524, "page": True}),
    ("status", {"status": 200, "page": True}),
    ("reset_before_body", {}),
    ("reset_during_body", {"bytes": 10}),
    ("reset_after_body", {}),
    ("hang", {}),
]
"""Nothing was created, but that only shows when no batch appears in the list: bodies
as small as these have left as a whole before the reset arrives."""

ACCEPTED: list[tuple[str, dict[str, Any]]] = [
    ("timeout", {"when": "afterwards"}),
    ("conflict", {"when": "afterwards"}),
    ("server_error", {"when": "afterwards"}),
    ("server_error_final", {"when": "afterwards"}),
    ("bad_gateway", {"when": "afterwards"}),
    ("unavailable", {"when": "afterwards"}),
    ("gateway_timeout", {"when": "afterwards"}),
    ("overloaded", {"when": "afterwards"}),
    ("status", {"status": 200, "page": True, "when": "afterwards"}),
    ("half_answer", {}),
    ("accepted_then_reset", {}),
    ("accepted_then_closed", {}),
    ("accepted_then_hang", {}),
    ("accepted_then_slow", {"seconds": 1.2}),
]
"""The batch exists, and its answer is lost."""


def named(kinds: list[tuple[str, dict[str, Any]]]) -> list[Any]:
    """The kinds as parameters, with names that can be read."""
    ids = [f"{kind} {' '.join(map(str, o.values()))}".strip() for kind, o in kinds]
    return [pytest.param(*each, id=name) for each, name in zip(kinds, ids, strict=True)]


@pytest.fixture
def asked(tmp_path: Path) -> Job:
    """25 rows in three batches of 10, 9 and 6."""
    source = tmp_path / "in.parquet"
    pd.DataFrame({"text": [f"row {n}" for n in range(ROWS)]}).to_parquet(source)
    advanced = {"rows_per_batch": 10, "check_every_seconds": 0.1}
    return job(source, tmp_path / "out.parquet", "{text}", advanced=advanced)


def check(asked: Job, sandbox: Sandbox) -> None:
    """Every row has its answer, and was bought once; every batch is known."""
    rows = read(asked.output)
    assert [row["response"] for row in rows] == [
        right_answer(f"row {n}") for n in range(ROWS)
    ]
    assert positions_sent(sandbox) == list(range(ROWS))
    assert set(directory(asked).batch_ids()) == {
        batch.id for batch in sandbox.ledger().batches()
    }


def directory(asked: Job) -> RunDir:
    """The run directory of the only run."""
    (found,) = Path(asked.output).parent.glob("_batchkit/*/*")
    return RunDir(str(found))


@pytest.mark.parametrize(("kind", "options"), named(NOTHING_WAS_CREATED))
def test_a_create_that_made_nothing_is_sent_again_at_once(
    sandbox: Sandbox, asked: Job, kind: str, options: dict[str, Any]
) -> None:
    sandbox.fault("create", kind, times=2, **options)

    run_job(asked, sandbox.url)

    check(asked, sandbox)
    unsent = [r for r in directory(asked).records() if isinstance(r, Unsent)]
    assert len(unsent) == 2
    assert all(record.why != "not in the list" for record in unsent)


def test_a_large_body_that_is_cut_is_known_to_have_made_nothing(
    sandbox: Sandbox, tmp_path: Path
) -> None:
    """Its last bytes had not left: there is nothing to look for."""
    source = tmp_path / "in.parquet"
    pd.DataFrame({"text": [f"{n}" * 3_000_000 for n in range(8)]}).to_parquet(source)
    asked = job(source, tmp_path / "out.parquet", "{text}")
    sandbox.settings.upload_bytes_per_second = 20_000_000
    sandbox.fault("create", "reset_during_body", bytes=1000)

    run_job(asked, sandbox.url)

    assert positions_sent(sandbox) == list(range(8))
    (unsent,) = [r for r in directory(asked).records() if isinstance(r, Unsent)]
    assert unsent.why != "not in the list"


@pytest.mark.parametrize(("kind", "options"), named(UNCLEAR))
def test_an_unclear_create_that_made_nothing_is_sent_again_after_the_grace(
    sandbox: Sandbox, asked: Job, kind: str, options: dict[str, Any]
) -> None:
    sandbox.fault("create", kind, **options)

    run_job(asked, sandbox.url)

    check(asked, sandbox)
    (unsent,) = [r for r in directory(asked).records() if isinstance(r, Unsent)]
    if not kind.startswith("reset"):  # may arrive before the body has left
        assert unsent.why == "not in the list"


@pytest.mark.parametrize(("kind", "options"), named(ACCEPTED))
def test_an_accepted_create_whose_answer_is_lost_is_found_and_never_repeated(
    sandbox: Sandbox, asked: Job, kind: str, options: dict[str, Any]
) -> None:
    """Even though it is listed late, and somebody else creates as many."""
    sandbox.settings.list_delay_seconds = 0.2
    for size in (10, 9, 6, 10, 9, 6):
        sandbox.create_foreign(size)
    sandbox.fault("create", kind, after=1, **options)

    run_job(asked, sandbox.url)

    check(asked, sandbox)
    assert sandbox.ledger().calls["create"] == 3
    proofs = [r.proof for r in directory(asked).records() if isinstance(r, Submitted)]
    assert sorted(proofs) == ["answer", "answer", "nonce"]


def test_when_all_answers_are_lost_all_batches_are_found(
    sandbox: Sandbox, asked: Job
) -> None:
    sandbox.settings.batch_seconds = 0.5
    sandbox.fault("create", "accepted_then_closed", times=3)

    run_job(asked, sandbox.url)

    check(asked, sandbox)
    assert sandbox.ledger().calls["create"] == 3


def test_a_refused_connection_sends_nothing_and_is_tried_again(
    sandbox: Sandbox, asked: Job
) -> None:
    sandbox.fault("connect", "reset", times=3)

    run_job(asked, sandbox.url)

    check(asked, sandbox)


@pytest.mark.parametrize(
    "kind",
    ["spend_cap", "contract_spend_cap", "api_usage_limit", "workspace_usage_limit"],
)
def test_a_spend_limit_stops_with_its_own_words_and_all_can_be_resumed(
    sandbox: Sandbox, asked: Job, kind: str
) -> None:
    sandbox.fault("create", kind, times=3)

    with pytest.raises(SpendLimitError, match="Raise the limit in the Console or wait"):
        run_job(asked, sandbox.url)
    sandbox.faults.clear()
    run_job(asked, sandbox.url)

    check(asked, sandbox)


@pytest.mark.parametrize("kind", ["bad_request", "payment_required", "not_found"])
def test_a_refusal_stops_with_the_words_of_the_api_and_all_can_be_resumed(
    sandbox: Sandbox, asked: Job, kind: str
) -> None:
    sandbox.fault("create", kind, times=3)

    with pytest.raises(RefusedError, match="No batch was created by this request"):
        run_job(asked, sandbox.url)
    sandbox.faults.clear()
    run_job(asked, sandbox.url)

    check(asked, sandbox)


def test_a_redirected_create_takes_neither_body_nor_key_elsewhere(
    sandbox: Sandbox, asked: Job
) -> None:
    with Sandbox() as elsewhere:
        headers = {"location": f"{elsewhere.url}/v1/messages/batches"}
        sandbox.fault("create", "status", status=307, headers=headers, times=3)

        with pytest.raises(RefusedError, match="307"):
            run_job(asked, sandbox.url)

        assert elsewhere.ledger().calls == {}


@pytest.mark.parametrize("kind", ["server_error", "rate_limited_bare", "half_answer"])
def test_nothing_is_bought_while_the_list_cannot_be_read(
    sandbox: Sandbox, asked: Job, kind: str
) -> None:
    sandbox.fault("list", kind, times=12)

    run_job(asked, sandbox.url)

    check(asked, sandbox)
    calls = [call.path for call in sandbox.ledger().recent_calls]
    assert sandbox.ledger().calls["list"] > 12
    assert len(calls) > 12
