"""The eighteen things that at least one other system gets wrong, and where they are held.

Each line has its tests here or elsewhere; a name that is not there any more fails.
"""

from __future__ import annotations

import ast
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

import pandas as pd
import pytest

from batchkit_tasks import steps
from batchkit_tasks.errors import RunFailedError
from batchkit_tasks.parameters import Job
from batchkit_tasks.running.salvaging import salvage
from batchkit_tasks.sandbox.server import Sandbox
from tests.histories import process
from tests.histories.process import Death
from tests.integration.impatience import impatient
from tests.integration.running import (
    credentials,
    job,
    positions_sent,
    read,
    right_answer,
    run_job,
)

__all__ = ["impatient"]
pytestmark = pytest.mark.usefixtures("impatient")

TESTS: Final = Path(__file__).parents[1]
HERE: Final = "integration/test_the_bar.py"
CREATES: Final = "integration/test_create_faults.py"
READS: Final = "integration/test_read_faults.py"
RESULTS: Final = "integration/test_results_faults.py"
ENDINGS: Final = "integration/test_run_endings.py"

THE_BAR: Final[dict[int, tuple[str, dict[str, tuple[str, ...]]]]] = {
    1: (
        "kill -9 between the POST and the record of its id",
        {
            HERE: ("test_01_killed_between_the_post_and_the_record_of_its_id",),
            "integration/test_histories.py": ("test_a_history_comes_to_its_right_end",),
        },
    ),
    2: (
        "the answer to an accepted create is lost",
        {
            CREATES: (
                "test_an_accepted_create_whose_answer_is_lost_is_found_and_never_repeated",
                "test_when_all_answers_are_lost_all_batches_are_found",
            )
        },
    ),
    3: (
        "the same, listed late, beside a foreign batch of the same size",
        {
            HERE: ("test_03_a_lost_answer_among_foreign_batches_of_its_size",),
            CREATES: (
                "test_an_accepted_create_whose_answer_is_lost_is_found_and_never_repeated",
            ),
            "integration/test_disputes.py": (
                "test_two_lost_answers_of_one_size_are_told_apart_in_the_end",
                "test_a_batch_that_another_chunk_took_by_its_size_holds_up_sending_again",
            ),
        },
    ),
    4: (
        "a batch canceled in the Console",
        {
            HERE: (
                "test_04_a_batch_canceled_in_the_console_keeps_what_had_finished",
                "test_04_rows_canceled_in_the_console_are_sent_again_by_default",
            )
        },
    ),
    5: (
        "false 404s: after create, in the middle, on results",
        {
            READS: (
                "test_passing_faults_while_polling_are_waited_through",
                "test_a_batch_that_stays_unknown_stops_the_run_even_if_each_look_is_a_new_process",
                "test_misses_that_heal_are_forgotten",
            ),
            RESULTS: (
                "test_results_that_come_short_are_read_again_until_they_are_whole",
            ),
        },
    ),
    6: (
        "faults while polling neither cancel nor submit; the key is revoked",
        {
            READS: (
                "test_passing_faults_while_polling_are_waited_through",
                "test_a_key_that_is_revoked_while_waiting_stops_the_run_and_another_goes_on",
                "test_a_key_of_another_workspace_is_refused_before_it_can_pay_again",
            )
        },
    ),
    7: (
        "rows missing, twice, foreign, of unknown type; results cut anywhere, gzip",
        {
            RESULTS: (
                "test_results_that_come_short_are_read_again_until_they_are_whole",
                "test_results_in_any_shape_are_read_at_once",
                "test_a_row_without_a_line_is_missing_and_sent_again_within_its_attempts",
                "test_foreign_and_duplicate_lines_change_nothing",
            ),
            ENDINGS: ("test_120_rows_of_every_ending_each_get_their_status",),
        },
    ),
    8: (
        "all rows errored; one of ten thousand succeeded",
        {
            HERE: ("test_08_one_of_ten_thousand_rows_succeeded_is_not_green",),
            ENDINGS: ("test_a_run_in_which_no_row_succeeds_fails_whatever_the_limit",),
        },
    ),
    9: (
        "truncated, refused, paused: own statuses",
        {ENDINGS: ("test_120_rows_of_every_ending_each_get_their_status",)},
    ),
    10: (
        "credit exhausted: pause, no attempt burnt",
        {ENDINGS: ("test_used_up_credit_stops_the_run_and_uses_up_no_attempt",)},
    ),
    11: (
        "150 batches at once; a million rows; memory flat",
        {
            HERE: ("test_11_a_hundred_and_fifty_batches_at_once",),
            "unit/test_output_memory.py": (
                "test_memory_does_not_grow_over_two_hundred_thousand_rows",
            ),
        },
    ),
    12: (
        "identical rows, the same run twice, two runs of one size in one second",
        {
            HERE: (
                "test_12_two_runs_of_one_size_in_one_second_do_not_mix",
                "test_12_the_same_run_started_twice_at_once_pays_once",
            ),
            "integration/test_money_reuse.py": (
                "test_equal_rows_are_sent_once_and_all_get_the_answer",
            ),
            "integration/test_run_tables.py": (
                "test_starting_the_same_job_again_sends_nothing",
            ),
            "integration/test_sending_races.py": (
                "test_who_plans_a_round_second_works_on_that_of_the_first",
            ),
        },
    ),
    13: (
        "a torn or unreadable state file",
        {
            "integration/test_unreadable_records.py": (
                "test_a_record_that_cannot_be_read_stops_the_run_and_nothing_is_sent",
                "test_a_torn_part_stops_the_run_and_is_named",
            )
        },
    ),
    14: (
        "canceled while suspended: batches are canceled, results salvaged",
        {
            HERE: ("test_14_canceled_while_nothing_runs_it_keeps_what_had_finished",),
            "e2e/test_cancel.py": (
                "test_a_run_that_waits_is_canceled_with_its_batches",
                "test_rows_that_had_finished_are_kept_and_the_rest_says_canceled",
            ),
        },
    ),
    15: (
        "a worker killed, the server restarted: the run goes on",
        {
            "integration/test_run_killed.py": (
                "test_a_run_killed_while_it_waits_goes_on_and_sends_nothing_twice",
                "test_a_run_killed_while_it_collects_goes_on_and_loses_nothing",
            ),
            "e2e/test_outages.py": (
                "test_runs_survive_the_death_of_their_worker_and_of_the_server",
            ),
            "integration/test_histories.py": ("test_a_history_comes_to_its_right_end",),
        },
    ),
    16: (
        "one row larger than the byte limit",
        {
            ENDINGS: ("test_rows_with_nulls_or_too_many_bytes_are_kept_and_not_sent",),
            "integration/test_backpressure.py": (
                "test_halves_get_smaller_until_they_fit_and_a_row_that_never_fits_is_oversized",
            ),
        },
    ),
    17: (
        "unknown price refuses; refusals cost nothing; caches and the half price count",
        {
            "integration/test_money_budget.py": (
                "test_an_unknown_price_is_above_every_budget",
            ),
            "integration/test_money_cost.py": (
                "test_costs_add_up_to_the_ledger_by_row_batch_and_run",
            ),
            "integration/test_money_cache.py": (
                "test_a_bill_with_cache_hits_is_that_of_the_ledger",
            ),
            "unit/test_pricing.py": ("test_a_batch_costs_half_of_each_token_price",),
        },
    ),
    18: (
        "results archived: said clearly, never waited for",
        {
            RESULTS: ("test_archived_results_say_so_at_once_and_are_not_paid_again",),
            "integration/test_sending_races.py": (
                "test_a_lost_answer_that_is_looked_for_after_29_days_is_not_paid_again",
            ),
        },
    ),
}


@pytest.mark.parametrize("line", THE_BAR)
def test_each_line_of_the_bar_is_held_by_tests_that_exist(line: int) -> None:
    for file, names in THE_BAR[line][1].items():
        tree = ast.parse((TESTS / file).read_text())
        there = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
        assert set(names) <= there


# ------------------------------------------------------------------- held here


def make_job(folder: Path, texts: list[str], name: str = "out", **advanced: Any) -> Job:
    """A table of texts."""
    source = folder / f"{name}-in.parquet"
    pd.DataFrame({"text": texts}).to_parquet(source)
    options = {"check_every_seconds": 0.1, **advanced}
    return job(source, folder / f"{name}.parquet", "{text}", advanced=options)


def check(asked: Job, texts: list[str]) -> None:
    """Every row is there, with its answer."""
    rows = read(asked.output)
    assert [row["text"] for row in rows] == texts
    assert [row["response"] for row in rows] == [right_answer(text) for text in texts]


@pytest.mark.parametrize("which", [1, 2, 3])
def test_01_killed_between_the_post_and_the_record_of_its_id(
    sandbox: Sandbox, tmp_path: Path, which: int
) -> None:
    texts = [f"row {n}" for n in range(12)]
    asked = make_job(tmp_path, texts, rows_per_batch=5)
    death = Death("os.rename", "/chunks/", which)
    dying = process.start(
        asked.model_dump_json(), sandbox.url, death, tmp_path / "log.txt"
    )

    dying.join(60)
    assert dying.exitcode == -signal.SIGKILL
    assert sandbox.ledger().batches()
    run_job(asked, sandbox.url)

    check(asked, texts)
    assert positions_sent(sandbox) == list(range(12))


def test_03_a_lost_answer_among_foreign_batches_of_its_size(
    sandbox: Sandbox, tmp_path: Path
) -> None:
    """They are created in the same second, run as long, and are listed sooner."""
    texts = [f"row {n}" for n in range(8)]
    asked = make_job(tmp_path, texts)
    sandbox.settings.batch_seconds = 0.3
    sandbox.settings.list_delay_seconds = 0.3
    for _ in range(3):
        sandbox.create_foreign(8)
    sandbox.fault("create", "accepted_then_closed")

    run_job(asked, sandbox.url)

    check(asked, texts)
    assert positions_sent(sandbox) == list(range(8))
    assert sandbox.ledger().calls["create"] == 1


def submit_all(asked: Job, sandbox: Sandbox) -> str:
    """Send all batches of a run, which run until they are ended; return the run."""
    sandbox.settings.batch_seconds = None
    sandbox.settings.cancel_seconds = 0.0
    run = steps.stage_input(asked)
    for chunk in steps.plan_chunks(run):
        assert steps.submit_chunk(run, chunk, credentials(sandbox.url)).batch_id
    return run


def test_04_a_batch_canceled_in_the_console_keeps_what_had_finished(
    sandbox: Sandbox, tmp_path: Path
) -> None:
    texts = [f"row {n}" for n in range(20)]
    asked = make_job(tmp_path, texts, retry_on=[], fail_above_percent=90)
    run = submit_all(asked, sandbox)
    sandbox.settings.cancel_seconds = None
    (batch,) = sandbox.ledger().batches()
    sandbox.cancel(batch.id)
    look = steps.poll_batches(run, credentials(sandbox.url))
    assert look.batches[batch.id].processing_status == "canceling"
    assert not look.ended

    sandbox.end_all()
    summary = run_job(asked, sandbox.url)

    assert summary.by_status == {"canceled": 10, "succeeded": 10}
    assert positions_sent(sandbox) == list(range(20))


def test_04_rows_canceled_in_the_console_are_sent_again_by_default(
    sandbox: Sandbox, tmp_path: Path
) -> None:
    texts = [f"row {n}" for n in range(20)]
    asked = make_job(tmp_path, texts)
    submit_all(asked, sandbox)
    sandbox.cancel(sandbox.ledger().batches()[0].id)
    sandbox.settings.batch_seconds = 0.0

    run_job(asked, sandbox.url)

    check(asked, texts)
    assert len(positions_sent(sandbox)) == 30


def test_08_one_of_ten_thousand_rows_succeeded_is_not_green(
    sandbox: Sandbox, tmp_path: Path
) -> None:
    texts = ["plain", *(f"[[canceled]] {n}" for n in range(9_999))]
    asked = make_job(tmp_path, texts, attempts=1)

    with pytest.raises(RunFailedError, match=r"9,999 of 10,000 rows .* 9,999 canceled"):
        run_job(asked, sandbox.url)

    statuses = [row["_status"] for row in read(asked.output)]
    assert statuses == ["succeeded"] + ["canceled"] * 9_999


def test_11_a_hundred_and_fifty_batches_at_once(
    sandbox: Sandbox, tmp_path: Path
) -> None:
    texts = [f"row {n}" for n in range(300)]
    asked = make_job(tmp_path, texts, rows_per_batch=2)
    submit_all(asked, sandbox)
    assert len(sandbox.ledger().batches()) >= 150
    before = sandbox.ledger().calls.get("retrieve", 0)
    sandbox.end_all()

    run_job(asked, sandbox.url)

    check(asked, texts)
    assert positions_sent(sandbox) == list(range(300))
    retrieves = sandbox.ledger().calls.get("retrieve", 0) - before
    assert retrieves <= 2 * len(sandbox.ledger().batches())


def test_12_two_runs_of_one_size_in_one_second_do_not_mix(
    sandbox: Sandbox, tmp_path: Path
) -> None:
    """All their answers are lost, so only the nonces tell whose batch is whose."""
    sandbox.settings.batch_seconds = 0.4
    ones = [f"one {n}" for n in range(10)]
    twos = [f"two {n}" for n in range(10)]
    first = make_job(tmp_path, ones, "first", rows_per_batch=5)
    second = make_job(tmp_path, twos, "second", rows_per_batch=5)
    sandbox.fault("create", "accepted_then_closed", times=6)

    with ThreadPoolExecutor() as pool:
        list(pool.map(lambda asked: run_job(asked, sandbox.url), [first, second]))

    check(first, ones)
    check(second, twos)
    assert len(positions_sent(sandbox)) == 20


def test_12_the_same_run_started_twice_at_once_pays_once(
    sandbox: Sandbox, tmp_path: Path
) -> None:
    texts = [f"[[once:errored:api_error]] {n}" for n in range(5)]
    texts += [f"row {n}" for n in range(20)]
    asked = make_job(tmp_path, texts, rows_per_batch=4)
    text, log = asked.model_dump_json(), tmp_path / "log.txt"

    both = [process.start(text, sandbox.url, None, log) for _ in range(2)]
    for one in both:
        one.join(90)

    assert [one.exitcode for one in both] == [0, 0]
    check(asked, texts)
    assert positions_sent(sandbox) == sorted([*range(25), *range(5)])


def test_14_canceled_while_nothing_runs_it_keeps_what_had_finished(
    sandbox: Sandbox, tmp_path: Path
) -> None:
    """In any process: no process of the run needs to exist."""
    texts = [f"row {n}" for n in range(30)]
    asked = make_job(tmp_path, texts, rows_per_batch=10)
    run = submit_all(asked, sandbox)
    ended, *others = [batch.id for batch in sandbox.ledger().batches()]
    sandbox.end(ended)
    key = credentials(sandbox.url)

    canceling = steps.cancel_batches(run, key)
    salvage(run, key, hold=True)

    assert set(canceling) <= set(others)
    ledger = sandbox.ledger()
    assert all(ledger.batch(other).cancel_initiated_at for other in others)
    statuses = pd.Series([row["_status"] for row in read(asked.output)])
    assert len(statuses) == 30
    assert set(statuses) == {"succeeded", "canceled"}
    assert (statuses == "succeeded").sum() > ledger.batch(ended).requests
    assert positions_sent(sandbox) == list(range(30))
