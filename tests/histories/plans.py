"""What happens in a history: all of it follows from its seed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any, Final

from tests.histories.process import Death

TWICE: Final = (
    "[[once:errored:api_error]]",
    "[[once:errored:overloaded_error]]",
    "[[once:expired]]",
    "[[once:canceled]]",
    "[[once:missing]]",
    "[[once:credit]]",
)
"""Openings of rows that must be sent twice, and no more."""

DEATHS: Final = (
    ("os.link", "plan.json"),
    ("os.link", "/rounds/"),
    ("os.link", "/chunks/"),  # before the intent
    ("os.remove", "/chunks/"),  # after the intent, or after the id
    ("socket.connect", ""),  # before the POST
    ("os.rename", "/chunks/"),  # the answer is here, the id is not written
    ("open", "/parts/"),  # while a part is written
    ("os.rename", "/parts/"),  # a part is written, not in its place
    ("open", "out."),  # while the output is written
    ("os.rename", "out."),
    ("os.rename", "summary.json"),
    ("", "/_batchkit/"),  # anywhere
)

CREATE: Final[tuple[tuple[str, dict[str, Any]], ...]] = (
    ("server_error", {}),
    ("server_error", {"when": "afterwards"}),
    ("server_error_final", {"when": "afterwards"}),
    ("bad_gateway", {"when": "afterwards"}),
    ("unavailable", {}),
    ("unavailable", {"when": "afterwards"}),
    ("gateway_timeout", {"when": "afterwards"}),
    ("overloaded", {}),
    ("overloaded", {"when": "afterwards"}),
    ("timeout", {"when": "afterwards"}),
    ("conflict", {"when": "afterwards"}),
    ("rate_limited", {"retry_after": 0}),
    ("rate_limited_bare", {}),
    ("spend_cap", {}),
    ("workspace_usage_limit", {}),
    ("too_large_html", {}),
    ("too_large_json", {}),
    ("reset_before_body", {}),
    ("reset_during_body", {"bytes": 100}),
    ("reset_after_body", {}),
    ("accepted_then_reset", {}),
    ("accepted_then_closed", {}),
    ("accepted_then_slow", {"seconds": 0.2}),
    ("accepted_then_slow", {"seconds": 1.2}),  # longer than we wait
    ("accepted_then_hang", {}),
    ("hang", {}),
    ("half_answer", {}),
)
READ: Final[tuple[tuple[str, dict[str, Any]], ...]] = (
    ("not_found", {}),
    ("server_error", {}),
    ("bad_gateway", {}),
    ("overloaded", {}),
    ("rate_limited", {"retry_after": 0}),
    ("reset_after_body", {}),
    ("half_answer", {}),
    ("slow", {"seconds": 0.2}),
    ("unauthorized", {}),
    ("status", {"status": 200, "page": True}),  # a proxy's page
)
RESULTS: Final[tuple[tuple[str, dict[str, Any]], ...]] = (
    *READ,
    ("cut_mid_line", {"share": 0.5}),
    ("cut_at_line_end", {"share": 0.5}),
    ("reset_half_way", {}),
    ("closed_half_way", {}),
    ("blank_lines", {}),
    ("no_final_newline", {}),
    ("gzip", {}),
    ("gzip_members", {}),
    ("split_utf8", {}),
    ("foreign_line", {}),
    ("broken_line", {}),
)


@dataclass(frozen=True, slots=True)
class Turn:
    """One start of the job, perhaps as two processes at once, and how it is ended."""

    deaths: tuple[Death | None, ...]
    killed_after: tuple[str, int] | None
    """Killed by the driver once the sandbox has had so many calls of an endpoint."""


@dataclass(frozen=True, slots=True)
class Plan:
    """A history."""

    texts: list[str]
    rows_per_batch: int
    in_flight: int
    faults: list[tuple[str, str, dict[str, Any]]]
    turns: list[Turn]
    settings: dict[str, Any]
    clock_hours: float
    neighbours: float
    """Seconds between the batches that somebody else creates."""
    size: Callable[[], int] = field(repr=False)
    """How large they are."""

    @property
    def refuses_sizes(self) -> bool:
        """Whether a body may be refused by its size."""
        return any(kind.startswith("too_large") for _, kind, _ in self.faults)


def plan(seed: int) -> Plan:
    """Draw a history."""
    random = Random(seed)
    rows = random.randint(4, 40)
    rows_per_batch = random.choice((1, 3, 7, 10, 20))
    texts = [_text(random, row) for row in range(rows)]
    sizes = Random(seed)
    # A neighbour who keeps the queue full would be a history without an end.
    queue_limit = random.choice((None, None, 45))
    return Plan(
        texts=texts,
        rows_per_batch=max(rows_per_batch, -(-rows // 12)),
        in_flight=random.choice((5, 20, 1000)),
        faults=[_fault(random) for _ in range(random.randint(0, 6))],
        turns=[_turn(random) for _ in range(random.randint(1, 4))],
        settings={
            "batch_seconds": random.choice((0.0, 0.1, 0.4)),
            "list_delay_seconds": random.choice((0.0, 0.0, 0.4)),
            "counts": random.choice(("at_end", "moving")),
            "retry_after": None,
            "queue_limit": queue_limit,
        },
        clock_hours=random.choice((0, 0, -7, 5)),
        neighbours=5.0 if queue_limit else random.choice((0.1, 0.5)),
        size=lambda: sizes.randint(1, rows_per_batch),
    )


def _text(random: Random, row: int) -> str:
    ending = random.choice(TWICE) if random.random() < 0.15 else ""
    return f"{ending} row {row}".strip()


def _fault(random: Random) -> tuple[str, str, dict[str, Any]]:
    endpoint = random.choice(("create", "create", "list", "retrieve", "results"))
    kinds = {"create": CREATE, "results": RESULTS}.get(endpoint, READ)
    kind, options = random.choice(kinds)
    if random.random() < 0.05:
        endpoint, kind, options = "connect", "reset", {}
    order = {"times": random.randint(1, 2), "after": random.randint(0, 4)}
    return endpoint, kind, order | options


def _turn(random: Random) -> Turn:
    deaths: list[Death | None] = []
    for _ in range(1 if random.random() < 0.7 else 2):
        event, where = random.choice(DEATHS)
        number = random.randint(1, 120 if not event else 5)
        deaths.append(Death(event, where, number) if random.random() < 0.8 else None)
    killed = None
    if random.random() < 0.4:
        endpoint = random.choice(("create", "list", "retrieve", "results"))
        killed = (endpoint, random.randint(1, 4))
    return Turn(tuple(deaths), killed)
