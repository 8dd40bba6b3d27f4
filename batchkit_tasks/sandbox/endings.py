"""What each marker that ends in a message does to it.

The variety that the API can send, and some that it might send one day.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec

from batchkit_tasks.sandbox.answers import answer_schema
from batchkit_tasks.sandbox.drafts import ABSENT, Answer
from batchkit_tasks.sandbox.formats import PREFIX
from batchkit_tasks.sandbox.prompts import Marker, prompt_text
from batchkit_tasks.sandbox.schemas import fitting_value
from batchkit_tasks.sandbox.seeds import Seed


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


def choose_tool(answer: Answer) -> None:
    """Use a tool where the request leaves no choice."""
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
    "standard_tier": _set_usage(service_tier="standard"),
    "extra_usage": _set_usage(sandbox_extra_tokens=7),
    "sparse_usage": _leave_usage_out,
    "bad_json": _misfit,
    "not_json": _break_json,
    "long": _lengthen,
    "line_separator": _separate_lines,
    "empty": _empty,
}
"""What each marker that ends in a message does to it."""
