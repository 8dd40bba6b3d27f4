"""Answers that are errors, by name.

Every one takes the options `message`, `headers`, `retry_after` (seconds), `error_code`,
and `when`: `"instead"` of doing what was asked, or `"afterwards"`, so that a batch is
stored and its answer lost.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from starlette.responses import Response

from batchkit_tasks.sandbox.clock import http_date
from batchkit_tasks.sandbox.wire import ApiError, error_answer, html_answer

_REGAIN: Final = " You will regain access on 2026-12-01 at 00:00 UTC."


@dataclass(frozen=True, slots=True)
class Canned:
    """An answer that is ready: options may change its parts."""

    status: int
    message: str = ""
    error_code: str | None = None
    retry_after: int | None = None
    as_date: bool = False
    page: bool = False
    headers: Mapping[str, str] = field(default_factory=dict[str, str])


ANSWERS: Final[Mapping[str, Canned]] = {
    "status": Canned(500, "Made-up error of the sandbox."),
    "bad_request": Canned(400, "Made-up bad request of the sandbox."),
    "api_usage_limit": Canned(
        400, "You have reached your specified API usage limits." + _REGAIN
    ),
    "workspace_usage_limit": Canned(
        400, "You have reached your specified workspace API usage limits." + _REGAIN
    ),
    "unauthorized": Canned(401, "invalid x-api-key"),
    "payment_required": Canned(402, "Your account has a billing problem."),
    "forbidden": Canned(403, "Your API key does not have permission."),
    "not_found": Canned(404, "Message batch not found."),
    "timeout": Canned(408, "Request timed out"),
    "conflict": Canned(409, "Conflict"),
    "too_large_json": Canned(413, "Request exceeds the maximum size"),
    "too_large_html": Canned(413, "Request Entity Too Large", page=True),
    "rate_limited": Canned(429, "Number of requests has exceeded.", retry_after=1),
    "rate_limited_until": Canned(
        429, "Number of requests has exceeded.", retry_after=1, as_date=True
    ),
    "rate_limited_bare": Canned(429, "Number of requests has exceeded."),
    "spend_cap": Canned(
        429,
        "Your organization has reached its spend limit.",
        "enforced_spend_limit_reached",
    ),
    "contract_spend_cap": Canned(
        429, "Your contract's spend limit is reached.", "contract_spend_limit_reached"
    ),
    "server_error": Canned(500, "Internal server error"),
    "server_error_final": Canned(
        500, "Internal server error", headers={"x-should-retry": "false"}
    ),
    "bad_gateway": Canned(502, "Bad Gateway", page=True),
    "unavailable": Canned(503, "Service Unavailable"),
    "gateway_timeout": Canned(504, "Gateway Timeout"),
    "overloaded": Canned(529, "Overloaded"),
}
"""`status` is for any other: `order("list", "status", status=418, message="...")`."""


def canned_answer(kind: str, options: Mapping[str, Any], now: float) -> Response:
    """Return the answer of that name with its parts changed by the options."""
    canned = ANSWERS[kind]
    status = int(options.get("status", canned.status))
    message = str(options.get("message", canned.message))
    headers = {**canned.headers, **options.get("headers", {})}
    retry_after = options.get("retry_after", canned.retry_after)
    if retry_after is not None:
        when = http_date(now + retry_after) if canned.as_date else str(retry_after)
        headers["retry-after"] = when
    if options.get("page", canned.page):
        answer = html_answer(status, message)
        answer.headers.update(headers)
        return answer
    code = options.get("error_code", canned.error_code)
    error_type = options.get("error_type")
    return error_answer(
        ApiError(
            status, message, error_type=error_type, error_code=code, headers=headers
        )
    )
