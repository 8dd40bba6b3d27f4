"""What a message batch costs, in USD: exactly, or `None`. Unknown is never 0.

A price given by the user wins, then genai-prices, then a short table of our own.

Here too: counts of tokens, and whether a budget allows what is about to be sent.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Final

from batchkit_tasks.errors import ParameterError
from batchkit_tasks.pricing.library import bare, library_price
from batchkit_tasks.pricing.rates import ManyUsages, ModelPrice, Rates, Usage

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

__all__ = (
    "ManyUsages",
    "ModelPrice",
    "Prices",
    "Rates",
    "Usage",
    "estimate_batch_cost",
)

_MYTHOS_5: Final = Rates(10, 50, 12.5, 20, 1)
_MYTHOS_5_1: Final = Rates(10, 50, 12.5, 20, 0.25)

OUR_PRICES: Final[Mapping[str, ModelPrice]] = {
    "claude-mythos-5": ModelPrice(_MYTHOS_5),
    "claude-mythos-5-1": ModelPrice(_MYTHOS_5_1),
}
"""Models that genai-prices 0.2.3 lacks (price page of August 2026, launch posts)."""


class Prices:
    """Prices by model.

    Args:
        overrides: Prices by model id (with or without its date), which win.
        at: The moment whose prices count; today's, unless given.
    """

    def __init__(
        self,
        overrides: Mapping[str, ModelPrice] | None = None,
        *,
        at: datetime | None = None,
    ) -> None:
        self._overrides = {
            bare(model): price for model, price in (overrides or {}).items()
        }
        self._overrides |= dict(overrides or {})
        self._at = at
        self._known: dict[str, ModelPrice | None] = {}

    def price(self, model: str) -> ModelPrice | None:
        """Give all prices of a model, or `None` if they are not known."""
        if model not in self._known:
            self._known[model] = self._find(model)
        return self._known[model]

    def rates(self, model: str) -> Rates | None:
        """Give the prices in a batch, for prompts of ordinary length."""
        price = self.price(model)
        return price and price.batch_rates()

    def cost(self, model: str, usage: Usage) -> float | None:
        """Price one succeeded request of a message batch; `None`: not known."""
        price = self.price(model)
        if price is None:
            return None
        return price.batch_rates(usage.prompt_tokens).cost(usage, _geo(price, usage))

    def costs(self, model: str, usages: ManyUsages) -> npt.NDArray[np.float64] | None:
        """Price many requests at once, exactly as `cost` would; `None`: not known."""
        price = self.price(model)
        if price is None:
            return None
        longest = int(usages.prompt_tokens.max(initial=0))
        if price.above_tokens is None or longest <= price.above_tokens:
            return price.batch_rates().costs(usages, _geo(price, usages))
        return _one_by_one(price, usages)

    def standard_cost(self, model: str, usage: Usage) -> float | None:
        """Price the same request outside of batches; `None`: not known."""
        price = self.price(model)
        if price is None:
            return None
        return price.standard_rates(usage.prompt_tokens).cost(usage, _geo(price, usage))

    def _find(self, model: str) -> ModelPrice | None:
        name = bare(model)
        for own in (self._overrides.get(model), self._overrides.get(name)):
            if own is not None:
                return own
        return library_price(name, self._at) or OUR_PRICES.get(name)


def _geo(price: ModelPrice, usage: Usage | ManyUsages) -> float:
    return price.us_factor if usage.inference_geo == "us" else 1.0


def _one_by_one(price: ModelPrice, usages: ManyUsages) -> npt.NDArray[np.float64]:
    """Price requests of which some are so long that they have other rates."""
    import numpy as np

    factor = _geo(price, usages)
    steps = [price.batch_rates(n) for n in usages.prompt_tokens.tolist()]
    every = {rates: rates.costs(usages, factor) for rates in set(steps)}
    return np.array([every[rates][row] for row, rates in enumerate(steps)])


# ------------------------------------------------------------------ estimates


def estimate_batch_cost(
    num_requests: int,
    avg_input_tokens: float,
    avg_output_tokens: float,
    model: str = "claude-sonnet-4-6",
) -> dict[str, float]:
    """Compare the price of requests one by one with their price in a batch.

    Returns:
        `standard_usd`, `batch_usd` and `savings_usd`, to a hundredth of a cent.

    Raises:
        ParameterError: The model's price is not known, or a number is negative.
    """
    for name, value in (
        ("num_requests", num_requests),
        ("avg_input_tokens", avg_input_tokens),
        ("avg_output_tokens", avg_output_tokens),
    ):
        if not (math.isfinite(value) and value >= 0):
            raise ParameterError(name, f"{value} cannot be; give a number from 0 up.")
    price = Prices().price(model)
    if price is None:
        raise ParameterError("model", f"The price of {model!r} is not known.")
    prompt = math.ceil(avg_input_tokens)

    def total(rates: Rates) -> float:
        tokens = avg_input_tokens * rates.input + avg_output_tokens * rates.output
        return num_requests * tokens / 1_000_000

    standard, batch = (
        total(price.standard_rates(prompt)),
        total(price.batch_rates(prompt)),
    )
    return {
        "standard_usd": round(standard, 4),
        "batch_usd": round(batch, 4),
        "savings_usd": round(standard - batch, 4),
    }
