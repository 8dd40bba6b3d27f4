"""Run many histories: `python -m tests.histories --seeds 500`."""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

from tests.histories import history


def main() -> int:
    """Run them; 1 if one did not balance."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=30, help="how many")
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--at-once", type=int, default=2)
    asked = parser.parse_args()
    started = time.monotonic()
    totals: Counter[str] = Counter()
    failed: list[int] = []

    def run(seed: int) -> None:
        try:
            totals.update(history.run(seed))
        except Exception as error:
            failed.append(seed)
            print(error, flush=True)
        totals["histories"] += 1
        if totals["histories"] % 50 == 0:
            print(f"{totals['histories']} histories", flush=True)

    with ThreadPoolExecutor(asked.at_once) as pool:
        list(pool.map(run, range(asked.first, asked.first + asked.seeds)))
    seconds = time.monotonic() - started
    print(f"{dict(totals)}, {seconds:.0f} s; failed seeds: {sorted(failed)}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
