"""`python -m batchkit_tasks.sandbox --port 8123`."""

from __future__ import annotations

import argparse

from batchkit_tasks.sandbox.server import serve


def main() -> None:
    """Read the options and serve until interrupted."""
    parser = argparse.ArgumentParser(
        prog="python -m batchkit_tasks.sandbox",
        description="Speak the Message Batches API on this machine, for free.",
    )
    parser.add_argument("--port", type=int, default=8123, help="0 takes a free one")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument(
        "--batch-seconds", type=float, default=2.0, help="how long a batch runs"
    )
    parser.add_argument(
        "--stop-after", type=float, help="stop by itself after so many seconds"
    )
    parser.add_argument(
        "--state-dir", help="a folder in which batches outlive the sandbox"
    )
    options = parser.parse_args()
    serve(
        port=options.port,
        host=options.host,
        batch_seconds=options.batch_seconds,
        stop_after=options.stop_after,
        state_dir=options.state_dir,
    )


if __name__ == "__main__":
    main()
