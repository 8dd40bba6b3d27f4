"""The draining server: the sandbox with the least work, in a process of its own."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Generator
from pathlib import Path

ROOT = Path(__file__).parents[2]


@contextlib.contextmanager
def draining_server(*, json_answers: bool = False) -> Generator[str]:
    """Start one and give its URL; it ends with the block.

    Args:
        json_answers: Answer with the same texts as JSON objects.
    """
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.bench.server", *["json"] * json_answers],
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    assert process.stdout is not None
    try:
        yield process.stdout.readline().strip()
    finally:
        process.terminate()
        process.wait()
        process.stdout.close()


def main() -> None:
    from batchkit_tasks.sandbox.server import serve
    from tests.bench.tables import answers

    texts = answers()
    if "json" in sys.argv:
        texts = [json.dumps({"text": text}) for text in texts]
    serve(
        port=0,
        batch_seconds=0.0,
        answers="fixed",
        fixed_answers=texts,
        keep_requests=False,
        retry_after=None,
    )


if __name__ == "__main__":
    main()
