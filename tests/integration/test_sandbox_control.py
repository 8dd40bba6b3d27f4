"""The ledger, the control handle over HTTP, the small endpoints, the command."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anthropic
import httpx2
import pytest
from anthropic import Anthropic

from batchkit_tasks.sandbox.faults import ENDPOINTS, kinds_for
from batchkit_tasks.sandbox.server import Sandbox
from tests.integration.sandbox_support import MODEL, create, ended, params_of


@pytest.fixture
def control(held_sandbox: Sandbox) -> Iterator[httpx2.Client]:
    with httpx2.Client(base_url=f"{held_sandbox.url}/sandbox", timeout=10) as made:
        yield made


def test_the_ledger_knows_what_was_accepted(
    held_sandbox: Sandbox, held_client: Anthropic
) -> None:
    batch = create(held_client, "a", "b")
    held_sandbox.create_foreign(2)

    ledger = held_sandbox.ledger()

    assert [entry.id for entry in ledger.batches()] == [batch.id]
    assert len(ledger.batches(foreign=True)) == 2
    assert ledger.all_custom_ids() == {batch.id: ["r0", "r1"]}
    assert ledger.params(batch.id)["r1"] == params_of("b")
    assert ledger.batch(batch.id).key == "…0000"
    assert ledger.billed(batch.id) == {}
    assert ledger.calls == {"create": 1}
    assert held_sandbox.count("POST", "/v1/messages/batches") == 1


def test_the_ledger_bills_what_the_results_say(
    held_sandbox: Sandbox, held_client: Anthropic
) -> None:
    batch, results = ended(held_sandbox, held_client, "a [[cache]]", "[[refusal]]")

    ledger = held_sandbox.ledger()

    usage = results["r0"]["message"]["usage"]
    assert ledger.billed(batch.id) == {"r0": usage}
    totals = ledger.billed_totals(batch.id)
    assert totals["requests"] == 1
    assert totals["ephemeral_1h_input_tokens"] == 200
    assert totals["output_tokens"] == usage["output_tokens"]


def test_a_large_run_need_not_keep_its_requests(
    held_sandbox: Sandbox, held_client: Anthropic
) -> None:
    held_sandbox.settings.change(keep_requests=False, answers="fixed")

    batch, results = ended(held_sandbox, held_client, "a", "b [[refusal]]")

    assert sorted(held_sandbox.ledger().custom_ids(batch.id)) == ["r0", "r1"]
    texts = {line["message"]["content"][0]["text"] for line in results.values()}
    assert texts == {"[sandbox] fixed answer"}


def test_faults_are_ordered_over_http(
    control: httpx2.Client, held_client: Anthropic
) -> None:
    order = {"endpoint": "create", "kind": "overloaded", "times": 2, "message": "Full"}

    answer = control.post("/faults", json=order).json()

    assert answer["faults"][0]["kind"] == "overloaded"
    with pytest.raises(anthropic.OverloadedError, match="Full"):
        create(held_client, "a")
    assert control.delete("/faults").json() == {"faults": []}
    create(held_client, "a")


@pytest.mark.parametrize(
    "order",
    [
        {"endpoint": "create", "kind": "unheard_of"},
        {"endpoint": "unheard_of", "kind": "overloaded"},
        {"kind": "overloaded"},
    ],
)
def test_a_wrong_order_is_refused(control: httpx2.Client, order: Any) -> None:
    answer = control.post("/faults", json=order)

    assert answer.status_code == 400
    assert answer.json()["error"]


def test_time_and_batches_are_moved_over_http(
    control: httpx2.Client, held_client: Anthropic
) -> None:
    batch, other = create(held_client, "a"), create(held_client, "b", "c")

    held = control.post(f"/batches/{other.id}/hold", json={"progress": 0.5}).json()
    done = control.post(f"/batches/{batch.id}/end").json()
    moved = control.post("/clock", json={"advance_seconds": 90_000}).json()

    assert held["processing_status"] == "in_progress"
    assert done["processing_status"] == "ended"
    assert moved["now"] > other.expires_at.isoformat()
    assert held_client.messages.batches.retrieve(other.id).request_counts.expired == 1
    assert control.post("/batches/unknown/end").status_code == 404
    assert control.post(f"/batches/{batch.id}/explode").status_code == 404


def test_settings_and_keys_are_changed_over_http(
    control: httpx2.Client, held_client: Anthropic
) -> None:
    control.post("/settings", json={"batch_seconds": 0.01, "retry_after": None})
    control.post("/keys", json={"key": "revoked", "status": 401})

    batch = create(held_client, "a")
    time.sleep(0.02)

    assert held_client.messages.batches.retrieve(batch.id).processing_status == "ended"
    with pytest.raises(anthropic.AuthenticationError):
        held_client.with_options(api_key="revoked").messages.batches.list()
    assert control.post("/settings", json={"unheard_of": 1}).status_code == 400


def test_the_ledger_is_read_over_http(
    control: httpx2.Client, held_client: Anthropic
) -> None:
    batch = create(held_client, "a", "b")
    foreign = control.post("/batches", json={"requests": 3}).json()["id"]
    control.post("/end_all")

    summary = control.get("/ledger").json()
    detail = control.get("/ledger", params={"batch": batch.id, "detail": "custom_ids"})
    billed = control.get("/ledger", params={"detail": "billed_totals"}).json()

    assert [entry["id"] for entry in summary["batches"]] == [batch.id, foreign]
    assert summary["calls"] == {"create": 1}
    assert detail.json()["batches"][0]["custom_ids"] == ["r0", "r1"]
    assert billed["batches"][0]["billed_totals"]["requests"] == 2
    assert control.get("/ledger", params={"detail": "unheard_of"}).status_code == 404
    assert control.get("/calls").json()["calls"][0]["endpoint"] == "create"
    assert control.get("../sandbox").json()["batches"] == 2


def test_tokens_are_counted_as_they_are_billed(
    held_sandbox: Sandbox, held_client: Anthropic
) -> None:
    asked: Any = [{"role": "user", "content": "How many tokens? äöü"}]

    counted = held_client.messages.count_tokens(model=MODEL, messages=asked)

    _, results = ended(held_sandbox, held_client, "How many tokens? äöü")
    usage = results["r0"]["message"]["usage"]
    assert counted.input_tokens == usage["input_tokens"]
    with pytest.raises(anthropic.NotFoundError, match="model: unknown"):
        held_client.messages.count_tokens(model="unknown", messages=asked)
    with pytest.raises(anthropic.BadRequestError, match="at least one message"):
        held_client.messages.count_tokens(model=MODEL, messages=[])


def test_models_are_listed_and_found_by_alias(client: Anthropic) -> None:
    listed = list(client.models.list())

    found = client.models.retrieve("claude-haiku-5-5")

    assert found in listed
    assert found.id == "claude-haiku-5-5-20261007"
    assert found.capabilities is not None
    assert found.capabilities.batch.supported
    with pytest.raises(anthropic.NotFoundError):
        client.models.retrieve("claude-9")


def test_a_results_url_can_point_to_a_foreign_host(
    held_sandbox: Sandbox, held_client: Anthropic
) -> None:
    held_sandbox.settings.change(results_url_base="http://127.0.0.2:9")

    batch = create(held_client, "a")
    held_sandbox.end(batch.id)

    url = held_client.messages.batches.retrieve(batch.id).results_url
    assert url == f"http://127.0.0.2:9/v1/messages/batches/{batch.id}/results"


def test_a_slow_upload_is_slow(sandbox: Sandbox, client: Anthropic) -> None:
    sandbox.settings.change(upload_bytes_per_second=500_000)

    started = time.monotonic()
    create(client, "x" * 200_000)

    assert time.monotonic() - started > 0.3


def test_every_fault_is_in_the_documentation() -> None:
    import batchkit_tasks.sandbox as package

    kinds = set[str]().union(*(kinds_for(endpoint) for endpoint in ENDPOINTS))

    assert {kind for kind in kinds if f"`{kind}`" not in str(package.__doc__)} == set()


def test_every_marker_is_in_the_documentation() -> None:
    import batchkit_tasks.sandbox as package
    from batchkit_tasks.sandbox.endings import CHANGES

    undocumented = {
        name
        for name in CHANGES
        if f"[[{name}]]" not in str(package.__doc__)
        and f"[[{name}:N]]" not in str(package.__doc__)
    }

    assert undocumented == set()


def test_stopping_is_quick_even_with_calls_that_hang() -> None:
    with Sandbox() as running:
        running.fault("list", "hang")
        with (
            Anthropic(**running.client_options, max_retries=0, timeout=0.1) as made,
            pytest.raises(anthropic.APITimeoutError),
        ):
            made.messages.batches.list()
        started = time.monotonic()

    assert time.monotonic() - started < 1.0


def test_the_command_serves_until_it_is_told_to_stop(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "batchkit_tasks.sandbox", "--port", "0"]
    options = ["--batch-seconds", "0.01", "--stop-after", "60"]

    with subprocess.Popen(
        [*command, *options], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        with Anthropic(base_url=url, api_key="any", max_retries=0) as made:
            batch = create(made, "a")
            time.sleep(0.1)
            status = made.messages.batches.retrieve(batch.id).processing_status
        process.terminate()
        code = process.wait(10)

    assert url.startswith("http://127.0.0.1:")
    assert status == "ended"
    assert code == 0
