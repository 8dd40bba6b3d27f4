"""One request's outcome: its kind and its result lines."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

import msgspec

from batchkit_tasks.sandbox.answers import output_tokens
from batchkit_tasks.sandbox.errored import error_result, ordered_error
from batchkit_tasks.sandbox.messages import message
from batchkit_tasks.sandbox.prompt_cache import PromptCache
from batchkit_tasks.sandbox.prompts import Marker, find_markers, opening_text
from batchkit_tasks.sandbox.seeds import Seed
from batchkit_tasks.sandbox.validation import Rules, find_error

SUCCEEDED: Final = ord("s")
ERRORED: Final = ord("e")
CANCELED: Final = ord("c")
EXPIRED: Final = ord("x")
MISSING: Final = ord("m")
"""Counted as succeeded, but no line comes back."""
TWO_LINES: Final = ord("d")
"""Counted as succeeded, with one line too many."""

COUNTED: Final[Mapping[str, bytes]] = {
    "succeeded": bytes((SUCCEEDED, MISSING, TWO_LINES)),
    "errored": bytes((ERRORED,)),
    "canceled": bytes((CANCELED,)),
    "expired": bytes((EXPIRED,)),
}
"""Which kinds each of the request counts holds."""

_FOREIGN_ID: Final = "foreign-row-0"


class Outcome(NamedTuple):
    """How a request ended, and its line or lines with their newlines."""

    kind: int
    lines: bytes


class Outcomes:
    """Gives each request its outcome; remembers what `once` and `times` count."""

    def __init__(self) -> None:
        self.batch_id = ""
        """The batch that is being run."""
        self._cache = PromptCache()
        self._seen: Counter[str] = Counter()
        self._numbers = itertools.count(1)
        self._encode = msgspec.json.Encoder().encode

    def of(self, custom_id: str, params: bytes, rules: Rules) -> Outcome:
        """Return the outcome of one request, from its undecoded params."""
        try:
            decoded: dict[str, Any] = msgspec.json.decode(params)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            text = f"The request body is not valid JSON: {error}"
            result = error_result("invalid_request_error", text)
            return Outcome(ERRORED, self._line(custom_id, result))
        if invalid := find_error(decoded, rules):
            request_id = "workerreq_01sandbox" if invalid.ran else None
            result = error_result(invalid.type, invalid.message, request_id=request_id)
            return Outcome(ERRORED, self._line(custom_id, result))
        # Two brackets are also the beginning of nested lists: a hint, no more.
        markers = self._counted(decoded) if b"[[" in params else ()
        for marker in markers:
            if ended := self._other_end(custom_id, decoded, marker):
                return ended
        return Outcome(SUCCEEDED, self._success(custom_id, decoded, markers))

    def _success(
        self, custom_id: str, params: Mapping[str, Any], markers: Sequence[Marker]
    ) -> bytes:
        made = message(f"msg_01sandbox{next(self._numbers):012d}", params, markers)
        usage = made["usage"]
        usage |= self._cache.usage(
            params, custom_id, self.batch_id, usage["input_tokens"]
        )
        return self._line(custom_id, {"type": "succeeded", "message": made})

    def _other_end(
        self, custom_id: str, params: Mapping[str, Any], marker: Marker
    ) -> Outcome | None:
        """Return the outcome of a marker that does not end in one message line."""
        if error := ordered_error(marker):
            return Outcome(ERRORED, self._line(custom_id, error))
        match marker.name:
            case "canceled":
                return Outcome(CANCELED, bare_line(custom_id.encode(), "canceled"))
            case "expired":
                return Outcome(EXPIRED, bare_line(custom_id.encode(), "expired"))
            case "missing":
                return Outcome(MISSING, b"")
            case "duplicate":
                return Outcome(TWO_LINES, self._success(custom_id, params, []) * 2)
            case "foreign":
                line = self._success(custom_id, params, [])
                return Outcome(TWO_LINES, line + self._success(_FOREIGN_ID, params, []))
            case "unknown_type":
                result = {"type": "postponed", "until": "[sandbox] not known yet"}
                return Outcome(ERRORED, self._line(custom_id, result))
            case _:
                return None

    def _line(self, custom_id: str, result: object) -> bytes:
        return self._encode({"custom_id": custom_id, "result": result}) + b"\n"

    def _counted(self, params: Mapping[str, Any]) -> list[Marker]:
        """Return the markers in force: `once` and `times` wear off."""
        markers: list[Marker] = []
        for marker in find_markers(params):
            match marker.name:
                case "once":
                    times, inner = 1, marker.inner(0)
                case "times":
                    times, inner = marker.number(1), marker.inner(1)
                case _:
                    markers.append(marker)
                    continue
            # By the opening text: the same when a paused turn is continued.
            seen = f"{Seed(opening_text(params)).hex}:{marker.name}:{inner.name}"
            self._seen[seen] += 1
            if self._seen[seen] <= times:
                markers.append(inner)
        return markers


def bare_line(custom_id: bytes, result_type: str) -> bytes:
    """Return the line of a request that did not run."""
    return b'{"custom_id":"%b","result":{"type":"%b"}}\n' % (
        custom_id,
        result_type.encode(),
    )


class FixedLines:
    """The lines of the draining mode: a few answers in turn, whatever was asked."""

    def __init__(self, answers: Sequence[str]) -> None:
        self._ends = [
            _FIXED_END % (msgspec.json.encode(answer), output_tokens(answer))
            for answer in answers
        ]

    def line(self, number: int, custom_id: str) -> bytes:
        """Return the line of the request of that number in its batch."""
        end = self._ends[number % len(self._ends)]
        return b"%b%b%b%012d%b" % (
            _LINE_START, custom_id.encode(), _FIXED_MIDDLE, number, end,
        )  # fmt: skip


_LINE_START: Final = b'{"custom_id":"'
_FIXED_MIDDLE: Final = b'","result":{"type":"succeeded","message":{"id":"msg_01sandbox'
_FIXED_END: Final = (
    b'","type":"message","role":"assistant","model":"claude-haiku-5-5-20261007",'
    b'"content":[{"type":"text","text":%b}],"stop_reason":"end_turn",'
    b'"stop_sequence":null,"stop_details":null,"usage":{"input_tokens":10,'
    b'"output_tokens":%d,"cache_creation_input_tokens":0,"cache_read_input_tokens":0,'
    b'"cache_creation":{"ephemeral_5m_input_tokens":0,"ephemeral_1h_input_tokens":0},'
    b'"service_tier":"batch","inference_geo":"not_available","server_tool_use":null}}}}\n'
)


def custom_id_of(line: bytes) -> bytes:
    """Return the custom_id of one of our own lines, without decoding the line."""
    start = len(_LINE_START)
    return line[start : line.index(b'"', start)]
