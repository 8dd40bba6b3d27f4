"""The message, or the other result, with which one request ends.

Without a marker it is the plain answer of `answers`. Markers bring the variety that the
API can send, and some that it might send one day.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from batchkit_tasks.sandbox.answers import (
    answer_schema,
    answer_text,
    input_tokens,
    output_tokens,
)
from batchkit_tasks.sandbox.formats import PREFIX
from batchkit_tasks.sandbox.models import find_model
from batchkit_tasks.sandbox.prompts import Marker, prompt_text
from batchkit_tasks.sandbox.schemas import fitting_value
from batchkit_tasks.sandbox.seeds import Seed

CREDIT_TEXT: Final = (
    "Your credit balance is too low to access the Anthropic API. Please go to Plans & "
    "Billing to upgrade or purchase credits."
)


@dataclass(slots=True)
class Answer:
    """A message in the making."""

    params: Mapping[str, Any]
    text: str
    stop_reason: str = "end_turn"
    stop_sequence: str | None = None
    stop_details: Mapping[str, Any] | None = None
    content: list[dict[str, Any]] | None = None
    usage: dict[str, Any] = field(default_factory=dict[str, Any])

    @property
    def blocks(self) -> list[dict[str, Any]]:
        """The content; without an ordered one, the text alone."""
        if self.content is not None:
            return self.content
        return [{"type": "text", "text": self.text}]

    def put_before(self, *blocks: dict[str, Any]) -> None:
        """Add blocks in front of what is there."""
        self.content = [*blocks, *self.blocks]


def message(
    message_id: str, params: Mapping[str, Any], markers: Sequence[Marker]
) -> dict[str, Any]:
    """Return the message that answers these params, changed by the markers."""
    answer = Answer(params, answer_text(params))
    if "tool_choice" in params:
        _choose_tool(answer)
    for marker in markers:
        if change := CHANGES.get(marker.name):
            change(answer, marker)
    model = find_model(params.get("model"))
    return {
        "id": message_id,
        "type": "message",
        "role": "assistant",
        "model": model.dated_id if model else str(params.get("model")),
        "content": answer.blocks,
        "stop_reason": answer.stop_reason,
        "stop_sequence": answer.stop_sequence,
        "stop_details": answer.stop_details,
        "usage": _usage(answer),
    }


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


def _usage(answer: Answer) -> dict[str, Any]:
    """Return all usage keys of the contract, then what the markers changed."""
    usage: dict[str, Any] = {
        "input_tokens": input_tokens(answer.params),
        "output_tokens": output_tokens(answer.text),
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": 0,
        "cache_creation": _NO_CACHE_WRITES,
        "service_tier": "batch",
        "inference_geo": answer.params.get("inference_geo") or "not_available",
        "server_tool_use": None,
    }
    if answer.usage:
        usage |= answer.usage
        usage = {name: value for name, value in usage.items() if value is not ABSENT}
    return usage


_NO_CACHE_WRITES: Final = {
    "ephemeral_5m_input_tokens": 0,
    "ephemeral_1h_input_tokens": 0,
}

ABSENT: Final = object()
"""Stands for a usage key that is left out."""


def _refuse(answer: Answer, marker: Marker) -> None:
    answer.content = []
    answer.stop_reason = "refusal"
    answer.stop_details = {
        "type": "refusal",
        "category": "cyber",
        "explanation": "[sandbox] made-up refusal",
    }


def _refuse_late(answer: Answer, marker: Marker) -> None:
    text = answer.text
    _refuse(answer, marker)
    answer.content = [{"type": "text", "text": text[: len(text) // 2]}]


def _truncate(answer: Answer, marker: Marker) -> None:
    answer.text = answer.text[: max(1, len(answer.text) // 2)]
    answer.stop_reason = "max_tokens"


def _need_tokens(answer: Answer, marker: Marker) -> None:
    if int(answer.params["max_tokens"]) < marker.number(1):
        _truncate(answer, marker)
        answer.usage["output_tokens"] = answer.params["max_tokens"]


def _overflow_context(answer: Answer, marker: Marker) -> None:
    _truncate(answer, marker)
    answer.stop_reason = "model_context_window_exceeded"


def _pause(answer: Answer, marker: Marker) -> None:
    answer.stop_reason = "pause_turn"
    answer.content = [
        {
            "type": "server_tool_use",
            "id": "srvtoolu_01sandbox",
            "name": "web_search",
            "input": {"query": "[sandbox] made-up search"},
        }
    ]


def _stop_at_sequence(answer: Answer, marker: Marker) -> None:
    sequences = answer.params.get("stop_sequences") or ["STOP"]
    answer.stop_reason, answer.stop_sequence = "stop_sequence", sequences[0]


def _choose_tool(answer: Answer) -> None:
    match answer.params["tool_choice"]:
        case {"type": "any"} | {"type": "tool"}:
            _use_tool(answer, Marker("tool_use"))
        case _:
            pass


def _use_tool(answer: Answer, marker: Marker) -> None:
    tool = _wanted_tool(answer.params)
    seed = Seed(prompt_text(answer.params))
    schema = tool.get("input_schema") or {"type": "object"}
    answer.stop_reason = "tool_use"
    answer.content = [
        {
            "type": "tool_use",
            "id": f"toolu_01{seed.word(16)}",
            "name": tool.get("name", "sandbox_tool"),
            "input": fitting_value(schema, seed),
            "caller": {"type": "direct"},
        }
    ]


def _wanted_tool(params: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the tool that `tool_choice` names, else the first."""
    tools = [tool for tool in params.get("tools") or () if isinstance(tool, dict)]
    wanted = (params.get("tool_choice") or {}).get("name")
    named = [tool for tool in tools if wanted in (None, tool.get("name"))]
    return named[0] if named else {}


def _think(answer: Answer, marker: Marker) -> None:
    answer.put_before(
        {
            "type": "thinking",
            "thinking": "[sandbox] made-up thoughts",
            "signature": "c2FuZGJveA==",
        }
    )


def _add_unknown_block(answer: Answer, marker: Marker) -> None:
    answer.put_before({"type": "hologram", "shape": "[sandbox] not known yet"})


def _search(answer: Answer, marker: Marker) -> None:
    searched = {"id": "srvtoolu_01sandbox", "name": "web_search"}
    answer.put_before(
        {"type": "server_tool_use", **searched, "input": {"query": "[sandbox]"}},
        {
            "type": "web_search_tool_result",
            "tool_use_id": "srvtoolu_01sandbox",
            "content": [],
        },
    )
    answer.usage["server_tool_use"] = {
        "web_search_requests": 3,
        "web_fetch_requests": 0,
    }


def _cache(answer: Answer, marker: Marker) -> None:
    answer.usage |= {
        "cache_creation_input_tokens": 300,
        "cache_read_input_tokens": 700,
        "cache_creation": {
            "ephemeral_5m_input_tokens": 100,
            "ephemeral_1h_input_tokens": 200,
        },
    }


def _leave_usage_out(answer: Answer, marker: Marker) -> None:
    answer.usage |= {
        "cache_creation_input_tokens": None,
        "cache_read_input_tokens": ABSENT,
        "cache_creation": ABSENT,
        "service_tier": ABSENT,
        "inference_geo": ABSENT,
        "server_tool_use": ABSENT,
    }


def _misfit(answer: Answer, marker: Marker) -> None:
    # Structured outputs are objects, so that a list never fits.
    answer.text = msgspec.json.encode([f"{PREFIX}does not fit"]).decode()


def _break_json(answer: Answer, marker: Marker) -> None:
    schema = answer_schema(answer.params)
    answer.text = answer.text[:-1] if schema else PREFIX + '{"not": "json"'


def _lengthen(answer: Answer, marker: Marker) -> None:
    length = marker.number(1_000)
    words = f"{answer.text} – "  # the dash has three bytes, which readers may split
    answer.text = (words * (length // len(words) + 1))[:length]


def _separate_lines(answer: Answer, marker: Marker) -> None:
    answer.text = f"{answer.text}\u2028next\u2029line\x85end\r\nof\ttext \U0001f600"


def _set_stop_reason(reason: str) -> Callable[[Answer, Marker], None]:
    def change(answer: Answer, marker: Marker) -> None:
        answer.stop_reason = reason

    return change


def _set_usage(**usage: Any) -> Callable[[Answer, Marker], None]:
    def change(answer: Answer, marker: Marker) -> None:
        answer.usage |= usage

    return change


def _empty(answer: Answer, marker: Marker) -> None:
    answer.content = []


CHANGES: Final[Mapping[str, Callable[[Answer, Marker], None]]] = {
    "refusal": _refuse,
    "partial_refusal": _refuse_late,
    "max_tokens": _truncate,
    "needs": _need_tokens,
    "context_window": _overflow_context,
    "pause_turn": _pause,
    "stop_sequence": _stop_at_sequence,
    "tool_use": _use_tool,
    "thinking": _think,
    "unknown_block": _add_unknown_block,
    "unknown_stop": _set_stop_reason("sandbox_unheard_of"),
    "web_search": _search,
    "cache": _cache,
    "us": _set_usage(inference_geo="us"),
    "extra_usage": _set_usage(sandbox_extra_tokens=7),
    "sparse_usage": _leave_usage_out,
    "bad_json": _misfit,
    "not_json": _break_json,
    "long": _lengthen,
    "line_separator": _separate_lines,
    "empty": _empty,
}
"""What each marker that ends in a message does to it."""
