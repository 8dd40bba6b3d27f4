"""A sandbox's memory on disk, so that one that is killed and started again goes on.

One small file for each batch, replaced whole at every change; bodies and results are
files already. What `once` markers have counted is not kept.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from batchkit_tasks.sandbox.batches import Batch
from batchkit_tasks.sandbox.validation import Rules


class StateFolder:
    """Saves batches in a folder, and finds them there."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def save(self, batch: Batch) -> None:
        """Write a batch as it is now."""
        path = self._folder / f"{batch.id}.batch.json"
        beside = path.with_suffix(".new")
        beside.write_bytes(msgspec.json.encode(_fields(batch)))
        beside.replace(path)

    def load(self) -> list[Batch]:
        """Return the batches that were saved, oldest first."""
        files = self._folder.glob("*.batch.json")
        found = [_batch(msgspec.json.decode(file.read_bytes())) for file in files]
        return sorted(found, key=lambda batch: batch.number)


def _fields(batch: Batch) -> dict[str, Any]:
    """Return what a batch is made of; its kinds have a file of their own."""
    names = [name for name in Batch.__slots__ if name != "kinds"]
    return {name: getattr(batch, name) for name in names}


def _batch(saved: dict[str, Any]) -> Batch:
    rules = msgspec.convert(saved.pop("rules"), Rules)
    return Batch(rules=rules, **saved)
