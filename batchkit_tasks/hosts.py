"""Where a run happens, and how it waits there.

`InProcess` waits by sleeping: scripts, notebooks, tests, runs without a deployment. A
deployed run gives its process back instead (see `flow_run.suspension`).
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol

from batchkit_tasks import steps
from batchkit_tasks.plans.money import Question
from batchkit_tasks.records import Round
from batchkit_tasks.waiting.polling import Look

LOGGER = logging.getLogger("batchkit")


class Host(Protocol):
    """What a pipeline needs of the place in which it runs."""

    holds_process: bool
    """Whether waiting happens in this process."""
    steps: Any
    """Plain functions (`steps`), or the Prefect tasks made of them (`tasks`)."""

    def wait(self, until: datetime, message: str) -> None:
        """Wait; where the process is given back, this raises and never returns."""
        ...

    def wait_for_person(self, message: str) -> None:
        """Stop until a person says go; raises where nobody can be asked."""
        ...

    def ask(self, run_url: str, question: Question) -> bool:
        """Ask a person about the budget; where a process is given back, this raises.

        Returns:
            Whether a decision to go on was kept in the run directory; False where
            nobody can be asked, or the answer was no.
        """
        ...

    def log(self, message: str) -> None:
        """Say one fact in one line."""
        ...

    def planned(self, round_: Round, rows: int) -> None:
        """A round is about to be sent."""
        ...

    def looked(self, look: Look) -> None:
        """The batches were looked at."""
        ...

    def collected(self, chunk: int, rows: int) -> None:
        """The results of a chunk are here."""
        ...


@dataclass(slots=True)
class InProcess:
    """Wait by sleeping in this process."""

    steps: Any = steps
    holds_process: bool = True
    on_planned: Callable[[Round, int], None] | None = None
    on_look: Callable[[Look], None] | None = None
    on_collected: Callable[[int, int], None] | None = None

    def wait(self, until: datetime, message: str) -> None:
        """Sleep."""
        self.log(message)
        time.sleep(max(0.0, (until - datetime.now(UTC)).total_seconds()))

    def wait_for_person(self, message: str) -> None:
        """Nobody can be asked in a script: the caller's error goes through."""

    def ask(self, run_url: str, question: Question) -> bool:
        """Nobody can be asked in a script."""
        return False

    def log(self, message: str) -> None:
        """Write to the log."""
        LOGGER.info(message)

    def planned(self, round_: Round, rows: int) -> None:
        """Pass on to the progress display."""
        if self.on_planned:
            self.on_planned(round_, rows)

    def looked(self, look: Look) -> None:
        """Pass on to the progress display."""
        if self.on_look:
            self.on_look(look)

    def collected(self, chunk: int, rows: int) -> None:
        """Pass on to the progress display."""
        if self.on_collected:
            self.on_collected(chunk, rows)
