"""The body of a create call: what the API checks before it accepts a batch.

The texts are the API's own. Decoding leaves each request's `params` undecoded: they are
looked at when the batch runs, as there.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any, Final, NoReturn

import msgspec

CUSTOM_ID_PATTERN: Final = "^[a-zA-Z0-9_-]{1,64}$"
_CUSTOM_ID: Final = re.compile(r"[a-zA-Z0-9_-]{1,64}")


class RefusedError(Exception):
    """The batch is not accepted; the text is the API's."""


class Request(msgspec.Struct, forbid_unknown_fields=True):
    """One request, its params as they were sent."""

    custom_id: str
    params: msgspec.Raw


class CreateBody(msgspec.Struct, forbid_unknown_fields=True):
    """The whole body."""

    requests: list[Request]


_decoder: Final = msgspec.json.Decoder(CreateBody)


def read_requests(body: bytes, *, max_requests: int) -> list[Request]:
    """Return the requests of a body that the API would accept.

    Raises:
        RefusedError: The API would refuse all of it, with this text.
    """
    try:
        requests = _decoder.decode(body).requests
    except msgspec.ValidationError:
        _explain(body)
    except msgspec.DecodeError as error:
        what = "no low surrogate in string" if _has_surrogate(body) else str(error)
        raise RefusedError(f"The request body is not valid JSON: {what}") from error
    _check_length(requests, max_requests)
    _check_requests(requests)
    return requests


def _has_surrogate(body: bytes) -> bool:
    """Return whether half of an escaped pair may be what is wrong with a body."""
    return re.search(rb"\\u[dD][89abAB]", body) is not None


def decode_requests(body: bytes) -> list[Request]:
    """Return the requests of a body that was accepted before."""
    return _decoder.decode(body).requests


def _check_length(requests: Sequence[object], max_requests: int) -> None:
    if not requests:
        raise RefusedError(
            "requests: List should have at least 1 item after validation, not 0"
        )
    if len(requests) > max_requests:
        raise RefusedError(
            f"requests: List should have at most {max_requests} items after "
            f"validation, not {len(requests)}"
        )


def _check_requests(requests: list[Request]) -> None:
    matches = _CUSTOM_ID.fullmatch
    for at, request in enumerate(requests):
        if not matches(request.custom_id):
            raise RefusedError(f"requests.{at}.custom_id: {_wrong(request.custom_id)}")
        if bytes(memoryview(request.params)[:1]) != b"{":
            raise RefusedError(
                f"requests.{at}.params: Input should be a valid dictionary"
            )
    _check_unique(request.custom_id for request in requests)


def _check_unique(custom_ids: Iterable[str]) -> None:
    seen: set[str] = set()
    for custom_id in custom_ids:
        if custom_id in seen:
            raise RefusedError(
                "requests: custom_id's must be unique within a batch. Duplicate "
                f"custom_id found: {custom_id}"
            )
        seen.add(custom_id)


def _wrong(custom_id: str) -> str:
    if len(custom_id) > 64:
        return "String should have at most 64 characters"
    return f"String should match pattern '{CUSTOM_ID_PATTERN}'"


def _explain(body: bytes) -> NoReturn:
    """Find the first thing that does not have the shape, and say it as the API does."""
    decoded: Any = msgspec.json.decode(body)
    if not isinstance(decoded, dict):
        raise RefusedError("Input should be a valid dictionary")
    if "requests" not in decoded:
        raise RefusedError("requests: Field required")
    if not isinstance(decoded["requests"], list):
        raise RefusedError("requests: Input should be a valid list")
    for at, request in enumerate(decoded["requests"]):
        _explain_request(at, request)
    extra = next((name for name in decoded if name != "requests"), "body")
    raise RefusedError(f"{extra}: Extra inputs are not permitted")


def _explain_request(at: int, request: object) -> None:
    if not isinstance(request, dict):
        raise RefusedError(f"requests.{at}: Input should be a valid dictionary")
    for name in ("custom_id", "params"):
        if name not in request:
            raise RefusedError(f"requests.{at}.{name}: Field required")
    if not isinstance(request["custom_id"], str):
        raise RefusedError(f"requests.{at}.custom_id: Input should be a valid string")
    for name in request:
        if name not in ("custom_id", "params"):
            raise RefusedError(f"requests.{at}.{name}: Extra inputs are not permitted")
