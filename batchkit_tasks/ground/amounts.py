"""Amounts of money in words, the same everywhere."""

from __future__ import annotations


def dollars(amount: float | None) -> str:
    """An amount with its cents, or with two digits where there are no cents."""
    if amount is None:
        return "unknown"
    if 0 < amount < 0.01:
        return f"${amount:.2g}" if amount >= 0.0001 else "under $0.0001"
    return f"${amount:,.2f}"
