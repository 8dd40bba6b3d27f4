"""The plain client against the sandbox, over a real socket."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from typing import Any

import pytest

from batchkit_tasks import BatchKit
from batchkit_tasks.errors import (
    KeyRefusedError,
    MissingKeyError,
    NotSentError,
    ParameterError,
    PollingError,
    RefusedError,
    ResultsGoneError,
    ResultsShortError,
    ResultsUnreadableError,
    SpendLimitError,
    SubmissionUncertainError,
)
from batchkit_tasks.sandbox import Sandbox, answer_text

BATCHES = "/v1/messages/batches"


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(batch_seconds=0.1, retry_after=None) as running:
        yield running


@pytest.fixture(autouse=True)
def short_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ANTHROPIC_API_KEY", raising=False)
    monkeypatch.delenv("ANTHROPIC_BASE_URL", raising=False)
    monkeypatch.setenv("BATCHKIT_REREAD_SECONDS", "0.02")
    monkeypatch.setenv("BATCHKIT_PROPAGATION_GRACE_SECONDS", "0.1")
    monkeypatch.setenv("BATCHKIT_HELD_IN_PROCESS_SECONDS", "0")


@pytest.fixture
def kit(sandbox: Sandbox) -> BatchKit:
    return BatchKit(api_key="sk-ant-test", base_url=sandbox.url)


def flat(custom_id: str = "a", text: str = "Hello", **more: Any) -> dict[str, Any]:
    return {"custom_id": custom_id, **params(text), **more}


def params(text: str = "Hello") -> dict[str, Any]:
    return {
        "model": "claude-haiku-5-5",
        "max_tokens": 100,
        "messages": [{"role": "user", "content": text}],
    }


def run(kit: BatchKit, *requests: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return kit.poll_and_retrieve(kit.submit(requests), poll_interval_seconds=0.05)


# -------------------------------------------------------------------- the way it goes


def test_code_written_for_the_article_runs_with_a_key_of_the_environment(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-ant-test")
    monkeypatch.setenv("ANTHROPIC_BASE_URL", sandbox.url)
    documents = ["First text", "Second text"]

    kit = BatchKit()
    batch_id = kit.submit(
        [
            {
                "custom_id": f"doc-{number}",
                "model": "claude-sonnet-4-6",
                "max_tokens": 1024,
                "messages": [{"role": "user", "content": f"Summarize: {text}"}],
            }
            for number, text in enumerate(documents)
        ]
    )
    results = kit.poll_and_retrieve(batch_id, poll_interval_seconds=0.05)
    seen = [(cid, r["type"], r["content"]) for cid, r in sorted(results.items())]

    assert [(cid, kind) for cid, kind, _ in seen] == [
        ("doc-0", "succeeded"),
        ("doc-1", "succeeded"),
    ]
    assert seen[0][2].startswith("[sandbox] ")
    assert "Summarize: First text" in seen[0][2]


def test_flat_and_nested_requests_are_the_same(kit: BatchKit) -> None:
    results = run(kit, flat("a"), {"custom_id": "b", "params": params()})

    assert results["a"]["content"] == results["b"]["content"] == answer_text(params())
    assert results["a"]["message"]["usage"]["output_tokens"] > 0


def test_every_result_type_has_its_form(kit: BatchKit) -> None:
    results = run(
        kit,
        flat("good"),
        flat("errored", "[[errored:overloaded_error]]"),
        flat("expired", "[[expired]]"),
        flat("canceled", "[[canceled]]"),
        flat("unknown", "[[unknown_type]]"),
        flat("refused", "[[refusal]]"),
    )

    assert {key: value["type"] for key, value in results.items()} == {
        "good": "succeeded",
        "errored": "errored",
        "expired": "expired",
        "canceled": "canceled",
        "unknown": results["unknown"]["type"],
        "refused": "succeeded",
    }
    assert results["errored"]["error"].startswith("overloaded_error: ")
    assert results["expired"]["error"].startswith("expired: ")
    assert results["unknown"]["type"] != "succeeded"
    assert "not known here" in results["unknown"]["error"]
    assert results["refused"]["content"] == ""
    assert results["refused"]["message"]["stop_reason"] == "refusal"


def test_content_is_the_text_alone(kit: BatchKit) -> None:
    results = run(
        kit,
        flat("thinking", "[[thinking]]"),
        flat("odd", "[[line_separator]]"),
        flat("tool", "[[unknown_block]]"),
    )

    assert results["thinking"]["content"].startswith("[sandbox]")
    assert "\u2028" in results["odd"]["content"]
    assert len(results["tool"]["message"]["content"]) > 0


def test_content_blocks_of_an_sdk_message_can_be_sent_back(kit: BatchKit) -> None:
    from anthropic.types import TextBlock

    block = TextBlock(type="text", text="Earlier answer")
    messages = [
        {"role": "user", "content": "Hello"},
        {"role": "assistant", "content": [block]},
        {"role": "user", "content": "And now?"},
    ]

    results = run(kit, flat("a") | {"messages": messages})

    assert results["a"]["type"] == "succeeded"


# ------------------------------------------------------------------ checked beforehand


@pytest.mark.parametrize(
    ("requests", "clause"),
    [
        ([], "the list is empty"),
        ([flat(custom_id="a b")], r"requests\[0\]: custom_id 'a b' is not possible"),
        ([flat(custom_id="x" * 65)], "1 to 64"),
        ([flat(custom_id="ä")], "is not possible"),
        ([flat(custom_id="a\n")], "is not possible"),
        ([params()], "custom_id is missing"),
        ([flat("a"), flat("a")], r"requests\[1\]: custom_id 'a' is that of request 0"),
        ([{"custom_id": "a", "params": None}], "params must be a dict"),
        ([{"custom_id": "a"}], "model is missing"),
        ([flat() | {"model": None}], "model is missing"),
        ([flat() | {"model": 5}], "model must be the name"),
        ([flat() | {"messages": []}], "messages is empty"),
        ([flat() | {"messages": "Hello"}], "messages must be a list"),
        ([flat() | {"max_tokens": 0}], "max_tokens must be 1 or more, not 0"),
        ([flat() | {"max_tokens": True}], "max_tokens must be 1 or more"),
        ([flat(stream=True)], "may not set 'stream': a message batch cannot stream"),
        ([flat(fallbacks=["x"])], "may not set 'fallbacks'"),
        ([flat(output_format={"a": 1})], "use output_config"),
        ([flat(params=params())], "has 'params' and also 'model'"),
        ([flat(metadata={"x": object()})], "cannot be written as JSON"),
        ([flat(text="half \ud83d")], "cannot be written as JSON"),
        ([("a", "b")], "is a tuple, not a dict"),
        (flat(), "give a list of requests, not a single one"),
        (
            [flat(str(n)) for n in range(10_001)],
            "10,001 are more than the 10,000.*batch_",
        ),
    ],
)
def test_what_cannot_work_is_refused_before_anything_is_sent(
    kit: BatchKit, sandbox: Sandbox, requests: Any, clause: str
) -> None:
    with pytest.raises(ParameterError, match=clause) as caught:
        kit.submit(requests)

    assert str(caught.value).endswith("Nothing was sent.")
    assert sandbox.count("POST", BATCHES) == 0


def test_ten_thousand_requests_are_not_too_many(
    kit: BatchKit, sandbox: Sandbox
) -> None:
    sandbox.settings.change(answers="fixed")

    results = run(kit, *(flat(f"r{n}") for n in range(10_000)))

    assert len(results) == 10_000


def test_without_key_and_address_the_program_says_so() -> None:
    with pytest.raises(MissingKeyError, match="set ANTHROPIC_API_KEY"):
        BatchKit()


def test_an_unusable_key_is_named_but_never_shown() -> None:
    with pytest.raises(ParameterError, match="api_key: ") as caught:
        BatchKit(api_key="sk ant\nsecret")

    assert "secret" not in str(caught.value)


def test_a_batch_id_is_never_a_path(kit: BatchKit) -> None:
    with pytest.raises(ParameterError, match="is not a batch's id"):
        kit.poll_and_retrieve("../messages")


# --------------------------------------------------------------------- exactly one batch


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("accepted_then_reset", {}),
        ("accepted_then_closed", {}),
        ("half_answer", {}),
        ("server_error", {"when": "afterwards"}),
        ("overloaded", {"when": "afterwards"}),
    ],
)
def test_a_lost_answer_names_the_batch_and_never_sends_a_second(
    kit: BatchKit, sandbox: Sandbox, kind: str, options: dict[str, Any]
) -> None:
    sandbox.fault("create", kind, **options)

    with pytest.raises(
        SubmissionUncertainError, match="may exist and be billed"
    ) as caught:
        kit.submit([flat("a"), flat("b")])

    (batch_id,) = caught.value.candidates
    assert sandbox.count("POST", BATCHES) == 1
    assert batch_id in str(caught.value)
    assert set(kit.poll_and_retrieve(batch_id, 0.05)) == {"a", "b"}


def test_only_batches_of_the_same_size_and_time_are_named(
    kit: BatchKit, sandbox: Sandbox
) -> None:
    sandbox.create_foreign(2, seconds_ago=3600)
    sandbox.create_foreign(7)
    alike = sandbox.create_foreign(2)
    sandbox.fault("create", "reset_after_body")

    with pytest.raises(SubmissionUncertainError) as caught:
        kit.submit([flat("a"), flat("b")])

    assert caught.value.candidates == (alike,)


def test_with_no_batch_in_sight_the_error_says_so(
    kit: BatchKit, sandbox: Sandbox
) -> None:
    sandbox.fault("create", "reset_during_body", bytes=40)

    with pytest.raises(SubmissionUncertainError, match="none listed so far"):
        kit.submit([flat()])

    assert sandbox.count("POST", BATCHES) <= 1


def test_a_busy_api_is_asked_again(kit: BatchKit, sandbox: Sandbox) -> None:
    sandbox.fault("create", "rate_limited", retry_after=0, times=2)

    assert kit.submit([flat()]).startswith("msgbatch_")
    assert sandbox.count("POST", BATCHES) == 3


def test_an_api_that_asks_for_an_hour_is_not_waited_for(
    kit: BatchKit, sandbox: Sandbox
) -> None:
    sandbox.fault("create", "rate_limited", retry_after=3600)

    with pytest.raises(NotSentError, match="Nothing was created"):
        kit.submit([flat()])


def test_without_a_connection_nothing_was_sent(kit: BatchKit, sandbox: Sandbox) -> None:
    with sandbox.offline(), pytest.raises(NotSentError, match="Nothing was created"):
        kit.submit([flat()])


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        ("bad_request", RefusedError),
        ("unauthorized", KeyRefusedError),
        ("workspace_usage_limit", SpendLimitError),
        ("spend_cap", SpendLimitError),
        ("too_large_html", ParameterError),
    ],
)
def test_a_clear_no_is_passed_on_at_once(
    kit: BatchKit, sandbox: Sandbox, fault: str, expected: type[Exception]
) -> None:
    sandbox.fault("create", fault)

    with pytest.raises(expected):
        kit.submit([flat()])

    assert sandbox.count("POST", BATCHES) == 1


# ------------------------------------------------------------------------------ patience


@pytest.mark.parametrize(
    "fault",
    ["not_found", "rate_limited_bare", "server_error", "overloaded", "half_answer"],
)
def test_passing_faults_of_polls_are_waited_through(
    kit: BatchKit, sandbox: Sandbox, fault: str
) -> None:
    batch_id = kit.submit([flat()])
    sandbox.fault("retrieve", fault, times=2)

    assert set(kit.poll_and_retrieve(batch_id, 0.05)) == {"a"}


def test_a_lost_connection_is_waited_through(kit: BatchKit, sandbox: Sandbox) -> None:
    batch_id = kit.submit([flat()])
    sandbox.fault("connect", "reset", times=2)

    assert set(kit.poll_and_retrieve(batch_id, 0.05)) == {"a"}


def test_a_batch_that_stays_unknown_is_given_up(
    kit: BatchKit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BATCHKIT_UNKNOWN_BATCH_SECONDS", "0.2")

    with pytest.raises(PollingError, match="does not know it"):
        kit.poll_and_retrieve("msgbatch_nobody", 0.05)


@pytest.mark.parametrize(
    "fault",
    [
        "cut_mid_line",
        "cut_at_line_end",
        "reset_half_way",
        "closed_half_way",
        "broken_line",
        "not_found",
        "unavailable",
    ],
)
def test_results_that_come_short_are_read_again(
    kit: BatchKit, sandbox: Sandbox, fault: str
) -> None:
    sandbox.fault("results", fault, times=2)

    assert len(run(kit, *(flat(f"r{n}") for n in range(50)))) == 50


@pytest.mark.parametrize("fault", ["blank_lines", "gzip", "split_utf8"])
def test_odd_streams_are_read_at_once(
    kit: BatchKit, sandbox: Sandbox, fault: str
) -> None:
    sandbox.fault("results", fault)

    assert len(run(kit, *(flat(f"r{n}", "äöü😀") for n in range(20)))) == 20
    assert sum(call.path.endswith("/results") for call in sandbox.calls.recent) == 1


def test_requests_without_a_line_are_told_and_the_others_kept(kit: BatchKit) -> None:
    with pytest.raises(
        ResultsShortError, match="1 of 2 requests have a line"
    ) as caught:
        run(kit, flat("a"), flat("b", "[[missing]]"))

    assert set(caught.value.results) == {"a"}
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


def test_results_that_never_come_whole_stay_where_they_are(
    kit: BatchKit, sandbox: Sandbox
) -> None:
    sandbox.fault("results", "reset_half_way", times=-1)

    with pytest.raises(ResultsUnreadableError, match="29 days"):
        run(kit, flat("a"), flat("b"))


def test_results_that_were_deleted_are_said_to_be_gone(
    kit: BatchKit, sandbox: Sandbox
) -> None:
    batch_id = kit.submit([flat()])
    kit.poll_and_retrieve(batch_id, 0.05)
    sandbox.advance(days=30)

    with pytest.raises(ResultsGoneError, match="kept for 29 days"):
        kit.poll_and_retrieve(batch_id, 0.05)


# ----------------------------------------------------------------------------- estimates


def test_an_estimate_counts_a_sample_and_halves_the_price(
    kit: BatchKit, sandbox: Sandbox
) -> None:
    estimate = kit.estimate(flat(f"r{n}", "word " * 100) for n in range(1000))

    assert estimate["requests"] == 1000
    assert estimate["counted"]
    assert estimate["output_tokens_ceiling"] == 100_000
    assert estimate["batch_usd"] == pytest.approx(estimate["standard_usd"] / 2)
    assert estimate["batch_usd"] <= estimate["batch_usd_ceiling"]
    assert sandbox.count("POST", BATCHES) == 0
    assert sandbox.count("POST", "/v1/messages/count_tokens") <= 12


def test_an_estimate_is_rough_where_the_api_does_not_count(
    kit: BatchKit, sandbox: Sandbox
) -> None:
    sandbox.fault("count_tokens", "overloaded", times=-1)

    estimate = kit.estimate([flat()])

    assert not estimate["counted"]
    assert estimate["input_tokens"] > 10


def test_an_unknown_price_is_not_zero(kit: BatchKit) -> None:
    estimate = kit.estimate([flat() | {"model": "claude-nobody-9"}])

    assert estimate["batch_usd"] is None
    assert estimate["savings_usd"] is None
