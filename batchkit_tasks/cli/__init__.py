"""`batchkit`: run a table, see what it costs, look after runs, try it without a key.

Starting is light: a command imports what it needs when it is called, so that `--help`
answers at once.

Exit codes: 0 done · 1 the run failed (too many rows did, or something stopped it) ·
2 the input must be changed, nothing was sent · 130 stopped with Ctrl-C.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from cyclopts import App, CycloptsError

from batchkit_tasks.cli.cancel import cancel
from batchkit_tasks.cli.collect import collect
from batchkit_tasks.cli.demo import demo
from batchkit_tasks.cli.estimate import estimate
from batchkit_tasks.cli.run import run
from batchkit_tasks.cli.sandbox import sandbox
from batchkit_tasks.cli.screen import complain
from batchkit_tasks.cli.status import status

__all__ = ("app", "main")

DONE, FAILED, BAD_INPUT, STOPPED = 0, 1, 2, 130


def _version() -> str:
    from importlib.metadata import version

    return version("prefect-batchkit")


app = App(
    name="batchkit",
    help="""Run a language model over every row of a table, at half price.

A table goes in (Parquet, CSV, JSON Lines), your prompt is sent once per row through
Anthropic's Message Batches API, and one Parquet with all rows and answers comes out.

```
batchkit demo                                   # no key needed
batchkit estimate reviews.csv --prompt "Summarize: {text}"
batchkit run reviews.csv --prompt "Summarize: {text}"
```""",
    help_format="markdown",
    help_epilogue=(
        "The key is read from ANTHROPIC_API_KEY, another address from "
        "ANTHROPIC_BASE_URL. `batchkit COMMAND --help` has examples.\n\n"
        "Exit codes: 0 done, 1 the run failed, 2 the input must be changed (nothing was "
        "sent), 130 stopped with Ctrl-C."
    ),
    version=_version,
    suppress_keyboard_interrupt=False,  # a run says how to go on
)
for _command in (run, estimate, status, collect, cancel, sandbox, demo):
    app.command(_command)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command, and exit with its code."""
    sys.exit(_exit_code(arguments))


def _exit_code(arguments: Sequence[str] | None) -> int:
    given = None if arguments is None else list(arguments)
    try:
        code = app(
            given, exit_on_error=False, print_error=False, result_action="return_value"
        )
    except CycloptsError as error:
        complain(_sentence(error))
        return BAD_INPUT
    except KeyboardInterrupt as stop:
        notes = getattr(stop, "__notes__", None) or ["Stopped."]
        complain("\n".join(notes))
        return STOPPED
    except BrokenPipeError:
        sys.stderr.close()  # the reader of our output has left: no complaint helps it
        return FAILED
    except Exception as error:
        return _judge(error)
    return code if isinstance(code, int) else DONE


def _judge(error: Exception) -> int:
    """Say what went wrong in one sentence; what nobody foresaw keeps its traceback."""
    from batchkit_tasks.errors import BatchkitError, InputError

    if isinstance(error, BatchkitError):
        complain(str(error))
        return BAD_INPUT if isinstance(error, InputError) else FAILED
    if isinstance(error, OSError):
        complain(f"{type(error).__name__}: {error}")
        return FAILED
    raise error


def _sentence(error: CycloptsError) -> str:
    text = " ".join(str(error).split())
    return f"{text} (batchkit --help)" if text else "The command line cannot be read."
