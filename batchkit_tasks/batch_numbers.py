"""How the batches of a run are numbered, and what a person reads.

Chunks count from 0, over all rounds; a person counts from 1. The halves of a chunk that
the API found too large get numbers of their own, far above those of planned chunks.
"""

from __future__ import annotations

from typing import Final

FIRST_HALF: Final = 1_000_000
"""Far above planned chunks: nobody pays for a million batches of one run."""


def half_number(number: int, half: int) -> int:
    """Give the number of a chunk's first (0) or second (1) half."""
    return FIRST_HALF + 2 * number + half


def batch_name(number: int) -> str:
    """Name a batch by its chunk's number: 1, 2, 3; the halves of 3 are 3a and 3b."""
    if number < FIRST_HALF:
        return f"{number + 1:,}"
    whole, half = divmod(number - FIRST_HALF, 2)
    return batch_name(whole) + "ab"[half]
