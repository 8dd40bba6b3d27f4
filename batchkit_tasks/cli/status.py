"""`batchkit status`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from batchkit_tasks.cli.options import Flag

if TYPE_CHECKING:
    from batchkit_tasks.running.run_status import RunStatus


def status(
    where: str = ".",
    /,
    *,
    json: Flag = False,
) -> int:
    """List runs: their rows, their message batches by state, what they cost so far.

    With a key, the API is asked about batches that are not collected yet.

    ```
    batchkit status                          # all runs of this folder
    batchkit status results/reviews.parquet
    batchkit status ~/.batchkit --json       # runs of batch_dataframe
    ```

    Parameters
    ----------
    where
        A run directory, an output table, or a folder.
    json
        Print a JSON list.
    """
    from pathlib import Path

    from batchkit_tasks.api import Api
    from batchkit_tasks.cli.places import find_runs
    from batchkit_tasks.cli.screen import complain, print_json
    from batchkit_tasks.errors import BatchkitError, MissingKeyError
    from batchkit_tasks.keys import ApiKey
    from batchkit_tasks.running.run_status import look_at_run

    where = str(Path(where).expanduser()) if where.startswith("~") else where
    runs = find_runs(where)
    try:
        with Api(ApiKey.from_env()) as api:
            found = [look_at_run(run, api) for run in runs]
    except MissingKeyError:
        found = [look_at_run(run, None) for run in runs]
    except BatchkitError as error:
        complain(f"The API was not asked: {error}")
        found = [look_at_run(run, None) for run in runs]
    if json:
        print_json([run.as_dict() for run in found])
    else:
        _print(found, where)
    return 0


def _print(runs: list[RunStatus], where: str) -> None:
    from batchkit_tasks.cli.screen import out, say, short
    from batchkit_tasks.ground.amounts import dollars

    console = out()
    if not runs:
        say(console, f"There are no runs in {where}.")
    for run in runs:
        say(console, f"{short(run.output)}   {run.state}", style="bold")
        say(console, f"  rows     {_counted(run.rows_by_status) or f'{run.rows:,}'}")
        say(console, f"  batches  {_counted(run.batches) or 'none yet'}")
        say(console, f"  cost     {dollars(run.cost_usd)} so far, {run.model}")
        say(console, f"  run      {short(run.run)}", style="dim")


def _counted(counts: dict[str, int]) -> str:
    return ", ".join(f"{count:,} {what}" for what, count in counts.items() if count)
