"""A progress bar for runs that wait in the process: terminal and notebook alike.

It counts batches that have ended and the rows in them. The API keeps all requests of a
batch in `processing` until it ends, so anything finer would be made up. Where no bar
can be drawn (a file, a notebook without ipywidgets) it writes a line per batch.
"""

from __future__ import annotations

from importlib.util import find_spec
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from batchkit_tasks.records import Round
from batchkit_tasks.waiting.polling import Look


class ProgressBar:
    """Shows a run; pass its methods to `InProcess`."""

    def __init__(self, console: Console | None = None) -> None:
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=30, style="grey70"),  # the default is black on white
            TextColumn("{task.fields[note]}"),
            TimeElapsedColumn(),
            console=console or _console(),
            transient=False,
        )
        self._draws = self._progress.console.is_terminal or _in_notebook()
        self._bar: TaskID | None = None
        self._rows = 0
        self._collected: dict[int, int] = {}
        self._batches = 0

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._progress.stop()

    def planned(self, round_: Round, rows: int) -> None:
        """Begin the bar of a round."""
        again = "" if round_.number == 1 else f" (round {round_.number})"
        self._rows = sum(chunk.requests for chunk in round_.chunks)
        self._batches = len(round_.chunks)
        self._collected.clear()
        self._bar = self._progress.add_task(
            f"Batches{again}", total=self._rows or 1, note=self._note()
        )

    def looked(self, look: Look) -> None:
        """Show when the next look is."""
        self._update(f" · next look {look.next_look_at.astimezone():%H:%M:%S}")

    def collected(self, chunk: int, rows: int) -> None:
        """Move on by a chunk."""
        self._collected[chunk] = rows
        self._update("")
        if not self._draws:
            self._progress.console.print(f"Batches: {self._note()}")

    def _update(self, more: str) -> None:
        if self._bar is not None:
            done = sum(self._collected.values())
            self._progress.update(self._bar, completed=done, note=self._note() + more)

    def _note(self) -> str:
        ended, rows = len(self._collected), sum(self._collected.values())
        batches = f"{ended:,} of {self._batches:,} ended"
        return f"{batches} · {rows:,} of {self._rows:,} rows back"


def _console() -> Console:
    """Standard error, drawn as a widget where a notebook can.

    A notebook that cannot gets plain lines: its kernel claims to be a coloured terminal,
    and every step of the bar would be left standing in the cell.
    """
    widgets = _in_notebook()
    plain = Console().is_jupyter and not widgets
    terminal = False if plain else None
    return Console(stderr=True, force_jupyter=widgets, force_terminal=terminal)


def _in_notebook() -> bool:
    """Whether a notebook can draw: rich needs ipywidgets there, and only warns."""
    return Console().is_jupyter and find_spec("ipywidgets") is not None
