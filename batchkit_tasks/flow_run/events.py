"""Events that automations can be built on.

| event | when | what it is about |
|---|---|---|
| `anthropic.message-batch.submitted` | a batch exists at the API | the batch |
| `anthropic.message-batch.ended` | a look has found it ended | the batch |
| `anthropic.message-batch.collected` | its results are in the run directory | the batch |
| `anthropic.message-batch.canceled` | it was asked to cancel | the batch |
| `batchkit.run.budget-asked` | a person is asked about the budget | the run |
| `batchkit.run.written` | the output is written | the run |

Each is about one resource with a readable name, and related to the run (role `run`);
Prefect adds the flow run, the task run, the deployment and the tags. A batch's event
may come twice where a process was killed: its id says which one it is.

Automations compare labels of a resource, not numbers of a payload, so
`batchkit.run.written` says in the label `batchkit.failed-rows` how many of the rows sent
did not succeed: `none`, `up-to-1-percent`, `up-to-5-percent` or `above-5-percent`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from batchkit_tasks.plans.money import Question
    from batchkit_tasks.steps.collecting import CollectedPart
    from batchkit_tasks.summary import RunSummary

BATCH_RESOURCE: Final = "anthropic.message-batch"

RUN_RESOURCE: Final = "batchkit.run"


def batch_submitted(run: str, chunk: int, batch_id: str) -> None:
    """A message batch exists at the API."""
    _about_batch("submitted", run, chunk, batch_id)


def batch_ended(run: str, chunk: int, batch_id: str) -> None:
    """A look has found that a batch has ended."""
    _about_batch("ended", run, chunk, batch_id)


def batch_collected(run: str, part: CollectedPart) -> None:
    """The results of a batch are in the run directory."""
    failed = part.rows - part.by_status.get("succeeded", 0)
    _about_batch(
        "collected",
        run,
        part.chunk,
        part.batch_id,
        rows=part.rows,
        failed=failed,
        failed_percent=round(100 * failed / max(part.rows, 1), 3),
        by_status=part.by_status,
        cost_usd=part.cost_usd,
    )


def batch_canceled(run: str, batch_id: str) -> None:
    """A batch was asked to cancel."""
    _emit("canceled", run, batch_id, f"message batch {batch_id}", {})


def budget_asked(run: str, question: Question) -> None:
    """A person is asked whether a run may spend more than its budget."""
    from prefect.events import emit_event

    emit_event(
        event="batchkit.run.budget-asked",
        resource=_run_resource(run),
        payload={
            "budget_usd": question.budget_usd,
            "most_usd": question.standing.most_usd,
            "spent_usd": question.standing.spent_usd,
            "requests": question.requests,
            "output": question.output,
        },
    )


def run_written(summary: RunSummary) -> None:
    """The output of a run is written, be it whole or as far as it came."""
    from prefect.events import emit_event

    share = failed_rows(summary.failed, summary.sent)
    emit_event(
        event=f"{RUN_RESOURCE}.written",
        resource={**_run_resource(summary.run), "batchkit.failed-rows": share},
        payload={"message": summary.message, "output": summary.output},
    )


def failed_rows(failed: int, sent: int) -> str:
    """How many of the rows sent did not succeed, as a word that automations compare."""
    percent = 100 * failed / max(sent, 1)
    if not failed:
        return "none"
    if percent > 5:
        return "above-5-percent"
    return "up-to-1-percent" if percent <= 1 else "up-to-5-percent"


def _about_batch(
    what: str, run: str, chunk: int, batch_id: str, **payload: Any
) -> None:
    _emit(what, run, batch_id, f"message batch {chunk + 1} ({batch_id})", payload)


def _emit(
    what: str, run: str, batch_id: str, name: str, payload: dict[str, Any]
) -> None:
    from prefect.events import emit_event

    emit_event(
        event=f"{BATCH_RESOURCE}.{what}",
        resource={
            "prefect.resource.id": f"{BATCH_RESOURCE}.{batch_id}",
            "prefect.resource.name": name,
        },
        related=[{**_run_resource(run), "prefect.resource.role": "run"}],
        payload={"run": run, "batch_id": batch_id, **payload},
    )


def _run_resource(run: str) -> dict[str, str]:
    """The run directory as a resource: named after the output that it belongs to."""
    *_, output, key = run.rstrip("/").split("/")
    return {
        "prefect.resource.id": f"{RUN_RESOURCE}.{key}",
        "prefect.resource.name": output,
    }
