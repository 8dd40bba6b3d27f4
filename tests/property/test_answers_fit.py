"""The fast check of answers and jsonschema: the same verdict, the same values."""

from __future__ import annotations

import json
import math
from typing import Any, cast

import jsonschema
from hypothesis import given, settings
from hypothesis import strategies as st

from batchkit_tasks.answers.formats import AnswerFormat, answer_format
from batchkit_tasks.answers.reading import TypedReader
from batchkit_tasks.parameters import SchemaAnswer

names = st.sampled_from(["a", "b", "c d", "ü", "f0", "type"])
texts = st.text(st.characters(codec="utf-8"), max_size=5)
scalars = st.sampled_from(
    [
        {"type": "string"},
        {"type": "integer"},
        {"type": "number"},
        {"type": "boolean"},
        {"type": ["string", "null"]},
        {"type": ["integer", "null"]},
        {"enum": ["a", "b"]},
        {"type": "string", "enum": ["a", None]},
        {"type": ["string", "null"], "enum": ["a", None]},
        {"type": ["string", "null"], "enum": ["a", "b"]},
        {"enum": ["a", None]},
        {"enum": [1, 2]},
        {"type": "integer", "enum": [0, 1]},
        {"type": "number", "enum": [0, 1]},
        {"anyOf": [{"type": "integer"}, {"type": "null"}]},
        {"oneOf": [{"type": ["string", "null"]}, {"type": "null"}]},
        {"anyOf": [{"type": "integer"}, {"type": "number"}]},
        {"type": "integer", "minimum": 1},
        {"type": "string", "maxLength": 2},
        {"const": "a"},
        {"type": "string", "format": "date", "description": "A day"},
        {"$ref": "#/$defs/Letter"},
        {"$ref": "#/$defs/Letter", "description": "beside"},
    ]
)


def objects(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    named = st.dictionaries(names, inner, min_size=1, max_size=4)
    closed = st.sampled_from([{}, {"additionalProperties": False}])
    return st.tuples(named, st.sets(names), closed, st.booleans()).map(_object)


def _object(drawn: tuple[Any, set[str], dict[str, Any], bool]) -> dict[str, Any]:
    properties, some, closed, loose = drawn
    required = sorted(some if loose else some & properties.keys())
    return {"type": "object", "properties": properties, "required": required} | closed


inner = st.recursive(
    scalars,
    lambda each: st.one_of(
        each.map(lambda item: {"type": "array", "items": item}), objects(each)
    ),
    max_leaves=4,
)
schemas = objects(inner).map(
    lambda schema: schema | {"$defs": {"Letter": {"enum": ["a", "b"]}}}
)
leaves = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 3),
    st.integers(),
    st.sampled_from([1.0, 0.5, -0.0, 1e30, 2**63, -(2**63), 10**400]),
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from(["a", "b", ""]),
    texts,
)


@st.composite
def answers(draw: st.DrawFn, schema: dict[str, Any]) -> Any:
    """A value that mostly fits the schema."""
    if draw(st.integers(0, 19)) == 0:
        return draw(leaves)
    if "properties" in schema:
        value = {
            name: draw(answers(part))
            for name, part in schema["properties"].items()
            if draw(st.integers(0, 9)) or name in schema["required"]
        }
        extra = draw(st.dictionaries(names, leaves, max_size=1))
        return {**extra, **value} if draw(st.integers(0, 5)) == 0 else value
    if "items" in schema:
        return draw(st.lists(answers(schema["items"]), max_size=2))
    if "enum" in schema:
        return draw(st.sampled_from([*schema["enum"], "z"]))
    kind = schema.get("type")
    fitting = {
        "string": texts,
        "integer": st.integers(-3, 3),
        "number": st.floats(allow_nan=False, allow_infinity=False),
        "boolean": st.booleans(),
    }.get(kind if isinstance(kind, str) else "", leaves)
    return draw(fitting if draw(st.booleans()) else st.sampled_from(["a", 1, None]))


@st.composite
def cases(draw: st.DrawFn) -> tuple[dict[str, Any], Any]:
    schema = draw(schemas)
    return schema, draw(answers(schema))


def reader_of(made: AnswerFormat) -> TypedReader:
    reader = vars(made)["_reader"]
    return cast(TypedReader, reader)


@settings(max_examples=300)
@given(cases())
def test_the_verdict_is_that_of_jsonschema(case: tuple[dict[str, Any], Any]):
    schema, answer = case
    made = answer_format(SchemaAnswer(json_schema=json.dumps(schema)))
    valid = jsonschema.Draft202012Validator(schema).is_valid(answer)

    problem = made.parse([json.dumps(answer)]).problems[0]

    # A column holds less than JSON does: only then is a valid answer refused.
    too_large = problem is not None and (
        "does not fit into 64 bits" in problem or "is too large" in problem
    )
    assert (problem is None) == (valid and not too_large)
    assert valid or not too_large


@settings(max_examples=300)
@given(cases())
def test_fast_and_exact_reading_give_the_same_values(case: tuple[dict[str, Any], Any]):
    schema, answer = case
    made = answer_format(SchemaAnswer(json_schema=json.dumps(schema)))
    text = json.dumps(answer, ensure_ascii=False)

    fast = made.parse([text])
    values, problem = reader_of(made).read_exactly(text)

    assert fast.problems == [problem]
    exact = [column.to_pylist()[0] for column in fast.columns]
    assert _plain(exact) == _plain(list(values))


@given(st.sampled_from([{"enum": ["a"]}, {"type": "string"}]), st.text(max_size=20))
def test_any_text_gives_an_answer_or_a_problem(schema: dict[str, Any], text: str):
    root = {"type": "object", "properties": {"p": schema}}
    made = answer_format(SchemaAnswer(json_schema=json.dumps(root)))

    parsed = made.parse([text])

    assert parsed.problems[0] is None or parsed.columns[0].null_count == 1


def _plain(value: Any) -> Any:
    """Structs of Arrow name every field; the sign of zero tells."""
    if isinstance(value, dict):
        pairs = cast(dict[str, Any], value).items()
        return {key: _plain(each) for key, each in pairs if each is not None}
    if isinstance(value, list):
        return [_plain(each) for each in cast(list[Any], value)]
    if isinstance(value, float):
        return (value, math.copysign(1, value))
    return value
