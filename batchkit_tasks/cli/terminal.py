"""A run in this process whose log goes to the terminal, above its progress bar."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from batchkit_tasks.cli.screen import say
from batchkit_tasks.hosts import InProcess
from batchkit_tasks.waiting.progress import ProgressBar

if TYPE_CHECKING:
    from rich.console import Console


@dataclass(slots=True)
class InTerminal(InProcess):
    """Waits in this process, and shows what happens."""

    console: Console | None = None
    """Where to write log lines; None: nowhere."""

    def log(self, message: str) -> None:
        """Show one line."""
        if self.console is not None:
            say(self.console, message, style="dim")


def with_bar(bar: ProgressBar, console: Console | None) -> InTerminal:
    """A host that moves a progress bar."""
    return InTerminal(
        console=console,
        on_planned=bar.planned,
        on_look=bar.looked,
        on_collected=bar.collected,
    )
