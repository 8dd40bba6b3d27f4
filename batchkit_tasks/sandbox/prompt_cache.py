"""The prompt cache, as far as a bill shows it.

A request may mark the end of what it shares with others (`cache_control`). The first
one writes that to the cache, and later ones read it. Requests of one batch run side by
side, so some of them come too early and write it once more; those of a later batch all
read. What is shorter than the model's minimum is not cached, without any error.

Simpler than the API: entries stay as long as the sandbox, and only the last mark counts.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from batchkit_tasks.prompts.caching import least_tokens
from batchkit_tasks.sandbox.seeds import Seed

TOO_EARLY: Final = 5
"""One in so many requests of the batch that wrote an entry came before it was there."""


class PromptCache:
    """Remembers which beginnings were written, and in which batch."""

    def __init__(self) -> None:
        self._written: dict[str, str] = {}

    def usage(
        self, params: Mapping[str, Any], custom_id: str, batch_id: str, tokens: int
    ) -> dict[str, Any]:
        """Return the usage keys that the cache changes; none without a mark.

        Args:
            tokens: Input tokens of the whole request.
        """
        found = _marked(params)
        if found is None:
            return {}
        beginning, ttl = found
        shared = len(beginning.encode()) // 4
        if shared < least_tokens(str(params.get("model"))):
            return {}
        key = f"{params.get('model')} {Seed(beginning).hex}"
        is_new = key not in self._written
        writer = self._written.setdefault(key, batch_id)
        comes_early = writer == batch_id and _number(custom_id) % TOO_EARLY == 0
        rest = {"input_tokens": tokens - shared}
        if not (is_new or comes_early):
            return {**rest, "cache_read_input_tokens": shared}
        kinds = dict.fromkeys(_LIFETIMES.values(), 0) | {_LIFETIMES[ttl]: shared}
        return {**rest, "cache_creation_input_tokens": shared, "cache_creation": kinds}


_LIFETIMES: Final = {
    "5m": "ephemeral_5m_input_tokens",
    "1h": "ephemeral_1h_input_tokens",
}


def _number(custom_id: str) -> int:
    return sum(custom_id.encode())


def _marked(params: Mapping[str, Any]) -> tuple[str, str] | None:
    """Return the text up to the last mark and the mark's lifetime."""
    text, found = "", None
    for block in _blocks(params):
        text += str(block.get("text", ""))
        mark = block.get("cache_control")
        if isinstance(mark, dict):
            found = text, "1h" if mark.get("ttl") == "1h" else "5m"
    return found


def _blocks(params: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    contents = [params.get("system")]
    for message in params.get("messages") or ():
        contents.append(message.get("content") if isinstance(message, dict) else None)
    for content in contents:
        if isinstance(content, str):
            yield {"text": content}
        elif isinstance(content, list):
            yield from (block for block in content if isinstance(block, dict))
