"""The models that the sandbox knows: their dated ids and limits.

A model that is not here is answered as the API answers a wrong name. The dates of the
newest models are made up, like everything that the sandbox says.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final


@dataclass(frozen=True, slots=True)
class Model:
    """One model of the catalogue."""

    alias: str
    date: str
    max_tokens: int
    generation: tuple[int, int]
    dated_id: str = field(init=False)
    """The id that answers carry, whichever name was asked for."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "dated_id", f"{self.alias}-{self.date}")

    @property
    def thinking(self) -> str:
        """The `thinking.type` that this model takes besides `disabled`."""
        return "adaptive" if self.generation >= (4, 7) else "any"

    @property
    def takes_prefill(self) -> bool:
        """Whether the last message may be the assistant's."""
        return self.generation < (4, 6)


EXTENDED_OUTPUT_BETA: Final = "output-300k-2026-03-24"
"""Lets batches ask for 300,000 tokens on models from 4.6 on."""

EXTENDED_OUTPUT_TOKENS: Final = 300_000

CATALOGUE: Final = (
    Model("claude-fable-5-2", "20261109", 128_000, (5, 2)),
    Model("claude-mythos-5-2", "20261109", 128_000, (5, 2)),
    Model("claude-haiku-5-5", "20261007", 64_000, (5, 5)),
    Model("claude-sonnet-5-5", "20260915", 128_000, (5, 5)),
    Model("claude-opus-5-5", "20260902", 128_000, (5, 5)),
    Model("claude-fable-5-1", "20260820", 128_000, (5, 1)),
    Model("claude-mythos-5-1", "20260820", 128_000, (5, 1)),
    Model("claude-sonnet-5", "20260610", 128_000, (5, 0)),
    Model("claude-fable-5", "20260601", 128_000, (5, 0)),
    Model("claude-mythos-5", "20260601", 128_000, (5, 0)),
    Model("claude-opus-5", "20260514", 128_000, (5, 0)),
    Model("claude-opus-4-8", "20260420", 128_000, (4, 8)),
    Model("claude-opus-4-7", "20260316", 128_000, (4, 7)),
    Model("claude-sonnet-4-6", "20260217", 64_000, (4, 6)),
    Model("claude-opus-4-6", "20260205", 128_000, (4, 6)),
    Model("claude-opus-4-5", "20251101", 64_000, (4, 5)),
    Model("claude-haiku-4-5", "20251001", 64_000, (4, 5)),
    Model("claude-sonnet-4-5", "20250929", 64_000, (4, 5)),
)

_BY_NAME: Final = {model.alias: model for model in CATALOGUE} | {
    model.dated_id: model for model in CATALOGUE
}


def find_model(name: object) -> Model | None:
    """Return the model of an alias or a dated id; `None` when there is none."""
    return _BY_NAME.get(name) if isinstance(name, str) else None


def model_info(model: Model) -> dict[str, Any]:
    """Describe a model the way `GET /v1/models/{id}` does."""
    yes = {"supported": True}
    adaptive = {"supported": model.thinking == "adaptive" or model.generation >= (4, 6)}
    year, month, day = model.date[:4], model.date[4:6], model.date[6:]
    return {
        "id": model.dated_id,
        "type": "model",
        "display_name": model.alias.replace("-", " ").title() + " (sandbox)",
        "created_at": f"{year}-{month}-{day}T00:00:00Z",
        "deprecated_at": None,
        "retires_at": None,
        "lifecycle": "active",
        "line": None,
        "max_input_tokens": 1_000_000 if model.generation >= (4, 6) else 200_000,
        "max_tokens": model.max_tokens,
        "capabilities": {
            "batch": yes,
            "citations": yes,
            "code_execution": yes,
            "context_management": yes,
            "effort": yes | dict.fromkeys(("low", "medium", "high", "max"), yes),
            "image_input": yes,
            "pdf_input": yes,
            "server_tools": yes | {"web_search": yes, "code_execution": yes},
            "structured_outputs": yes,
            "thinking": yes
            | {
                "types": {
                    "adaptive": adaptive,
                    "between_tools": yes,
                    "disabled": yes,
                    "enabled": {"supported": model.thinking == "any"},
                }
            },
        },
    }
