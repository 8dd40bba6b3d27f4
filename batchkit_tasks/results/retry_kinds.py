"""Which failed rows may be sent again, by what the API said of them."""

from __future__ import annotations

from typing import Final

from batchkit_tasks.parameters import RetryKind
from batchkit_tasks.results.rows import UNKNOWN_RESULT

NEVER_AGAIN: Final = frozenset(
    (
        "invalid_request_error",
        "authentication_error",
        "permission_error",
        "billing_error",
        "not_found_error",
        "request_too_large",
        UNKNOWN_RESULT,
    )
)
"""Errors that would come back, and results that may have been billed."""

RESULTS_GONE: Final = "results_gone"
"""Error type of rows that were billed and whose answers the API has deleted. They are
not sent again by themselves: that would pay for them twice without a word."""

SAME_STATUS: Final[tuple[RetryKind, ...]] = (
    "expired",
    "canceled",
    "missing",
    "truncated",
    "refused",
    "paused",
    "invalid_answer",
)
ERROR_TYPES: Final[tuple[RetryKind, ...]] = (
    "overloaded_error",
    "rate_limit_error",
    "timeout_error",
)


def retry_kind(status: str, error_type: str | None) -> RetryKind | None:
    """Say under which name of `retry_on` a row may be sent again; `None`: never.

    The API's rule: anything but `invalid_request_error` may be sent again unchanged.
    So an error type that is not known here counts as `api_error`.
    """
    if error_type == RESULTS_GONE:
        return None
    for kind in SAME_STATUS:
        if status == kind:
            return kind
    if status != "errored" or error_type is None or error_type in NEVER_AGAIN:
        return None
    for kind in ERROR_TYPES:
        if error_type == kind:
            return kind
    return "api_error"


def is_credit_message(error: str | None) -> bool:
    """Whether a row was refused because the organization's credit is used up.

    It comes as an `invalid_request_error` per row.
    """
    if error is None:
        return False
    kind, _, message = error.partition(":")
    return kind == "billing_error" or (
        kind == "invalid_request_error" and "credit balance" in message.lower()
    )
