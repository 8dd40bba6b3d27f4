"""Made-up values fit the schema, and the bounds that clients write into it."""

from __future__ import annotations

from batchkit_tasks.sandbox.schemas import fitting_value
from batchkit_tasks.sandbox.seeds import Seed


def test_bounds_that_a_client_moved_into_the_description_are_kept() -> None:
    share = {"type": "number", "description": "How sure\n\n{minimum: 0, maximum: 1}"}
    stars = {"type": "integer", "description": "{minimum: 1, maximum: 5}"}
    tags = {
        "type": "array",
        "items": {"type": "string"},
        "description": "{maxItems: 1}",
    }
    properties = {"share": share, "stars": stars, "tags": tags}
    schema = {"type": "object", "properties": properties}

    made = [fitting_value(schema, Seed(f"row {number}")) for number in range(50)]

    assert all(0 <= value["share"] <= 1 for value in made)
    assert {value["stars"] for value in made} == {1, 2, 3, 4, 5}
    assert all(len(value["tags"]) <= 1 for value in made)
