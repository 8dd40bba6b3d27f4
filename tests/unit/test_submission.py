"""Deciding about a create whose outcome nobody knows: values in, a decision out."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest

from batchkit_tasks.batches import MessageBatch, RequestCounts
from batchkit_tasks.records import Intended
from batchkit_tasks.submission import (
    Adopt,
    LookAgain,
    SendAgain,
    clock_skew,
    fitting,
    reconcile,
    time_since_deadline,
)
from tests.made_records import NOW, intent

SECOND, MINUTE, HOUR = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1)
GRACE = 3 * MINUTE


def batch(name: str, created_at: datetime = NOW, requests: int = 100) -> MessageBatch:
    """A batch in the list."""
    counts = RequestCounts(processing=requests)
    return MessageBatch(name, "in_progress", created_at, request_counts=counts)


def fits(known: Intended, *listed: MessageBatch) -> list[str]:
    """The names of those that fit."""
    return [found.id for found in fitting(known, listed, settled=GRACE)]


def test_only_batches_of_the_exact_size_fit() -> None:
    listed = [batch("a", requests=99), batch("b"), batch("c", requests=101)]

    assert fits(intent(), *listed) == ["b"]


def test_counts_that_have_moved_still_add_up() -> None:
    counts = RequestCounts(processing=50, succeeded=40, errored=5, expired=5)
    moved = MessageBatch("a", "ended", NOW, request_counts=counts)

    assert fits(intent(), moved) == ["a"]


def test_batches_from_before_the_intent_and_from_long_after_do_not_fit() -> None:
    listed = [
        batch("hours before", NOW - 3 * HOUR),
        batch("before", NOW - 3 * MINUTE),
        batch("a clock a little off", NOW - MINUTE),
        batch("at the deadline", NOW + 2 * MINUTE),
        batch("within the grace", NOW + 5 * MINUTE),
        batch("after", NOW + 8 * MINUTE),
        batch("hours after", NOW + 9 * HOUR),
    ]

    found = fits(intent(), *listed)

    assert sorted(found) == [
        "a clock a little off",
        "at the deadline",
        "within the grace",
    ]


@pytest.mark.parametrize("hours", [-30, -7, 0, 7, 30])
def test_a_server_with_another_clock_is_asked_in_its_own_time(hours: int) -> None:
    known = intent(clock_skew_seconds=hours * 3600.0)

    assert fits(known, batch("ours", NOW + hours * HOUR + SECOND)) == ["ours"]
    assert fits(known, batch("not ours", NOW + (hours - 1) * HOUR)) == []


def test_where_the_server_does_not_tell_its_time_a_day_either_way_fits() -> None:
    known = intent(clock_skew_seconds=None)

    assert fits(known, batch("a", NOW - 20 * HOUR), batch("b", NOW + 20 * HOUR))


def test_the_likeliest_comes_first_and_what_was_refused_never_again() -> None:
    listed = [batch("late", NOW + MINUTE), batch("next", NOW + SECOND), batch("no")]

    assert fits(intent(foreign=("no",)), *listed) == ["next", "late"]


def decide(
    *candidates: MessageBatch, since: timedelta = HOUR, **claims: Any
) -> Adopt | LookAgain | SendAgain:
    """The decision, an hour after the deadline."""
    return reconcile(candidates, claims, since_deadline=since, settled=GRACE)


def test_a_free_candidate_is_adopted_at_once() -> None:
    assert decide(batch("a"), since=SECOND) == Adopt(batch("a"))


def test_nothing_is_sent_again_before_the_grace_is_over() -> None:
    assert isinstance(decide(since=GRACE - SECOND), LookAgain)
    assert isinstance(decide(since=GRACE), SendAgain)


def test_a_batch_that_another_chunk_has_for_sure_is_no_candidate() -> None:
    assert isinstance(decide(batch("a"), a="answer"), SendAgain)
    assert isinstance(decide(batch("a"), a="nonce"), SendAgain)


def test_a_batch_that_another_chunk_has_by_its_size_is_waited_for() -> None:
    assert isinstance(decide(batch("a"), a="count"), LookAgain)
    assert decide(batch("a"), batch("b"), a="count") == Adopt(batch("b"))


def test_the_deadline_is_compared_on_the_servers_clock() -> None:
    """The sender's clock was an hour behind, ours is an hour ahead: two hours' lie."""
    known = intent(clock_skew_seconds=3600.0, deadline=NOW)

    assert time_since_deadline(known, NOW + 2 * HOUR, -HOUR) == timedelta()
    assert time_since_deadline(known, NOW + 2 * HOUR, None) == 2 * HOUR


def test_a_date_of_whole_seconds_moves_no_deadline() -> None:
    known = intent(clock_skew_seconds=-0.9, deadline=NOW)

    assert time_since_deadline(known, NOW + SECOND, timedelta(seconds=0.1)) == SECOND


def test_the_servers_clock_is_read_off_its_date() -> None:
    headers = {"date": "Sun, 22 Nov 2026 15:00:00 GMT"}

    assert clock_skew(headers, NOW) == 3 * HOUR
    assert clock_skew({}, NOW) is None
    assert clock_skew({"date": "today"}, NOW) is None
