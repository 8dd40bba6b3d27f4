"""Results of requests that are errored."""

from __future__ import annotations

from typing import Any, Final

from batchkit_tasks.sandbox.prompts import Marker

CREDIT_TEXT: Final = (
    "Your credit balance is too low to access the Anthropic API. Please go to Plans & "
    "Billing to upgrade or purchase credits."
)


def error_result(
    error_type: str, text: str, *, request_id: str | None = None
) -> dict[str, Any]:
    """Return an errored result: the error is nested twice."""
    return {
        "type": "errored",
        "error": {
            "type": "error",
            "error": {
                "type": error_type,
                "message": text,
                "details": {"error_visibility": "user_facing"},
            },
            "request_id": request_id,
        },
    }


def ordered_error(marker: Marker) -> dict[str, Any] | None:
    """Return the errored result that a marker orders; `None` for another marker."""
    match marker:
        case Marker("errored", arguments):
            error_type = arguments[0] if arguments else "api_error"
            text = _ERROR_TEXTS.get(error_type, f"Made-up {error_type} of the sandbox.")
            return error_result(error_type, text)
        case Marker("credit"):
            return error_result("invalid_request_error", CREDIT_TEXT)
        case Marker("fetch_failed"):
            return error_result(
                "invalid_request_error",
                "Unable to download the file.",
                request_id="workerreq_01sandbox",
            )
        case _:
            return None


_ERROR_TEXTS: Final = {
    "api_error": "Internal server error",
    "overloaded_error": "Overloaded",
    "rate_limit_error": "Number of requests has exceeded your rate limit.",
    "timeout_error": "Request timed out",
    "invalid_request_error": "Made-up invalid request of the sandbox.",
}
