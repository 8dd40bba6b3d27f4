"""What a request asks: its text, and how it wants to end.

Markers in the text (`[[refusal]]`) order an ending; the table is in the package's
docstring. Only system and user text is searched: an answer that quotes its prompt and
comes back in an assistant turn must not order anything.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

_MARKER: Final = re.compile(r"\[\[([a-z_0-9]+(?::[a-z_0-9]+)*)\]\]")


@dataclass(frozen=True, slots=True)
class Marker:
    """One ordered ending: its name and what stands after the colons."""

    name: str
    arguments: tuple[str, ...] = ()

    def inner(self, skip: int) -> Marker:
        """Return the marker inside this one, `skip` arguments further."""
        name, *arguments = self.arguments[skip:] or ("end_turn",)
        return Marker(name, tuple(arguments))

    def number(self, default: int) -> int:
        """Return the first argument as a number."""
        return int(self.arguments[0]) if self.arguments else default


def prompt_text(params: Mapping[str, Any]) -> str:
    """Return system and all messages as one text; images and files count as nothing."""
    system, messages = params.get("system"), params.get("messages")
    # The usual form first: this runs for each of a million rows.
    if isinstance(messages, list) and len(messages) == 1:
        only = messages[0]
        content = only.get("content") if isinstance(only, dict) else None
        if isinstance(content, str) and (system is None or isinstance(system, str)):
            return f"{system}\n{content}" if system is not None else content
    return "\n".join([*_texts(system), *_message_texts(messages)])


def find_markers(params: Mapping[str, Any]) -> list[Marker]:
    """Return the markers of system and user text, in order."""
    system, messages = params.get("system"), params.get("messages")
    asked = [*_texts(system), *_message_texts(messages, ask=True)]
    found: list[Marker] = []
    for text in asked:
        for written in _MARKER.findall(text):
            name, *arguments = written.split(":")
            found.append(Marker(name, tuple(arguments)))
    return found


def opening_text(params: Mapping[str, Any]) -> str:
    """Return the first message's text: the same when a paused turn is continued."""
    messages = params.get("messages")
    if isinstance(messages, Sequence) and messages:
        return "\n".join(_message_texts(messages[:1]))
    return ""


def _message_texts(messages: object, *, ask: bool = False) -> Iterator[str]:
    """Yield the texts of all messages; with `ask` without the assistant's."""
    if not isinstance(messages, list):
        return
    for message in messages:
        if isinstance(message, dict) and not (
            ask and message.get("role") == "assistant"
        ):
            yield from _texts(message.get("content"))


def _texts(content: object) -> Iterator[str]:
    """Yield the texts of a content: a string, or a list of blocks."""
    if isinstance(content, str):
        yield content
    elif isinstance(content, list):
        for block in content:
            if isinstance(block, dict) and isinstance(block.get("text"), str):
                yield block["text"]
