"""All calls to the Message Batches API, through the SDK's client.

The SDK's own re-sending is off everywhere: a POST sent twice buys two batches, and
waiting belongs to our own code, where it can be seen and canceled. Answers are decoded
by ourselves (see `batches`), results are read as raw bytes in large pieces: the SDK's
line decoder is quadratic in the length of a line, and makes unknown results look
succeeded.

Here too: the body of a create, the pages of the list, results as bytes, what errors
mean.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Self, TypeVar

import msgspec

from batchkit_tasks import patience, submission
from batchkit_tasks.api.errors import (
    Later,
    describe,
    judge_create_answer,
    judge_create_failure,
    later_or_raise,
    retry_after,
)
from batchkit_tasks.api.list_pages import read_down_to
from batchkit_tasks.api.outcomes import Accepted, Outcome, Unclear
from batchkit_tasks.api.result_bytes import read_blocks
from batchkit_tasks.api.tls import http_client
from batchkit_tasks.batches import BatchPage, MessageBatch
from batchkit_tasks.errors import RefusedError
from batchkit_tasks.ground.decoding import decode
from batchkit_tasks.limits import LIST_PAGE_SIZE

if TYPE_CHECKING:
    import anthropic
    import httpx2

    from batchkit_tasks.api.body import Body
    from batchkit_tasks.keys import Key

T = TypeVar("T")

BATCHES: Final = "/v1/messages/batches"
RAW: Final = {"X-Stainless-Raw-Response": "stream"}
"""Makes the SDK hand over the response before its body is read."""


@dataclass(frozen=True, slots=True)
class Seen:
    """Batches as the API showed them in one look."""

    batches: dict[str, MessageBatch]
    retry_after: timedelta | None


class Api:
    """The API as one workspace's key sees it. Thread-safe, as the SDK's client is.

    Close it, or use it in a `with`: it holds connections.
    """

    def __init__(self, credentials: Key) -> None:
        self.client: anthropic.Anthropic = credentials.get_client(
            max_retries=0, http_client=http_client()
        )
        self.key_fingerprint = credentials.fingerprint()
        self.clock_skew: timedelta | None = None
        """The server's clock less ours, by the newest `Date` header seen."""
        self.workspace = ""
        """The workspace that the key acts in, as far as the API has said."""

    def close(self) -> None:
        """Close the connections."""
        self.client.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # ------------------------------------------------------------------ creating

    def create(self, body: Body, deadline: datetime) -> Outcome:
        """POST the body once, and say what is known of the outcome.

        This is the only call that buys. It is never repeated here: a create without
        an answer is judged and recorded, not retried (see `submission`).
        """
        import anthropic
        import httpx2

        answer_seconds = patience.answer_to_create().total_seconds()
        try:
            response = self.client.post(
                BATCHES,
                content=body.until(deadline),
                cast_to=httpx2.Response,
                options={
                    "headers": {
                        "Content-Type": "application/json",
                        "Content-Length": str(body.size),
                    },
                    "timeout": httpx2.Timeout(answer_seconds, connect=10.0),
                    "follow_redirects": False,
                },
            )
        except anthropic.APIStatusError as error:
            self._note(error.response.headers)
            return judge_create_answer(error, body)
        except Exception as error:
            return judge_create_failure(error, body)
        self._note(response.headers)
        try:
            return Accepted(decode(response.content, MessageBatch))
        except msgspec.DecodeError as error:
            return Unclear(f"the answer is not a message batch: {error}")

    # ------------------------------------------------------------------- reading

    def preflight(self) -> Later | None:
        """Ask for the smallest page: proves the key, and reads the server's clock.

        Returns:
            Why the API cannot be asked just now, if so. A list that could not be read
            is no moment to create a batch whose answer may be lost.

        Raises:
            RefusedError: The API does not serve this key. Nothing was sent.
        """
        page = self._read(partial(self._page, limit=1))
        return page if isinstance(page, Later) and not page.unknown_batch else None

    def retrieve(self, batch_id: str) -> MessageBatch | Later:
        """Look at one batch."""
        found = self._read(partial(self._batch, batch_id))
        return found if isinstance(found, Later) else found[0]

    def look(self, batch_ids: set[str], oldest: datetime) -> Seen | Later:
        """Look at many batches in few calls: by pages, then one by one what is left.

        Args:
            oldest: No batch of these was created before, by the server's clock.
        """
        if len(batch_ids) > 2:
            listed = self.list_since(oldest, until_found=batch_ids)
            if isinstance(listed, Later):
                return listed
            seen = {b.id: b for b in listed if b.id in batch_ids}
        else:
            seen = {}
        floor: timedelta | None = None
        for batch_id in sorted(batch_ids - seen.keys()):
            found = self._read(partial(self._batch, batch_id))
            if isinstance(found, Later):
                if found.unknown_batch:
                    continue
                return found
            seen[batch_id], wait = found
            floor = wait or floor
        return Seen(seen, floor)

    def list_since(
        self, oldest: datetime, *, until_found: set[str] | None = None
    ) -> list[MessageBatch] | Later:
        """List the workspace's batches, newest first, down to a creation time.

        Args:
            until_found: Stop early once all of these have been listed, and do not mind
                if the list cannot be read to its end.

        Returns:
            The batches; `Later` if the list could not be read that far: then what is
            not in it may exist all the same.
        """
        return read_down_to(oldest, self._next_page, until_found)

    def _next_page(self, after: str | None) -> BatchPage | Later:
        try:
            return self._read(partial(self._page, after=after))
        except RefusedError as refused:
            if after is None or refused.status != 400:
                raise
            return Later(f"{after} was deleted while the list was read")

    @contextlib.contextmanager
    def results(self, batch_id: str) -> Generator[Iterator[bytes] | Later]:
        """The raw bytes of a batch's results, in large blocks.

        The path is built here: a `results_url` that points elsewhere would be handed
        our key. Connection faults while reading are raised as `TornResults`.
        """
        response = self._read(
            lambda: self._get(
                f"{BATCHES}/{batch_id}/results",
                headers={**RAW, "Accept": "application/binary"},
            )
        )
        if isinstance(response, Later):
            yield response
            return
        try:
            yield read_blocks(response)
        finally:
            response.close()

    def cancel(self, batch_id: str) -> MessageBatch | Later:
        """Ask the API to cancel a batch; a batch that has ended stays as it is."""
        import httpx2

        path = f"{BATCHES}/{batch_id}/cancel"
        try:
            return self._read(
                lambda: decode(
                    self.client.post(
                        path, cast_to=httpx2.Response, options=_reading()
                    ).content,
                    MessageBatch,
                )
            )
        except RefusedError as error:
            if error.status in (400, 409):  # it has ended, or is being canceled
                return self.retrieve(batch_id)
            raise

    def count_tokens(self, params: Mapping[str, Any]) -> int | Later:
        """Input tokens of one request, as the API counts them (free of charge)."""
        import httpx2

        kept = {"model", "messages", "system", "output_config", "tools", "thinking"}
        body = {key: value for key, value in params.items() if key in kept}
        found = self._read(
            lambda: decode(
                self.client.post(
                    "/v1/messages/count_tokens",
                    body=body,
                    cast_to=httpx2.Response,
                    options=_reading(),
                ).content,
                _Tokens,
            )
        )
        return found if isinstance(found, Later) else found.input_tokens

    # -------------------------------------------------------------------- inside

    def _get(
        self,
        path: str,
        *,
        query: Mapping[str, object] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> httpx2.Response:
        import httpx2

        return self.client.get(
            path,
            cast_to=httpx2.Response,
            options=_reading() | {"params": query or {}, "headers": headers or {}},
        )

    def _batch(self, batch_id: str) -> tuple[MessageBatch, timedelta | None]:
        response = self._get(f"{BATCHES}/{batch_id}")
        self._note(response.headers)
        batch: MessageBatch = decode(response.content, MessageBatch)
        return batch, retry_after(response.headers)

    def _page(
        self, *, limit: int = LIST_PAGE_SIZE, after: str | None = None
    ) -> BatchPage:
        query = {"limit": limit} | ({"after_id": after} if after else {})
        response = self._get(BATCHES, query=query)
        self._note(response.headers)
        return decode(response.content, BatchPage)

    def _read(self, call: Callable[[], T]) -> T | Later:
        """Make a reading call: what may pass becomes `Later`, a clear no is raised."""
        import anthropic
        import httpx2

        try:
            return call()
        except anthropic.APIStatusError as error:
            self._note(error.response.headers)
            return later_or_raise(error)
        except (anthropic.APIConnectionError, httpx2.HTTPError) as error:
            return Later(describe(error.__cause__ or error))
        except msgspec.DecodeError as error:
            return Later(f"the answer cannot be read: {error}")

    def _note(self, headers: Mapping[str, str]) -> None:
        skew = submission.clock_skew(headers, datetime.now(UTC))
        if skew is not None:
            self.clock_skew = skew
        self.workspace = headers.get("anthropic-workspace-id") or self.workspace


class _Tokens(msgspec.Struct):
    input_tokens: int


def _reading() -> Any:
    """Options of reading calls: a stalled one is asked again, none goes elsewhere.

    Redirects are not followed: the key is for the address it was given for.
    """
    import httpx2

    seconds = patience.answer_to_read().total_seconds()
    timeout = httpx2.Timeout(seconds, connect=10.0)
    return {"timeout": timeout, "follow_redirects": False}
