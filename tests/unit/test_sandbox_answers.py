"""The made-up answers: the same for the same prompt, and fitting their schema."""

from __future__ import annotations

import json
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batchkit_tasks.sandbox.answers import answer_text, input_tokens
from batchkit_tasks.sandbox.schemas import fitting_value
from batchkit_tasks.sandbox.seeds import Seed


def params(content: Any, **fields: Any) -> dict[str, Any]:
    return {
        "model": "claude-haiku-5-5",
        "max_tokens": 100,
        "messages": [{"role": "user", "content": content}],
        **fields,
    }


def test_an_answer_says_that_it_is_made_up() -> None:
    assert answer_text(params("Hello?")).startswith("[sandbox] made-up answer ")


def test_an_answer_depends_on_the_prompt_alone() -> None:
    first = answer_text(params("Hello?"))

    assert answer_text(params("Hello?", max_tokens=5, model="other")) == first
    assert answer_text(params([{"type": "text", "text": "Hello?"}])) == first
    assert answer_text(params("Hello!")) != first
    assert answer_text(params("Hello?", system="Be short.")) != first


def test_a_known_answer_stays_as_it_is() -> None:
    # Runs of different versions compare their answers: a change here breaks that.
    text = answer_text(params("What is the capital of France?"))

    assert text == (
        "[sandbox] made-up answer 137c4ba2345af8c0 to: What is the capital of France?"
    )


def test_a_lone_surrogate_is_no_obstacle() -> None:
    assert answer_text(params("half \ud83d")).endswith("half \ud83d")
    assert input_tokens(params("half \ud83d")) > 0


SCHEMAS: list[dict[str, Any]] = [
    {"type": "string"},
    {"type": "string", "maxLength": 5},
    {"type": "string", "minLength": 200},
    {"type": "string", "pattern": "^[A-Z]{3}-[0-9]{2,4}$"},
    {"type": "string", "pattern": r"^\d+\.\d{2}$"},
    {"type": "integer", "minimum": 3, "maximum": 3},
    {"type": "integer", "exclusiveMinimum": 0, "exclusiveMaximum": 2},
    {"type": "integer", "multipleOf": 7, "minimum": 8},
    {"type": "integer", "maximum": -5},
    {"type": "number", "minimum": 0, "maximum": 1},
    {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 0.001},
    {"type": ["string", "null"]},
    {"enum": ["a", 1, None]},
    {"const": {"a": 1}},
    {"type": "array", "items": {"type": "integer"}, "minItems": 4, "maxItems": 5},
    {"type": "array", "items": {"enum": [1, 2, 3]}, "uniqueItems": True, "minItems": 2},
    {
        "type": "array",
        "prefixItems": [{"type": "integer"}, {"type": "string"}],
        "items": False,
    },
    {"anyOf": [{"type": "integer"}, {"type": "null"}]},
    {"oneOf": [{"const": 1}, {"const": 2}]},
    {
        "allOf": [
            {"type": "object", "properties": {"a": {"type": "integer"}}},
            {"properties": {"b": {"type": "string"}}, "required": ["a", "b"]},
        ]
    },
    {
        "type": "object",
        "properties": {"next": {"anyOf": [{"$ref": "#"}, {"type": "null"}]}},
        "required": ["next"],
        "additionalProperties": False,
    },
    {
        "type": "object",
        "properties": {"tree": {"$ref": "#/$defs/Node"}},
        "required": ["tree"],
        "$defs": {
            "Node": {
                "type": "object",
                "properties": {
                    "name": {"type": "string"},
                    "children": {"type": "array", "items": {"$ref": "#/$defs/Node"}},
                },
                "required": ["name", "children"],
                "additionalProperties": False,
            }
        },
    },
    {"type": "object", "required": ["unheard_of"]},
    {"properties": {"a": {"type": "boolean"}}},
]

FORMATS = (
    *("date", "time", "date-time", "duration", "email", "hostname"),
    *("ipv4", "ipv6", "uri", "uuid"),
)


def validate(value: Any, schema: dict[str, Any]) -> None:
    validator = jsonschema.Draft202012Validator(
        schema, format_checker=jsonschema.Draft202012Validator.FORMAT_CHECKER
    )
    validator.validate(json.loads(json.dumps(value)))


@pytest.mark.parametrize("schema", SCHEMAS, ids=json.dumps)
def test_a_structured_answer_fits_its_schema(schema: dict[str, Any]) -> None:
    for number in range(30):
        validate(fitting_value(schema, Seed(str(number))), schema)


@pytest.mark.parametrize("named", FORMATS)
def test_a_string_has_its_format(named: str) -> None:
    schema = {"type": "string", "format": named}

    for number in range(30):
        validate(fitting_value(schema, Seed(str(number))), schema)


def objects(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    names = st.dictionaries(st.text(min_size=1, max_size=5), inner, max_size=4)
    return names.map(
        lambda properties: {
            "type": "object",
            "properties": properties,
            "required": sorted(properties),
            "additionalProperties": False,
        }
    )


def bounded(kind: str, least: str, most: str, low: int) -> st.SearchStrategy[Any]:
    span = st.tuples(st.integers(low, 50), st.integers(0, 50))
    return span.map(lambda at: {"type": kind, least: at[0], most: at[0] + at[1]})


SOME_SCHEMA = st.recursive(
    st.one_of(
        st.just({"type": "boolean"}),
        st.just({"type": "null"}),
        bounded("integer", "minimum", "maximum", -50),
        bounded("number", "minimum", "maximum", -50),
        bounded("string", "minLength", "maxLength", 0),
        st.lists(st.text(max_size=3), min_size=1, max_size=4).map(
            lambda v: {"enum": v}
        ),
    ),
    lambda inner: st.one_of(
        objects(inner),
        inner.map(lambda items: {"type": "array", "items": items}),
        st.lists(inner, min_size=1, max_size=3).map(lambda some: {"anyOf": some}),
    ),
    max_leaves=10,
)


@settings(max_examples=150, deadline=None)
@given(schema=SOME_SCHEMA, prompt=st.text(max_size=20))
def test_any_schema_gets_a_fitting_answer(schema: Any, prompt: str) -> None:
    config = {"format": {"type": "json_schema", "schema": schema}}

    text = answer_text(params(prompt, output_config=config))

    validate(json.loads(text), schema)
