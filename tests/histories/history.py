"""Let a history happen."""

from __future__ import annotations

import contextlib
import os
import signal
import tempfile
import threading
import time
from collections.abc import Generator
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Final

import pandas as pd

from batchkit_tasks.sandbox.server import Sandbox
from tests.histories import checks, plans, process
from tests.integration.running import job

LONGEST_TURN: Final = 240.0
"""A busy machine is slow; a process that does nothing is not."""

MOST_TURNS: Final = 30
MOST_NEIGHBOURS: Final = 60


class HistoryError(AssertionError):
    """The books did not balance, or the run did not come to its end."""


def run(seed: int) -> dict[str, int]:
    """Let the history of a seed happen, and check it.

    Returns:
        What happened, in numbers.

    Raises:
        HistoryError: Something was lost, paid twice, or never ended.
    """
    plan = plans.plan(seed)
    with tempfile.TemporaryDirectory(prefix=f"history-{seed}-") as name:
        folder = Path(name)
        with Sandbox(**plan.settings) as sandbox:
            sandbox.advance(hours=plan.clock_hours)
            for endpoint, kind, options in plan.faults:
                sandbox.fault(endpoint, kind, **options)
            try:
                with _neighbours(sandbox, plan):
                    happened = _happen(plan, sandbox, folder)
                checks.check(plan, sandbox, folder)
            except (AssertionError, OSError) as error:
                told = f"seed {seed}: {error}\n{_told(folder)}"
                raise HistoryError(told) from error
            calls = sandbox.ledger().calls
            return happened | {
                "rows": len(plan.texts),
                "batches": len(sandbox.ledger().batches()),
                "foreign": len(sandbox.store.all()) - len(sandbox.ledger().batches()),
                "faults": len(plan.faults) - len(sandbox.faults.pending()),
                "creates": calls.get("create", 0),
            }


def _happen(plan: plans.Plan, sandbox: Sandbox, folder: Path) -> dict[str, int]:
    source = folder / "in.parquet"
    pd.DataFrame({"text": plan.texts}).to_parquet(source)
    advanced = {
        "rows_per_batch": plan.rows_per_batch,
        "max_requests_in_flight": plan.in_flight,
        "check_every_seconds": 0.1,
    }
    asked = job(source, folder / "out.parquet", "{text}", advanced=advanced)
    text, log = asked.model_dump_json(), folder / "log.txt"
    turns: list[plans.Turn] = [*plan.turns]
    happened = {"starts": 0, "killed": 0, "stopped": 0}
    last = plans.Turn((None,), None)
    for number in range(MOST_TURNS):
        turn = turns[number] if number < len(turns) else last
        started = [process.start(text, sandbox.url, d, log) for d in turn.deaths]
        codes = _end(started, turn, sandbox)
        happened["starts"] += len(codes)
        happened["killed"] += codes.count(-signal.SIGKILL)
        happened["stopped"] += codes.count(process.STOPPED)
        strange = set(codes) - {0, -signal.SIGKILL, process.STOPPED}
        assert not strange, f"a process ended with {strange}"
        if turn is last and codes == [0]:
            return happened
    raise AssertionError("the run did not come to its end")


def _end(
    started: list[BaseProcess], turn: plans.Turn, sandbox: Sandbox
) -> list[int | None]:
    deadline = time.monotonic() + LONGEST_TURN
    before = dict(sandbox.ledger().calls)
    while any(map(process.is_alive, started)):
        assert time.monotonic() < deadline, "a process hangs"
        if turn.killed_after:
            endpoint, calls = turn.killed_after
            now = sandbox.ledger().calls.get(endpoint, 0) - before.get(endpoint, 0)
            if now >= calls:
                for one in started:
                    if process.is_alive(one) and one.pid:
                        with contextlib.suppress(ProcessLookupError):
                            os.kill(one.pid, signal.SIGKILL)
        time.sleep(0.005)
    return [one.exitcode for one in started]


@contextlib.contextmanager
def _neighbours(sandbox: Sandbox, plan: plans.Plan) -> Generator[None]:
    """Somebody else creates batches of our sizes, all the time."""
    over = threading.Event()

    def create() -> None:
        for _ in range(MOST_NEIGHBOURS):
            if over.wait(plan.neighbours):
                return
            sandbox.create_foreign(plan.size())

    thread = threading.Thread(target=create, name="neighbours")
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _told(folder: Path) -> str:
    """What can help to understand a failure."""
    log = folder / "log.txt"
    told = [log.read_text()[-6000:] if log.exists() else ""]
    for path in sorted(folder.rglob("chunks/*.json")):
        told.append(f"{path.name}: {path.read_text()[:700]}")
    return "\n".join(told)
