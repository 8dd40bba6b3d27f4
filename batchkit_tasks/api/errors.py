"""What answers that are errors, and failures without an answer, mean for the caller.

Creates are judged by `submission`, with the facts that are read off the wire here.
Reading calls know two cases: what may pass (`Later`), and a clear no (an error).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from batchkit_tasks import submission
from batchkit_tasks.api import outcomes
from batchkit_tasks.api.body import Body, UploadTooSlowError
from batchkit_tasks.errors import KeyRefusedError, RefusedError

if TYPE_CHECKING:
    import anthropic


@dataclass(frozen=True, slots=True)
class Later:
    """The API cannot answer a reading call just now; ask again, not before this long."""

    why: str
    retry_after: timedelta | None = None
    unknown_batch: bool = False
    """The answer was 404: false ones heal within minutes."""
    endless: bool = False
    """The list was answered and came to no end: to ask again will hardly help."""


def judge_create_answer(
    error: anthropic.APIStatusError, body: Body
) -> outcomes.Outcome:
    """Say what an error answer to a create means."""
    error_type, message, code = _error_facts(error)
    return outcomes.judge_answer(
        error.status_code,
        error_type,
        message,
        error_code=code,
        retry_after=retry_after(error.response.headers),
        body_was_whole=body.was_handed_over,
    )


def judge_create_failure(error: BaseException, body: Body) -> outcomes.Outcome:
    """Say what a create means that ended without an answer."""
    import httpx2

    cause = error.__cause__ or error
    if isinstance(cause, UploadTooSlowError):
        return outcomes.judge_failure("too slow", str(cause))
    early = (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout)
    if isinstance(cause, early):
        return outcomes.judge_failure("connect", describe(cause))
    phase = "answer" if body.was_handed_over else "upload"
    return outcomes.judge_failure(phase, describe(cause))


def later_or_raise(error: anthropic.APIStatusError) -> Later:
    """Say whether an error answer to a reading call may pass.

    Raises:
        RefusedError: It may not.
    """
    status = error.status_code
    error_type, message, _ = _error_facts(error)
    if status == 404:
        return Later(f"404 {message}", unknown_batch=True)
    if status < 400 or status in (408, 409, 429) or status >= 500:
        after = retry_after(error.response.headers)
        return Later(f"{status} {error_type}: {message}", after)
    raised = KeyRefusedError if status in (401, 403) else RefusedError
    raise raised(status, error_type, message) from None


def retry_after(headers: Mapping[str, str]) -> timedelta | None:
    """How long an answer asks to wait; a date counts from the answer's own date."""
    now = datetime.now(UTC)
    skew = submission.clock_skew(headers, now) or timedelta()
    return submission.parse_retry_after(headers.get("retry-after"), now + skew)


def describe(error: BaseException) -> str:
    """An exception in a few words."""
    return f"{type(error).__name__}: {error}".rstrip(": ")


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
