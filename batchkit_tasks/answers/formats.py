"""What is added to each row: its columns, the schema that is sent, and the reading.

An answer that fits becomes values of the columns. One that does not is told with its
reason; it is never a crash and never half an answer.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, cast

import pyarrow as pa
from pydantic import BaseModel, TypeAdapter

from batchkit_tasks.answers.json_schemas import check_references, resolve, sent_schema
from batchkit_tasks.answers.reading import ParsedAnswers, TypedReader
from batchkit_tasks.answers.shapes import properties, shape_of, struct_type
from batchkit_tasks.errors import AnswerError, ColumnClashError
from batchkit_tasks.limits import STRUCTURAL_COLUMNS
from batchkit_tasks.parameters import (
    Answer,
    ColumnsAnswer,
    OutputColumn,
    SchemaAnswer,
    TextAnswer,
)


class AnswerFormat:
    """The columns that answers fill, and how a text becomes their values."""

    fields: tuple[pa.Field, ...]
    """New columns, nullable, in order."""
    output_schema: dict[str, Any] | None
    """What is sent as `output_config.format.schema`; `None`: plain text."""

    def __init__(
        self,
        fields: Iterable[pa.Field],
        output_schema: dict[str, Any] | None = None,
        reader: TypedReader | None = None,
    ) -> None:
        self.fields = tuple(fields)
        self.output_schema = output_schema
        self._reader = reader

    @property
    def is_text(self) -> bool:
        """The answer's text is kept as it is, in one column."""
        return self._reader is None

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the new columns."""
        return tuple(field.name for field in self.fields)

    def parse(self, texts: Sequence[str | None]) -> ParsedAnswers:
        """Turn answers into columns; `None` gives nulls and is no problem."""
        if self._reader is None:
            return ParsedAnswers([pa.array(texts, pa.string())], [None] * len(texts))
        return self._reader.read(texts)


def answer_format(answer: Answer) -> AnswerFormat:
    """Find the columns and the schema for a description of the answer.

    Raises:
        AnswerError: The description cannot be turned into columns.
    """
    if isinstance(answer, TextAnswer):
        return AnswerFormat([pa.field(answer.column, pa.string())])
    if isinstance(answer, ColumnsAnswer):
        return _schema_format(_columns_schema(answer.columns))
    return _schema_format(_read_schema(answer.json_schema))


def as_answer(answer: Answer | type[BaseModel] | Mapping[str, Any] | str) -> Answer:
    """Take what people write in Python for an answer.

    Args:
        answer: A description as it is; a Pydantic model or JSON Schema, whose fields
            become columns; or the name of one text column.
    """
    if isinstance(answer, type):
        return SchemaAnswer(json_schema=json.dumps(answer.model_json_schema()))
    if isinstance(answer, Mapping):
        if answer.keys() & {"column", "columns", "json_schema"}:
            return TypeAdapter[Answer](Answer).validate_python(answer)
        return SchemaAnswer(json_schema=json.dumps(dict(answer)))
    if isinstance(answer, str):
        if answer.lstrip().startswith("{"):
            return SchemaAnswer(json_schema=answer)
        return TextAnswer(column=answer)
    return answer


def output_columns(
    input_columns: Iterable[str], answer: Answer | AnswerFormat
) -> tuple[str, ...]:
    """Name the columns of the output table: the table's, the answer's, bookkeeping.

    Raises:
        ColumnClashError: A new column has a name that is already taken.
    """
    new = (answer if isinstance(answer, AnswerFormat) else answer_format(answer)).names
    old = tuple(input_columns)
    clashes = [name for name in (*new, *STRUCTURAL_COLUMNS) if name in old]
    if clashes:
        bookkeeping = not set(clashes).isdisjoint(STRUCTURAL_COLUMNS)
        advice = (
            "_status, _error and _meta are added to every table: rename the table's own."
            if bookkeeping
            else "Choose other names for the answer's columns."
        )
        raise ColumnClashError(clashes, advice)
    if reserved := [name for name in new if name in STRUCTURAL_COLUMNS]:
        raise AnswerError(
            f"{', '.join(reserved)} is added to every table by itself; choose another "
            "name."
        )
    return (*old, *new, *STRUCTURAL_COLUMNS)


# ------------------------------------------------------------------- schemas


def _columns_schema(columns: Sequence[OutputColumn]) -> dict[str, Any]:
    names = [column.name for column in columns]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise AnswerError(f"these columns are named twice: {', '.join(twice)}.")
    return {
        "type": "object",
        "properties": {column.name: _column_schema(column) for column in columns},
        "required": names,
        "additionalProperties": False,
    }


def _column_schema(column: OutputColumn) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": column.type}
    if column.description:
        schema["description"] = column.description
    if column.choices:
        schema["enum"] = [_choice(column, choice) for choice in column.choices]
        if len(set(column.choices)) < len(column.choices):
            raise AnswerError(f"column {column.name}: a choice is named twice.")
    return schema


def _choice(column: OutputColumn, choice: str) -> str | int | float:
    if not choice.strip():
        raise AnswerError(f"column {column.name}: a choice is empty.")
    if column.type == "string":
        return choice
    try:
        if column.type == "integer":
            return int(choice)
        if column.type == "number":
            return float(choice)
    except ValueError:
        raise AnswerError(
            f"column {column.name}: the choice {choice!r} is no {column.type}."
        ) from None
    raise AnswerError(f"column {column.name}: a boolean has no choices.")


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    names = [name for name, _ in pairs]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise AnswerError(f"the schema names {', '.join(twice)} twice in one place.")
    return dict(pairs)


def _read_schema(text: str) -> dict[str, Any]:
    try:
        root = json.loads(text, object_pairs_hook=_no_duplicates)
    except AnswerError:
        raise
    except (ValueError, RecursionError) as error:
        raise AnswerError(f"the schema is not JSON ({error}).") from None
    if not isinstance(root, dict):
        raise AnswerError("the schema must be a JSON object.")
    return cast(dict[str, Any], root)


def _validator(root: dict[str, Any]) -> Any:
    """Make a jsonschema validator that never fetches anything."""
    jsonschema: Any = importlib.import_module("jsonschema")
    referencing: Any = importlib.import_module("referencing")
    kind: Any = jsonschema.validators.validator_for(
        root, default=jsonschema.Draft202012Validator
    )
    try:
        kind.check_schema(root)
    except jsonschema.SchemaError as error:
        where = "".join(f".{step}" for step in error.absolute_path)
        raise AnswerError(f"no valid JSON Schema: ${where}: {error.message}.") from None
    return kind(root, registry=referencing.Registry())


def _schema_format(root: dict[str, Any]) -> AnswerFormat:
    try:
        _validator(root)
        check_references(root)
        return _object_format(dict(resolve(root, root, ())[0]), root)
    except RecursionError:
        raise AnswerError("the schema contains itself, or nests too deeply.") from None


def _object_format(schema: dict[str, Any], root: dict[str, Any]) -> AnswerFormat:
    if schema.get("type", "object") != "object" or not (named := properties(schema)):
        raise AnswerError(
            'the schema must describe an object ("type": "object") with properties; '
            "each of them becomes a column."
        )
    if any(not name.strip() for name in named):
        raise AnswerError("a property has no name.")
    schema["type"] = "object"
    shapes = {name: shape_of(part, root, name) for name, part in named.items()}
    fields = [pa.field(name, shape.arrow) for name, shape in shapes.items()]
    reader = TypedReader(shapes, struct_type(schema, shapes), _validator(schema))
    return AnswerFormat(fields, sent_schema(schema, root), reader)
