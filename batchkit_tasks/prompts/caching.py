"""Requests whose shared beginning is cached at Anthropic for an hour.

All requests of a run begin alike: with the system prompt, and with the prompt up to its
first column. One mark at the end of what they share lets the API read it from its cache
instead of charging it anew. Writing costs twice the input price, reading a small part
of it; hits are best effort.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec
import pyarrow as pa

from batchkit_tasks.errors import ParameterError
from batchkit_tasks.pricing.library import bare
from batchkit_tasks.prompts import Template
from batchkit_tasks.prompts.rendering import Texts
from batchkit_tasks.prompts.request_items import Piece, joined
from batchkit_tasks.prompts.requests import (
    Built,
    RequestBuilder,
    blank_rows,
    encoded,
)

MARK: Final = b'"cache_control":{"type":"ephemeral","ttl":"1h"}'
"""An hour, as batches take longer than five minutes (docs: prompt caching, batches)."""

LEAST_TOKENS: Final[Mapping[str, int]] = {
    "claude-opus-5": 512,
    "claude-fable-5": 512,
    "claude-mythos-5": 512,
    "claude-opus-4-8": 1024,
    "claude-sonnet-5": 1024,
    "claude-sonnet-4-5": 1024,
    "claude-sonnet-4-6": 2048,
    "claude-opus-4-7": 2048,
    "claude-opus-4-6": 4096,
    "claude-opus-4-5": 4096,
    "claude-haiku-4-5": 4096,
}
"""Shorter beginnings are not cached, without any error (docs: prompt caching, "minimum
cacheable prompt length", as quoted in 2026). For Sonnet 4.6 the docs say 1,024, and
2,048 was observed (anthropics/anthropic-sdk-python#1194): the larger one is taken."""

LEAST_TOKENS_ELSEWHERE: Final = 4096
"""For models whose minimum is not documented: the largest that is."""


def least_tokens(model: str) -> int:
    """From how many tokens on a model caches a beginning."""
    return LEAST_TOKENS.get(bare(model), LEAST_TOKENS_ELSEWHERE)


class CachedBuilder(RequestBuilder):
    """Turns rows into requests with a mark at the end of what they share."""

    def __init__(self, **settings: Any) -> None:
        """Encode everything that is the same for all rows.

        Raises:
            ParameterError: The requests share nothing at their beginning.
        """
        super().__init__(**settings)
        self._plain = RequestBuilder(**settings)
        self._prefix, self._rest = _split(self._prompt)
        if self._system.columns or not (self._prefix or self._system.parts):
            raise ParameterError(
                "advanced.cache",
                "the requests share no beginning: put what is the same for all rows into "
                "a system prompt without columns, or before the prompt's first column.",
            )

    @property
    def shared_bytes(self) -> int:
        """Size of what all requests begin with."""
        return len("".join((*self._system.literals, self._prefix)).encode())

    @property
    def overhead(self) -> int:
        """Bytes that the mark adds to a request."""
        one: Mapping[str, Texts] = {name: [""] for name in self.columns}
        with_mark, without = (
            joined([*builder._content(one, 1), *builder._system_pieces(one, 1)], 1)[0]
            for builder in (self, self._plain)
        )
        return len(with_mark) - len(without)

    def build(self, rows: pa.Table) -> Built:
        """Give the params of each row, or why it cannot be sent."""
        built = super().build(rows)
        # The API takes no blank text block: where nothing follows, there is no mark.
        alone = set(blank_rows(self._rest, self._texts(rows), rows.num_rows))
        if not self._prefix or not alone - built.reasons.keys():
            return built
        plain = self._plain.build(rows).params
        either = [
            (plain[at] if at in alone else each) or b""
            for at, each in enumerate(built.params)
        ]
        return Built([either], built.count, built.reasons)

    def _content(self, texts: Mapping[str, Texts], count: int) -> list[Piece]:
        if not self._prefix:
            return super()._content(texts, count)
        shared = msgspec.json.encode(self._prefix)
        return [
            b'[{"type":"text","text":%b,%b},{"type":"text","text":' % (shared, MARK),
            encoded(self._rest, texts, count),
            b"}]",
        ]

    def _system_pieces(self, texts: Mapping[str, Texts], count: int) -> list[Piece]:
        if self._prefix or not self._system.parts:
            return super()._system_pieces(texts, count)
        shared = msgspec.json.encode("".join(self._system.literals))
        return [b',"system":[{"type":"text","text":%b,%b}]' % (shared, MARK)]


def _split(prompt: Template) -> tuple[str, Template]:
    """Give the text before the first column, if there is one, and the rest."""
    if not prompt.columns or not isinstance(prompt.parts[0], str):
        return "", prompt
    if not prompt.parts[0].strip():
        return "", prompt
    return prompt.parts[0], Template(prompt.parts[1:])
