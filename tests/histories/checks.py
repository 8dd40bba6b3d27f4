"""The books of a history: what must be true whatever happened."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from batchkit_tasks.records import Submitted
from batchkit_tasks.run_dir import RunDir
from batchkit_tasks.sandbox.server import Sandbox
from tests.histories.plans import Plan
from tests.integration.running import read, right_answer


def check(plan: Plan, sandbox: Sandbox, folder: Path) -> None:
    """Every row once, with its answer, paid once per attempt that was justified.

    Raises:
        AssertionError: The books do not balance.
    """
    rows = read(folder / "out.parquet")
    assert [row["text"] for row in rows] == plan.texts, "rows were lost or moved"
    # A row that is alone in its batch and refused by its size has had its only chance.
    good = {"succeeded"} | ({"oversized"} if plan.refuses_sizes else set())
    failed = [(r["text"], r["_error"]) for r in rows if r["_status"] not in good]
    assert not failed, f"rows did not succeed: {failed}"
    answered = [row for row in rows if row["_status"] == "succeeded"]
    wrong = [r["text"] for r in answered if r["response"] != right_answer(r["text"])]
    assert not wrong, f"wrong answers: {wrong}"
    sent = Counter(
        int(custom_id.rpartition("-")[2])
        for batch in sandbox.ledger().all_custom_ids().values()
        for custom_id in batch
    )
    justified = Counter(
        {n: 2 if "[[once" in text else 1 for n, text in enumerate(plan.texts)}
    )
    for position, row in enumerate(rows):
        if row["_status"] == "oversized":
            assert sent[position] < justified[position], "paid, then too large"
            justified[position] = sent[position]
    assert not sent - justified, f"paid more than once: {sent - justified}"
    assert not justified - sent, f"not paid as often as it failed: {justified - sent}"
    run = RunDir(str(next(folder.glob("_batchkit/out.parquet/*"))))
    records = list(run.records())
    known = [record.batch_id for record in records if isinstance(record, Submitted)]
    accepted = {batch.id for batch in sandbox.ledger().batches()}
    assert set(known) == accepted, "a batch is nobody's, or somebody else's is ours"
    assert len(known) == len(accepted), "a batch is recorded twice"
    assert not list(folder.rglob("missed/*.json")), "a miss was not forgotten"
