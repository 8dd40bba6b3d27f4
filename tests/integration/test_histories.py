"""Thirty random histories of processes that are killed; see `tests.histories`."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final

import pytest

from tests.histories import history

SEEDS: Final = range(30)
AT_ONCE: Final = 3


@pytest.fixture(scope="module")
def histories() -> Iterator[dict[int, Future[dict[str, int]]]]:
    """All of them, a few at a time: they mostly wait."""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        yield {seed: pool.submit(history.run, seed) for seed in SEEDS}


@pytest.mark.parametrize("seed", SEEDS)
def test_a_history_comes_to_its_right_end(
    histories: dict[int, Future[dict[str, int]]], seed: int
) -> None:
    happened = histories[seed].result()

    assert happened["batches"] > 0
