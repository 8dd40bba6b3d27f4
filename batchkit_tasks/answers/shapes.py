"""From a JSON Schema to columns: the Arrow type, the conversion, and a fast check.

A property with one type becomes a column of that type; objects with fixed properties
become structs, arrays lists. What has no fixed inside (open objects, arrays of
anything, unions of objects) is kept as JSON text. Dates stay text: their format is
a hint to the model, not something a validator checks.

The fast check is a msgspec type which accepts *only* what the schema accepts. Where
no such type exists it is `None`, and where it says no, jsonschema has the last word.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Optional, cast

import msgspec
import pyarrow as pa

from batchkit_tasks.answers.json_schemas import Schema, resolve
from batchkit_tasks.answers.values import ANNOTATIONS, JSON_TEXT, Shape, finite, scalar
from batchkit_tasks.errors import AnswerError


def shape_of(
    schema: Any, root: Schema, where: str, seen: tuple[str, ...] = ()
) -> Shape:
    """Find the column for a schema.

    Args:
        where: Path of the property, for messages.
        seen: References followed on the way here.

    Raises:
        AnswerError: The schema has no type, or several that share no column.
    """
    if not isinstance(schema, Mapping):
        raise AnswerError(f"{where} has no type.")
    node, seen = resolve(cast(Schema, schema), root, seen)
    for key in ("anyOf", "oneOf", "allOf"):
        if key in node:
            return _combined(key, node, root, where, seen)
    kinds = _kinds(node, where)
    names = kinds - {"null"}
    if names == {"integer", "number"}:
        names = {"number"}
    if len(names) != 1:
        what = " or ".join(sorted(names)) or "always null"
        raise AnswerError(f"{where} is {what}; a column has one type.")
    (kind,) = names
    if kind == "object":
        shape = _object(node, root, where, seen)
    elif kind == "array":
        shape = _array(node, root, where, seen)
    else:
        shape = scalar(kind, node)
    if "null" in kinds and shape.fast is not None and "enum" not in node:
        shape = replace(shape, fast=Optional[shape.fast])  # noqa: UP045
    return shape


def _kinds(node: Schema, where: str) -> set[str]:
    declared = node.get("type")
    if isinstance(declared, str):
        return {declared}
    if isinstance(declared, list):
        return set(cast(list[str], declared))
    if "const" in node or isinstance(node.get("enum"), list):
        values: list[Any] = node["enum"] if "enum" in node else [node["const"]]
        return {_kind(value) for value in values}
    if "properties" in node:
        return {"object"}
    if "items" in node:
        return {"array"}
    raise AnswerError(f"{where} has no type.")


def _kind(value: Any) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "boolean"
        case int():
            return "integer"
        case float():
            return "number"
        case str():
            return "string"
        case list():
            return "array"
        case _:
            return "object"


# ------------------------------------------------------------- things of things


def _array(node: Schema, root: Schema, where: str, seen: tuple[str, ...]) -> Shape:
    items = node.get("items")
    if not isinstance(items, Mapping) or not items or "prefixItems" in node:
        return JSON_TEXT
    item = shape_of(items, root, f"{where}[]", seen)

    def convert(value: Any) -> Any:
        return None if value is None else [item.convert(each) for each in value]

    plain = not node.keys() - ANNOTATIONS - {"type", "items"}
    fast = list[item.fast] if plain and item.fast is not None else None
    return Shape(pa.list_(item.arrow), convert, fast, exact=item.exact)


def _object(node: Schema, root: Schema, where: str, seen: tuple[str, ...]) -> Shape:
    named = properties(node)
    if not named or "patternProperties" in node:
        return JSON_TEXT
    shapes = {
        name: shape_of(part, root, f"{where}.{name}", seen)
        for name, part in named.items()
    }

    def convert(value: Any) -> Any:
        if value is None:
            return None
        return {name: each.convert(value.get(name)) for name, each in shapes.items()}

    arrow = pa.struct([(name, each.arrow) for name, each in shapes.items()])
    return Shape(arrow, convert, struct_type(node, shapes))


def properties(node: Schema) -> Mapping[str, Any]:
    """Give the named properties of an object schema, in order."""
    named = node.get("properties")
    return cast(Mapping[str, Any], named) if isinstance(named, Mapping) else {}


def struct_type(node: Schema, shapes: Mapping[str, Shape]) -> Any:
    """Make a msgspec struct for an object schema, or `None` where none is exact."""
    known = {"type", "properties", "required", "additionalProperties"}
    required = cast(Sequence[str], node.get("required", ()))
    if (
        node.keys() - ANNOTATIONS - known
        or node.get("additionalProperties", True) not in (True, False)
        or any(shape.fast is None for shape in shapes.values())
        or not set(required) <= shapes.keys()
    ):
        return None
    fields: list[Any] = []
    for number, (name, shape) in enumerate(shapes.items()):
        if name in required:
            fields.append((f"f{number}", shape.fast))
        else:
            fields.append((f"f{number}", shape.fast | msgspec.UnsetType, msgspec.UNSET))
    return msgspec.defstruct(
        "Answer",
        fields,
        rename={f"f{number}": name for number, name in enumerate(shapes)},
        forbid_unknown_fields=node.get("additionalProperties") is False,
        kw_only=True,
        gc=False,
    )


# ---------------------------------------------------------------- combinations


def _combined(
    key: str, node: Schema, root: Schema, where: str, seen: tuple[str, ...]
) -> Shape:
    """Find the column for `anyOf`, `oneOf` and `allOf`: one type, or one and null."""
    beside = {name: value for name, value in node.items() if name != key}
    branches = cast(list[Any], node[key])
    real = [each for each in branches if not _is_null(each)]
    if key == "allOf" or (len(real) == 1 and beside.keys() - ANNOTATIONS):
        shape = replace(_all_of(beside, real, root, where, seen), fast=None)
    else:
        shape = _one_type(
            [shape_of(each, root, where, seen) for each in real], where=where
        )
    if key != "anyOf" or beside.keys() - ANNOTATIONS or shape.fast is None:
        return replace(shape, fast=None)
    if len(real) < len(branches):
        return replace(shape, fast=Optional[shape.fast])  # noqa: UP045
    return shape


def _all_of(
    beside: Schema,
    branches: Iterable[Any],
    root: Schema,
    where: str,
    seen: tuple[str, ...],
) -> Shape:
    merged: dict[str, Any] = {}
    for branch in branches:
        if isinstance(branch, Mapping):
            part, seen = resolve(cast(Schema, branch), root, seen)
            named = {**properties(merged), **properties(part)}
            merged |= dict(part) | ({"properties": named} if named else {})
    named = {**properties(merged), **properties(beside)}
    merged |= dict(beside) | ({"properties": named} if named else {})
    return shape_of(merged, root, where, seen)


def _is_null(schema: Any) -> bool:
    return isinstance(schema, Mapping) and cast(Schema, schema).get("type") == "null"


def _one_type(shapes: Sequence[Shape], *, where: str) -> Shape:
    if len(shapes) == 1:
        return shapes[0]
    arrows = {shape.arrow for shape in shapes}
    if len(arrows) == 1:
        return replace(shapes[0], fast=None)
    if arrows == {pa.int64(), pa.float64()}:
        return Shape(pa.float64(), finite)
    if arrows and all(pa.types.is_nested(arrow) for arrow in arrows):
        return JSON_TEXT
    what = " or ".join(sorted(map(str, arrows))) or "always null"
    raise AnswerError(f"{where} is {what}; a column has one type.")
