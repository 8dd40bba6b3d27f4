"""The answer to a request: a pure function of what was asked.

Anyone can compute it again, which is how tests know the right answer to each row. An
answer says that it is made up.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from batchkit_tasks.sandbox.formats import PREFIX
from batchkit_tasks.sandbox.prompts import prompt_text
from batchkit_tasks.sandbox.schemas import fitting_value
from batchkit_tasks.sandbox.seeds import Seed

QUOTED_CHARACTERS: Final = 60
"""How much of the prompt an answer quotes, so that a person sees which it belongs to."""


def answer_text(params: Mapping[str, Any]) -> str:
    """Return the text that answers these params.

    Free text starts with `[sandbox] `, carries a hash of the prompt and quotes its
    beginning. With `output_config.format` it is JSON that fits the schema. Endings that
    a marker orders are not looked at.
    """
    asked = prompt_text(params)
    schema = answer_schema(params)
    if schema is None:
        return free_text(asked, Seed(asked))
    return msgspec.json.encode(fitting_value(schema, Seed(asked))).decode()


def free_text(asked: str, seed: Seed) -> str:
    """Return the free text that answers a prompt."""
    return f"{PREFIX}made-up answer {seed.hex} to: {asked[:QUOTED_CHARACTERS]}"


def answer_schema(params: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return the JSON Schema that the answer must fit; `None` for free text."""
    match params:
        case {"output_config": {"format": {"type": "json_schema", "schema": schema}}}:
            return schema if isinstance(schema, dict) else None
        case _:
            return None


def input_tokens(params: Mapping[str, Any]) -> int:
    """Return made-up input tokens: a quarter of the bytes asked, and a few."""
    return 8 + _asked_bytes(params, prompt_text(params)) // 4


def _asked_bytes(params: Mapping[str, Any], asked: str) -> int:
    size = len(asked) if asked.isascii() else len(_encoded(asked))
    for field in ("output_config", "tools"):
        if field in params:
            size += len(msgspec.json.encode(params[field]))
    return size


def output_tokens(text: str) -> int:
    """Return made-up output tokens: a quarter of the answer's bytes, and one."""
    return 1 + (len(text) if text.isascii() else len(_encoded(text))) // 4


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")
