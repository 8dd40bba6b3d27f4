"""Go on when the worker that reads our output is gone.

A worker that is killed leaves its runs behind as orphans, which may well finish. But
the next line that they log goes into a broken pipe, and the console that Prefect logs
with then ends the process (`SystemExit`), in the middle of whatever it was doing.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sys

from prefect.logging.handlers import PrefectConsoleHandler


def outlive_the_worker() -> None:
    """Let lines that nobody reads any more go nowhere; Prefect's API still gets them."""
    for logger in [logging.root, *logging.root.manager.loggerDict.values()]:
        for handler in getattr(logger, "handlers", []):
            if isinstance(handler, PrefectConsoleHandler):
                handler.console.on_broken_pipe = _write_nowhere


def _write_nowhere() -> None:
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError, AttributeError):
            os.dup2(nowhere, stream.fileno())
    os.close(nowhere)
