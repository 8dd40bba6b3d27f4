"""What was decided about a run's budget, kept in its directory."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

from batchkit_tasks.pricing.budget import (
    BudgetDecision,
    Verdict,
    next_decision,
    replaces,
)
from batchkit_tasks.run_dir import RunDir

PREFIX: Final = "budget-"


def decisions(run: RunDir) -> list[BudgetDecision]:
    """All decisions, oldest first; the last one counts."""
    found = [run.kept(name, BudgetDecision) for name in run.kept_names(PREFIX)]
    return [each for each in found if each is not None]


def decide(run: RunDir, verdict: Verdict, budget_usd: float) -> None:
    """Keep a decision; of two made at the same time, one counts."""
    made = next_decision(decisions(run), verdict, budget_usd, datetime.now(UTC))
    run.keep(f"{PREFIX}{made.number:05d}.json", made)


def note_asked(run: RunDir, budget_usd: float) -> None:
    """Keep the budget with which a job is started, where that changes something."""
    made = decisions(run)
    if (made or budget_usd) and replaces(made, budget_usd):
        decide(run, "job", budget_usd)
