"""`batchkit run`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from batchkit_tasks.cli.options import Flag, JobOptions

if TYPE_CHECKING:
    from batchkit_tasks.keys import ApiKey
    from batchkit_tasks.summary import RunSummary


def run(
    source: str,
    /,
    *,
    options: JobOptions = JobOptions(),  # noqa: B008 - frozen
    dry_run: Flag = False,
    json: Flag = False,
    quiet: Flag = False,
) -> int:
    """Ask the model about every row, wait for the answers, write one Parquet.

    Most batches end within an hour, all within 24. Ctrl-C stops the waiting and not the
    batches; the same command again goes on and sends nothing twice.

    ```
    batchkit run reviews.csv --prompt "Summarize in one line: {text}"

    batchkit run reviews.csv --prompt "Review of {product}: {text}" \\
        --columns "mood:good|bad|mixed:How the writer feels" \\
        --columns "stars:integer:1 to 5" --sample-rows 100

    batchkit run "s3://bucket/day=*/rows.parquet" --prompt-file prompt.txt \\
        --schema answer.json --output s3://bucket/answers.parquet
    ```

    Parameters
    ----------
    source
        Parquet, CSV or JSON Lines: a file, a folder, a glob or a URL.
    dry_run
        Show five prompts and the price; send nothing.
    json
        Print the summary as JSON on standard output.
    quiet
        No progress on standard error.
    """
    from batchkit_tasks.cli.estimate import show_estimate

    if dry_run:
        return show_estimate(source, options, json=json)

    from batchkit_tasks.keys import ApiKey
    from batchkit_tasks.steps import stage_input

    job = options.job(source, dry_run=False)
    credentials = ApiKey.from_env()
    return go_on(stage_input(job), credentials, json=json, quiet=quiet)


def go_on(run_url: str, credentials: ApiKey, *, json: bool, quiet: bool) -> int:
    """Bring a run to its end with a progress bar, and show what it came to."""
    from batchkit_tasks.cli.screen import print_json
    from batchkit_tasks.errors import RunFailedError
    from batchkit_tasks.run_dir import RunDir

    try:
        summary = _with_progress(run_url, credentials, quiet=quiet)
    except KeyboardInterrupt as stop:
        stop.add_note(_how_to_go_on(run_url))
        raise
    except RunFailedError as failed:
        if json:
            print_json({**(RunDir(run_url).summary() or {}), "failed": str(failed)})
        raise
    show_summary(summary, json=json)
    return 0


def show_summary(summary: RunSummary, *, json: bool) -> None:
    """Say what came of a run, and where it is."""
    from batchkit_tasks.cli.screen import out, print_json, say, short

    if json:
        print_json(summary.as_dict())
        return
    console = out()
    say(console, f"{summary.message[:1].upper()}{summary.message[1:]}.", style="bold")
    say(console, f"Output: {short(summary.output)}")
    if summary.failed_output:
        say(console, f"Rows that did not succeed: {short(summary.failed_output)}")


def _with_progress(run_url: str, credentials: ApiKey, *, quiet: bool) -> RunSummary:
    from batchkit_tasks.cli.screen import say, short, talk
    from batchkit_tasks.cli.terminal import InTerminal, with_bar
    from batchkit_tasks.pipeline import run_to_end
    from batchkit_tasks.waiting.progress import ProgressBar

    if quiet:
        return run_to_end(run_url, credentials, InTerminal())
    console = talk()
    say(console, f"Run directory: {short(run_url)}", style="dim")
    with ProgressBar(console) as bar:
        return run_to_end(run_url, credentials, with_bar(bar, console))


def _how_to_go_on(run_url: str) -> str:
    from batchkit_tasks.cli.screen import short
    from batchkit_tasks.records import Intended, Submitted
    from batchkit_tasks.run_dir import RunDir

    here = short(run_url)
    records = RunDir(run_url).latest_records().values()
    if not any(isinstance(record, Intended | Submitted) for record in records):
        return f"Stopped. Nothing was sent.\nGo on:  batchkit collect {here}"
    return (
        "Stopped waiting. The message batches go on at Anthropic, and are billed.\n"
        f"Go on:  batchkit collect {here}   (or the same command again)\n"
        f"Stop:   batchkit cancel {here}"
    )
