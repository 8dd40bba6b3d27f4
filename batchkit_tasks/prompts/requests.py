"""The bytes of requests: what is constant is encoded once, values are escaped per row.

Laws: equal rows give equal bytes, so that a request can be known again by its hash; a
row that cannot be sent gets a reason and never stops the others; nothing here depends on
the moment of sending (the nonce is put around `params` at the last moment).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import repeat
from typing import Any, Final

import msgspec
import pyarrow as pa

from batchkit_tasks.errors import PromptError, UnknownColumnError
from batchkit_tasks.prompts import Template
from batchkit_tasks.prompts.rendering import Texts, check_renderable, render_column
from batchkit_tasks.prompts.request_fields import read_fields
from batchkit_tasks.prompts.request_items import (
    BODY_OVERHEAD,
    BODY_START,
    BODY_STOP,
    NONCE_CHARS,
    Piece,
    body_bytes,
    custom_id,
    encode_item,
    encode_items,
    item_bytes,
    item_sizes,
    joined,
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


@dataclass(frozen=True)
class Built:
    """The requests of some rows."""

    pieces: list[Piece]
    """JSON of each row's `params`, in pieces; of any kind where there is a reason."""
    count: int
    """How many rows."""
    reasons: dict[int, str]
    """Why a row is not to be sent, by index in these rows."""

    @cached_property
    def params(self) -> list[bytes | None]:
        """JSON of each row's `params`; None: the row is not to be sent."""
        params: list[bytes | None] = [*joined(self.pieces, self.count)]
        for row in self.reasons:
            params[row] = None
        return params


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
        try:
            return self._build(texts, rows.num_rows, _nulls(texts))
        except UnicodeEncodeError:
            return self._build(texts, rows.num_rows, _nulls_and_halves(texts))

    def _build(
        self, texts: Mapping[str, Texts], count: int, reasons: dict[int, str]
    ) -> Built:
        """Build the rows without a reason.

        Raises:
            UnicodeEncodeError: A text of another row holds half a character.
        """
        if reasons:
            texts = {name: _blanked(column, reasons) for name, column in texts.items()}
        for row in blank_rows(self._prompt, texts, count):
            reasons.setdefault(row, "the prompt is empty")
        pieces: list[Piece] = [
            self._start,
            *self._content(texts, count),
            b"}]",
            *self._system_pieces(texts, count),
            self._stop,
        ]
        return Built(pieces, count, dict(sorted(reasons.items())))

    def _content(self, texts: Mapping[str, Texts], count: int) -> list[Piece]:
        """Give the bytes of the message's content."""
        return [encoded(self._prompt, texts, count)]

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

    def _system_pieces(self, texts: Mapping[str, Texts], count: int) -> list[Piece]:
        """Give the system prompt's bytes; rows in which it is blank have none."""
        if not self._system.parts:
            return []
        pieces = [b',"system":', encoded(self._system, texts, count)]
        blank = set(blank_rows(self._system, texts, count))
        if not blank:
            return pieces
        rows = enumerate(joined(pieces, count))
        return [[b"" if at in blank else row for at, row in rows]]


def encoded(template: Template, texts: Mapping[str, Texts], count: int) -> list[bytes]:
    """Fill a template for each row, and give the text as a JSON string.

    Args:
        texts: None of them null.

    Raises:
        UnicodeEncodeError: A text holds half a character.
    """
    columns: list[Iterable[Any]] = [
        repeat(part, count) if isinstance(part, str) else texts[part.column]
        for part in template.parts
    ]
    # No loop of Python's own: this is done for every row, twice.
    return list(map(_encode, map("".join, zip(*columns, strict=True))))


def _nulls(texts: Mapping[str, Texts]) -> dict[int, str]:
    """Say for each row with a null in which column; the first one counts."""
    reasons: dict[int, str] = {}
    for name, column in texts.items():
        if None in column:
            for row, text in enumerate(column):
                if text is None:
                    reasons.setdefault(row, f"column {name!r} is null")
    return reasons


def _nulls_and_halves(texts: Mapping[str, Texts]) -> dict[int, str]:
    """Say also for each row with a text that cannot be encoded in which column."""
    reasons: dict[int, str] = {}
    for name, column in texts.items():
        for row, text in enumerate(column):
            if text is None:
                reasons.setdefault(row, f"column {name!r} is null")
            elif not _is_encodable(text):
                reasons.setdefault(row, f"column {name!r} is not valid UTF-8")
    return reasons


def _is_encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _blanked(column: Texts, rows: Iterable[int]) -> Texts:
    """Put empty texts into rows that are not sent, so that all can be joined."""
    column = list(column)
    for row in rows:
        column[row] = ""
    return column


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
