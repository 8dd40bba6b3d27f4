"""Numbers that look random and are the same for the same text, on every machine."""

from __future__ import annotations

from hashlib import blake2b
from typing import Final

_MASK: Final = (1 << 64) - 1


class Seed:
    """A stream of numbers derived from a text (splitmix64 behind a BLAKE2 hash)."""

    __slots__ = ("_state", "hex")

    def __init__(self, text: str) -> None:
        # "surrogatepass": JSON can carry a lone surrogate, and it is not our fault.
        digest = blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8)
        self.hex = digest.hexdigest()
        self._state = -1  # read from the hash when the first number is asked for

    def next(self) -> int:
        """Return the next number of 64 bits."""
        if self._state < 0:
            self._state = int(self.hex, 16)
        self._state = (self._state + 0x9E3779B97F4A7C15) & _MASK
        mixed = self._state
        mixed = ((mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
        mixed = ((mixed ^ (mixed >> 27)) * 0x94D049BB133111EB) & _MASK
        return mixed ^ (mixed >> 31)

    def below(self, stop: int) -> int:
        """Return the next number in `range(stop)`; 0 when that is empty."""
        return self.next() % stop if stop > 0 else 0

    def word(self, length: int = 12) -> str:
        """Return the next hexadecimal word."""
        return f"{self.next():016x}"[:length]
