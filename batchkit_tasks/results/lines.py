"""From blocks of bytes to result lines, whatever the blocks are cut at.

A line is decoded into typed structs by msgspec. What does not fit them (a number where
a text was promised, half a character) is read again leniently into the same structs,
so that everything after this module knows one form only and no paid answer is lost.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Annotated, Any, Final, cast

import msgspec
import numpy as np

from batchkit_tasks.ground.json_text import read_json, whole_characters, write_json

LARGEST_COUNT: Final = 2**53
"""No token count is larger: a larger one is a fault and counts as not told."""

NEWLINE: Final = ord("\n")

Count = Annotated[int, msgspec.Meta(ge=0, le=LARGEST_COUNT)]


class Block(msgspec.Struct, gc=False):
    """One content block; of other blocks than text only the type is looked at."""

    type: str
    text: str = ""


class CacheCreation(msgspec.Struct, gc=False):
    """Cache writes by time to live."""

    ephemeral_5m_input_tokens: Count | None = None
    ephemeral_1h_input_tokens: Count | None = None


class ServerToolUse(msgspec.Struct, gc=False):
    """Calls of server tools."""

    web_search_requests: Count | None = None


class MessageUsage(msgspec.Struct, gc=False):
    """`usage` of a message; any of it may be absent or null."""

    input_tokens: Count | None = None
    output_tokens: Count | None = None
    cache_creation_input_tokens: Count | None = None
    cache_read_input_tokens: Count | None = None
    cache_creation: CacheCreation | None = None
    server_tool_use: ServerToolUse | None = None
    service_tier: str | None = None
    inference_geo: str | None = None


class StopDetails(msgspec.Struct, gc=False):
    """Why the model refused."""

    category: str | None = None
    explanation: str | None = None


class Message(msgspec.Struct, gc=False):
    """The message of a succeeded request."""

    content: list[Block]
    model: str | None = None
    stop_reason: str | None = None
    stop_details: StopDetails | None = None
    usage: MessageUsage | None = None


class ErrorBody(msgspec.Struct, gc=False):
    """An error; in results it is nested in another one of the type `error`."""

    type: str | None = None
    message: str | None = None
    error: ErrorBody | None = None


class Result(msgspec.Struct, gc=False):
    """What became of a request. The types are the API's, and open."""

    type: str
    message: Message | None = None
    error: ErrorBody | None = None


class ResultLine(msgspec.Struct, gc=False):
    """One line of the results."""

    custom_id: str
    result: Result


_decoder: Final = msgspec.json.Decoder(ResultLine)
decode_typed = _decoder.decode
"""Decode a line that has the form of the documentation; ValueError or RecursionError
for any other."""


def decode_lines(block: bytes) -> list[ResultLine] | None:
    """Decode whole lines at once; `None`: one of them at least needs a closer look.

    Args:
        block: Ends with a newline.
    """
    try:
        lines = _decoder.decode_lines(block)
    except (ValueError, RecursionError):
        return None
    newlines = np.count_nonzero(np.frombuffer(block, np.uint8) == NEWLINE)
    return lines if len(lines) == newlines else None


def decode_line(line: bytes) -> ResultLine | None:
    """Decode one line; `None`: it is torn, or no result line at all."""
    try:
        return decode_typed(line)
    except (ValueError, RecursionError):
        return decode_leniently(line)


def read_lines(blocks: Iterable[bytes]) -> Iterator[bytes]:
    """Cut blocks of any size at newlines; blank lines are left out."""
    cutter = LineCutter()
    for block in blocks:
        yield from cutter.cut(block)
    yield from cutter.rest()


def split_lines(block: bytes) -> list[bytes]:
    """Give the lines of a block; blank ones are left out."""
    return [line for line in block.split(b"\n") if line and not line.isspace()]


class LineCutter:
    """Cuts blocks into lines, in time linear in the bytes however long a line is."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []

    def cut(self, block: bytes) -> list[bytes]:
        """Take a block; give the lines that it completes."""
        return split_lines(self.whole(block))

    def whole(self, block: bytes) -> bytes:
        """Take a block; give the lines that it completes, newlines included."""
        end = block.rfind(b"\n") + 1
        if not end:
            self._pieces.append(block)
            return b""
        lines = b"".join((*self._pieces, memoryview(block)[:end]))
        self._pieces = [block[end:]]
        return lines

    def rest(self) -> list[bytes]:
        """Give the last line, if it has no newline."""
        line = b"".join(self._pieces)
        self._pieces = []
        return [line] if line and not line.isspace() else []


# ------------------------------------------------------------------- leniently


def decode_leniently(line: bytes) -> ResultLine | None:
    """Decode any JSON line that names a request; what is amiss in it counts as null."""
    value = _json(line)
    custom_id = value.get("custom_id")
    if not isinstance(custom_id, str):
        return None
    result = _object(value.get("result"))
    return ResultLine(
        whole_characters(custom_id),
        Result(
            _text(result.get("type")) or "",
            _message(result["message"]) if _filled(result, "message") else None,
            _error(result["error"]) if _filled(result, "error") else None,
        ),
    )


def result_json(line: bytes) -> str:
    """Give the result of a line as compact JSON."""
    return write_json(_json(line).get("result"))


def content_json(line: bytes) -> str:
    """Give the content of a line's message as compact JSON."""
    message = _object(_object(_json(line).get("result")).get("message"))
    return write_json(message.get("content"))


def _json(line: bytes) -> dict[str, Any]:
    try:
        return _object(read_json(line.decode("utf-8-sig")))
    except ValueError:
        return {}


def _message(value: Any) -> Message:
    message = _object(value)
    details = _object(message.get("stop_details"))
    return Message(
        _content(message.get("content")),
        _text(message.get("model")),
        _text(message.get("stop_reason")),
        StopDetails(_text(details.get("category")), _text(details.get("explanation")))
        if _filled(message, "stop_details")
        else None,
        _usage(message["usage"]) if _filled(message, "usage") else None,
    )


def _content(value: Any) -> list[Block]:
    if isinstance(value, str):
        return [Block("text", whole_characters(value))]
    if not isinstance(value, list):
        return []
    blocks = [_object(block) for block in cast(list[Any], value)]
    return [
        Block(_text(block.get("type")) or "", _text(block.get("text")) or "")
        for block in blocks
    ]


def _usage(value: Any) -> MessageUsage:
    usage = _object(value)
    written = _object(usage.get("cache_creation"))
    tools = _object(usage.get("server_tool_use"))
    return MessageUsage(
        _count(usage.get("input_tokens")),
        _count(usage.get("output_tokens")),
        _count(usage.get("cache_creation_input_tokens")),
        _count(usage.get("cache_read_input_tokens")),
        CacheCreation(
            _count(written.get("ephemeral_5m_input_tokens")),
            _count(written.get("ephemeral_1h_input_tokens")),
        )
        if _filled(usage, "cache_creation")
        else None,
        ServerToolUse(_count(tools.get("web_search_requests")))
        if _filled(usage, "server_tool_use")
        else None,
        _text(usage.get("service_tier")),
        _text(usage.get("inference_geo")),
    )


def _error(value: Any) -> ErrorBody:
    error = _object(value)
    inner = _error(error["error"]) if _filled(error, "error") else None
    return ErrorBody(_text(error.get("type")), _text(error.get("message")), inner)


def _object(value: Any) -> dict[str, Any]:
    return cast(dict[str, Any], value) if isinstance(value, dict) else {}


def _filled(value: dict[str, Any], key: str) -> bool:
    """Whether there is an object, if an empty or a wrong one."""
    return isinstance(value.get(key), dict)


def _text(value: Any) -> str | None:
    return whole_characters(value) if isinstance(value, str) else None


def _count(value: Any) -> int | None:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return value if 0 <= value <= LARGEST_COUNT else None
    return None
