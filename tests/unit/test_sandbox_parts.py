"""Parts of the sandbox that need no socket."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pytest

from batchkit_tasks.sandbox.clock import Clock, timestamp
from batchkit_tasks.sandbox.faults import FOREVER, FaultBook
from batchkit_tasks.sandbox.prompts import Marker, find_markers
from batchkit_tasks.sandbox.results import COUNTED
from batchkit_tasks.sandbox.running import completion_order
from batchkit_tasks.sandbox.settings import Settings


def asked(role: str, content: object) -> dict[str, object]:
    return {"messages": [{"role": role, "content": content}]}


def test_markers_are_read_in_order_with_their_arguments() -> None:
    text = "do [[thinking]] and [[times:2:errored:api_error]] not [[1, 2]] [[No]]"

    assert find_markers(asked("user", text)) == [
        Marker("thinking"),
        Marker("times", ("2", "errored", "api_error")),
    ]
    assert Marker("times", ("2", "errored", "x")).inner(1) == Marker("errored", ("x",))


def test_an_answer_that_quotes_a_marker_orders_nothing() -> None:
    assert find_markers(asked("assistant", "[[refusal]]")) == []


def test_the_clock_moves_freezes_and_is_set() -> None:
    clock = Clock()
    clock.freeze()
    before = clock.now()

    clock.advance(timedelta(hours=1))
    clock.advance(1.5)

    assert clock.now() == before + 3601.5
    clock.set(datetime(2030, 1, 1, tzinfo=UTC))
    assert timestamp(clock.now()) == "2030-01-01T00:00:00.000000Z"
    clock.resume()
    assert clock.now() >= datetime(2030, 1, 1, tzinfo=UTC).timestamp()


def test_a_fault_meets_the_calls_that_it_was_ordered_for() -> None:
    book = FaultBook()
    late = book.order("retrieve", "not_found", after=1, times=2, batch="b")
    always = book.order("list", "overloaded", times=FOREVER)

    met = [book.take("retrieve", name) for name in ("a", "b", "b", "b", "b")]

    assert met == [None, None, late, late, None]
    assert all(book.take("list") is always for _ in range(10))
    assert book.pending() == [always]
    book.clear()
    assert book.take("list") is None


def test_requests_never_complete_in_the_order_sent() -> None:
    for requests in range(2, 40):
        order = completion_order("msgbatch_01", requests)
        assert order != list(range(requests))
        assert sorted(order) == list(range(requests))


def test_every_kind_is_counted_once() -> None:
    codes = b"".join(COUNTED.values())

    assert len(codes) == len(set(codes))


def test_an_unknown_setting_is_refused() -> None:
    with pytest.raises(TypeError, match="no such setting: batch_second"):
        Settings().change(batch_second=1)


def test_batches_may_each_have_their_own_duration() -> None:
    settings = Settings(batch_seconds=[1, None])

    assert [settings.seconds_for(number, 1) for number in range(3)] == [1, None, None]
    settings.change(batch_seconds=lambda number, requests: number + requests)
    assert settings.seconds_for(2, 5) == 7


def test_importing_the_package_starts_no_web_server_code() -> None:
    code = (
        "import sys, batchkit_tasks.sandbox; "
        "print([m for m in ('uvicorn', 'starlette', 'anthropic') if m in sys.modules])"
    )

    printed = subprocess.check_output([sys.executable, "-c", code], text=True)

    assert printed.strip() == "[]"
