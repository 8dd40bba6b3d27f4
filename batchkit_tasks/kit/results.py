"""Waiting for one batch and reading its results, for the plain client."""

from __future__ import annotations

import logging
import time
from datetime import UTC, datetime, timedelta
from typing import Any, Final, cast

import msgspec

from batchkit_tasks import patience
from batchkit_tasks.api import Api
from batchkit_tasks.api.errors import Later
from batchkit_tasks.api.result_bytes import TornResults
from batchkit_tasks.batches import MessageBatch
from batchkit_tasks.errors import (
    PollingError,
    ResultsGoneError,
    ResultsShortError,
    ResultsUnreadableError,
)
from batchkit_tasks.ground.json_text import read_json
from batchkit_tasks.results.lines import read_lines
from batchkit_tasks.results.rows import NO_RESULT

logger: Final = logging.getLogger("batchkit")

Results = dict[str, dict[str, Any]]
"""By custom_id; see `BatchKit.poll_and_retrieve`."""


def wait_for_end(api: Api, batch_id: str, interval: timedelta) -> MessageBatch:
    """Look at a batch until it has ended.

    Connection losses, 429 and 5xx are waited through for as long as it takes, a 404 for
    minutes: false ones are on record.

    Raises:
        PollingError: The API has not known the batch for ten minutes.
        KeyRefusedError: The key cannot read it.
    """
    unknown_since: float | None = None
    while True:
        seen = api.look({batch_id}, datetime.now(UTC))
        least: timedelta | None
        if isinstance(seen, Later):
            logger.info("%s: the API does not answer (%s)", batch_id, seen.why)
            least = seen.retry_after
        elif batch_id in seen.batches:
            unknown_since = None
            batch = seen.batches[batch_id]
            if batch.has_ended:
                return batch
            logger.info("%s: %s", batch_id, batch.processing_status)
            least = seen.retry_after
        else:
            unknown_since = unknown_since or time.monotonic()
            _stay_patient(batch_id, time.monotonic() - unknown_since)
            least = None
        time.sleep(max(interval, least or timedelta()).total_seconds())


def _stay_patient(batch_id: str, seconds: float) -> None:
    limit = patience.unknown_batch_patience().total_seconds()
    if seconds >= limit:
        raise PollingError(
            [batch_id],
            f"the API does not know it (404), for {seconds / 60:.0f} minutes now. Is it "
            "of another workspace, or deleted?",
        )
    if not seconds:
        logger.warning(
            "%s: the API does not know this batch (404); such answers can be wrong for "
            "minutes, so it is asked again for %.0f more",
            batch_id,
            limit / 60,
        )


def read_results(api: Api, batch: MessageBatch) -> Results:
    """Read all results of an ended batch; those that come short are read again.

    Raises:
        ResultsGoneError: The API deleted them (29 days).
        ResultsShortError: Requests have no line, however often they are read.
        ResultsUnreadableError: They could not be read to the end just now.
    """
    if batch.archived_at is not None:
        raise ResultsGoneError(
            batch.id, f"created {batch.created_at:%d %b %Y}, kept for 29 days"
        )
    best: Results | None = None
    problem = ""
    for wait in (0.0, *patience.reread_waits()):
        time.sleep(wait)
        found, problem = _read_once(api, batch.id)
        if not problem and len(found) >= batch.request_counts.total:
            return found
        if not problem and len(found) > len(best or ()):
            best = found
    if best is None:
        raise ResultsUnreadableError(batch.id, problem or "they were empty")
    raise ResultsShortError(batch.id, best, batch.request_counts.total)


def _read_once(api: Api, batch_id: str) -> tuple[Results, str]:
    """The results, and what kept them from being read to the end."""
    results: Results = {}
    with api.results(batch_id) as blocks:
        if isinstance(blocks, Later):
            return results, blocks.why
        try:
            for line in read_lines(blocks):
                read = _read_line(line)
                if read is None:
                    return results, "a line is torn"
                results.setdefault(*read)
        except TornResults as torn:
            return results, str(torn)
    return results, ""


def _read_line(line: bytes) -> tuple[str, dict[str, Any]] | None:
    """One line's custom_id and result; None if it is torn."""
    try:
        value = _decoded(line)
        return value["custom_id"], as_result(value["result"])
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def _decoded(line: bytes) -> dict[str, Any]:
    try:
        return cast("dict[str, Any]", msgspec.json.decode(line))
    except (msgspec.DecodeError, UnicodeDecodeError):
        return cast("dict[str, Any]", read_json(line.decode()))  # half characters


def as_result(result: dict[str, Any]) -> dict[str, Any]:
    """A result in the plain client's form.

    A type that is not known here keeps its name and comes with an `error`: it is no
    success by accident.
    """
    kind = str(result["type"])
    if kind == "succeeded":
        message = result["message"]
        return {"type": kind, "content": _text(message), "message": message}
    if kind == "errored":
        return {"type": kind, "error": _error_text(result.get("error"))}
    return {"type": kind, "error": NO_RESULT.get(kind, f"{kind}: not known here")}


def _text(message: dict[str, Any]) -> str:
    """All text blocks of a message; thinking and tool calls are in `message`."""
    blocks = message.get("content") or []
    return "".join(b.get("text") or "" for b in blocks if b.get("type") == "text")


def _error_text(error: Any) -> str:
    """`type: message` of an error, which the API nests in another one."""
    while isinstance(error, dict) and isinstance(error.get("error"), dict):
        error = error["error"]
    if not isinstance(error, dict):
        return "unknown_error: the API gave no message"
    kind = error.get("type") or "unknown_error"
    return f"{kind}: {error.get('message') or 'the API gave no message'}"
