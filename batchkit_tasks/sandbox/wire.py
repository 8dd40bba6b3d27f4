"""Answers in the API's form: JSON, the error envelope, the headers of every answer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec
from starlette.responses import Response

from batchkit_tasks.sandbox.clock import http_date, timestamp
from batchkit_tasks.sandbox.ids import new_id

ORGANIZATION_ID: Final = "00000000-0000-4000-8000-000000sandbox"

ERROR_TYPES: Final[Mapping[int, str]] = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    408: "timeout_error",
    409: "conflict_error",
    413: "request_too_large",
    429: "rate_limit_error",
    500: "api_error",
    502: "api_error",
    503: "api_error",
    504: "timeout_error",
    529: "overloaded_error",
}


class ApiError(Exception):
    """An answer of the API that is an error."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        error_type: str | None = None,
        error_code: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(status, message)
        self.status = status
        self.message = message
        self.error_type = error_type or ERROR_TYPES.get(status, "api_error")
        self.error_code = error_code
        self.headers = dict(headers or {})


def json_answer(value: object, status: int = 200) -> Response:
    """Return a JSON answer."""
    return Response(msgspec.json.encode(value), status, media_type="application/json")


def error_answer(error: ApiError) -> Response:
    """Return the error envelope, whose request_id is also in the header."""
    request_id = new_id("req")
    inner: dict[str, Any] = {"type": error.error_type, "message": error.message}
    if error.error_code:
        inner["details"] = {"error_code": error.error_code}
    body = {"type": "error", "error": inner, "request_id": request_id}
    answer = json_answer(body, error.status)
    answer.headers.update({"request-id": request_id, **error.headers})
    return answer


def html_answer(status: int, title: str) -> Response:
    """Return what a proxy in front of the API answers: a page, not JSON."""
    page = (
        f"<html>\r\n<head><title>{status} {title}</title></head>\r\n<body>\r\n"
        f"<center><h1>{status} {title}</h1></center>\r\n<hr><center>cloudflare</center>"
        "\r\n</body>\r\n</html>\r\n"
    )
    return Response(page, status, media_type="text/html")


def add_headers(answer: Response, *, now: float, workspace_id: str | None) -> None:
    """Add the headers that every answer of the API has."""
    headers = answer.headers
    headers.setdefault("date", http_date(now))
    headers.setdefault("request-id", new_id("req"))
    headers.setdefault("anthropic-organization-id", ORGANIZATION_ID)
    if workspace_id is not None:
        headers.setdefault("anthropic-workspace-id", workspace_id)
    headers.setdefault("anthropic-ratelimit-requests-limit", "4000")
    headers.setdefault("anthropic-ratelimit-requests-remaining", "3999")
    headers.setdefault("anthropic-ratelimit-requests-reset", timestamp(now))
