"""How many input tokens requests have: counted on a sample, then scaled by bytes.

The API counts free of charge, but one request at a time. Sizes are known for all
requests, so a few counts tell the rest: a line through them, so many tokens for each
request and so many for each byte.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, Protocol

import msgspec
import numpy as np

from batchkit_tasks.errors import KeyRefusedError, RefusedError

COUNTED_REQUESTS: Final = 12
"""Requests that the API is asked to count."""

WEIGHED_REQUESTS: Final = 240
"""Requests from which those are chosen, so that short and long ones are among them."""

ROUGH_BYTES_PER_TOKEN: Final = 3.0
"""Where nobody counts: English prose has about 3.3 bytes a token on models from 4.7 on,
other languages and JSON fewer."""

ROUGH_MARGIN: Final = 1.5
"""Where nobody counts, a ceiling takes so many times the guess."""


class TokenCounter(Protocol):
    """The part of `Api` that is needed here."""

    def count_tokens(self, params: dict[str, Any], /) -> Any:
        """Input tokens of one request, or something else if it cannot say now."""
        ...


class TokenRate(msgspec.Struct, frozen=True):
    """Input tokens by requests and bytes."""

    per_request: float = 0.0
    per_byte: float = 1 / ROUGH_BYTES_PER_TOKEN
    margin: float = ROUGH_MARGIN
    """How far, as a factor, a counted request was above the line."""
    counted: bool = False
    """Whether the API counted; else bytes were divided."""
    note: str = ""
    """Why it did not count."""

    def tokens(self, requests: int, size_bytes: int) -> float:
        """Tokens to expect of so many requests with so many bytes in all."""
        return self.per_request * requests + self.per_byte * size_bytes

    def most_tokens(self, requests: int, size_bytes: int) -> float:
        """Tokens they should not exceed."""
        return self.margin * self.tokens(requests, size_bytes)


Sample = Sequence[tuple[int, bytes]]
"""Bytes on the wire, and the JSON of the params."""


def count_sample(sample: Sample, api: TokenCounter | None) -> TokenRate:
    """Have some of the sample counted.

    Args:
        api: None: bytes are divided.

    Raises:
        KeyRefusedError: The API does not accept the key.
    """
    if api is None:
        return TokenRate(note="without a key the API counts nothing")
    counts: list[tuple[int, int]] = []
    for size, params in _by_size(sample):
        try:
            counted = api.count_tokens(msgspec.json.decode(params))
        except KeyRefusedError:
            raise
        except RefusedError as refused:
            return TokenRate(note=refused.message)
        if not isinstance(counted, int):
            return TokenRate(note=str(counted.why))
        counts.append((size, counted))
    return _line(counts) if counts else TokenRate(note="there is nothing to count")


def spread(count: int, wanted: int) -> Any:
    """Up to so many indices, spread evenly."""
    at = np.linspace(0, max(count - 1, 0), min(count, wanted))
    return np.unique(at.round().astype(np.int64))


def _by_size(sample: Sample) -> Sample:
    """A few of them, from the shortest to the longest."""
    ordered = sorted(sample, key=lambda each: each[0])
    return [ordered[at] for at in spread(len(ordered), COUNTED_REQUESTS)]


def _line(counts: Sequence[tuple[int, int]]) -> TokenRate:
    """Fit tokens to bytes; neither term may be below zero."""
    sizes, tokens = np.array(counts, dtype=float).T
    slope = tokens.sum() / sizes.sum()
    start = 0.0
    if np.ptp(sizes) > 0:
        steep, offset = np.polyfit(sizes, tokens, 1)
        if steep > 0 and offset >= 0:
            slope, start = float(steep), float(offset)
        elif steep > 0:
            # Overhead in bytes that is no token: the line would start below zero.
            slope = float(steep)
            start = float(np.mean(tokens - steep * sizes))
    above = float(np.max(tokens / np.maximum(start + slope * sizes, 1.0)))
    return TokenRate(start, float(slope), max(1.0, above), counted=True)
