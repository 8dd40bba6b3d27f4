"""The plain client: a list of requests in, their results by custom_id out.

    kit = BatchKit()
    batch_id = kit.submit([{"custom_id": "a", "model": …, "messages": …}])
    results = kit.poll_and_retrieve(batch_id)

One batch at a time, in this process, without a table and without a run directory. What
it shares with the rest: a create is sent once and judged, never repeated blindly.

Here too: the reading and checking of its requests, and of its results.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from pydantic import SecretStr, ValidationError

from batchkit_tasks import patience, submission
from batchkit_tasks.api import Api, Later, outcomes
from batchkit_tasks.api.body import Body
from batchkit_tasks.errors import (
    KeyRefusedError,
    MissingKeyError,
    NotSentError,
    ParameterError,
    RefusedError,
    SpendLimitError,
    SubmissionUncertainError,
)
from batchkit_tasks.keys import PLACEHOLDER_KEY, ApiKey
from batchkit_tasks.kit.requests import KitRequest, read_requests
from batchkit_tasks.kit.results import Results, read_results, wait_for_end
from batchkit_tasks.plans.estimating import estimate_requests

logger: Final = logging.getLogger("batchkit")

BUSY_PATIENCE: Final = timedelta(minutes=10)
"""How long a create that was turned away (429) is tried again."""

WAIT_WHEN_BUSY: Final = timedelta(seconds=30)
SHORTEST_WAIT: Final = timedelta(seconds=0.5)
WAIT_WITHOUT_CONNECTION: Final = timedelta(seconds=5)

LONGEST_SEARCH: Final = timedelta(seconds=20)
"""How long a batch whose create went unanswered is looked for in the list."""

BETWEEN_SEARCHES: Final = timedelta(seconds=2)

_REFUSALS: Final = {
    "key": KeyRefusedError,
    "spend": SpendLimitError,
    "request": RefusedError,
}


class BatchKit:
    """A plain client of the Message Batches API. Holds no connection while idle.

    Args:
        api_key: By default `ANTHROPIC_API_KEY`.
        base_url: By default `ANTHROPIC_BASE_URL`, else Anthropic's own API.

    Raises:
        MissingKeyError: There is neither a key nor an address.
    """

    def __init__(self, api_key: str | None = None, base_url: str | None = None) -> None:
        self._credentials = _credentials(api_key, base_url)

    def submit(self, requests: Iterable[Mapping[str, Any]]) -> str:
        """Create one message batch, exactly once.

        Args:
            requests: Up to 10,000, flat (`{"custom_id", "model", "max_tokens",
                "messages", …}`) or nested as the API has them (`{"custom_id",
                "params": {…}}`).

        Returns:
            The batch's id: keep it, the API has no other name for it.

        Raises:
            ParameterError: A request cannot work. Nothing was sent.
            RefusedError: The API said no. Nothing was created.
            NotSentError: The API could not be reached or stayed busy. Nothing was
                created.
            SubmissionUncertainError: No answer came. A batch may exist; the error names
                those that it could be.
        """
        checked = read_requests(requests)
        with Api(self._credentials) as api:
            return _create(api, checked)

    def poll_and_retrieve(
        self, batch_id: str, poll_interval_seconds: float = 60
    ) -> Results:
        """Wait until a batch has ended, up to a day, and read its results.

        May be stopped and called again at any time: the batch goes on by itself.

        Args:
            poll_interval_seconds: Between two looks; the API may ask for more.

        Returns:
            By custom_id, one of `{"type": "succeeded", "content": "text", "message":
            {…}}` and `{"type": "errored" | "canceled" | "expired", "error": "type:
            message"}`. A message that was cut or refused has succeeded, too: see its
            `stop_reason`.

        Raises:
            PollingError: The API does not know the batch, for minutes.
            ResultsGoneError: Its results were deleted (29 days).
            ResultsUnreadableError: They cannot be read to the end just now.
        """
        if not re.fullmatch(r"[\w-]+", batch_id):
            raise ParameterError("batch_id", f"{batch_id!r} is not a batch's id.")
        if not poll_interval_seconds > 0:
            raise ParameterError("poll_interval_seconds", "must be above 0.")
        interval = timedelta(seconds=poll_interval_seconds)
        with Api(self._credentials) as api:
            try:
                return read_results(api, wait_for_end(api, batch_id, interval))
            except KeyboardInterrupt as stop:
                stop.add_note(f"{batch_id} goes on; poll_and_retrieve it again later.")
                raise

    def estimate(self, requests: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
        """Say what requests would cost; nothing is sent but free token counts.

        Returns:
            `requests`, `input_tokens`, `output_tokens` (a guess) and
            `output_tokens_ceiling` (all `max_tokens` used up), `batch_usd`,
            `standard_usd` and `savings_usd` for the guess, `batch_usd_ceiling`;
            `counted`: whether the API counted a sample, or bytes were divided. Prices
            are None where one is not known.

        Raises:
            ParameterError: A request cannot work.
        """
        checked = read_requests(requests)
        with Api(self._credentials) as api:
            return estimate_requests(
                [(r.model, r.max_tokens, r.params) for r in checked], api
            )


def _credentials(api_key: str | None, base_url: str | None) -> ApiKey:
    try:
        if api_key is None and base_url is None:
            return ApiKey.from_env()
        if api_key is None:
            api_key = _key_from_env() or PLACEHOLDER_KEY
        return ApiKey(api_key=SecretStr(api_key), base_url=base_url or "")
    except ValidationError as error:
        first = error.errors()[0]
        problem = first["msg"].removeprefix("Value error, ")
        raise ParameterError(str(first["loc"][0]), f"{problem}.") from None


def _key_from_env() -> str | None:
    try:
        return ApiKey.from_env().api_key.get_secret_value()
    except MissingKeyError:
        return None


def _create(api: Api, requests: list[KitRequest]) -> str:
    """Create the batch; a create that certainly made nothing is tried again."""
    started = datetime.now(UTC)
    with Body(request.item() for request in requests) as body:
        while True:
            now = datetime.now(UTC)
            outcome = api.create(body, submission.upload_deadline(now, body.size))
            match outcome:
                case outcomes.Accepted(batch):
                    logger.info("%s: %d requests submitted", batch.id, len(requests))
                    return batch.id
                case outcomes.NotSent(why):
                    limit, wait = patience.held_in_process(), WAIT_WITHOUT_CONNECTION
                case outcomes.Busy(why, retry_after):
                    wait = WAIT_WHEN_BUSY if retry_after is None else retry_after
                    limit, wait = BUSY_PATIENCE, max(wait, SHORTEST_WAIT)
                case outcomes.Unclear(why):
                    raise _uncertain(api, len(requests), now, why)
                case outcomes.TooLarge(why):
                    raise ParameterError(
                        "requests", f"the API found them too large ({why})."
                    )
                case outcomes.Refused(kind, status, error_type, message):
                    raise _REFUSALS[kind](status, error_type, message)
            if now + wait > started + limit:
                raise NotSentError(why, (now - started).total_seconds())
            time.sleep(wait.total_seconds())


def _uncertain(
    api: Api, requests: int, sent_at: datetime, why: str
) -> SubmissionUncertainError:
    """Look for the batch that may exist, and name every one that it could be."""
    ends = datetime.now(UTC) + min(LONGEST_SEARCH, patience.propagation_grace())
    while True:
        found = _candidates(api, requests, sent_at)
        if found or datetime.now(UTC) >= ends:
            since = f"{sent_at:%d %b %H:%M} UTC"
            return SubmissionUncertainError(why, requests, since, found)
        time.sleep(BETWEEN_SEARCHES.total_seconds())


def _candidates(api: Api, requests: int, sent_at: datetime) -> list[str]:
    """Ids of the listed batches of that size, created since."""
    skew = api.clock_skew or timedelta()
    since = sent_at + skew - submission.CLOCK_TOLERANCE
    try:
        listed = api.list_since(since)
    except RefusedError:
        return []
    if isinstance(listed, Later):
        return []
    return [
        batch.id
        for batch in listed
        if batch.request_counts.total == requests and batch.created_at >= since
    ]


__all__ = ("BatchKit",)
