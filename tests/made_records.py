"""Records of a run directory as the engine writes them, for tests."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from msgspec.structs import replace

from batchkit_tasks.records import Intended

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)


def intent(**fields: Any) -> Intended:
    """100 requests, sent at 12:00 within two minutes, by a clock that is right."""
    known = Intended(
        chunk=0,
        sending=1,
        nonce="0123456789abcdef",
        requests=100,
        body_bytes=1,
        digest="",
        intended_at=NOW,
        clock_skew_seconds=0.0,
        deadline=NOW + timedelta(minutes=2),
        key_fingerprint="",
        claimed_by="",
        over=True,
    )
    return replace(known, **fields)
