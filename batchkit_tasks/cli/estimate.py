"""`batchkit estimate`, and the dry run of `batchkit run`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from batchkit_tasks.cli.options import Flag, JobOptions

if TYPE_CHECKING:
    from batchkit_tasks.keys import ApiKey
    from batchkit_tasks.plans.estimating import Estimate


def estimate(
    source: str,
    /,
    *,
    options: JobOptions = JobOptions(),  # noqa: B008 - frozen
    json: Flag = False,
) -> int:
    """Show what a run would send and cost. Nothing is sent.

    With a key, the API counts the tokens of a sample (free of charge); without, they are
    guessed from the bytes. The ceiling is reached if every answer uses all of
    `--max-tokens`.

    ```
    batchkit estimate reviews.csv --prompt "Summarize: {text}"
    batchkit estimate reviews.csv --prompt "Summarize: {text}" --json
    ```

    Parameters
    ----------
    source
        Parquet, CSV or JSON Lines: a file, a folder, a glob or a URL.
    json
        Print the estimate as JSON.
    """
    return show_estimate(source, options, json=json)


def show_estimate(source: str, options: JobOptions, *, json: bool) -> int:
    """Estimate a job and print it."""
    from batchkit_tasks.cli.screen import print_json
    from batchkit_tasks.steps.dry_runs import estimate_job

    job = options.job(source, dry_run=True)
    found = estimate_job(job, _credentials())
    if json:
        print_json(found.as_dict())
    else:
        print_prompts(found)
        print_price(found)
    return 0


def print_prompts(found: Estimate) -> None:
    """Show the first prompts as they would be sent."""
    from batchkit_tasks.cli.screen import out, say

    console = out()
    for number, prompt in enumerate(found.prompts, 1):
        say(console, f"Prompt {number}", style="bold")
        say(console, prompt if len(prompt) <= 600 else f"{prompt[:600]} […]")
    say(console, "")


def print_price(found: Estimate) -> None:
    """Show rows, tokens and the batch price beside the standard price."""
    from rich.table import Table

    from batchkit_tasks.cli.screen import out, say
    from batchkit_tasks.ground.amounts import dollars

    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("", "expected", "ceiling"):
        table.add_column(heading, justify="right" if heading else "left")
    tokens_in = f"{'~' if found.counted else '≈'}{found.input_tokens:,}"
    table.add_row("Input tokens", tokens_in, tokens_in)
    table.add_row(
        "Output tokens", f"~{found.output_tokens:,}", f"{found.output_tokens_ceiling:,}"
    )
    table.add_row(
        "Standard price",
        dollars(found.standard_usd),
        dollars(found.standard_usd_ceiling),
    )
    table.add_row(
        "Batch price",
        dollars(found.batch_usd),
        dollars(found.batch_usd_ceiling),
        style="green",
    )
    console = out()
    say(console, _rows_in_words(found), style="bold")
    console.print(table)
    how = (
        "Input tokens were counted by the API on a sample."
        if found.counted
        else f"Input tokens are guessed from bytes: {found.note}."
    )
    answers = (
        "Answers are taken to be as long as earlier ones."
        if found.from_earlier_answers
        else "How long answers get is a guess."
    )
    say(console, f"{how} {answers}", style="dim")
    for note in found.notes:
        say(console, note, style="dim")


def _rows_in_words(found: Estimate) -> str:
    batches = "message batch" if found.batches == 1 else "message batches"
    text = f"{found.requests:,} rows in {found.batches:,} {batches}, {found.model}"
    others = {"equal": found.duplicates, "reused": found.reused, **found.unsent}
    more = ", ".join(f"{count:,} {what}" for what, count in others.items() if count)
    return f"{text} ({more})" if more else text


def _credentials() -> ApiKey | None:
    from batchkit_tasks.errors import MissingKeyError
    from batchkit_tasks.keys import ApiKey

    try:
        return ApiKey.from_env()
    except MissingKeyError:
        return None
