"""The endpoints of the Message Batches API, as functions of a call."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response

from batchkit_tasks.sandbox.access import NOBODY, Caller, key_label
from batchkit_tasks.sandbox.batches import Batch, describe, is_archived
from batchkit_tasks.sandbox.envelope import RefusedError, read_requests
from batchkit_tasks.sandbox.listing import read_page
from batchkit_tasks.sandbox.settings import Settings
from batchkit_tasks.sandbox.store import Store
from batchkit_tasks.sandbox.streams import faulty_answer, results_answer
from batchkit_tasks.sandbox.validation import Rules
from batchkit_tasks.sandbox.wire import ApiError, json_answer


@dataclass(slots=True)
class Call:
    """One call of the API; filled in while it passes the door."""

    request: Request
    store: Store
    caller: Caller = NOBODY
    body: bytes = b""
    stream_fault: tuple[str, Mapping[str, Any]] | None = None

    @property
    def workspace_id(self) -> str | None:
        """The caller's workspace, once the key was looked at."""
        return None if self.caller is NOBODY else self.caller.workspace_id

    @property
    def settings(self) -> Settings:
        return self.store.settings

    @property
    def now(self) -> float:
        return self.store.clock.now()

    def batch(self) -> Batch:
        """Return the batch that the path names.

        Raises:
            ApiError: 404, also for a batch of another workspace.
        """
        batch_id = self.request.path_params["batch_id"]
        batch = self.store.find(batch_id, self.caller.workspace)
        if batch is None:
            raise ApiError(404, f"Message batch {batch_id} not found.")
        return batch


async def create(call: Call) -> Response:
    """Accept a batch, or refuse all of it."""
    batch = await asyncio.to_thread(_accept, call)
    return json_answer(await _described(call, batch, batch.created_at))


def _accept(call: Call) -> Batch:
    """Check the body and take the batch in; away from the event loop, for it is long."""
    body = call.body
    if call.request.headers.get("content-encoding") == "gzip":
        if call.settings.gzip_requests == "refused":
            raise ApiError(400, "The request body is not valid JSON: gzip")
        body = gzip.decompress(body)
    try:
        requests = read_requests(body, max_requests=call.settings.max_requests)
    except RefusedError as refused:
        raise ApiError(400, str(refused)) from None
    with call.store.accepting:
        _check_queue(call, len(requests))
        return call.store.add(
            body,
            len(requests),
            workspace=call.caller.workspace,
            key=key_label(call.caller.key),
            rules=_rules(call),
        )


def _check_queue(call: Call, requests: int) -> None:
    limit = call.settings.queue_limit
    if limit is not None and call.store.queued_requests() + requests > limit:
        raise ApiError(
            429,
            "This request would exceed the limit of requests in the batch processing "
            f"queue of {limit:,} requests.",
        )


def _rules(call: Call) -> Rules:
    headers = call.request.headers
    betas = headers.get("anthropic-beta", "").replace(" ", "").split(",")
    return Rules(
        version=headers.get("anthropic-version", ""),
        betas=frozenset(filter(None, betas)),
        refuses_sampling=call.settings.sampling_parameters == "refused",
    )


async def retrieve(call: Call) -> Response:
    """Show a batch; on a running one with the advice when to ask again."""
    batch = call.batch()
    described = await _described(call, batch)
    answer = json_answer(described)
    retry_after = call.settings.retry_after
    if retry_after is not None and described["processing_status"] != "ended":
        answer.headers["retry-after"] = str(retry_after)
    return answer


async def list_batches(call: Call) -> Response:
    """Show a page of the workspace's batches."""
    page = read_page(
        call.store.listed(call.caller.workspace),
        call.request.query_params,
        ignores_after_id=call.settings.ignores_after_id,
    )
    data = [await _described(call, batch) for batch in page.batches]
    return json_answer(
        {
            "data": data,
            "has_more": page.has_more,
            "first_id": data[0]["id"] if data else None,
            "last_id": data[-1]["id"] if data else None,
        }
    )


async def cancel(call: Call) -> Response:
    """Begin to cancel a batch; a second time changes nothing."""
    batch = call.batch()
    outcome = call.store.cancel(batch)
    if outcome == "ended" and call.settings.cancel_after_end == "refused":
        raise ApiError(
            400, f"Batch {batch.id} cannot be canceled because it has already ended."
        )
    return json_answer(await _described(call, batch))


async def delete(call: Call) -> Response:
    """Delete an ended batch with its results."""
    batch = call.batch()
    if not batch.has_ended(call.now):
        raise ApiError(400, DELETE_RUNNING.format(id=batch.id))
    call.store.delete(batch)
    return json_answer({"id": batch.id, "type": "message_batch_deleted"})


DELETE_RUNNING: Final = (
    "Batch {id} cannot be deleted while it is still processing. Cancel the batch "
    "first, and wait until it has ended."
)


async def results(call: Call) -> Response:
    """Stream the result lines of an ended batch."""
    batch = call.batch()
    if not batch.has_ended(call.now):
        raise ApiError(404, f"Batch {batch.id} has no available results.")
    if is_archived(batch, call.now):
        raise ApiError(
            404, f"Batch {batch.id} has been archived; its results are not available."
        )
    await asyncio.wrap_future(batch.kinds)
    path = await asyncio.to_thread(call.store.runner.results_path, batch)
    if call.stream_fault is not None:
        return faulty_answer(path, *call.stream_fault, call.request)
    pace = call.settings.results_bytes_per_second
    return results_answer(path, bytes_per_second=pace)


async def _described(
    call: Call, batch: Batch, now: float | None = None
) -> dict[str, Any]:
    """Return a batch as it is shown; waits until an ended one was really run."""
    now = call.now if now is None else now
    if batch.has_ended(now) and not batch.kinds.done():
        await asyncio.wrap_future(batch.kinds)
    host = str(call.request.base_url).rstrip("/")
    return describe(
        batch,
        now,
        host=call.settings.results_url_base or host,
        moving=call.settings.counts == "moving",
        keeps_archived_url=call.settings.archived_results_url == "kept",
    )


Endpoint = Callable[[Call], Awaitable[Response]]

BATCH_ENDPOINTS: Final[Mapping[tuple[str, str], tuple[str, Endpoint]]] = {
    ("POST", "/v1/messages/batches"): ("create", create),
    ("GET", "/v1/messages/batches"): ("list", list_batches),
    ("GET", "/v1/messages/batches/{batch_id}"): ("retrieve", retrieve),
    ("DELETE", "/v1/messages/batches/{batch_id}"): ("delete", delete),
    ("POST", "/v1/messages/batches/{batch_id}/cancel"): ("cancel", cancel),
    ("GET", "/v1/messages/batches/{batch_id}/results"): ("results", results),
}
"""Method and path of each endpoint, its name in faults and ledger, its function."""
