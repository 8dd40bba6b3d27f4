"""One record, one JSON file: read whole or not at all, never guessed.

Only a file that is not there is `None`. One that is there and cannot be understood
(torn, empty, not ours, of a newer format, not readable just now) stops the run.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

import msgspec

from batchkit_tasks.errors import RecordUnreadableError
from batchkit_tasks.ground import storage
from batchkit_tasks.ground.decoding import decode
from batchkit_tasks.records import FORMAT

T = TypeVar("T")


def read_record(url: str, kind: Any) -> Any:
    """Read a record of some type; None only if there is no such file.

    Raises:
        RecordUnreadableError: It is there, but cannot be read.
    """
    try:
        data = storage.read(url)
    except OSError as error:
        raise RecordUnreadableError(url, str(error)) from error
    return _understood(url, data, kind)


def read_records(urls: Sequence[str], kind: Any) -> list[Any]:
    """Read many records at once, each as `read_record` does.

    Raises:
        RecordUnreadableError: One of them is there, but cannot be read.
    """
    records: list[Any] = []
    for url, data in zip(urls, storage.read_all(urls), strict=True):
        if isinstance(data, Exception):
            raise RecordUnreadableError(url, str(data)) from data
        records.append(_understood(url, data, kind))
    return records


def _understood(url: str, data: bytes | None, kind: Any) -> Any:
    if data is None:
        return None
    try:
        record = decode(data, kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise RecordUnreadableError(url, _problem(data, str(error))) from error
    if getattr(record, "format", FORMAT) != FORMAT:
        raise RecordUnreadableError(url, _problem(data, "unknown format"))
    return record


def create_record(url: str, record: T) -> T:
    """Write a record, or return the one that another process wrote first.

    Raises:
        RecordUnreadableError: There is one, but it cannot be read.
    """
    if storage.create(url, msgspec.json.encode(record)):
        return record
    found = read_record(url, type(record))
    if found is None:
        raise RecordUnreadableError(url, "it was there and vanished")
    return found


def _problem(data: bytes, error: str) -> str:
    if not data.strip():
        return "it is empty"
    try:
        version = msgspec.json.decode(data).get("format", FORMAT)
    except (msgspec.DecodeError, UnicodeDecodeError, AttributeError):
        return f"it is torn or not ours: {error}"
    if isinstance(version, int) and version > FORMAT:
        return f"format {version} was written by a newer batchkit; upgrade to go on"
    return f"it is torn or not ours: {error}"
