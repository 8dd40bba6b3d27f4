"""The requests of the plain client: both forms read, and checked before anything is sent.

The API takes a batch whose params cannot work and fails those requests up to 24 hours
later, so what is known to fail is refused here, in one sentence that names the request.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, cast

import msgspec

from batchkit_tasks.errors import ParameterError
from batchkit_tasks.limits import (
    API_MAX_BATCH_BYTES,
    CUSTOM_ID,
    MAX_BATCH_BYTES_MARGIN,
    MAX_REQUESTS_PER_BATCH,
    RESERVED_PARAMS,
)

REFUSED_PARAMS: Final = {
    key: why
    for key, why in RESERVED_PARAMS.items()
    if key not in ("custom_id", "model", "messages", "max_tokens", "system")
} | {"output_format": "its old name; use output_config"}
"""Params with which every request of a batch fails, and why."""

REQUIRED_PARAMS: Final = ("model", "max_tokens", "messages")


@dataclass(frozen=True, slots=True)
class KitRequest:
    """One checked request."""

    custom_id: str
    model: str
    max_tokens: int
    params: bytes
    """JSON, as it is sent."""

    def item(self) -> bytes:
        """Its element of the body's `requests`."""
        return b'{"custom_id":"%b","params":%b}' % (
            self.custom_id.encode(),
            self.params,
        )


def read_requests(requests: Iterable[Mapping[str, Any]]) -> list[KitRequest]:
    """Check all requests, flat or in the API's nested form.

    Raises:
        ParameterError: What is wrong with which of them. Nothing was sent.
    """
    if isinstance(requests, Mapping | str | bytes):
        raise ParameterError("requests", "give a list of requests, not a single one.")
    given = list(requests)
    _check_number(len(given))
    read = [_read(number, request) for number, request in enumerate(given)]
    _check_unique(read)
    _check_size(read)
    return read


def _check_number(requests: int) -> None:
    if not requests:
        raise ParameterError("requests", "the list is empty.")
    if requests > MAX_REQUESTS_PER_BATCH:
        raise ParameterError(
            "requests",
            f"{requests:,} are more than the {MAX_REQUESTS_PER_BATCH:,} that go into one "
            "batch here. Put them into a table and run batch_table (or batch_dataframe), "
            "which cuts it into batches, or submit them in slices.",
        )


def _read(number: int, request: Mapping[str, Any]) -> KitRequest:
    if not isinstance(request, Mapping):  # pyright: ignore[reportUnnecessaryIsInstance] - callers are untyped
        raise _problem(number, f"it is a {type(request).__name__}, not a dict.")
    custom_id = _custom_id(number, request)
    params = _params(number, request)
    for key in REQUIRED_PARAMS:
        if params.get(key) is None:
            raise _problem(number, f"{key} is missing.")
    for key, why in REFUSED_PARAMS.items():
        if params.get(key):
            raise _problem(number, f"it may not set {key!r}: {why}.")
    model, max_tokens = params["model"], params["max_tokens"]
    if not isinstance(model, str) or not model.strip():
        raise _problem(number, "model must be the name of a model.")
    if (
        not isinstance(max_tokens, int)
        or isinstance(max_tokens, bool)
        or max_tokens < 1
    ):
        raise _problem(number, f"max_tokens must be 1 or more, not {max_tokens!r}.")
    _check_messages(number, params["messages"])
    return KitRequest(custom_id, model, max_tokens, _encoded(number, params))


def _custom_id(number: int, request: Mapping[str, Any]) -> str:
    custom_id = request.get("custom_id")
    if custom_id is None:
        raise _problem(number, "custom_id is missing.")
    if not isinstance(custom_id, str) or not CUSTOM_ID.fullmatch(custom_id):
        raise _problem(
            number,
            f"custom_id {custom_id!r} is not possible; it must be a text of 1 to 64 "
            "letters (a-z), digits, hyphens and underscores.",
        )
    return custom_id


def _params(number: int, request: Mapping[str, Any]) -> dict[str, Any]:
    """The params of a request, from either form."""
    others = {key: value for key, value in request.items() if key != "custom_id"}
    if "params" not in others:
        return others
    nested = others.pop("params")
    if others:
        keys = ", ".join(map(repr, others))
        raise _problem(
            number, f"it has 'params' and also {keys}, which belong in them."
        )
    if not isinstance(nested, Mapping):
        raise _problem(number, "params must be a dict.")
    return dict(cast("Mapping[str, Any]", nested))


def _check_messages(number: int, messages: object) -> None:
    if not isinstance(messages, Sequence) or isinstance(messages, str | bytes):
        raise _problem(
            number,
            'messages must be a list such as [{"role": "user", "content": "…"}].',
        )
    if not messages:
        raise _problem(number, "messages is empty.")


def _encoded(number: int, params: dict[str, Any]) -> bytes:
    try:
        return msgspec.json.encode(params, enc_hook=_as_plain)
    except (TypeError, ValueError, RecursionError) as error:
        raise _problem(number, f"it cannot be written as JSON ({error}).") from None


def _as_plain(value: Any) -> Any:
    """Content blocks of an earlier answer may be put into messages as they are."""
    if hasattr(value, "model_dump"):
        return value.model_dump(mode="json", exclude_unset=True)
    raise TypeError(f"{type(value).__name__} is no JSON value")


def _check_unique(requests: Sequence[KitRequest]) -> None:
    first: dict[str, int] = {}
    for number, request in enumerate(requests):
        earlier = first.setdefault(request.custom_id, number)
        if earlier != number:
            raise _problem(
                number,
                f"custom_id {request.custom_id!r} is that of request {earlier} already; "
                "answers come back under it, so each needs its own.",
            )


def _check_size(requests: Sequence[KitRequest]) -> None:
    largest = API_MAX_BATCH_BYTES - MAX_BATCH_BYTES_MARGIN
    size = sum(len(request.params) + 100 for request in requests)
    if size > largest:
        raise ParameterError(
            "requests",
            f"together they have {size:,} bytes; a batch takes {largest:,}. Submit them "
            "in slices, or run batch_table, which cuts a table by size as well.",
        )


def _problem(number: int, problem: str) -> ParameterError:
    return ParameterError(f"requests[{number}]", problem)
