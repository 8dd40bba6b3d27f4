"""The message that answers one request, as the API writes it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from batchkit_tasks.sandbox.answers import answer_text, input_tokens, output_tokens
from batchkit_tasks.sandbox.drafts import ABSENT, Answer
from batchkit_tasks.sandbox.endings import CHANGES, choose_tool
from batchkit_tasks.sandbox.models import find_model
from batchkit_tasks.sandbox.prompts import Marker


def message(
    message_id: str, params: Mapping[str, Any], markers: Sequence[Marker]
) -> dict[str, Any]:
    """Return the message that answers these params, changed by the markers."""
    answer = Answer(params, answer_text(params))
    if "tool_choice" in params:
        choose_tool(answer)
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
