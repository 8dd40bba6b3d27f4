"""`batchkit demo`: a whole run, with Prefect, on a table that every machine has."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Callable, Generator
from pathlib import Path
from typing import TYPE_CHECKING, Final

from batchkit_tasks.cli.options import Flag

if TYPE_CHECKING:
    from rich.console import Console

    from batchkit_tasks.credentials import AnthropicCredentials
    from batchkit_tasks.parameters import Job
    from batchkit_tasks.summary import RunSummary

BATCH_SECONDS: Final = 3.0
"""How long a batch of the sandbox runs: long enough to see the waiting."""

QUIET_PREFECT: Final = {
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "180",
    "PREFECT_LOGGING_LEVEL": "ERROR",
    "PREFECT_LOGGING_TO_API_ENABLED": "false",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "DO_NOT_TRACK": "1",
}

SHOWN_ROWS: Final = 8


def demo(*, live: Flag = False, output: str = "") -> int:
    """Label the Python packages installed here, in a Prefect flow, without a key.

    The API is played by a sandbox on this machine over real HTTP; its answers are made
    up. Prefect is real: a temporary server of its own, thrown away afterwards.

    ```
    batchkit demo
    ANTHROPIC_API_KEY=… batchkit demo --live     # real answers; shows the price first
    ```

    Parameters
    ----------
    live
        Ask the real API, with your key.
    output
        The Parquet to write; by default in a temporary folder (with --live in demo/).
    """
    from batchkit_tasks.cli.screen import out, say

    console = out()
    say(
        console,
        "batchkit demo: what are the Python packages installed here for?",
        "bold",
    )
    if live:
        _live(console, output)
    else:
        say(
            console,
            "No key needed: a sandbox plays the API and makes up the answers.\n",
        )
        _with_sandbox(console, output)
    return 0


def _with_sandbox(console: Console, output: str) -> None:
    from batchkit_tasks.cli.screen import say

    folder = Path(tempfile.mkdtemp(prefix="batchkit-demo-"))
    with _own_prefect(), _sandbox() as credentials:
        _step(console, f"The sandbox answers at {credentials.base_url}")
        job = _write_table(console, folder, output, check_every_seconds=0.5)
        summary = _run(console, job, credentials)
    _show(console, summary, made_up=True)
    say(
        console,
        "\nThe answers were made up by the sandbox and say nothing about the packages.\n"
        "Real ones:  ANTHROPIC_API_KEY=… batchkit demo --live",
        style="yellow",
    )


def _live(console: Console, output: str) -> None:
    from batchkit_tasks.cli.screen import say

    with _own_prefect():
        from batchkit_tasks.cli.estimate import print_price
        from batchkit_tasks.credentials import AnthropicCredentials
        from batchkit_tasks.steps.dry_runs import estimate_job

        credentials = AnthropicCredentials.from_env()
        job = _write_table(console, Path("demo"), output, check_every_seconds=30)
        print_price(estimate_job(job, credentials))
        say(
            console,
            "It usually takes minutes, at most a day. Ctrl-C leaves the batches.",
        )
        summary = _run(console, job, credentials)
    _show(console, summary, made_up=False)


# ------------------------------------------------------------------------- the stage


@contextlib.contextmanager
def _own_prefect() -> Generator[None]:
    """Give Prefect, before it is imported, a home and a server of its own."""
    with tempfile.TemporaryDirectory(
        prefix="batchkit-demo-prefect-", ignore_cleanup_errors=True
    ) as home:
        os.environ["PREFECT_HOME"] = home
        os.environ.pop("PREFECT_API_URL", None)
        for name, value in QUIET_PREFECT.items():
            os.environ.setdefault(name, value)
        yield


@contextlib.contextmanager
def _sandbox() -> Generator[AnthropicCredentials]:
    from pydantic import SecretStr

    from batchkit_tasks.credentials import AnthropicCredentials
    from batchkit_tasks.sandbox import Sandbox

    with Sandbox(batch_seconds=BATCH_SECONDS, retry_after=None) as sandbox:
        yield AnthropicCredentials(
            api_key=SecretStr(sandbox.client_options["api_key"]), base_url=sandbox.url
        )


def _write_table(
    console: Console, folder: Path, output: str, *, check_every_seconds: float
) -> Job:
    from batchkit_tasks.cli.demo_packages import (
        demo_job,
        installed_packages,
        write_once,
    )

    table = installed_packages()
    source = folder / "packages.parquet"
    write_once(table, source)
    _step(console, f"{len(table):,} packages are in {source}")
    written = output or str(folder / "packages-labelled.parquet")
    return demo_job(source, written, check_every_seconds=check_every_seconds)


# ---------------------------------------------------------------------------- the run


def _run(console: Console, job: Job, credentials: AnthropicCredentials) -> RunSummary:
    """Run the pipeline as a Prefect flow, each step a task run."""
    with console.status("Starting a temporary Prefect server, up to a minute …"):
        flow_of = _start_prefect()
    _step(console, "A temporary Prefect server runs the flow")
    return flow_of(job, credentials, console)


def _start_prefect() -> Callable[..., RunSummary]:
    """Start Prefect's server and give the flow."""
    from prefect.client.orchestration import get_client

    from batchkit_tasks.cli.demo_flow import run_demo_flow

    with get_client(sync_client=True) as client:
        client.hello()
    return run_demo_flow


def _step(console: Console, message: str) -> None:
    from batchkit_tasks.cli.screen import say

    say(console, f"✓ {message}")


def _show(console: Console, summary: RunSummary, *, made_up: bool) -> None:
    """Show what came of it, and the first rows of the output."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    from batchkit_tasks.cli.demo_packages import first_rows
    from batchkit_tasks.cli.screen import say
    from batchkit_tasks.ground.amounts import dollars
    from batchkit_tasks.summary import in_words

    price = dollars(summary.cost_usd)
    paid = f"it would have cost {price}" if made_up else f"it cost {price}"
    _step(console, f"{in_words(summary.by_status, None)}; {paid}\n")
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, expand=True)
    heads, rows = first_rows(summary.output, SHOWN_ROWS)
    for head in heads:
        if head in ("name", "one_line"):
            ratio = 2 if head == "one_line" else 1
            table.add_column(head, no_wrap=True, overflow="ellipsis", ratio=ratio)
        else:
            table.add_column(head, width=max(map(len, (head, *rows[head]))))
    for row in zip(*rows.values(), strict=True):
        table.add_row(*map(Text, row))
    say(console, "The first rows of the joined Parquet:", "bold")
    console.print(table)
    say(console, f"Output: {summary.output}")
