"""What was used, and what it costs per million tokens: the values of pricing."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

import msgspec

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

BATCH_SHARE: Final = 0.5
"""A message batch costs half of every token price (price page, November 2026)."""

US_FACTOR: Final = 1.1
"""On all token prices with `inference_geo: us`, for models from 4.6 on (docs)."""

WEB_SEARCH_USD: Final = 0.01
"""For each web search; message batches do not make it cheaper (price page)."""


class Usage(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What one request used, as the API counts it (tokens, except `web_searches`)."""

    input_tokens: int = 0
    """Without what was read from or written to the cache."""
    output_tokens: int = 0
    cache_creation_5m: int = 0
    cache_creation_1h: int = 0
    cache_read: int = 0
    inference_geo: str | None = None
    web_searches: int = 0
    service_tier: str | None = None
    """For the record: a batch is priced as a batch whatever stands here."""

    @property
    def prompt_tokens(self) -> int:
        """All tokens of the prompt: they decide about the price of long prompts."""
        return (
            self.input_tokens
            + self.cache_creation_5m
            + self.cache_creation_1h
            + self.cache_read
        )


class ManyUsages(msgspec.Struct, frozen=True, kw_only=True):
    """What many requests of one model used: as `Usage`, but an array of each number."""

    input_tokens: npt.NDArray[np.int64]
    output_tokens: npt.NDArray[np.int64]
    cache_creation_5m: npt.NDArray[np.int64]
    cache_creation_1h: npt.NDArray[np.int64]
    cache_read: npt.NDArray[np.int64]
    inference_geo: str | None = None
    web_searches: int = 0

    @property
    def prompt_tokens(self) -> npt.NDArray[np.int64]:
        """All tokens of each prompt."""
        return (
            self.input_tokens
            + self.cache_creation_5m
            + self.cache_creation_1h
            + self.cache_read
        )


@dataclass(frozen=True, slots=True)
class Rates:
    """Prices in USD per million tokens, and per web search."""

    input: float
    output: float
    cache_write_5m: float
    cache_write_1h: float
    cache_read: float
    web_search_usd: float = WEB_SEARCH_USD

    def cost(self, usage: Usage, token_factor: float = 1.0) -> float:
        """Price one request."""
        return self._sum(usage, token_factor)

    def costs(
        self, usages: ManyUsages, token_factor: float = 1.0
    ) -> npt.NDArray[np.float64]:
        """Price many requests: the same sums, so the same numbers to the last bit."""
        return self._sum(usages, token_factor)

    def _sum(self, usage: Any, token_factor: float) -> Any:
        tokens = (
            usage.input_tokens * self.input
            + usage.output_tokens * self.output
            + usage.cache_creation_5m * self.cache_write_5m
            + usage.cache_creation_1h * self.cache_write_1h
            + usage.cache_read * self.cache_read
        )
        return (
            tokens * token_factor / 1_000_000 + usage.web_searches * self.web_search_usd
        )

    def times(self, factor: float) -> Rates:
        """Scale the token prices."""
        return Rates(
            self.input * factor,
            self.output * factor,
            self.cache_write_5m * factor,
            self.cache_write_1h * factor,
            self.cache_read * factor,
            self.web_search_usd,
        )

    def is_below(self, other: Rates) -> bool:
        """Whether every token price is lower than the other's."""
        return (
            self.input < other.input
            and self.output < other.output
            and self.cache_write_5m < other.cache_write_5m
            and self.cache_write_1h < other.cache_write_1h
            and self.cache_read < other.cache_read
        )


@dataclass(frozen=True, slots=True)
class ModelPrice:
    """The prices of a model: full ones, those in a batch, and those of long prompts."""

    standard: Rates
    batch: Rates | None = None
    """`None`: half of the standard token prices."""
    above_tokens: int | None = None
    """Prompts with more tokens than this cost `long_prompt` as a whole."""
    long_prompt: ModelPrice | None = None
    """Prices of long prompts; may itself have a still longer step."""
    us_factor: float = US_FACTOR
    """On token prices where the usage says `inference_geo: us`."""

    def batch_rates(self, prompt_tokens: int = 0) -> Rates:
        """Give the prices in a batch for a prompt of this length."""
        price = self._step(prompt_tokens)
        return price.batch or _half(price.standard)

    def standard_rates(self, prompt_tokens: int = 0) -> Rates:
        """Give the full prices for a prompt of this length."""
        return self._step(prompt_tokens).standard

    def _step(self, prompt_tokens: int) -> ModelPrice:
        price = self
        while (
            price.above_tokens is not None
            and price.long_prompt is not None
            and prompt_tokens > price.above_tokens
        ):
            price = price.long_prompt
        return price


@lru_cache(maxsize=256)
def _half(rates: Rates) -> Rates:
    """What a batch costs; kept, as it is asked for with each result."""
    return rates.times(BATCH_SHARE)
