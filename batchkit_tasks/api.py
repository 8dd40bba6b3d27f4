"""All calls to the Message Batches API, through the SDK's client.

The SDK's own re-sending is off everywhere: a POST sent twice buys two batches, and
waiting belongs to our own code, where it can be seen and canceled. Answers are decoded
by ourselves (see `batches`), results are read as raw bytes in large pieces: the SDK's
line decoder is quadratic in the length of a line, and makes unknown results look
succeeded.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Self, TypeVar

import msgspec

from batchkit_tasks import submission
from batchkit_tasks.batches import BatchPage, MessageBatch
from batchkit_tasks.errors import KeyRefusedError, RefusedError
from batchkit_tasks.limits import LIST_PAGE_SIZE
from batchkit_tasks.submission import Accepted, Outcome, Unclear

if TYPE_CHECKING:
    import anthropic
    import httpx2

    from batchkit_tasks.body import Body
    from batchkit_tasks.credentials import AnthropicCredentials

T = TypeVar("T")

BATCHES: Final = "/v1/messages/batches"
RAW: Final = {"X-Stainless-Raw-Response": "stream"}
"""Makes the SDK hand over the response before its body is read."""

READ_TIMEOUT_SECONDS: Final = 300.0
"""How long the API may think about a create before its answer counts as lost."""

BLOCK_BYTES: Final = 1 << 20
"""Results are read in pieces of this size: small ones cost a hundred times the CPU."""

MAX_PAGES: Final = 200
"""A server that ignores `after_id` would list for ever; 200,000 batches are enough."""


@dataclass(frozen=True, slots=True)
class Later:
    """The API cannot answer a reading call just now; ask again, not before this long."""

    why: str
    retry_after: timedelta | None = None
    unknown_batch: bool = False
    """The answer was 404: false ones heal within minutes."""


@dataclass(frozen=True, slots=True)
class Seen:
    """Batches as the API showed them in one look."""

    batches: dict[str, MessageBatch]
    retry_after: timedelta | None


class Api:
    """The API as one workspace's key sees it. Thread-safe, as the SDK's client is.

    Close it, or use it in a `with`: it holds connections.
    """

    def __init__(self, credentials: AnthropicCredentials) -> None:
        self.client: anthropic.Anthropic = credentials.get_client(max_retries=0)
        self.key_fingerprint = credentials.fingerprint()
        self.clock_skew = timedelta(0)
        """The server's clock less ours, by the newest `Date` header seen."""

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
                    "timeout": httpx2.Timeout(READ_TIMEOUT_SECONDS, connect=10.0),
                },
            )
        except anthropic.APIStatusError as error:
            self._note_clock(error.response.headers)
            return _judge(error)
        except (anthropic.APIConnectionError, httpx2.HTTPError) as error:
            cause = error.__cause__ or error
            early = (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout)
            phase = "connect" if isinstance(cause, early) else "later"
            return submission.judge_failure(phase, _describe(cause))
        except Exception as error:
            return Unclear(_describe(error))
        self._note_clock(response.headers)
        try:
            return Accepted(msgspec.json.decode(response.content, type=MessageBatch))
        except msgspec.DecodeError as error:
            return Unclear(f"the answer is not a message batch: {error}")

    # ------------------------------------------------------------------- reading

    def preflight(self) -> None:
        """Ask for the smallest page: proves the key, and reads the server's clock.

        Raises:
            RefusedError: The API does not serve this key. Nothing was sent.
        """
        self._read(partial(self._page, limit=1))

    def retrieve(self, batch_id: str) -> MessageBatch | Later:
        """Look at one batch."""
        found = self._read(partial(self._get, f"{BATCHES}/{batch_id}"))
        if isinstance(found, Later):
            return found
        return msgspec.json.decode(found.content, type=MessageBatch)

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
        retry_after: timedelta | None = None
        for batch_id in sorted(batch_ids - seen.keys()):
            found = self._read(partial(self._get, f"{BATCHES}/{batch_id}"))
            if isinstance(found, Later):
                if found.unknown_batch:
                    continue
                return found
            seen[batch_id] = msgspec.json.decode(found.content, type=MessageBatch)
            retry_after = _retry_after(found.headers) or retry_after
        return Seen(seen, retry_after)

    def list_since(
        self, oldest: datetime, *, until_found: set[str] | None = None
    ) -> list[MessageBatch] | Later:
        """List the workspace's batches, newest first, down to a creation time.

        Args:
            until_found: Stop early once all of these have been listed.
        """
        listed: dict[str, MessageBatch] = {}
        after: str | None = None
        for _ in range(MAX_PAGES):
            page = self._read(partial(self._page, after=after))
            if isinstance(page, Later):
                return page
            fresh = [batch for batch in page.data if batch.id not in listed]
            listed.update((batch.id, batch) for batch in fresh)
            after = page.last_id or (page.data[-1].id if page.data else None)
            if not page.has_more or not fresh or fresh[-1].created_at < oldest:
                break
            if until_found is not None and until_found <= listed.keys():
                break
        return list(listed.values())

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
            yield _blocks(response)
        finally:
            response.close()

    def cancel(self, batch_id: str) -> MessageBatch | Later:
        """Ask the API to cancel a batch; a batch that has ended stays as it is."""
        import httpx2

        path = f"{BATCHES}/{batch_id}/cancel"
        try:
            found = self._read(lambda: self.client.post(path, cast_to=httpx2.Response))
        except RefusedError as error:
            if error.status in (400, 409):  # it has ended, or is being canceled
                return self.retrieve(batch_id)
            raise
        if isinstance(found, Later):
            return found
        return msgspec.json.decode(found.content, type=MessageBatch)

    def count_tokens(self, params: Mapping[str, Any]) -> int | Later:
        """Input tokens of one request, as the API counts them (free of charge)."""
        import httpx2

        kept = {"model", "messages", "system", "output_config", "tools", "thinking"}
        body = {key: value for key, value in params.items() if key in kept}
        found = self._read(
            lambda: self.client.post(
                "/v1/messages/count_tokens", body=body, cast_to=httpx2.Response
            )
        )
        if isinstance(found, Later):
            return found
        return int(msgspec.json.decode(found.content)["input_tokens"])

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
            options={"params": dict(query or {}), "headers": dict(headers or {})},
        )

    def _page(
        self, *, limit: int = LIST_PAGE_SIZE, after: str | None = None
    ) -> BatchPage:
        query = {"limit": limit} | ({"after_id": after} if after else {})
        response = self._get(BATCHES, query=query)
        self._note_clock(response.headers)
        return msgspec.json.decode(response.content, type=BatchPage)

    def _read(self, call: Callable[[], T]) -> T | Later:
        """Make a reading call: what may pass becomes `Later`, a clear no is raised."""
        import anthropic
        import httpx2

        try:
            return call()
        except anthropic.APIStatusError as error:
            self._note_clock(error.response.headers)
            return _later_or_raise(error)
        except (anthropic.APIConnectionError, httpx2.HTTPError) as error:
            return Later(_describe(error.__cause__ or error))
        except msgspec.DecodeError as error:
            return Later(f"the answer cannot be read: {error}")

    def _note_clock(self, headers: Mapping[str, str]) -> None:
        skew = submission.clock_skew(headers, datetime.now(UTC))
        if skew is not None:
            self.clock_skew = skew


class TornResults(Exception):  # noqa: N818 - an event of the wire, not a verdict
    """The connection ended before the results did."""


def _blocks(response: httpx2.Response) -> Iterator[bytes]:
    import httpx2

    try:
        yield from response.iter_bytes(BLOCK_BYTES)
    except httpx2.HTTPError as error:
        raise TornResults(_describe(error)) from error


def _later_or_raise(error: anthropic.APIStatusError) -> Later:
    status = error.status_code
    error_type, message, _ = _error_facts(error)
    if status == 404:
        return Later(f"404 {message}", unknown_batch=True)
    if status in (408, 409, 429) or status >= 500:
        after = _retry_after(error.response.headers)
        return Later(f"{status} {error_type}: {message}", after)
    raised = KeyRefusedError if status in (401, 403) else RefusedError
    raise raised(status, error_type, message) from None


def _judge(error: anthropic.APIStatusError) -> Outcome:
    error_type, message, code = _error_facts(error)
    return submission.judge_answer(
        error.status_code,
        error_type,
        message,
        error_code=code,
        retry_after=_retry_after(error.response.headers),
    )


def _error_facts(error: anthropic.APIStatusError) -> tuple[str, str, str]:
    """Type, message and code of an error answer; whoever wrote it, in whatever form."""
    body = error.body
    inner = body.get("error") if isinstance(body, dict) else None
    if not isinstance(inner, dict):
        text = error.response.text.strip()[:200] or error.response.reason_phrase
        return "not an API answer", text, ""
    details = inner.get("details")
    code = details.get("error_code", "") if isinstance(details, dict) else ""
    return str(inner.get("type")), str(inner.get("message")), str(code or "")


def _retry_after(headers: Mapping[str, str]) -> timedelta | None:
    return submission.parse_retry_after(headers.get("retry-after"), datetime.now(UTC))


def _describe(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}".rstrip(": ")
