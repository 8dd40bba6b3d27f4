"""Read typed answers: by msgspec where the schema allows it, else by jsonschema.

msgspec only ever says yes: its type accepts nothing that the schema refuses. Where it
says no, jsonschema has the last word and gives the reason.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec
import pyarrow as pa

from batchkit_tasks.answers.values import Shape
from batchkit_tasks.ground.json_text import read_json, whole_characters

PROBLEM_CHARACTERS: Final = 300
"""A problem is cut to this length: jsonschema quotes whole values."""


@dataclass(frozen=True, slots=True)
class ParsedAnswers:
    """Answers as columns, one value per text."""

    columns: Sequence[pa.Array | pa.ChunkedArray]
    problems: list[str | None]
    """Why a text does not fit; its columns are null. `None` where it fits."""


class TypedReader:
    """Reads typed answers: by msgspec where the schema allows, else by jsonschema."""

    def __init__(self, shapes: Mapping[str, Shape], fast: Any, validator: Any) -> None:
        self._shapes = dict(shapes)
        self._validator = validator
        self._decode = None if fast is None else msgspec.json.Decoder(fast).decode
        self._exact = [shape.exact for shape in shapes.values()]
        self._all_exact = all(self._exact)
        self._nothing = (None,) * len(shapes)

    def read(self, texts: Sequence[str | None]) -> ParsedAnswers:
        rows: list[tuple[Any, ...]] = []
        problems: list[str | None] = []
        for text in texts:
            values, problem = self._row(text)
            rows.append(values)
            problems.append(problem)
        columns = list(zip(*rows, strict=True)) or [()] * len(self._shapes)
        arrays = [
            pa.array(column, shape.arrow)
            for column, shape in zip(columns, self._shapes.values(), strict=True)
        ]
        return ParsedAnswers(arrays, problems)

    def _row(self, text: str | None) -> tuple[tuple[Any, ...], str | None]:
        if text is None:
            return self._nothing, None
        if self._decode is not None:
            try:
                return self._values(self._decode(text)), None
            except (ValueError, RecursionError):
                pass  # jsonschema has the last word
        return self.read_exactly(text)

    def _values(self, answer: Any) -> tuple[Any, ...]:
        values = msgspec.structs.astuple(answer)
        if self._all_exact and msgspec.UNSET not in values:
            return values
        return tuple(
            None if value is msgspec.UNSET else value if exact else _builtin(value)
            for value, exact in zip(values, self._exact, strict=True)
        )

    def read_exactly(self, text: str) -> tuple[tuple[Any, ...], str | None]:
        """Read one answer by jsonschema, whose word is the last."""
        try:
            answer = read_json(text)
        except ValueError as error:
            return self._nothing, _cut(f"not JSON: {error}")
        try:
            problem = _first_problem(self._validator, answer)
            if problem is None:
                return self._converted(answer), None
        except RecursionError:
            problem = "it nests too deeply"
        except ValueError as error:
            problem = str(error)
        return self._nothing, _cut(problem)

    def _converted(self, answer: dict[str, Any]) -> tuple[Any, ...]:
        values: list[Any] = []
        for name, shape in self._shapes.items():
            try:
                values.append(shape.convert(answer.get(name)))
            except ValueError as error:
                raise ValueError(f"$.{name}: {error}") from None
        return tuple(values)


def _builtin(value: Any) -> Any:
    return msgspec.to_builtins(value)


def _first_problem(validator: Any, answer: Any) -> str | None:
    best_match: Callable[..., Any] = importlib.import_module(
        "jsonschema.exceptions"
    ).best_match
    error = best_match(validator.iter_errors(answer))
    return None if error is None else f"{error.json_path}: {error.message}"


def _cut(problem: str) -> str:
    text = whole_characters(problem)
    if len(text) <= PROBLEM_CHARACTERS:
        return text
    return f"{text[:PROBLEM_CHARACTERS]}…"
