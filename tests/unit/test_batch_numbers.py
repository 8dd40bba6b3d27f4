"""The numbers of chunks, and what a person reads."""

from __future__ import annotations

from batchkit_tasks.batch_numbers import batch_name, half_number


def test_batches_count_from_one_and_halves_bear_the_name_of_the_whole() -> None:
    first, second = half_number(2, 0), half_number(2, 1)

    assert [batch_name(n) for n in (0, 2, 1_013)] == ["1", "3", "1,014"]
    assert [batch_name(n) for n in (first, second)] == ["3a", "3b"]
    assert batch_name(half_number(second, 0)) == "3ba"


def test_no_two_of_all_halves_share_a_number() -> None:
    numbers = generation = list(range(300))
    for _ in range(6):
        generation = [half_number(n, half) for n in generation for half in (0, 1)]
        numbers = numbers + generation

    assert len(set(numbers)) == len(numbers)
    assert len({batch_name(n) for n in numbers}) == len(numbers)
