"""A message in the making, which markers change before it is written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

ABSENT: Final = object()
"""Stands for a usage key that is left out."""


@dataclass(slots=True)
class Answer:
    """A message in the making."""

    params: Mapping[str, Any]
    text: str
    stop_reason: str = "end_turn"
    stop_sequence: str | None = None
    stop_details: Mapping[str, Any] | None = None
    content: list[dict[str, Any]] | None = None
    usage: dict[str, Any] = field(default_factory=dict[str, Any])

    @property
    def blocks(self) -> list[dict[str, Any]]:
        """The content; without an ordered one, the text alone."""
        if self.content is not None:
            return self.content
        return [{"type": "text", "text": self.text}]

    def put_before(self, *blocks: dict[str, Any]) -> None:
        """Add blocks in front of what is there."""
        self.content = [*blocks, *self.blocks]
