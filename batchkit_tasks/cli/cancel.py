"""`batchkit cancel`."""

from __future__ import annotations

from batchkit_tasks.cli.options import Flag


def cancel(run: str, /, *, json: Flag = False) -> int:
    """Cancel the message batches of a run.

    What has finished by then keeps its answer and is billed; the rest is not.
    `batchkit collect RUN --as-is` writes the table afterwards.

    ```
    batchkit cancel results/reviews.parquet
    ```

    Parameters
    ----------
    run
        A run directory, or the output table of one.
    json
        Print the ids of the canceling batches as JSON.
    """
    from batchkit_tasks.cli.places import find_run
    from batchkit_tasks.cli.screen import out, print_json, say, short
    from batchkit_tasks.keys import ApiKey
    from batchkit_tasks.steps import cancel_batches

    run_url = find_run(run)
    canceling = cancel_batches(run_url, ApiKey.from_env())
    if json:
        print_json({"run": run_url, "canceling": canceling})
        return 0
    console = out()
    if not canceling:
        say(
            console,
            "No message batch of this run is running: there is nothing to cancel.",
        )
        return 0
    noun = "message batch" if len(canceling) == 1 else "message batches"
    say(console, f"Canceling {len(canceling):,} {noun}: {', '.join(canceling)}")
    say(console, f"Write what had finished:  batchkit collect {short(run_url)} --as-is")
    return 0
