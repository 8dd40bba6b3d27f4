"""Every outcome of a create, as `api.outcomes` classifies it: the whole table."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from batchkit_tasks.api.outcomes import (
    Busy,
    NotSent,
    Refused,
    TooLarge,
    Unclear,
    judge_answer,
    judge_failure,
)
from batchkit_tasks.submission import parse_retry_after, wait_before_sending_again

MINUTE = timedelta(minutes=1)
NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)

ANSWERS = {
    300: "request",
    302: "request",
    307: "request",
    400: "request",
    401: "key",
    402: "request",
    403: "key",
    404: "request",
    405: "request",
    408: Unclear,
    409: Unclear,
    413: TooLarge,
    415: "request",
    418: "request",
    422: "request",
    429: Busy,
    500: Unclear,
    501: Unclear,
    502: Unclear,
    503: Unclear,
    504: Unclear,
    520: Unclear,
    524: Unclear,
    529: Unclear,
    599: Unclear,
}
"""By status: the kind of refusal, or the outcome."""


@pytest.mark.parametrize(("status", "expected"), ANSWERS.items())
def test_each_error_answer_means_one_thing(status: int, expected: object) -> None:
    outcome = judge_answer(status, "some_error", "Some words.")

    if isinstance(expected, str):
        assert outcome == Refused(expected, status, "some_error", "Some words.")  # pyright: ignore[reportArgumentType]
    else:
        assert type(outcome) is expected
        assert "Some words." in outcome.why  # pyright: ignore


@pytest.mark.parametrize(
    "status", [s for s, kind in ANSWERS.items() if kind is Unclear]
)
def test_an_unclear_answer_to_half_a_body_made_nothing(status: int) -> None:
    outcome = judge_answer(status, "api_error", "Oh.", body_was_whole=False)

    assert outcome == NotSent(f"{status} api_error: Oh.")


@pytest.mark.parametrize("status", [s for s, k in ANSWERS.items() if k is not Unclear])
def test_a_clear_answer_stays_what_it_is_however_much_was_sent(status: int) -> None:
    assert judge_answer(status, "e", "m", body_was_whole=False) == judge_answer(
        status, "e", "m"
    )


@pytest.mark.parametrize(
    ("status", "message", "code"),
    [
        (400, "You have reached your specified API usage limits. You will…", ""),
        (400, "You have reached your specified workspace API usage limits. …", ""),
        (429, "Your organization has reached …", "enforced_spend_limit_reached"),
        (429, "Your contract …", "contract_spend_limit_reached"),
    ],
)
def test_a_spend_limit_is_no_bad_request_and_no_queue(
    status: int, message: str, code: str
) -> None:
    outcome = judge_answer(
        status, "e", message, error_code=code, retry_after=timedelta(seconds=1)
    )

    assert outcome == Refused("spend", status, "e", message)


def test_a_429_keeps_how_long_it_asks_to_wait() -> None:
    assert judge_answer(429, "e", "m", retry_after=MINUTE) == Busy("429 e: m", MINUTE)
    assert judge_answer(429, "e", "m") == Busy("429 e: m", None)


@pytest.mark.parametrize("phase", ["connect", "upload"])
def test_a_failure_before_the_last_byte_left_made_nothing(phase: str) -> None:
    assert judge_failure(phase, "reset") == NotSent("reset")  # pyright: ignore[reportArgumentType]


def test_a_line_too_slow_for_a_body_asks_for_smaller_ones() -> None:
    assert judge_failure("too slow", "why") == TooLarge("why", by="line")


def test_a_failure_after_the_last_byte_left_is_unclear() -> None:
    assert judge_failure("answer", "reset") == Unclear("reset")


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("7", 7.0),
        ("0.5", 0.5),
        ("-3", 0.0),
        ("nan", 0.0),
        ("inf", 86_400.0),
        ("1e400", 86_400.0),
        ("99999999", 86_400.0),
        ("Sun, 22 Nov 2026 12:00:30 GMT", 30.0),
        ("Sun, 22 Nov 2026 11:00:00 GMT", 0.0),
    ],
)
def test_retry_after_is_seconds_or_a_date_and_never_absurd(
    value: str, seconds: float
) -> None:
    assert parse_retry_after(value, NOW) == timedelta(seconds=seconds)


@pytest.mark.parametrize("value", [None, "", "soon", "Sun, 99 Nov 2026", "2026-11-22"])
def test_what_is_no_retry_after_says_nothing(value: str | None) -> None:
    assert parse_retry_after(value, NOW) is None


def test_waits_between_the_sendings_of_a_chunk_grow_to_a_quarter_of_an_hour() -> None:
    waits = [wait_before_sending_again(n, least=MINUTE / 2) for n in range(1, 50)]

    assert waits[:3] == [MINUTE / 2, MINUTE, 2 * MINUTE]
    assert waits == sorted(waits)
    assert waits[-1] == 15 * MINUTE


def test_what_the_api_asks_for_is_a_floor_that_only_a_long_queue_raises() -> None:
    second = timedelta(seconds=1)
    waits = [
        wait_before_sending_again(n, least=MINUTE, asked=second) for n in range(1, 40)
    ]

    assert waits[:3] == [second] * 3
    assert waits[-1] == 15 * MINUTE
    asked = timedelta(hours=2)
    assert wait_before_sending_again(9, least=MINUTE, asked=asked) == asked
