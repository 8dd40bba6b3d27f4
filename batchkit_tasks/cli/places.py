"""Finding runs: by run directory, by output table, or all below a folder."""

from __future__ import annotations

from typing import Final

from batchkit_tasks.errors import ParameterError

ENDINGS: Final = (".parquet", ".pq")
"""Of output tables, and so of the folders in which their runs are."""


def find_runs(where: str) -> list[str]:
    """URLs of the run directories that a path means, newest folder names last.

    Args:
        where: A run directory, an output table, or a folder with output tables.
    """
    from batchkit_tasks.ground import storage

    where = where.rstrip("/") or "/"
    if storage.exists(storage.join(where, "plan.json")):
        return [where]
    if where.endswith(ENDINGS):
        name = where.rpartition("/")[2]
        home = storage.join(storage.parent(where), "_batchkit", name)
        return [*_plans(home, "*"), *_plans(where, "*")]
    names = [f"*{ending}/*" for ending in ENDINGS]
    return sorted(
        {
            url
            for folder in ("", "_batchkit/", "*/_batchkit/")
            for name in names
            for url in _plans(where, folder + name)
        }
    )


def find_run(where: str) -> str:
    """The one run that a path means; of several, the one that is not over.

    Raises:
        ParameterError: There is none, or more than one.
    """
    runs = find_runs(where)
    if not runs:
        raise ParameterError(
            "RUN",
            f"there is no run in {where}; give a run directory or an output table.",
        )
    if len(runs) > 1:
        open_ones = [run for run in runs if not _is_over(run)]
        runs = open_ones or runs
    if len(runs) > 1:
        raise ParameterError(
            "RUN", f"{where} has {len(runs)} runs; choose one: {', '.join(runs)}."
        )
    return runs[0]


def _plans(folder: str, pattern: str) -> list[str]:
    from batchkit_tasks.ground import storage

    fs, path = storage.filesystem(folder)
    fs.invalidate_cache()
    found = sorted(map(str, fs.glob(f"{path.rstrip('/')}/{pattern}/plan.json")))
    local = not folder.partition("://")[1]
    return [
        storage.parent(path if local else str(fs.unstrip_protocol(path)))
        for path in found
    ]


def _is_over(run: str) -> bool:
    from batchkit_tasks.run_dir import RunDir

    return RunDir(run).summary() is not None
