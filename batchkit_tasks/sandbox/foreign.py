"""Batches that somebody else creates in the same workspace."""

from __future__ import annotations

import msgspec


def foreign_body(requests: int, prefix: str) -> bytes:
    """Return the body of a create call with made-up requests."""
    params = {
        "model": "claude-haiku-5-5",
        "max_tokens": 16,
        "messages": [{"role": "user", "content": "Somebody else's prompt."}],
    }
    made = [
        {"custom_id": f"{prefix}{number}", "params": params}
        for number in range(requests)
    ]
    return msgspec.json.encode({"requests": made})
