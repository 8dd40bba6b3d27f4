"""Real text with real repetitions: what the installed packages say about themselves.

Every package has a name, a summary, classifiers, keywords and a description in
paragraphs; licences and badges repeat from package to package.
"""

from __future__ import annotations

import ast
import sysconfig
from collections.abc import Iterator
from importlib.metadata import Distribution, distributions
from pathlib import Path
from typing import Any, Final

import pandas as pd

LONGEST: Final = 4_000
"""Characters of a paragraph that are kept."""


def package_texts(rows: int) -> pd.DataFrame:
    """That many rows of real text, in a fixed order, with the package of each.

    Raises:
        AssertionError: So much text is not installed here.
    """
    found: list[tuple[str, str, str]] = []
    for each in sorted(distributions(), key=lambda d: d.metadata["Name"].lower()):
        name = each.metadata["Name"]
        found += [(name, kind, text) for kind, text in _texts(each)]
    found += _library()
    assert len(found) >= rows, f"only {len(found):,} texts are installed here"
    step = len(found) / rows
    chosen = [found[int(number * step)] for number in range(rows)]
    return pd.DataFrame(chosen, columns=["package", "kind", "text"])


def _texts(package: Distribution) -> Iterator[tuple[str, str]]:
    metadata: Any = package.metadata
    for field in ("Summary", "License", "Requires-Python", "Author"):
        if metadata.get(field):
            yield field.lower(), metadata[field][:LONGEST]
    for field in ("Classifier", "Requires-Dist", "Project-URL", "License-File"):
        for text in metadata.get_all(field) or ():
            yield field.lower(), text
    body = metadata.get_payload()
    for paragraph in str(body or "").split("\n\n"):
        if paragraph.strip():
            yield "paragraph", paragraph.strip()[:LONGEST]
    for file in package.files or ():
        if file.name.upper().startswith(("LICENSE", "COPYING", "NOTICE")):
            text = Path(str(file.locate())).read_text("utf-8", "replace")
            for paragraph in text.split("\n\n"):
                if paragraph.strip():
                    yield "licence", paragraph.strip()[:LONGEST]


def _library() -> Iterator[tuple[str, str, str]]:
    """The docstrings of Python's own library."""
    home = Path(sysconfig.get_path("stdlib"))
    for path in sorted([*home.glob("*.py"), *home.glob("[a-r]*/*.py")]):
        for node in ast.walk(ast.parse(path.read_bytes())):
            if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.Module):
                text = ast.get_docstring(node)
                if text:
                    yield "python", f"docstring of {path.stem}", text[:LONGEST]
