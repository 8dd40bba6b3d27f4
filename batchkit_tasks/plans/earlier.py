"""Answers that were paid for before: where they lie, and which question they answer.

They are looked for in the run directories of the same output, newest first. Where its
name has a date or a run in it, all runs with the same pattern count.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from batchkit_tasks.engine import Run
from batchkit_tasks.errors import RecordUnreadableError
from batchkit_tasks.ground import storage
from batchkit_tasks.parameters import Job
from batchkit_tasks.records import Plan

MAX_EARLIER_RUNS: Final = 30
"""So many of them are looked at. Each run keeps the answers that it took over, so the
newest have what the older ones had."""

PLACEHOLDER: Final = re.compile(r"\{(?:source|date|run)\}")


@dataclass(frozen=True, slots=True)
class Neighbour:
    """A run directory of the same output."""

    run: Run
    plan: Plan
    differs: tuple[str, ...]
    """What it asked otherwise than this run; nothing: its answers may serve."""


def neighbours(run: Run) -> Iterator[Neighbour]:
    """The earlier runs of a run's output, newest first as far as names tell."""
    ours = run.job
    seen = 0
    for url in _candidates(run):
        found = _plans_in(url, run)
        for other, plan in sorted(found, key=lambda each: each[1].created_at)[::-1]:
            if not _same_output(plan, ours):
                continue
            seen += 1
            if seen > MAX_EARLIER_RUNS:
                return
            yield Neighbour(other, plan, differences(ours, plan.job))


def differences(job: Job, other: Mapping[str, Any]) -> tuple[str, ...]:
    """What two jobs ask differently, in the words of the form."""
    ours, theirs = _question(job.model_dump(mode="json")), _question(other)
    return tuple(name for name in ours if ours[name] != theirs[name])


def _question(job: Mapping[str, Any]) -> dict[str, Any]:
    """What determines the requests of a job, whatever the table."""
    advanced: Mapping[str, Any] = job.get("advanced") or {}
    answer: Mapping[str, Any] = job.get("answer") or {}
    return {
        "prompt": job.get("prompt"),
        "model": job.get("model"),
        # A text column may be renamed: the question stays the same.
        "answer": "text" if "column" in answer else answer,
        "system prompt": advanced.get("system", ""),
        "max_tokens": advanced.get("max_tokens"),
        "request fields": _as_json(advanced.get("request") or "{}"),
    }


def _as_json(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _same_output(plan: Plan, ours: Job) -> bool:
    theirs = plan.job
    if plan.source.kind == "frame":
        return ours.source == "DataFrame"
    pattern = theirs.get("output_pattern") or theirs.get("output")
    return pattern == (ours.output_pattern or ours.output) or (
        theirs.get("output") == ours.output
    )


# ------------------------------------------------------------------------ looking


def _candidates(run: Run) -> Iterator[str]:
    """Folders that hold run directories of the output, by their names' order."""
    if run.plan.source.kind == "frame":
        yield storage.parent(run.url)
        return
    pattern = run.job.output_pattern or run.job.output
    folder, _, name = pattern.rstrip("/").rpartition("/")
    wanted = re.compile(_as_regex(name))
    own = run.job.output.rpartition("/")[2]
    for home in _folders(folder, run.job.output):
        names = storage.names(storage.join(home, "_batchkit"))
        matching = [each for each in names if wanted.fullmatch(each) or each == own]
        for each in reversed(matching):
            yield storage.join(home, "_batchkit", each)


def _folders(pattern: str, output: str) -> list[str]:
    """The folders that a pattern stands for, the last in order first."""
    own = storage.parent(output)
    if not PLACEHOLDER.search(pattern):
        return [own]
    fs, path = storage.filesystem(PLACEHOLDER.sub("*", pattern.replace("[", "[[]")))
    fs.invalidate_cache()
    found = sorted(map(str, fs.glob(path)), reverse=True)
    return [fs.unstrip_protocol(each) for each in found]


def _as_regex(name: str) -> str:
    parts = PLACEHOLDER.split(name)
    return ".*".join(re.escape(part) for part in parts)


def _plans_in(folder: str, run: Run) -> list[tuple[Run, Plan]]:
    found: list[tuple[Run, Plan]] = []
    for key in storage.names(folder):
        url = storage.join(folder, key)
        if _path(url) == _path(run.url):
            continue
        other = Run(url)
        try:
            plan = other.dir.plan()
        except RecordUnreadableError:
            continue  # its own process will complain; this run does without it
        if plan is not None:
            found.append((other, plan))
    return found


def _path(url: str) -> str:
    return storage.filesystem(url)[1]
