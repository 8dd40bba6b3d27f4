"""JSON Schemas as answers: the columns they become, and what is sent."""

from __future__ import annotations

import json
import pickle
from typing import Any

import pyarrow as pa
import pytest

from batchkit_tasks.answers.formats import answer_format
from batchkit_tasks.answers.json_schemas import parts
from batchkit_tasks.errors import AnswerError
from batchkit_tasks.parameters import (
    SchemaAnswer,
)
from tests.made_answers import problem, values


def of_schema(schema: Any) -> Any:
    text = schema if isinstance(schema, str) else json.dumps(schema)
    return answer_format(SchemaAnswer(json_schema=text))


def of_property(schema: Any, **root: Any) -> Any:
    return of_schema({"type": "object", "properties": {"p": schema}} | root)


@pytest.mark.parametrize(
    ("schema", "arrow", "answer", "value"),
    [
        ({"type": "string"}, pa.string(), "a", "a"),
        ({"type": "string", "format": "date"}, pa.string(), "no date", "no date"),
        ({"enum": ["a", "b"]}, pa.string(), "b", "b"),
        ({"enum": ["a", None]}, pa.string(), None, None),
        ({"type": ["string", "null"], "enum": ["a", None]}, pa.string(), None, None),
        ({"enum": [1, 2]}, pa.int64(), 2, 2),
        ({"enum": [1, 2.5]}, pa.float64(), 1, 1.0),
        ({"type": "number", "enum": [0.5, None]}, pa.float64(), 0.5, 0.5),
        ({"const": "x"}, pa.string(), "x", "x"),
        ({"const": True}, pa.bool_(), True, True),
        ({"type": "integer"}, pa.int64(), 2**63 - 1, 2**63 - 1),
        ({"type": "integer", "minimum": 3}, pa.int64(), 3, 3),
        ({"type": ["integer", "number"]}, pa.float64(), 1, 1.0),
        ({"type": ["string", "null"]}, pa.string(), None, None),
        ({"anyOf": [{"type": "integer"}, {"type": "null"}]}, pa.int64(), None, None),
        ({"oneOf": [{"type": "integer"}, {"type": "null"}]}, pa.int64(), 5, 5),
        (
            {"anyOf": [{"type": "integer"}, {"type": "number"}]},
            pa.float64(),
            5,
            5.0,
        ),
        (
            {"anyOf": [{"const": "a"}, {"enum": ["b"]}]},
            pa.string(),
            "b",
            "b",
        ),
        ({"allOf": [{"type": "string"}, {"minLength": 1}]}, pa.string(), "a", "a"),
        (
            {"type": "array", "items": {"type": "integer"}},
            pa.list_(pa.int64()),
            [1, 2.0],
            [1, 2],
        ),
        (
            {"type": "array", "items": {"type": ["string", "null"]}},
            pa.list_(pa.string()),
            ["a", None],
            ["a", None],
        ),
        ({"type": "array"}, pa.string(), [1, "ü"], '[1,"ü"]'),
        ({"type": "array", "items": {}}, pa.string(), [1, "a"], '[1,"a"]'),
        (
            {"type": "array", "prefixItems": [{"type": "string"}]},
            pa.string(),
            ["a"],
            '["a"]',
        ),
        ({"type": "object"}, pa.string(), {"a": 1}, '{"a":1}'),
        ({"type": "object", "properties": {}}, pa.string(), {}, "{}"),
        (
            {"type": "object", "additionalProperties": {"type": "integer"}},
            pa.string(),
            {"a": 1},
            '{"a":1}',
        ),
        (
            {
                "type": "object",
                "properties": {"a": {"type": "string"}, "b": {"type": "integer"}},
            },
            pa.struct([("a", pa.string()), ("b", pa.int64())]),
            {"a": "x"},
            {"a": "x", "b": None},
        ),
        (
            {
                "type": "array",
                "items": {"type": "object", "properties": {"o": {"type": "object"}}},
            },
            pa.list_(pa.struct([("o", pa.string())])),
            [{"o": {"k": 1}}, {}],
            [{"o": '{"k":1}'}, {"o": None}],
        ),
        (
            {
                "anyOf": [
                    {"type": "object", "properties": {"a": {"type": "string"}}},
                    {"type": "object", "properties": {"b": {"type": "string"}}},
                ]
            },
            pa.string(),
            {"b": "x"},
            '{"b":"x"}',
        ),
    ],
)
def test_a_property_becomes_a_typed_column(
    schema: Any, arrow: pa.DataType, answer: Any, value: Any
):
    made = of_property(schema)

    assert [field.type for field in made.fields] == [arrow]
    assert made.fields[0].nullable
    assert values(made, {"p": answer}) == [value]


def test_a_property_that_is_left_out_is_null():
    assert values(of_property({"type": "integer"}), "{}") == [None]


def test_references_are_followed():
    definitions = {
        "City": {"type": "object", "properties": {"name": {"$ref": "#/$defs/Name"}}},
        "Name": {"type": "string"},
    }

    made = of_property({"$ref": "#/$defs/City"}, **{"$defs": definitions})

    assert made.fields[0].type == pa.struct([("name", pa.string())])
    assert values(made, {"p": {"name": "Ulm"}}) == [{"name": "Ulm"}]
    assert made.output_schema["properties"]["p"] == {"$ref": "#/$defs/City"}
    assert made.output_schema["$defs"]["City"]["additionalProperties"] is False


def test_a_schema_that_is_a_reference_as_a_whole_is_followed():
    inner = {"type": "object", "properties": {"a": {"type": "string"}}}

    made = of_schema({"$ref": "#/$defs/Row", "$defs": {"Row": inner}})

    assert made.names == ("a",)
    assert values(made, {"a": "x"}) == ["x"]


@pytest.mark.parametrize(
    ("schema", "told"),
    [
        ("{", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ("[1]", "must be a JSON object"),
        ('{"type":"object","properties":{"a":{},"a":{}}}', "names a twice"),
        ({"type": "array", "items": {"type": "string"}}, "must describe an object"),
        ({"type": "object"}, "with properties"),
        ({"type": "object", "properties": {}}, "with properties"),
        ({"type": "object", "properties": {"": {"type": "string"}}}, "no name"),
        (
            {"type": "object", "properties": {"a": {"type": "strin"}}},
            "no valid JSON Sch",
        ),
        ({"type": "object", "properties": {"a": {}}}, "a has no type"),
        ({"type": "object", "properties": {"a": True}}, "a has no type"),
        ({"type": "object", "properties": {"a": {"type": "null"}}}, "a is always null"),
        (
            {"type": "object", "properties": {"a": {"type": ["string", "integer"]}}},
            "a is integer or string",
        ),
        (
            {
                "type": "object",
                "properties": {
                    "a": {"anyOf": [{"type": "string"}, {"type": "boolean"}]}
                },
            },
            "a is bool or string",
        ),
        (
            {
                "type": "object",
                "properties": {
                    "a": {"type": "object", "properties": {"b": {"type": "null"}}}
                },
            },
            "a.b is always null",
        ),
        (
            {"type": "object", "properties": {"a": {"$ref": "http://x.test/y"}}},
            "leads outside",
        ),
        (
            {"type": "object", "properties": {"a": {"$ref": "#/$defs/no"}}},
            "leads nowhere",
        ),
        (
            {"type": "object", "properties": {"a": {"type": "string", "pattern": "("}}},
            "is not a 'regex'",
        ),
        (
            {
                "type": "object",
                "properties": {"a": {"$ref": "#/$defs/T"}},
                "$defs": {
                    "T": {"type": "object", "properties": {"t": {"$ref": "#/$defs/T"}}}
                },
            },
            "contains itself",
        ),
        (
            {"type": "object", "properties": {"a": {"$ref": "#"}}},
            "contains itself",
        ),
    ],
)
def test_a_schema_that_cannot_become_columns_is_refused(schema: Any, told: str):
    with pytest.raises(AnswerError) as caught:
        of_schema(schema)

    assert told in str(caught.value)
    assert str(caught.value).endswith("Nothing was sent.")
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


def test_what_the_api_does_not_know_is_told_to_the_model_and_checked_here():
    made = of_property({"type": "integer", "minimum": 1, "description": "Stars"})

    sent = made.output_schema["properties"]["p"]
    assert sent == {"type": "integer", "description": "Stars\n\n{minimum: 1}"}
    assert "less than the minimum" in problem(made, {"p": 0})


def test_every_object_that_is_sent_is_closed():
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": "urn:x",
        "properties": {
            "a": {"type": "object", "additionalProperties": True},
            "b": {
                "oneOf": [
                    {"type": "object", "properties": {"c": {"type": "string"}}},
                    {"type": "null"},
                ]
            },
            "d": {
                "type": "array",
                "minItems": 1,
                "items": {"type": "object", "properties": {"e": {"type": "string"}}},
            },
        },
    }

    sent = of_schema(schema).output_schema

    objects = [part for part in parts(sent) if "object" in str(part.get("type"))]
    assert len(objects) == 4
    assert all(part["additionalProperties"] is False for part in objects)
    assert "$schema" not in sent
    assert "$id" not in sent
    assert sent["properties"]["b"].keys() == {"anyOf"}
    assert sent["properties"]["d"]["minItems"] == 1
