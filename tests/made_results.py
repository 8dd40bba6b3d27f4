"""Result lines as the API writes them, for tests."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from batchkit_tasks.answers.formats import AnswerFormat, answer_format
from batchkit_tasks.parameters import Answer, TextAnswer
from batchkit_tasks.pricing.rates import Usage
from batchkit_tasks.results import Collected, ResultReader

NONCE = "0123456789abcdef"
MODEL = "claude-haiku-4-5-20251001"

USAGE: dict[str, Any] = {
    "input_tokens": 100,
    "output_tokens": 10,
    "cache_creation_input_tokens": 0,
    "cache_read_input_tokens": 0,
    "cache_creation": {
        "ephemeral_5m_input_tokens": 0,
        "ephemeral_1h_input_tokens": 0,
    },
    "service_tier": "batch",
    "inference_geo": "global",
    "server_tool_use": None,
}


def text_block(text: str) -> dict[str, Any]:
    return {"type": "text", "text": text}


def message(text: str = "Hello", **changes: Any) -> dict[str, Any]:
    """A message as in the documentation, with changes."""
    return {
        "id": "msg_01",
        "type": "message",
        "role": "assistant",
        "model": MODEL,
        "content": [text_block(text)],
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "stop_details": None,
        "usage": USAGE,
    } | changes


def succeeded(text: str = "Hello", **changes: Any) -> dict[str, Any]:
    return {"type": "succeeded", "message": message(text, **changes)}


def errored(kind: str, text: str, request_id: str | None = None) -> dict[str, Any]:
    details = {"error_visibility": "user_facing"}
    error = {"type": kind, "message": text, "details": details}
    nested = {"type": "error", "error": error, "request_id": request_id}
    return {"type": "errored", "error": nested}


def line(position: int, result: Any, *, nonce: str = NONCE) -> bytes:
    """One line without its newline."""
    value = {"custom_id": f"{nonce}-{position}", "result": result}
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def a_cent(model: str, usage: Usage) -> float:
    return 0.01


def reader(
    positions: Iterable[int],
    *,
    answer: Answer | AnswerFormat | None = None,
    price: Callable[[str, Usage], float | None] = a_cent,
) -> ResultReader:
    wanted = answer or TextAnswer()
    return ResultReader(
        nonce=NONCE,
        positions=np.array(list(positions), dtype=np.int64),
        answer=wanted if isinstance(wanted, AnswerFormat) else answer_format(wanted),
        price=price,
        max_tokens=1024,
    )


def collect(
    data: bytes | Iterable[bytes],
    positions: Iterable[int] = (0,),
    *,
    answer: Answer | AnswerFormat | None = None,
    price: Callable[[str, Usage], float | None] = a_cent,
) -> Collected:
    """Read bytes, or blocks of bytes, to the end."""
    made = reader(positions, answer=answer, price=price)
    for block in [data] if isinstance(data, bytes) else data:
        made.feed(block)
    return made.finish()


def row_of(result: Any, **options: Any) -> dict[str, Any]:
    """The row of the part that one result becomes, whichever way it is read.

    A line without its newline is read by itself, others many at a time.
    """
    by_itself, among_others = (
        collect(line(0, result) + end, **options).part.to_pylist()[0]
        for end in (b"", b"\n")
    )
    assert by_itself == among_others
    return by_itself
