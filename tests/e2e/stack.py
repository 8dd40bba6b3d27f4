"""A real Prefect server, a real process worker and a sandbox, each its own process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, ExitStack
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, cast
from uuid import UUID

import httpx
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import (
    ArtifactFilter,
    ArtifactFilterFlowRunId,
    ArtifactFilterKey,
    FlowRunFilter,
    FlowRunFilterDeploymentId,
    FlowRunFilterId,
    FlowRunFilterState,
    FlowRunFilterStateName,
)
from prefect.client.schemas.objects import (
    Artifact,
    ConcurrencyLimitStrategy,
    ConcurrencyOptions,
    FlowRun,
    State,
)
from prefect.client.schemas.sorting import FlowRunSort
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.states import Scheduled

from batchkit_tasks import AnthropicCredentials
from tests.e2e.processes import (
    ROOT,
    Program,
    answers,
    free_port,
    prefect,
    processes_of_run,
    python,
    wait_for,
)

if TYPE_CHECKING:
    from prefect.client.orchestration.routes import ServerRoutes

POOL = "batchkit"
DEPLOYMENT = "batch-table/batch-table"
NIGHTLY = "batch-table/nightly"
SWEEP = "batch-sweep/sweep"


class SandboxProgram(Program):
    """The sandbox in its own process, ordered about over HTTP."""

    def __init__(
        self, folder: Path, env: Mapping[str, str], name: str = "sandbox"
    ) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        command = python("-m", "batchkit_tasks.sandbox", "--port", str(self.port))
        super().__init__(name, command, env, folder)

    def start(self) -> None:
        """Start it, with batches that run until they are told to end."""
        super().start()
        wait_for(lambda: answers(f"{self.url}/sandbox"), description="sandbox answers")
        self.order("settings", batch_seconds=None, retry_after=None, cancel_seconds=0.5)

    def order(self, path: str, **body: Any) -> dict[str, Any]:
        """Order something: see `batchkit_tasks.sandbox.control_routes`."""
        answer = httpx.post(f"{self.url}/sandbox/{path}", json=body, timeout=60)
        answer.raise_for_status()
        return answer.json()

    def clear_faults(self) -> None:
        """Take back the faults that were ordered."""
        httpx.delete(f"{self.url}/sandbox/faults", timeout=60).raise_for_status()

    def batches(self) -> list[dict[str, Any]]:
        """What was bought, oldest first."""
        answer = httpx.get(f"{self.url}/sandbox/ledger", timeout=60)
        answer.raise_for_status()
        return sorted(answer.json()["batches"], key=lambda batch: batch["created_at"])

    def calls(self) -> list[dict[str, Any]]:
        """The last calls, of every kind."""
        answer = httpx.get(f"{self.url}/sandbox/calls", timeout=60)
        answer.raise_for_status()
        return answer.json()["calls"]

    def end(self, batch: Mapping[str, Any]) -> None:
        """Let a batch end."""
        self.order(f"batches/{batch['id']}/end")


class Stack(AbstractContextManager["Stack"]):
    """Server and worker, and sandboxes as asked for; all are killed at the end.

    May be used from several threads.
    """

    def __init__(
        self, folder: Path, *, worker_limit: int | None = None, **env: str
    ) -> None:
        self.folder = folder
        self.port = free_port()
        self.ui = f"http://127.0.0.1:{self.port}"
        self.api = f"{self.ui}/api"
        self.env = {
            **{k: v for k, v in os.environ.items() if not k.startswith("PREFECT_")},
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "DO_NOT_TRACK": "1",
            "PREFECT_HOME": str(folder / "home"),
            "PREFECT_API_URL": self.api,
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            "PREFECT_SERVER_DATABASE_CONNECTION_TIMEOUT": "60",
            "PREFECT_CLOUD_ENABLE_ORCHESTRATION_TELEMETRY": "false",
            "PREFECT_WORKER_QUERY_SECONDS": "2",
            "PREFECT_WORKER_PREFETCH_SECONDS": "2",
            "BATCHKIT_SHORTEST_SUSPENSION_SECONDS": "15",
            # The sandbox lists what it accepted at once, and answers at once.
            "BATCHKIT_PROPAGATION_GRACE_SECONDS": "5",
            "BATCHKIT_ANSWER_TO_CREATE_SECONDS": "30",
            **env,
        }
        self._own = threading.local()
        self._open = ExitStack()
        self._sandboxes: list[SandboxProgram] = []
        self.server = Program(
            "server",
            prefect("server", "start", "--host", "127.0.0.1", "--port", str(self.port)),
            self.env,
            folder,
        )
        # Without a limit, a worker survives runs that are due again before their process
        # has exited; on a crowded machine that takes longer than they wait here.
        limit = ["--limit", str(worker_limit)] if worker_limit else []
        self.worker = Program(
            "worker",
            prefect("worker", "start", "--pool", POOL, "--type", "process", *limit),
            self.env,
            folder,
        )

    def __enter__(self) -> Self:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.start_server()
        self.deploy()
        self.worker.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for program in (self.worker, self.server, *self._sandboxes):
            program.kill()
        self._open.close()

    def start_server(self) -> None:
        """Start the server and wait until it answers."""
        self.server.start()
        wait_for(
            lambda: answers(f"{self.api}/health"),
            description="the Prefect server answers",
            seconds=180,
        )

    @property
    def client(self) -> SyncPrefectClient:
        """Prefect's own client for this server."""
        client: SyncPrefectClient | None = getattr(self._own, "client", None)
        if client is None:
            client = self._own.client = SyncPrefectClient(self.api)
            self._open.enter_context(client)
        return client

    def deploy(self) -> subprocess.CompletedProcess[str]:
        """Run `deployments/deploy.py`, as a person does; the sweep is paused after it."""
        done = subprocess.run(
            python(str(ROOT / "deployments" / "deploy.py")),
            env={**self.env, "ANTHROPIC_API_KEY": "sk-ant-nobody-uses-this"},
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=300,
        )
        if done.returncode == 0:
            sweep = self.client.read_deployment_by_name(SWEEP)
            self.client.pause_deployment(sweep.id)
        return done

    def new_sandbox(self, name: str) -> SandboxProgram:
        """Start a sandbox of one's own, whose batches end when they are told to."""
        sandbox = SandboxProgram(self.folder, self.env, f"sandbox-{name}")
        self._sandboxes.append(sandbox)
        sandbox.start()
        return sandbox

    def credentials(self, name: str, sandbox: SandboxProgram) -> dict[str, Any]:
        """Save a credentials block for a sandbox; a parameter that refers to it."""
        with temporary_settings({PREFECT_API_URL: self.api}):
            block = AnthropicCredentials.model_validate(
                {"api_key": f"sk-ant-{name}", "base_url": sandbox.url}
            )
            block_id = block.save(name, overwrite=True)
        return {"$ref": {"block_document_id": str(block_id)}}

    # ------------------------------------------------------------------- runs

    def start_run(
        self,
        parameters: Mapping[str, Any],
        *,
        deployment: str = DEPLOYMENT,
        **more: Any,
    ) -> UUID:
        """Create a flow run of a deployment, as its page does."""
        found = self.client.read_deployment_by_name(deployment)
        created = self.client.create_flow_run_from_deployment(
            found.id, parameters=dict(parameters), **more
        )
        return created.id

    def run(self, run: UUID) -> FlowRun:
        """The flow run as the server has it."""
        return self.client.read_flow_run(run)

    def state(self, run: UUID) -> State[Any]:
        """Its state."""
        state = self.run(run).state
        assert state is not None
        return state

    def history(self, run: UUID) -> list[str]:
        """The names of all states it was in, in order."""
        states = self.client.read_flow_run_states(run)
        ordered = sorted(states, key=lambda state: state.timestamp)
        return [state.name or state.type.value for state in ordered]

    def post(self, path: str, body: Any) -> Any:
        """Ask the server as its pages do; a busy one is asked again."""
        route = cast("ServerRoutes", path)
        return self.client.request("POST", route, json=body).json()

    def task_runs(self, run: UUID) -> list[str]:
        """The names of a run's task runs."""
        wanted = FlowRunFilter(id=FlowRunFilterId(any_=[run]))
        return [
            task.name for task in self.client.read_task_runs(flow_run_filter=wanted)
        ]

    def reports(self, run: UUID) -> list[Artifact]:
        """The reports of a run; there should be one."""
        return self.client.read_artifacts(
            artifact_filter=ArtifactFilter(
                flow_run_id=ArtifactFilterFlowRunId(any_=[run]),
                key=ArtifactFilterKey(like_="batch-report-%"),
            )
        )

    def slots_in_use(self, deployment: str) -> int:
        """How many runs hold a slot of a deployment's concurrency limit."""
        found = self.client.read_deployment_by_name(deployment).global_concurrency_limit
        assert found is not None
        return found.active_slots

    def schedule(self, parameters: Mapping[str, Any], cron: str) -> UUID:
        """Give a deployment a schedule; return the first run that it makes."""
        deployment = self.client.read_deployment_by_name(DEPLOYMENT)
        made = {
            "schedule": {"cron": cron, "timezone": "UTC"},
            "active": True,
            "parameters": dict(parameters),
        }
        self.post(f"/deployments/{deployment.id}/schedules", [made])
        wanted = FlowRunFilter(
            deployment_id=FlowRunFilterDeploymentId(any_=[deployment.id]),
            state=FlowRunFilterState(name=FlowRunFilterStateName(any_=["Scheduled"])),
        )

        def first() -> UUID | None:
            found = self.client.read_flow_runs(
                flow_run_filter=wanted, sort=FlowRunSort.EXPECTED_START_TIME_ASC
            )
            by_itself = [run for run in found if run.auto_scheduled]
            return by_itself[0].id if by_itself else None

        return wait_for(first, description="the scheduler makes a run")

    def whole_log(self, run: UUID) -> list[str]:
        """The log of a run that is over: the last lines come as its process ends."""
        self.wait_for_no_process(run)
        return self.log_lines(run)

    def log_lines(self, run: UUID) -> list[str]:
        """The log of a run, as its page shows it."""
        wanted = {
            "logs": {"flow_run_id": {"any_": [str(run)]}},
            "sort": "TIMESTAMP_ASC",
            "limit": 200,
        }
        return [line["message"] for line in self.post("/logs/filter", wanted)]

    def wait(
        self,
        run: UUID,
        is_there: Callable[[State[Any]], bool],
        *,
        description: str,
        seconds: float = 240.0,
    ) -> State[Any]:
        """Wait for a state of a run."""

        def look() -> State[Any] | None:
            state = self.state(run)
            if state.is_final() and not is_there(state):
                lines = "\n".join(self.log_lines(run)[-30:])
                raise AssertionError(
                    f"{description}: the run is {state.name}: {state.message}\n{lines}"
                )
            return state if is_there(state) else None

        return wait_for(look, description=description, seconds=seconds)

    def wait_until_waiting(self, run: UUID, seconds: float = 240.0) -> State[Any]:
        """Wait until a run waits without a process."""
        state = self.wait(
            run,
            lambda state: state.name == "AwaitingRetry",
            description="the run waits",
            seconds=seconds,
        )
        self.wait_for_no_process(run)
        return state

    def kill_process(self, run: UUID) -> None:
        """Kill -9 the process of a run, and wait until its worker has noticed."""
        for pid in processes_of_run(str(run)):
            os.kill(pid, signal.SIGKILL)
        wait_for(lambda: self.state(run).is_crashed(), description="the run is Crashed")

    def wait_for_no_process(self, run: UUID) -> None:
        """Wait until no process of a run is left."""
        wait_for(
            lambda: not processes_of_run(str(run)),
            description="the processes of the run are gone",
        )

    def wait_until_completed(self, run: UUID, seconds: float = 240.0) -> None:
        """Wait until a run has completed; any other end is an error."""
        self.wait(
            run,
            lambda state: state.is_completed(),
            description="the run completes",
            seconds=seconds,
        )

    def wait_until_waiting_or_crashed(self, run: UUID) -> None:
        """Wait until a run waits, or its process gave up on the server."""

        def settled() -> bool:
            state = self.state(run)
            return state.name == "AwaitingRetry" or state.is_crashed()

        wait_for(settled, description="the run waits, or crashed")
        self.wait_for_no_process(run)

    def retry_if_crashed(self, run: UUID) -> None:
        """Press Retry, if there is such a button."""
        if self.state(run).is_crashed():
            time.sleep(15)  # Prefect's worker reports the crash a second time
            self.client.set_flow_run_state(run, Scheduled(name="AwaitingRetry"))

    def newest_run(self, deployment: str, *, source: str) -> UUID:
        """The run of a deployment over a source."""
        found = self.client.read_deployment_by_name(deployment)
        wanted = FlowRunFilter(deployment_id=FlowRunFilterDeploymentId(any_=[found.id]))
        runs = self.client.read_flow_runs(flow_run_filter=wanted)
        return next(run.id for run in runs if run.parameters.get("source") == source)

    def set_state(self, run: UUID, kind: str) -> None:
        """Set a state by force."""
        self.post(
            f"/flow_runs/{run}/set_state", {"state": {"type": kind}, "force": True}
        )

    def deploy_with_cancel_new(self) -> str:
        """Make a deployment as it must not be; return its name."""
        good = self.client.read_deployment_by_name(DEPLOYMENT)
        self.client.create_deployment(
            flow_id=good.flow_id,
            name="cancels",
            entrypoint=good.entrypoint,
            path=good.path,
            pull_steps=good.pull_steps,
            work_pool_name=POOL,
            job_variables=good.job_variables,
            parameter_openapi_schema=good.parameter_openapi_schema,
            concurrency_limit=1,
            concurrency_options=ConcurrencyOptions(
                collision_strategy=ConcurrencyLimitStrategy.CANCEL_NEW
            ),
        )
        return "batch-table/cancels"

    def delete_deployment(self, name: str) -> None:
        """Remove a deployment."""
        self.client.delete_deployment(self.client.read_deployment_by_name(name).id)

    def cancel(self, run: UUID) -> datetime:
        """Cancel a run as the button of its page does; return when."""
        state = {"type": "CANCELLING", "name": "Cancelling"}
        self.post(f"/flow_runs/{run}/set_state", {"state": state})
        return datetime.now(UTC)
