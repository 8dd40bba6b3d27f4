"""What the commands write: results on standard output, all talk on standard error."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from rich.console import Console


def out() -> Console:
    """Standard output, for results."""
    return Console(highlight=False)


def talk() -> Console:
    """Standard error, for progress."""
    return Console(stderr=True, highlight=False)


def say(console: Console, message: str, style: str = "") -> None:
    """Write a line as it is: square brackets in data are no markup, URLs stay whole."""
    console.print(message, style=style or None, markup=False, soft_wrap=True)


def complain(sentence: str) -> None:
    """Say on standard error what went wrong."""
    say(talk(), sentence, style="red")


def print_json(value: Any) -> None:
    """Write one JSON value on standard output."""
    sys.stdout.write(
        json.dumps(value, ensure_ascii=False, indent=2, default=str) + "\n"
    )


def short(path: str) -> str:
    """A local path below this folder without what leads to it."""
    try:
        return str(Path(path).relative_to(Path.cwd()))
    except ValueError:
        return path
