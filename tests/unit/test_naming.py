"""Names that a run gives to its output and to its flow run."""

from __future__ import annotations

from datetime import date

import pytest
from prefect.utilities.names import generate_slug

from batchkit_tasks.errors import ParameterError
from batchkit_tasks.plans.naming import is_automatic, resolve_output, run_name


def test_names_made_up_by_prefect_are_automatic() -> None:
    from_server = [generate_slug(2) for _ in range(300)]
    from_pages = [
        "Intelligent-Gnat",
        "Blue-Death-Feigning-Beetle",
        "tau3-gauss-expanse",
        "eta-sirith",
    ]

    assert all(map(is_automatic, [*from_server, *from_pages]))


@pytest.mark.parametrize(
    "name",
    [
        "reviews-daily",
        "Reviews of November",
        "run 7",
        "my-first-run",
        "nightly",
        "beta-test",
    ],
)
def test_names_that_a_person_typed_are_kept(name: str) -> None:
    assert not is_automatic(name)


def test_a_run_is_named_after_its_table_and_model() -> None:
    name = run_name("s3://shop/reviews.parquet", 24310, "claude-haiku-5-5")

    assert name == "reviews.parquet: 24,310 rows, haiku-5-5"


def test_a_dry_run_is_named_as_one() -> None:
    name = run_name("reviews.parquet", 30, "claude-haiku-5-5", dry_run=True)

    assert name == "reviews.parquet: dry run, 30 rows, haiku-5-5"


def test_an_output_takes_the_name_of_its_source_and_the_day() -> None:
    output = resolve_output(
        "out/{source}-{date}-{run}.parquet",
        source="s3://shop/day=*/reviews.csv.gz",
        day=date(2026, 11, 22),
        run="1f2e3d4c",
    )

    assert output == "out/reviews-2026-11-22-1f2e3d4c.parquet"


def test_an_unknown_placeholder_is_refused() -> None:
    with pytest.raises(ParameterError, match=r"\{hour\} is not known"):
        resolve_output("{hour}.parquet", source="a", day=date(2026, 1, 1), run="b")
