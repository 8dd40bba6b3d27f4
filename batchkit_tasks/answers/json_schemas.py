"""Find the way in a JSON Schema: its parts, its references, and what the API takes.

References stay inside the document: nothing is ever fetched. What the API's
structured outputs do not know (bounds, lengths, patterns; every row would come back
as invalid) is moved into the description for the model to read, as the official SDK
does, and is still checked when the answer arrives.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final, cast

from batchkit_tasks.errors import AnswerError
from batchkit_tasks.ground.json_text import write_json

Schema = Mapping[str, Any]

MAPS_OF_SCHEMAS: Final = (
    "properties",
    "$defs",
    "definitions",
    "patternProperties",
    "dependentSchemas",
)
LISTS_OF_SCHEMAS: Final = ("anyOf", "oneOf", "allOf", "prefixItems")
SCHEMAS: Final = (
    "items",
    "additionalItems",
    "additionalProperties",
    "unevaluatedItems",
    "unevaluatedProperties",
    "contains",
    "propertyNames",
    "not",
    "if",
    "then",
    "else",
)
SENT_AS_IS: Final = (
    "type",
    "enum",
    "const",
    "title",
    "description",
    "default",
    "required",
)
SENT_FORMATS: Final = frozenset(
    (
        *("date-time", "time", "date", "duration", "email", "hostname", "uri"),
        *("ipv4", "ipv6", "uuid"),
    )
)
"""String formats that structured outputs know (SDK 2.12)."""
NOT_SENT: Final = frozenset(("$schema", "$id", "$comment", "$anchor"))
"""About the document, not about the answer."""


def parts(node: Any) -> Iterator[Schema]:
    """Give the schema and every schema inside it."""
    if not isinstance(node, Mapping):
        return
    schema = cast(Schema, node)
    yield schema
    for key in MAPS_OF_SCHEMAS:
        for part in _mapping(schema.get(key)).values():
            yield from parts(part)
    for key in (*LISTS_OF_SCHEMAS, *SCHEMAS):
        part = schema.get(key)
        for each in cast(list[Any], part) if isinstance(part, list) else [part]:
            yield from parts(each)


def check_references(root: Schema) -> None:
    """Refuse what could only fail later, answer by answer.

    Raises:
        AnswerError: A reference leads outside or nowhere.
    """
    for part in parts(root):
        for key in ("$dynamicRef", "$recursiveRef"):
            if key in part:
                raise AnswerError(f"{key} is not supported; use $ref.")
        if isinstance(part.get("$ref"), str):
            target(part["$ref"], root)


def target(reference: str, root: Schema) -> Schema:
    """Find what a reference such as `#/$defs/City` names."""
    if reference != "#" and not reference.startswith("#/"):
        raise AnswerError(
            f'$ref "{reference}" leads outside the schema; put it under $defs.'
        )
    node: Any = root
    for step in reference.split("/")[1:]:
        name = step.replace("~1", "/").replace("~0", "~")
        if not isinstance(node, Mapping) or name not in node:
            raise AnswerError(f'$ref "{reference}" leads nowhere.')
        node = cast(Schema, node)[name]
    if not isinstance(node, Mapping):
        raise AnswerError(f'$ref "{reference}" does not lead to a schema.')
    return cast(Schema, node)


def resolve(
    node: Schema, root: Schema, seen: tuple[str, ...]
) -> tuple[Schema, tuple[str, ...]]:
    """Follow references; what stands beside a `$ref` wins over what it names.

    Returns:
        The schema without a `$ref`, and the references on the way here.

    Raises:
        AnswerError: The schema contains itself, which the API refuses.
    """
    while "$ref" in node:
        reference = str(node["$ref"])
        if reference in seen:
            raise AnswerError(f'"{reference}" contains itself, which has no end.')
        seen = (*seen, reference)
        beside = {key: value for key, value in node.items() if key != "$ref"}
        node = {**target(reference, root), **beside}
    return node, seen


def sent_schema(node: Any, root: Schema) -> Any:
    """Write the schema as the API takes it; `root` must not contain itself.

    Objects are closed (`additionalProperties: false`), `oneOf` becomes `anyOf`, and a
    `$ref` with something beside it is written out.
    """
    if not isinstance(node, Mapping):
        return {} if node is True else node
    schema = dict(cast(Schema, node))
    if "$ref" in schema:
        if not schema.keys() - {"$ref"} - set(MAPS_OF_SCHEMAS):
            return _sent_maps(schema, root) | {"$ref": schema["$ref"]}
        schema = dict(resolve(schema, root, ())[0])
    sent = {key: schema.pop(key) for key in SENT_AS_IS if key in schema}
    sent |= _sent_maps(schema, root)
    for key in ("anyOf", "oneOf", "allOf"):
        if isinstance(schema.get(key), list):
            each = [sent_schema(part, root) for part in schema.pop(key)]
            sent["anyOf" if key == "oneOf" else key] = each
    if isinstance(schema.get("items"), Mapping):
        sent["items"] = sent_schema(schema.pop("items"), root)
    if schema.get("format") in SENT_FORMATS:
        sent["format"] = schema.pop("format")
    if schema.get("minItems") in (0, 1):
        sent["minItems"] = schema.pop("minItems")
    kind = sent.get("type")
    if "properties" in sent or kind == "object" or (kind and "object" in kind):
        schema.pop("additionalProperties", None)
        sent["additionalProperties"] = False
    return _described(sent, schema)


def _sent_maps(schema: dict[str, Any], root: Schema) -> dict[str, Any]:
    sent: dict[str, Any] = {}
    for key in ("properties", "$defs", "definitions"):
        if key in schema:
            named = _mapping(schema.pop(key))
            sent[key] = {name: sent_schema(part, root) for name, part in named.items()}
    return sent


def _described(sent: dict[str, Any], rest: Schema) -> dict[str, Any]:
    left = [
        f"{key}: {write_json(value)}"
        for key, value in rest.items()
        if key not in NOT_SENT
    ]
    if left:
        before = f"{sent['description']}\n\n" if sent.get("description") else ""
        sent["description"] = f"{before}{{{', '.join(left)}}}"
    return sent


def _mapping(value: Any) -> Mapping[str, Any]:
    return cast(Mapping[str, Any], value) if isinstance(value, Mapping) else {}
