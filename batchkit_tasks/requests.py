"""The bytes of requests: what is constant is encoded once, values are escaped per row.

Laws: equal rows give equal bytes, so that a request can be known again by its hash; a
row that cannot be sent gets a reason and never stops the others; nothing here depends on
the moment of sending (the nonce is put around `params` at the last moment).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import repeat
from typing import Any, Final

import msgspec
import pyarrow as pa

from batchkit_tasks.errors import PromptError, UnknownColumnError
from batchkit_tasks.prompts import Template
from batchkit_tasks.rendering import Texts, check_renderable, render_column
from batchkit_tasks.request_fields import read_fields
from batchkit_tasks.request_items import (
    BODY_OVERHEAD,
    BODY_START,
    BODY_STOP,
    NONCE_CHARS,
    body_bytes,
    custom_id,
    encode_item,
    encode_items,
    item_bytes,
    item_sizes,
    request_hash,
    request_hashes,
)

__all__ = (
    "BODY_OVERHEAD",
    "BODY_START",
    "BODY_STOP",
    "NONCE_CHARS",
    "Built",
    "RequestBuilder",
    "body_bytes",
    "custom_id",
    "encode_item",
    "encode_items",
    "item_bytes",
    "item_sizes",
    "request_hash",
    "request_hashes",
)

_encode: Final = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True)
class Built:
    """The requests of some rows."""

    params: list[bytes | None]
    """JSON of each row's `params`; None: the row is not to be sent."""
    reasons: dict[int, str]
    """Why not, by index in these rows; its keys are exactly the Nones of `params`."""


class RequestBuilder:
    """Turns rows into the JSON of their `params`."""

    def __init__(
        self,
        *,
        prompt: str,
        system: str,
        model: str,
        max_tokens: int,
        output_schema: dict[str, Any] | None,
        request: str,
    ) -> None:
        """Encode everything that is the same for all rows.

        Args:
            system: Template of the system prompt; blank: none is sent.
            output_schema: JSON Schema for a structured answer.
            request: JSON text, merged into the params of every request.

        Raises:
            PromptError: A template cannot be read, or the prompt is blank.
            ParameterError: `request` is no JSON object or sets what it may not.
        """
        self._settings: dict[str, Any] = {
            "prompt": prompt, "system": system, "model": model,
            "max_tokens": max_tokens, "output_schema": output_schema, "request": request,
        }  # fmt: skip
        if not prompt.strip():
            raise PromptError("prompt", "it is empty.")
        extra = read_fields(request, output_schema)
        self._prompt = Template.parse(prompt, "prompt")
        self._system = Template.parse(system if system.strip() else "", "system prompt")
        self.columns: tuple[str, ...] = tuple(
            dict.fromkeys(self._prompt.columns + self._system.columns)
        )
        start = _encode({"model": model, "max_tokens": max_tokens})
        self._start = start[:-1] + b',"messages":[{"role":"user","content":'
        self._stop = b"," + _encode(extra)[1:] if extra else b"}"

    def with_max_tokens(self, max_tokens: int) -> RequestBuilder:
        """Give the same requests with another longest answer."""
        settings: dict[str, Any] = self._settings | {"max_tokens": max_tokens}
        return type(self)(**settings)

    def check(self, schema: pa.Schema) -> None:
        """Refuse a table whose rows could not be rendered.

        Raises:
            UnknownColumnError: A template names a column that the table lacks.
            ColumnTypeError: A column used has no text (binary).
            PromptError: The prompt writes `{{column}}`, so that it is the same text for
                all rows.
        """
        for template, where in self._templates:
            for column in template.columns:
                if column not in schema.names:
                    raise UnknownColumnError(column, schema.names, where)
                check_renderable(schema.field(column).type, column)
        if not self.columns:
            self._check_single_braces(schema.names)

    def build(self, rows: pa.Table) -> Built:
        """Give the params of each row, or why it cannot be sent.

        Args:
            rows: At least the used columns, in any order.
        """
        texts = self._texts(rows)
        escaped = {name: _escape(column) for name, column in texts.items()}
        reasons = self._reasons(texts, escaped, rows.num_rows)
        parts: list[bytes | Escaped] = [
            self._start,
            *self._content(escaped),
            b"}]",
            *self._system_parts(texts, escaped, rows.num_rows),
            self._stop,
        ]
        params: list[bytes | None] = list(map(b"".join, _by_row(parts, rows.num_rows)))
        for row in reasons:
            params[row] = None
        return Built(params, reasons)

    def _content(self, escaped: Mapping[str, Escaped]) -> list[bytes | Escaped]:
        """Give the bytes of the message's content."""
        return [b'"', *fill(self._prompt, escaped), b'"']

    def prompts(self, rows: pa.Table) -> list[str | None]:
        """Give each row's prompt as text, None where a column that it uses is null."""
        texts = self._texts(rows)
        columns = [
            repeat(part, rows.num_rows) if isinstance(part, str) else texts[part.column]
            for part in self._prompt.parts
        ]
        return [
            None if None in row else "".join(map(str, row))
            for row in zip(*columns, strict=True)
        ]

    @property
    def _templates(self) -> tuple[tuple[Template, str], ...]:
        return (self._prompt, "prompt"), (self._system, "system prompt")

    def _check_single_braces(self, names: Sequence[str]) -> None:
        text = "".join(self._prompt.literals)
        for name in names:
            if f"{{{name}}}" in text:
                raise PromptError(
                    "prompt",
                    f"it is the same for every row, as {{{{{name}}}}} stands for braces "
                    f"around a word. Write {{{name}}} for the column.",
                )

    def _texts(self, rows: pa.Table) -> dict[str, Texts]:
        return {name: render_column(rows.column(name), name) for name in self.columns}

    def _reasons(
        self, texts: dict[str, Texts], escaped: dict[str, Escaped], count: int
    ) -> dict[int, str]:
        """Say for each row that cannot be sent why; the first column at fault counts.

        Puts empty bytes where there are none, so that rows can be joined.
        """
        reasons: dict[int, str] = {}
        for name, column in escaped.items():
            for row in _without_bytes(column):
                why = "is null" if texts[name][row] is None else "is not valid UTF-8"
                reasons.setdefault(row, f"column {name!r} {why}")
                column[row] = b""
        for row in blank_rows(self._prompt, texts, count):
            reasons.setdefault(row, "the prompt is empty")
        return dict(sorted(reasons.items()))

    def _system_parts(
        self, texts: Mapping[str, Texts], escaped: Mapping[str, Escaped], count: int
    ) -> list[bytes | Escaped]:
        """Give the system prompt's bytes; rows in which it is blank have none."""
        if not self._system.parts:
            return []
        parts = [b',"system":"', *fill(self._system, escaped), b'"']
        blank = set(blank_rows(self._system, texts, count))
        if not blank:
            return parts
        rows = enumerate(_by_row(parts, count))
        return [[b"" if at in blank else b"".join(row) for at, row in rows]]


Escaped = list[bytes | None]
"""Texts as the inside of JSON strings; None where a text is null or cannot be encoded."""


def _escape(texts: Texts) -> Escaped:
    try:
        if None in texts:
            return [None if text is None else _encode(text)[1:-1] for text in texts]
        return [_encode(text)[1:-1] for text in texts]
    except UnicodeEncodeError:
        return [_escape_or_none(text) for text in texts]


def _escape_or_none(text: str | None) -> bytes | None:
    try:
        return None if text is None else _encode(text)[1:-1]
    except UnicodeEncodeError:
        return None


def _without_bytes(column: Escaped) -> Iterable[int]:
    if None not in column:
        return ()
    return [row for row, value in enumerate(column) if value is None]


def fill(template: Template, escaped: Mapping[str, Escaped]) -> list[bytes | Escaped]:
    """Give a template's pieces as the inside of a JSON string."""
    return [
        _encode(part)[1:-1] if isinstance(part, str) else escaped[part.column]
        for part in template.parts
    ]


def _by_row(parts: Sequence[bytes | Escaped], count: int) -> Iterator[tuple[Any, ...]]:
    """Give each row's pieces; a constant is the same in all rows."""
    columns = [repeat(p, count) if isinstance(p, bytes) else p for p in parts]
    return zip(*columns, strict=True)


def blank_rows(
    template: Template, texts: Mapping[str, Texts], count: int
) -> Iterable[int]:
    """Give the rows for which a template renders to nothing but blanks."""
    if "".join(template.literals).strip():
        return ()
    columns = [texts[name] for name in template.columns]
    return [
        row
        for row in range(count)
        if all(not (column[row] or "").strip() for column in columns)
    ]
