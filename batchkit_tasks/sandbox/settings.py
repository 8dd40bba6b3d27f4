"""How the sandbox behaves where the API leaves a choice, or a test wants one.

All of it may be changed while the sandbox runs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Literal

BatchSeconds = (
    float | None | Sequence[float | None] | Callable[[int, int], float | None]
)
"""How long batches run. `None`: until `end` is called (or 24 hours have passed).

A sequence gives each new batch its own (the last one stays); a callable is asked with
the batch's number (from 0) and its number of requests.
"""


@dataclass(slots=True)
class Settings:
    """The choices; the defaults are what the contract documents."""

    batch_seconds: BatchSeconds = 2.0
    cancel_seconds: float | None = 0.5
    """How long a batch is `canceling`; `None`: until `end` is called."""
    cancel_share: float = 0.5
    """Share of the requests that still run when a batch is canceled."""
    expire_share: float = 0.5
    """Share of the requests that have run when a batch expires."""
    retry_after: int | None = 10
    """The header on polls of running batches; `None`: none."""
    counts: Literal["at_end", "moving"] = "at_end"
    """Whether `request_counts` moves before the end."""
    cancel_after_end: Literal["refused", "accepted"] = "refused"
    archived_results_url: Literal["null", "kept"] = "null"
    results_url_base: str | None = None
    """Another host for `results_url`; `None`: the one that was asked."""
    answers: Literal["made_up", "fixed"] = "made_up"
    """`fixed`: the same few answers for all, unchecked: the least work, for benchmarks."""
    fixed_answers: Sequence[str] = ("[sandbox] fixed answer",)
    """What `fixed` answers, in turn."""
    keep_requests: bool = True
    """Whether the requests' params stay on disk for the ledger."""
    sampling_parameters: Literal["refused", "accepted"] = "refused"
    gzip_requests: Literal["refused", "accepted"] = "refused"
    max_requests: int = 100_000
    max_body_bytes: int = 256_000_000
    too_large: Literal["html", "json"] = "html"
    queue_limit: int | None = None
    """Requests that may be running at once, over all workspaces."""
    list_delay_seconds: float = 0.0
    """How long a new batch is missing from the list."""
    ignores_after_id: bool = False
    upload_bytes_per_second: float | None = None
    results_bytes_per_second: float | None = None
    workspaces: dict[str, str] = field(default_factory=dict[str, str])
    """The workspace of each key; a key that is not here chooses by header."""
    refused_keys: dict[str, int] = field(default_factory=dict[str, int])
    """Keys that are answered 401, 402 or 403."""
    unknown_keys: Literal["accepted", "refused"] = "accepted"
    """What happens to a key that is not in `workspaces`."""

    def seconds_for(self, number: int, requests: int) -> float | None:
        """Return how long the batch of that number runs."""
        wanted = self.batch_seconds
        if callable(wanted):
            return wanted(number, requests)
        if isinstance(wanted, Sequence):
            return wanted[min(number, len(wanted) - 1)]
        return wanted

    def change(self, **changes: Any) -> None:
        """Change some of them.

        Raises:
            TypeError: There is no such setting.
        """
        known = {one.name for one in fields(self)}
        if unknown := changes.keys() - known:
            raise TypeError(f"no such setting: {', '.join(sorted(unknown))}")
        for name, value in changes.items():
            setattr(self, name, value)
