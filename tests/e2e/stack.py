"""A real Prefect server, a real process worker and a sandbox, each its own process."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from uuid import UUID

import httpx
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import FlowRun, State

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

POOL = "batchkit"
DEPLOYMENT = "batch-table/batch-table"
KEY = "sk-ant-sandbox-e2e"


class SandboxProgram(Program):
    """The sandbox in its own process, ordered about over HTTP."""

    def __init__(self, folder: Path, env: Mapping[str, str]) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        command = python("-m", "batchkit_tasks.sandbox", "--port", str(self.port))
        super().__init__("sandbox", command, env, folder)

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

    def batches(self, key: str) -> list[dict[str, Any]]:
        """What was bought with a key, oldest first."""
        answer = httpx.get(f"{self.url}/sandbox/ledger", timeout=60)
        answer.raise_for_status()
        found = [b for b in answer.json()["batches"] if b["key"][-4:] == key[-4:]]
        return sorted(found, key=lambda batch: batch["created_at"])

    def end(self, batch: Mapping[str, Any]) -> None:
        """Let a batch end."""
        self.order(f"batches/{batch['id']}/end")


class Stack(AbstractContextManager["Stack"]):
    """Server, worker and sandbox; everything is killed at the end."""

    def __init__(self, folder: Path, *, worker_limit: int | None = None) -> None:
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
        }
        self.sandbox = SandboxProgram(folder, self.env)
        self.server = Program(
            "server",
            prefect("server", "start", "--host", "127.0.0.1", "--port", str(self.port)),
            self.env,
            folder,
        )
        limit = ["--limit", str(worker_limit)] if worker_limit else []
        self.worker = Program(
            "worker",
            prefect("worker", "start", "--pool", POOL, "--type", "process", *limit),
            self.env,
            folder,
        )
        self._client: SyncPrefectClient | None = None

    def __enter__(self) -> Self:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.sandbox.start()
        self.start_server()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for program in (self.worker, self.server, self.sandbox):
            program.kill()

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
        if self._client is None:
            self._client = SyncPrefectClient(self.api)
        return self._client

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

    def log_lines(self, run: UUID) -> list[str]:
        """The log of a run, as its page shows it."""
        answer = httpx.post(
            f"{self.api}/logs/filter",
            json={
                "logs": {"flow_run_id": {"any_": [str(run)]}},
                "sort": "TIMESTAMP_ASC",
                "limit": 200,
            },
            timeout=60,
        )
        answer.raise_for_status()
        return [line["message"] for line in answer.json()]

    def wait(
        self,
        run: UUID,
        is_there: Callable[[State[Any]], bool],
        *,
        description: str,
        seconds: float = 120.0,
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

    def wait_until_waiting(self, run: UUID, seconds: float = 120.0) -> State[Any]:
        """Wait until a run waits without a process."""
        state = self.wait(
            run,
            lambda state: state.name == "AwaitingRetry",
            description="the run waits",
            seconds=seconds,
        )
        self.wait_for_no_process(run)
        return state

    def wait_for_no_process(self, run: UUID) -> None:
        """Wait until no process of a run is left."""
        wait_for(
            lambda: not processes_of_run(str(run)),
            description="the processes of the run are gone",
            seconds=30,
        )

    def wait_until_completed(self, run: UUID, seconds: float = 180.0) -> None:
        """Wait until a run has completed; any other end is an error."""
        self.wait(
            run,
            lambda state: state.is_completed(),
            description="the run completes",
            seconds=seconds,
        )

    def cancel(self, run: UUID) -> datetime:
        """Cancel a run as the button of its page does; return when."""
        answer = httpx.post(
            f"{self.api}/flow_runs/{run}/set_state",
            json={"state": {"type": "CANCELLING", "name": "Cancelling"}},
            timeout=60,
        )
        answer.raise_for_status()
        return datetime.now(UTC)
