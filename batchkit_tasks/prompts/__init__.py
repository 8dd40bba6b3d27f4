"""Prompt templates: `{column}` becomes the row's text, and nothing is ever evaluated.

Laws: what stands between the braces is a column's name, letter by letter (blanks, dots,
brackets and colons included); `{{` and `}}` are braces; a value is never read as a
template. `rendering` says which text a value becomes.

Here too: from a prompt and a row to the bytes of a request (`requests`), with a cached
beginning or without.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain

from batchkit_tasks.errors import PromptError
from batchkit_tasks.prompts.rendering import render_column

__all__ = ["Placeholder", "Template", "render_column"]


@dataclass(frozen=True, slots=True)
class Placeholder:
    """The place of one column's text."""

    column: str


@dataclass(frozen=True, slots=True)
class Template:
    """A prompt with places for columns, ready to be filled once per row."""

    parts: tuple[str | Placeholder, ...]
    """Literal texts (braces single again) and places, in order; never two texts in a
    row, no empty text."""

    @classmethod
    def parse(cls, text: str, where: str = "prompt") -> Template:
        """Read a template.

        Args:
            where: What the text is, for messages: "prompt", "system prompt".

        Raises:
            PromptError: A brace has no partner, a place has no name, or the text cannot
                be encoded. The message has the character's offset, from 0.
        """
        _check_encodable(text, where)
        return cls(tuple(_merged(_pieces(text, where))))

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns used, each once, in order of first use."""
        names = (part.column for part in self.parts if isinstance(part, Placeholder))
        return tuple(dict.fromkeys(names))

    @property
    def literals(self) -> tuple[str, ...]:
        """The texts between the places."""
        return tuple(part for part in self.parts if isinstance(part, str))


def _check_encodable(text: str, where: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise PromptError(
            where,
            f"character {error.start} is half of a surrogate pair, which no request can "
            "carry; type the character again.",
        ) from None


def _pieces(text: str, where: str) -> Iterator[str | Placeholder]:
    at = 0
    while at < len(text):
        brace = _next_brace(text, at)
        if brace > at:
            yield text[at:brace]
        if brace == len(text):
            return
        if text[brace] == text[brace + 1 : brace + 2]:
            yield text[brace]
            at = brace + 2
        else:
            yield _placeholder(text, brace, where)
            at = text.index("}", brace) + 1


def _next_brace(text: str, at: int) -> int:
    found = (text.find("{", at), text.find("}", at))
    return min((place for place in found if place >= 0), default=len(text))


def _placeholder(text: str, brace: int, where: str) -> Placeholder:
    """Read the place whose opening brace is at `brace`."""
    near = text[brace : brace + 24]
    if text[brace] == "}":
        raise PromptError(
            where,
            f"the }} at character {brace} closes nothing; write }}}} for a brace.",
        )
    end = text.find("}", brace)
    name = text[brace + 1 : end]
    if end < 0 or "{" in name:
        raise PromptError(
            where,
            f"the {{ at character {brace} is not closed ({near!r}); write {{column}} for "
            "a column and {{ for a brace. A column with a brace in its name must be "
            "renamed to be used.",
        )
    if not name:
        raise PromptError(
            where,
            f"the {{}} at character {brace} names no column; write {{column}}, or {{{{}}}} "
            "for a pair of braces.",
        )
    return Placeholder(name)


def _merged(pieces: Iterator[str | Placeholder]) -> Iterator[str | Placeholder]:
    """Join neighbouring texts."""
    text = ""
    for piece in chain(pieces, (None,)):
        if isinstance(piece, str):
            text += piece
            continue
        if text:
            yield text
        text = ""
        if piece is not None:
            yield piece
