"""A server that speaks the Message Batches API, for tests, demos and dry runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from batchkit_tasks.sandbox.answers import answer_text
    from batchkit_tasks.sandbox.server import Sandbox, serve

__all__ = ["Sandbox", "answer_text", "serve"]

_HOMES = {"Sandbox": "server", "answer_text": "answers", "serve": "server"}


def __getattr__(name: str) -> object:
    """Load a public name when it is first used: the web server is not cheap."""
    from importlib import import_module

    if name not in _HOMES:
        raise AttributeError(name)
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
