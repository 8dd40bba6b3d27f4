"""`batchkit collect`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from batchkit_tasks.cli.options import Flag

if TYPE_CHECKING:
    from batchkit_tasks.keys import ApiKey


def collect(
    run: str,
    /,
    *,
    as_is: Flag = False,
    json: Flag = False,
    quiet: Flag = False,
) -> int:
    """Go on with a run: send what is left, wait, collect the answers, write the table.

    ```
    batchkit collect results/reviews.parquet
    batchkit collect results/_batchkit/reviews.parquet/0f3a…
    batchkit collect results/reviews.parquet --as-is    # after `batchkit cancel`
    ```

    Parameters
    ----------
    run
        A run directory, or the output table of one (`batchkit status` lists them).
    as_is
        Send nothing more: wait for what is running, and write what there is.
    json
        Print the summary as JSON on standard output.
    quiet
        No progress on standard error.
    """
    from batchkit_tasks.cli.places import find_run
    from batchkit_tasks.cli.run import go_on
    from batchkit_tasks.keys import ApiKey

    run_url = find_run(run)
    credentials = ApiKey.from_env()
    if as_is:
        return _as_it_is(run_url, credentials, json=json, quiet=quiet)
    return go_on(run_url, credentials, json=json, quiet=quiet)


def _as_it_is(run_url: str, credentials: ApiKey, *, json: bool, quiet: bool) -> int:
    from batchkit_tasks.cli.run import show_summary
    from batchkit_tasks.cli.screen import say, talk
    from batchkit_tasks.running.salvaging import salvage
    from batchkit_tasks.waiting.polling import Look

    console = talk()

    def show(look: Look) -> None:
        if look.running and not quiet:
            say(console, look.message, style="dim")

    summary = salvage(run_url, credentials, hold=True, show=show)
    assert summary is not None, "it held until nothing was running"
    show_summary(summary, json=json)
    return 0
