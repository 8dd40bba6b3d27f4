"""A run of one's own: its table, its sandbox, its credentials block, its output."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

import pyarrow as pa
import pyarrow.parquet as pq

from tests.e2e.processes import wait_for
from tests.e2e.stack import SandboxProgram, Stack
from tests.integration.running import right_answer

PROMPT = "Say {text}"


@dataclass
class Scene:
    """What a story about one run needs."""

    stack: Stack
    name: str
    rows: int = 27
    """In batches of at most 10: three of them, of 10, 9 and 8."""
    ends_at_once: bool = False
    """Whether batches have ended before anybody looks; else when they are told to."""
    sandbox: SandboxProgram = field(init=False)
    credentials: dict[str, Any] = field(init=False)

    def __post_init__(self) -> None:
        self.sandbox = self.stack.new_sandbox(self.name)
        if self.ends_at_once:
            self.sandbox.order("settings", batch_seconds=0)
        self.credentials = self.stack.credentials(self.name, self.sandbox)
        texts = [f"{self.name} {row}" for row in range(self.rows)]
        pq.write_table(pa.table({"text": texts}), self.source)

    @property
    def source(self) -> Path:
        """The table."""
        return self.stack.folder / f"{self.name}.parquet"

    @property
    def output(self) -> Path:
        """What the run writes."""
        return self.stack.folder / "results" / f"{self.name}.parquet"

    def parameters(self, **advanced: Any) -> dict[str, Any]:
        """The parameters of the run."""
        return {
            "source": str(self.source),
            "prompt": PROMPT,
            "credentials": self.credentials,
            "output": str(self.output),
            "advanced": {"check_every_seconds": 1, "rows_per_batch": 10, **advanced},
        }

    def start(self, *, deployment: str | None = None, **advanced: Any) -> UUID:
        """Start a run."""
        name = deployment or "batch-table/batch-table"
        return self.stack.start_run(self.parameters(**advanced), deployment=name)

    def wait_for_batches(self, count: int) -> list[dict[str, Any]]:
        """Wait until so many batches were bought."""

        def bought() -> list[dict[str, Any]] | None:
            found = self.sandbox.batches()
            return found if len(found) >= count else None

        return wait_for(bought, description=f"{count} batches are bought")

    def end_all(self) -> None:
        """Let all batches end."""
        self.sandbox.order("end_all")

    def statuses(self) -> dict[str, int]:
        """The rows of the output by their status."""
        statuses = pq.read_table(self.output)["_status"].to_pylist()
        return dict(Counter(str(status) for status in statuses))

    def is_right(self) -> bool:
        """Whether every row is there, in order, with the answer to its own prompt."""
        table = pq.read_table(self.output)
        texts = pq.read_table(self.source)["text"].to_pylist()
        answers = [right_answer(PROMPT.format(text=text)) for text in texts]
        return (
            table["text"].to_pylist() == texts
            and table["response"].to_pylist() == answers
        )

    def rows_bought(self) -> int:
        """The requests of all batches that were ever bought."""
        return sum(batch["requests"] for batch in self.sandbox.batches())

    def remote_states(self) -> list[str]:
        """How the API has the batches, oldest first."""
        return [batch["processing_status"] for batch in self.sandbox.batches()]

    def note(self, **figures: Any) -> None:
        """Keep figures of this scene with the test output."""
        folder = Path("test-output")
        folder.mkdir(exist_ok=True)
        with (folder / "figures.jsonl").open("a") as file:
            file.write(json.dumps({"scene": self.name, **figures}) + "\n")
