"""The draining server: the sandbox with the least work, in a process of its own."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
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
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    with process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.terminate()


def end_with_parent() -> None:
    """End this process when the one that started it is gone, however it ended."""
    sys.stdin.read()
    os._exit(0)


def main() -> None:
    threading.Thread(target=end_with_parent, daemon=True).start()
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
