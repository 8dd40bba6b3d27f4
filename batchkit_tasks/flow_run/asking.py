"""Ask a person about a run's budget, in the form that Prefect shows on *Resume*.

The run is suspended and its process ends. When somebody has answered, the run starts
from the top, comes to the same question, and finds the answer: the question's number
is its key.
"""

from __future__ import annotations

from typing import Final, Literal

from prefect.input import RunInput
from pydantic import Field

from batchkit_tasks.flow_run import suspension
from batchkit_tasks.ground.amounts import dollars
from batchkit_tasks.plans.money import Question, standing_in_words
from batchkit_tasks.pricing.decisions import decide
from batchkit_tasks.run_dir import RunDir

APPROVE: Final = "Approve"
NEW_BUDGET: Final = "Set a new budget"
STOP: Final = "Stop"


class BudgetAnswer(RunInput):
    """What a person decides; drawn as a form by both interfaces."""

    decision: Literal["Approve", "Set a new budget", "Stop"] = Field(
        APPROVE,
        title="Decision",
        description="Approve: send the rest, up to the highest price above. Stop: send "
        "nothing more and write what came back.",
        json_schema_extra={"position": 0},
    )
    new_budget_usd: float = Field(
        0.0,
        title="New budget (USD)",
        description="Only for a new budget: the most that the whole run may cost; 0 "
        "means no limit.",
        ge=0,
        json_schema_extra={"position": 1},
    )


def ask_about_budget(run_url: str, question: Question) -> bool:
    """Suspend the run until a person has decided; keep the decision.

    Returns:
        Whether the run goes on.

    Raises:
        prefect.exceptions.Pause: The question was put; the process ends.
    """
    answer = suspension.wait_for_input(
        BudgetAnswer.with_initial_data(description=form_text(question)),
        key=f"{suspension.ASK_PREFIX}budget-{question.number}",
        message=state_message(question),
    )
    run = RunDir(run_url)
    if answer.decision == STOP:
        decide(run, "stopped", question.budget_usd)
        return False
    approved = answer.decision == APPROVE
    limit = question.approval_usd if approved else answer.new_budget_usd
    decide(run, "approved", limit)
    return True


def form_text(question: Question) -> str:
    """The question in Markdown that both interfaces show."""
    rows = "\n".join(
        f"| {name} | {amount} |" for name, amount in standing_in_words(question).items()
    )
    unknown = ""
    if question.standing.most_usd is None:
        unknown = (
            "\n\nA price is not known, so nobody can say what this would cost. To approve "
            "means to go on without a limit."
        )
    return (
        "The budget does not cover what is left to send. Nothing more is sent until "
        f"you decide.\n\n| | |\n|---|---:|\n{rows}{unknown}"
    )


def state_message(question: Question) -> str:
    """The question in one sentence, for the run's state."""
    most = question.standing.most_usd
    could = "cost an unknown amount"
    if most is not None:
        could = f"bring this run to {dollars(most)}"
    return (
        f"Waiting for a decision: {question.requests:,} requests could {could}; the "
        f"budget is {dollars(question.budget_usd)}. Resume to approve, to set a new "
        "budget or to stop."
    )
