"""The packages of `batchkit_tasks`: imports run one way, and opening one loads little."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

PACKAGE = Path(__file__).parents[2] / "batchkit_tasks"

FACELESS = ("answers", "ground", "output", "parts", "plans", "running", "tables")
"""Packages that are entered by their modules alone."""


def imports_of(file: Path) -> Iterator[str]:
    """The names at the top of our package that a file imports, anywhere in it."""
    for node in ast.walk(ast.parse(file.read_text())):
        if not isinstance(node, ast.ImportFrom) or not node.module:
            continue
        first, _, rest = node.module.partition(".")
        if first == PACKAGE.name:
            yield from [rest.split(".")[0]] if rest else [a.name for a in node.names]


def imports_by_place() -> dict[str, set[str]]:
    """What each module or package at the top imports of the others."""
    found: dict[str, set[str]] = {}
    for file in PACKAGE.rglob("*.py"):
        place = file.relative_to(PACKAGE).parts[0].removesuffix(".py")
        if place != "__init__":
            found.setdefault(place, set()).update(imports_of(file))
    return {place: names - {place} for place, names in found.items()}


def test_imports_between_modules_and_packages_run_one_way() -> None:
    places = imports_by_place()

    order = [*TopologicalSorter(places).static_order()]  # raises at a circle

    assert places["ground"] == set()
    assert order.index("submission") < order.index("api") < order.index("steps")


def test_a_package_without_a_face_loads_nothing_by_itself() -> None:
    for name in FACELESS:
        body = ast.parse((PACKAGE / name / "__init__.py").read_text()).body

        assert [type(node) for node in body] == [ast.Expr], name
