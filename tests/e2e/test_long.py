"""What takes minutes: `pytest -m long tests/e2e/test_long.py`."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from prefect.states import Scheduled

from batchkit_tasks import steps
from batchkit_tasks.credentials import AnthropicCredentials
from batchkit_tasks.parameters import Advanced, Job, TextAnswer
from tests.e2e.processes import python, wait_for
from tests.e2e.scenes import PROMPT, Scene
from tests.e2e.stack import DEPLOYMENT, SWEEP, Stack

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def slow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A server and a worker with Prefect's and our own settings as they come; the
    worker takes one run at a time; failed runs have two retries."""
    with Stack(
        tmp_path_factory.mktemp("slow"),
        worker_limit=1,
        PREFECT_WORKER_QUERY_SECONDS="10",
        PREFECT_WORKER_PREFETCH_SECONDS="10",
        BATCHKIT_SHORTEST_SUSPENSION_SECONDS="30",
        PREFECT_FLOWS_DEFAULT_RETRIES="2",
    ) as running:
        yield running


def test_retries_are_whole_after_five_wakes(slow: Stack) -> None:
    scene = Scene(slow, "retries", rows=5)
    run = scene.start()
    wait_for(
        lambda: slow.history(run).count("AwaitingRetry") >= 6,
        description="the run has woken up five times",
        seconds=600,
    )
    before = slow.run(run)
    scene.sandbox.order("faults", endpoint="retrieve", kind="unauthorized", times=-1)
    scene.sandbox.order("faults", endpoint="list", kind="unauthorized", times=-1)
    wait_for(lambda: slow.state(run).is_final(), description="it fails", seconds=600)

    assert before.run_count == 1
    assert slow.run(run).run_count == 3
    assert slow.state(run).is_failed()
    slow.wait_for_no_process(run)  # else a worker with a limit dies of a retry
    scene.sandbox.clear_faults()
    scene.end_all()
    slow.client.set_flow_run_state(run, Scheduled(name="AwaitingRetry"))
    slow.wait_until_completed(run, seconds=600)
    assert scene.is_right()
    assert slow.worker.is_running


def test_a_worker_that_is_stopped_while_a_run_waits_may_come_back_late(
    slow: Stack,
) -> None:
    scene = Scene(slow, "late")
    run = scene.start()
    slow.wait_until_waiting(run, seconds=600)

    slow.worker.stop()
    scene.end_all()
    time.sleep(60)
    state = slow.state(run)
    slow.worker.start()
    slow.wait_until_completed(run, seconds=600)

    assert state.name == "AwaitingRetry"
    assert scene.is_right()


def test_a_sweep_starts_a_crashed_run_again(slow: Stack) -> None:
    scene = Scene(slow, "crashed")
    scene.sandbox.order(
        "faults", endpoint="create", kind="accepted_then_hang", seconds=60, times=1
    )
    run = scene.start()
    scene.wait_for_batches(3)
    slow.kill_process(run)
    time.sleep(70)
    sweep = slow.start_run({}, deployment=SWEEP)
    slow.wait_until_completed(sweep, seconds=600)
    slow.wait_until_waiting(run, seconds=600)
    scene.end_all()
    slow.wait_until_completed(run, seconds=600)

    assert scene.is_right()
    assert len(scene.sandbox.batches()) == 3


def test_without_the_automation_a_sweep_cleans_up_behind_a_canceled_run(
    slow: Stack,
) -> None:
    scene = Scene(slow, "backstop")
    for automation in slow.client.read_automations():
        slow.client.pause_automation(automation.id)
    run = scene.start(check_every_seconds=600)
    slow.wait_until_waiting(run, seconds=600)
    scene.sandbox.end(scene.sandbox.batches()[0])
    slow.cancel(run)
    sweep = slow.start_run({}, deployment=SWEEP)
    slow.wait_until_completed(sweep, seconds=600)
    for automation in slow.client.read_automations():
        slow.client.resume_automation(automation.id)

    assert set(scene.remote_states()) == {"ended"}
    assert scene.statuses()["succeeded"] >= 10


def test_one_pass_of_the_sweep_handles_two_hundred_waiting_runs(slow: Stack) -> None:
    scene = Scene(slow, "many", rows=3)
    runs = [waiting_run(scene, number) for number in range(200)]
    assert len(scene.sandbox.batches()) == 200
    time.sleep(61)

    idle = pass_in_a_process(slow)
    for batch in scene.sandbox.batches()[:100]:
        scene.sandbox.end(batch)
    busy = pass_in_a_process(slow)

    assert idle["swept"]["waiting"] == 200
    assert idle["swept"]["woken"] == []
    assert len(busy["swept"]["woken"]) == 50
    assert not idle["swept"]["problems"] + busy["swept"]["problems"]
    scene.note(idle_pass=figures(idle), pass_that_wakes_50=figures(busy))
    for run in runs:
        slow.set_state(run, "CANCELLED")


def waiting_run(scene: Scene, number: int) -> UUID:
    """A run that waits for one batch, made without the process that would submit it."""
    source = scene.stack.folder / f"many-{number}.parquet"
    source.write_bytes(scene.source.read_bytes())
    credentials = AnthropicCredentials.model_validate(
        {"api_key": f"sk-ant-{scene.name}", "base_url": scene.sandbox.url}
    )
    asked = Job(
        source=str(source),
        prompt=PROMPT,
        output=str(scene.stack.folder / "many" / f"{number}.parquet"),
        model="claude-haiku-5-5",
        answer=TextAnswer(),
        advanced=Advanced(check_every_seconds=600),
    )
    directory = steps.stage_input(asked)
    steps.plan_chunks(directory)
    steps.submit_chunk(directory, 0, credentials)
    client = scene.stack.client
    deployment = client.read_deployment_by_name(DEPLOYMENT)
    run = client.create_flow_run_from_deployment(
        deployment.id,
        parameters={**scene.parameters(), "source": str(source)},
        state=Scheduled(
            name="AwaitingRetry",
            scheduled_time=datetime.now(UTC) + timedelta(hours=1),
        ),
        tags=["batchkit"],
    )
    client.update_flow_run_labels(run.id, {"batchkit.run": directory})
    return run.id


PEAK = """
import re
from pathlib import Path
def peak_mb():
    # Not ru_maxrss: that begins with what the process that started this one had.
    status = Path("/proc/self/status").read_text()
    return int(re.search(r"VmHWM:\\s+(\\d+)", status)[1]) / 1024
"""

PASS = (
    PEAK
    + """
import json, resource, time
from prefect.client.orchestration import get_client
begun = time.monotonic()
from batchkit_tasks.sweeping import Sweep
from batchkit_tasks.flow_run.tracking import Tracker
with get_client(sync_client=True) as client:
    started = time.monotonic()
    swept = Sweep(Tracker(client), lambda line: None).everything()
used = resource.getrusage(resource.RUSAGE_SELF)
print(json.dumps({
    "swept": swept.as_dict(), "seconds": time.monotonic() - started,
    "cpu_seconds": used.ru_utime + used.ru_stime, "peak_mb": peak_mb(),
}))
"""
)


def pass_in_a_process(stack: Stack) -> dict[str, Any]:
    """One pass over everything, measured."""
    done = subprocess.run(
        python("-c", PASS), env=stack.env, capture_output=True, text=True, check=True
    )
    return json.loads(done.stdout.splitlines()[-1])


def figures(measured: dict[str, Any]) -> dict[str, float]:
    """What was measured, rounded."""
    return {
        name: round(measured[name], 1) for name in ("seconds", "cpu_seconds", "peak_mb")
    }


def test_a_wake_costs_little(slow: Stack) -> None:
    scene = Scene(slow, "wake", rows=5)
    run = scene.start(check_every_seconds=3600)
    slow.wait_until_waiting(run, seconds=600)
    slow.worker.stop()
    loaded = Path(slow.folder / "loaded.txt")

    costs = [wake_by_hand(slow, run, loaded) for _ in range(3)]
    slow.worker.start()

    modules = set(loaded.read_text().split())
    scene.note(wakes=costs)
    assert "prefect.flow_engine" in modules
    assert not modules & {"pyarrow", "pandas", "numpy", "genai_prices", "matplotlib"}


def wake_by_hand(stack: Stack, run: UUID, loaded: Path) -> dict[str, float]:
    """Start the process of a run as a worker does, and measure it."""
    stack.client.set_flow_run_state(run, Scheduled(name="AwaitingRetry"))
    peak = loaded.with_name("peak.txt")
    code = (
        f"{PEAK}import atexit, runpy, sys\n"
        f"atexit.register(lambda: Path({str(loaded)!r}).write_text("
        "' '.join(sys.modules)))\n"
        f"atexit.register(lambda: Path({str(peak)!r}).write_text(str(peak_mb())))\n"
        "sys.argv = ['prefect.engine']\n"
        "runpy.run_module('prefect.engine', run_name='__main__')"
    )
    environment = {**stack.env, "PREFECT__FLOW_RUN_ID": str(run)}
    start = time.monotonic()
    with subprocess.Popen(python("-c", code), env=environment) as process:
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0
    assert stack.state(run).name == "AwaitingRetry"
    return {
        "seconds": round(time.monotonic() - start, 1),
        "cpu_seconds": round(used.ru_utime + used.ru_stime, 1),
        "peak_mb": round(float(peak.read_text())),
    }
