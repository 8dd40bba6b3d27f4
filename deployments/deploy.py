"""Put everything on a Prefect server that deployed runs need; safe to run again.

    python deployments/deploy.py

Creates, or brings up to date: the process work pool `batchkit`, the block type, the
credentials block `anthropic` from ANTHROPIC_API_KEY and ANTHROPIC_BASE_URL (one that is
there stays as it is), the deployments of `prefect.yaml`, and the automation that cleans
up behind runs that are canceled while they wait. Prints the addresses. Asks nothing.

Exit code 2: something must be mended first; it says what.
"""

from __future__ import annotations

import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path
from typing import Final, cast
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import DeploymentUpdate, WorkPoolCreate
from prefect.client.schemas.filters import FlowFilter, FlowFilterName
from prefect.events.actions import RunDeployment
from prefect.events.schemas.automations import (
    AutomationCore,
    EventTrigger,
    Posture,
)
from prefect.exceptions import ObjectNotFound
from prefect.settings import PREFECT_API_URL, PREFECT_UI_URL

from batchkit_tasks import AnthropicCredentials, BatchkitError
from batchkit_tasks.errors import CollisionStrategyError
from batchkit_tasks.flow_run import cancels_waiting_runs

ROOT: Final = Path(__file__).resolve().parents[1]
AUTOMATION: Final = "batchkit: clean up behind canceled runs"
FLOW: Final = "batch-table"
POOL: Final = "batchkit"
CREDENTIALS: Final = "anthropic"
PATIENCE_SECONDS: Final = 120.0
"""For the first answer of the server, which makes its database first."""


def main() -> int:
    """Deploy, and return the exit code."""
    if not PREFECT_API_URL.value():
        print("No server: set PREFECT_API_URL, such as http://127.0.0.1:4200/api.")
        return 2
    with get_client(sync_client=True) as client:
        if not answers(client):
            print(f"No server answers at {PREFECT_API_URL.value()}: is it running?")
            return 2
        try:
            refuse_cancel_new(client)
            credentials = credentials_block()
        except BatchkitError as error:
            print(error)
            return 2
        work_pool(client)
        deploy_all()
        show_credentials_in_form(client, credentials)
        clean_up = client.read_deployment_by_name("batch-sweep/clean-up").id
        save_automation(client, cleaning_up_behind_canceled_runs(clean_up))
        say_where(client)
    return 0


def answers(client: SyncPrefectClient) -> bool:
    """Wait for the server: one that was just started in the background takes a while."""
    give_up = time.monotonic() + PATIENCE_SECONDS
    while client.api_healthcheck() is not None:
        if time.monotonic() > give_up:
            return False
        time.sleep(1)
    return True


def refuse_cancel_new(client: SyncPrefectClient) -> None:
    """Refuse deployments under which waiting runs are canceled as they wake up.

    Raises:
        CollisionStrategyError: There is one.
    """
    ours = FlowFilter(name=FlowFilterName(any_=[FLOW]))
    for deployment in client.read_deployments(flow_filter=ours):
        if cancels_waiting_runs(deployment):
            raise CollisionStrategyError(f"{FLOW}/{deployment.name}")


def credentials_block() -> UUID:
    """The id of the credentials block, made from the environment if there is none.

    Raises:
        MissingKeyError: There is none, and no key in the environment.
    """
    AnthropicCredentials.register_type_and_schema()
    try:
        block = cast(AnthropicCredentials, AnthropicCredentials.load(CREDENTIALS))
    except ValueError:
        block = AnthropicCredentials.from_env()
        block.save(CREDENTIALS)
    document_id = block._block_document_id  # pyright: ignore[reportPrivateUsage]
    assert document_id is not None
    return document_id


def work_pool(client: SyncPrefectClient) -> None:
    """Create the work pool if there is none of that name."""
    try:
        client.read_work_pool(POOL)
    except ObjectNotFound:
        client.create_work_pool(WorkPoolCreate(name=POOL, type="process"))


def deploy_all() -> None:
    """Create or update the deployments of `prefect.yaml`."""
    file = Path(__file__).with_name("prefect.yaml")
    command = [sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all"]
    subprocess.run(
        [*command, "--prefect-file", str(file.relative_to(ROOT))],
        cwd=ROOT,
        check=True,
        stdout=subprocess.DEVNULL,
    )


def show_credentials_in_form(client: SyncPrefectClient, block: UUID) -> None:
    """Refer to the block by its id: by its name it works, but the form shows none."""
    ours = FlowFilter(name=FlowFilterName(any_=[FLOW]))
    for deployment in client.read_deployments(flow_filter=ours):
        given = deployment.parameters.get("credentials")
        if isinstance(given, dict) and "block_document_slug" in given.get("$ref", {}):
            by_id = {"$ref": {"block_document_id": str(block)}}
            parameters = {**deployment.parameters, "credentials": by_id}
            update = DeploymentUpdate(parameters=parameters)
            client.update_deployment(deployment.id, update)


def cleaning_up_behind_canceled_runs(clean_up: UUID) -> AutomationCore:
    """Start `clean-up` for each run of our flow that becomes Cancelled.

    A run that waits has no process whose hooks could do it. The flow is matched, not
    the tag: the events of a run carry the tags that it was created with.
    """
    flow = {"prefect.resource.role": "flow", "prefect.resource.name": FLOW}
    run_id = {"__prefect_kind": "jinja", "template": "{{ flow_run.id }}"}
    action = {
        "type": "run-deployment",
        "source": "selected",
        "deployment_id": clean_up,
        "parameters": {"flow_run_id": run_id},
    }
    return AutomationCore(
        name=AUTOMATION,
        description="Cancels their message batches and keeps what had finished.",
        trigger=EventTrigger.model_validate(
            {
                "posture": Posture.Reactive,
                "expect": {"prefect.flow-run.Cancelled"},
                "match": {"prefect.resource.id": "prefect.flow-run.*"},
                "match_related": flow,
                "threshold": 1,
                "within": timedelta(0),
            }
        ),
        actions=[RunDeployment.model_validate(action)],
    )


def save_automation(client: SyncPrefectClient, automation: AutomationCore) -> None:
    """Create an automation, or update the one of that name."""
    found = client.read_automations_by_name(automation.name)
    if found:
        client.update_automation(found[0].id, automation)
    else:
        client.create_automation(automation)


def say_where(client: SyncPrefectClient) -> None:
    """Print where to click, and what is still to be started."""
    home = (PREFECT_UI_URL.value() or "").rstrip("/")
    print("Deployed:")
    for name in ("batch-table/batch-table", "batch-table/nightly", "batch-sweep/sweep"):
        deployment = client.read_deployment_by_name(name)
        print(f"  {name}: {home}/v2/deployments/deployment/{deployment.id}")
    print(f"Start a worker:  prefect worker start --pool {POOL} --limit 4")


if __name__ == "__main__":
    sys.exit(main())
