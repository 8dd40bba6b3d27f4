"""The package as a whole: what it names, what it loads, what its errors are made of."""

from __future__ import annotations

import inspect
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import batchkit_tasks
from batchkit_tasks import errors

ROOT = Path(__file__).parents[2]


def all_errors() -> list[type[errors.BatchkitError]]:
    """Every class of the error tree."""
    return [
        value
        for value in vars(errors).values()
        if inspect.isclass(value) and issubclass(value, errors.BatchkitError)
    ]


def example(kind: type[errors.BatchkitError]) -> errors.BatchkitError:
    """An error of a kind, from made-up facts of the right types."""
    facts: dict[str, Any] = {
        "str": "fact",
        "int": 3,
        "float": 5.0,
        "Sequence[str]": ("one", "two"),
        "Sequence[int]": (1, 2),
        "dict[str, Any]": {"a": 1},
    }
    if "__init__" not in vars(kind) and kind.__init__ is Exception.__init__:
        return kind()
    parameters = [*inspect.signature(kind.__init__).parameters.values()][1:]
    named = [p for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD]
    return kind(*[facts[str(p.annotation).split(" | ")[0]] for p in named])


def test_importing_the_package_loads_none_of_the_heavy_libraries() -> None:
    heavy = ("anthropic", "pandas", "pyarrow", "numpy", "prefect", "polars")
    program = (
        "import sys, batchkit_tasks;"
        f"print([name for name in {heavy!r} if name in sys.modules])"
    )

    found = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    )

    assert found.stdout.strip() == "[]"


def test_every_public_name_is_there() -> None:
    for name in batchkit_tasks.__all__:
        assert getattr(batchkit_tasks, name) is not None
    assert sorted(batchkit_tasks.__all__) == dir(batchkit_tasks)
    with pytest.raises(AttributeError, match="no attribute 'batch_frame'"):
        batchkit_tasks.batch_frame  # noqa: B018 # pyright: ignore


def test_every_error_is_public_or_internal_on_purpose() -> None:
    internal = {"ForeignBatchError"}

    names = {kind.__name__ for kind in all_errors()}

    assert names - set(batchkit_tasks.__all__) == internal


@pytest.mark.parametrize("kind", all_errors(), ids=lambda kind: kind.__name__)
def test_every_error_survives_pickling_with_its_sentence(
    kind: type[errors.BatchkitError],
) -> None:
    error = example(kind)

    copy = pickle.loads(pickle.dumps(error))

    assert type(copy) is kind
    assert str(copy) == str(error)


def test_the_readme_and_ci_run_the_same_commands() -> None:
    readme = (ROOT / "README.md").read_text()

    assert ".venv/bin/batchkit demo" in readme
    assert ".venv/bin/pytest" in readme
    assert "<!-- test command -->" in (ROOT / ".ci" / "run").read_text()
