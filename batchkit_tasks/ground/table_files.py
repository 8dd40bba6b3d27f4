"""Big files on any filesystem: written as they come, and there whole or not at all.

Data goes to a temporary file that is then moved to its name, so that a reader sees
the old file or the new one, and a crash leaves the old one whole. Local files are
written beside their name. Other filesystems get the finished file in one go: an object
store with one put (atomic by itself), all others under a temporary name that is then
moved.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
import uuid
from collections.abc import Generator
from pathlib import Path
from typing import IO, Any

from fsspec.implementations.local import LocalFileSystem

from batchkit_tasks.ground import storage


@contextlib.contextmanager
def moved_into_place(url: str) -> Generator[IO[bytes]]:
    """Give a file to write to; move it to the URL when the block ends well.

    When the block ends with an exception nothing appears, and what was there stays.
    Missing folders are made. A process that is killed leaves a hidden `.tmp` file.
    """
    fs, path = storage.filesystem(url)
    if isinstance(fs, LocalFileSystem):
        with _beside(Path(path)) as file:
            yield file
        return
    with tempfile.NamedTemporaryFile(prefix="batchkit-") as file:
        yield file
        file.flush()
        _upload(fs, file.name, path)


@contextlib.contextmanager
def _beside(target: Path) -> Generator[IO[bytes]]:
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}.{uuid.uuid4().hex}.tmp")
    try:
        with temporary.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)
    _flush_folder(target.parent)


def _flush_folder(folder: Path) -> None:
    """Make the new name itself durable, where the platform can."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _upload(fs: Any, local: str, path: str) -> None:
    if storage.is_object_store(fs):
        # Shows the whole object or nothing; a move would copy it.
        fs.put_file(local, path)
        return
    folder, _, name = path.rpartition("/")
    temporary = f"{folder}/.{name}.{uuid.uuid4().hex}.tmp"
    if folder:
        fs.makedirs(folder, exist_ok=True)
    try:
        fs.put_file(local, temporary)
        fs.mv(temporary, path)
    except BaseException:
        with contextlib.suppress(Exception):  # the first error is the one that counts
            fs.rm_file(temporary)
        raise
