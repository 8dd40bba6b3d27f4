"""What is added to each row: columns, the schema that is sent, and the reading."""

from __future__ import annotations

import json
import pickle
from enum import Enum
from typing import Any, Literal

import pyarrow as pa
import pytest
from pydantic import BaseModel, Field

from batchkit_tasks.answers import answer_format, as_answer, output_columns
from batchkit_tasks.errors import AnswerError, ColumnClashError
from batchkit_tasks.json_schemas import parts
from batchkit_tasks.parameters import (
    ColumnsAnswer,
    OutputColumn,
    SchemaAnswer,
    TextAnswer,
)


def of_schema(schema: Any) -> Any:
    text = schema if isinstance(schema, str) else json.dumps(schema)
    return answer_format(SchemaAnswer(json_schema=text))


def of_property(schema: Any, **root: Any) -> Any:
    return of_schema({"type": "object", "properties": {"p": schema}} | root)


def of_columns(*columns: OutputColumn) -> Any:
    return answer_format(ColumnsAnswer(columns=list(columns)))


def values(made: Any, answer: Any) -> list[Any]:
    """The columns' values for one answer, which must fit."""
    parsed = made.parse([answer if isinstance(answer, str) else json.dumps(answer)])
    assert parsed.problems == [None]
    return [column.to_pylist()[0] for column in parsed.columns]


def problem(made: Any, answer: Any) -> str:
    """Why one answer does not fit; its columns must be null."""
    parsed = made.parse([answer if isinstance(answer, str) else json.dumps(answer)])
    assert all(column.to_pylist() == [None] for column in parsed.columns)
    assert parsed.problems[0]
    return parsed.problems[0]


# ------------------------------------------------------------------------- text


def test_a_text_answer_is_one_column_and_sends_no_schema():
    made = answer_format(TextAnswer(column="reply"))

    parsed = made.parse(["A", None, ""])

    assert made.fields == (pa.field("reply", pa.string()),)
    assert (made.output_schema, made.is_text) == (None, True)
    assert parsed.columns[0].to_pylist() == ["A", None, ""]
    assert parsed.problems == [None, None, None]


# ---------------------------------------------------------------------- columns


def test_columns_become_a_closed_schema_with_all_required():
    made = of_columns(
        OutputColumn(name="Mood (1.0)", description="How it feels", choices=["+", "-"]),
        OutputColumn(name="n", type="integer", choices=["1", "2"]),
        OutputColumn(name="x", type="number"),
        OutputColumn(name="ok", type="boolean"),
    )

    assert made.output_schema == {
        "type": "object",
        "properties": {
            "Mood (1.0)": {
                "type": "string",
                "description": "How it feels",
                "enum": ["+", "-"],
            },
            "n": {"type": "integer", "enum": [1, 2]},
            "x": {"type": "number"},
            "ok": {"type": "boolean"},
        },
        "required": ["Mood (1.0)", "n", "x", "ok"],
        "additionalProperties": False,
    }
    types = [field.type for field in made.fields]
    assert types == [pa.string(), pa.int64(), pa.float64(), pa.bool_()]
    answer = {"ok": True, "x": 1, "n": 2, "Mood (1.0)": "+"}
    assert values(made, answer) == ["+", 2, 1.0, True]


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        ({"label": "c", "n": 1}, "'c' is not one of"),
        ({"label": "a"}, "'n' is a required property"),
        ({"label": "a", "n": 1, "z": 1}, "'z' was unexpected"),
        ({"label": "a", "n": True}, "True is not of type 'integer'"),
        ({"label": "a", "n": 1.5}, "1.5 is not of type 'integer'"),
        ({"label": "a", "n": None}, "None is not of type 'integer'"),
        ({"label": "a", "n": 2**63}, "$.n: 9223372036854775808 does not fit"),
        ([1], "is not of type 'object'"),
        ("", "not JSON"),
        ('{"label":"a","n":1} and more', "not JSON"),
        ('```json\n{"label":"a","n":1}\n```', "not JSON"),
        ('{"label":"a","n":NaN}', "not JSON"),
        ("[" * 100_000, "not JSON: it nests too deeply"),
        ('{"label":"a","n":' + "1" * 5000 + "}", "not JSON"),
    ],
)
def test_what_does_not_fit_is_told_with_the_reason(answer: Any, told: str):
    made = of_columns(
        OutputColumn(name="label", choices=["a", "b"]),
        OutputColumn(name="n", type="integer"),
    )

    assert told in problem(made, answer)


def test_a_whole_number_with_a_point_is_an_integer():
    made = of_columns(OutputColumn(name="n", type="integer"))

    assert values(made, '{"n": 3.0}') == [3]


def test_a_number_beyond_any_float_is_told():
    made = of_columns(OutputColumn(name="x", type="number"))

    assert "too large" in problem(made, '{"x": 1e400}')
    assert "too large" in problem(made, '{"x": 1' + "0" * 400 + "}")


def test_half_a_character_in_an_answer_is_replaced():
    made = of_columns(OutputColumn(name="t"))

    assert values(made, r'{"t": "a\ud83d"}') == ["a\ufffd"]


def test_a_problem_is_cut_to_a_readable_length():
    made = of_columns(OutputColumn(name="t", choices=["a"]))

    assert len(problem(made, {"t": "x" * 10_000})) <= 301


def test_good_and_bad_answers_and_none_stand_in_their_rows():
    made = of_columns(OutputColumn(name="t"))

    parsed = made.parse(['{"t":"a"}', "bad", None, '{"t":"b"}'])

    assert parsed.columns[0].to_pylist() == ["a", None, None, "b"]
    assert [bool(each) for each in parsed.problems] == [False, True, False, False]


def test_no_answers_are_columns_without_rows():
    made = of_columns(OutputColumn(name="t"), OutputColumn(name="n", type="integer"))

    assert [len(column) for column in made.parse([]).columns] == [0, 0]


@pytest.mark.parametrize(
    ("columns", "told"),
    [
        ([OutputColumn(name="a"), OutputColumn(name="a")], "a are named twice"),
        ([OutputColumn(name="a", choices=["x", "x"])], "a choice is named twice"),
        ([OutputColumn(name="a", choices=["x", ""])], "a choice is empty"),
        ([OutputColumn(name="a", type="integer", choices=["x"])], "'x' is no integer"),
        ([OutputColumn(name="a", type="number", choices=["x"])], "'x' is no number"),
        (
            [OutputColumn(name="a", type="boolean", choices=["true"])],
            "a boolean has no choices",
        ),
        ([OutputColumn(name="  ")], "no name"),
    ],
)
def test_columns_that_cannot_work_are_refused(columns: list[OutputColumn], told: str):
    with pytest.raises(AnswerError, match=told):
        answer_format(ColumnsAnswer(columns=columns))


# ---------------------------------------------------------------------- schemas


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


# ------------------------------------------------------- what people write for it


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


class Place(BaseModel):
    city: str
    zip: str | None = None


class Review(BaseModel):
    stars: int = Field(ge=1, le=5)
    mood: Literal["good", "bad"] | None
    colour: Colour
    tags: list[str]
    home: Place = Field(description="Where the writer lives")
    work: Place | None = None


def test_a_pydantic_model_becomes_columns():
    made = answer_format(as_answer(Review))

    place = pa.struct([("city", pa.string()), ("zip", pa.string())])
    assert {field.name: field.type for field in made.fields} == {
        "stars": pa.int64(),
        "mood": pa.string(),
        "colour": pa.string(),
        "tags": pa.list_(pa.string()),
        "home": place,
        "work": place,
    }
    answer = {"stars": 5, "mood": None, "colour": "red", "tags": ["a"]}
    home = {"city": "Ulm", "zip": None}
    found = values(made, answer | {"home": {"city": "Ulm"}})
    assert found == [5, None, "red", ["a"], home, None]
    assert made.output_schema
    assert made.output_schema["properties"]["home"]["description"]
    assert "is not one of" in problem(made, answer | {"home": home, "colour": "grey"})


def test_names_schemas_and_answers_are_taken_for_answers():
    schema = {"type": "object", "properties": {"a": {"type": "string"}}}
    columns = {"columns": [{"name": "a"}]}

    assert as_answer("reply") == TextAnswer(column="reply")
    assert as_answer(TextAnswer()) == TextAnswer()
    assert as_answer(json.dumps(schema)) == as_answer(schema)
    assert isinstance(as_answer(schema), SchemaAnswer)
    assert as_answer(columns) == ColumnsAnswer(columns=[OutputColumn(name="a")])


# -------------------------------------------------------------------- whole table


def test_the_output_has_the_table_then_the_answer_then_the_bookkeeping():
    names = output_columns(["id", "text"], TextAnswer(column="r"))

    assert names == ("id", "text", "r", "_status", "_error", "_meta")


@pytest.mark.parametrize(
    ("columns", "clash"),
    [(["response"], "response"), (["a", "_status"], "_status"), (["_meta"], "_meta")],
)
def test_a_name_that_the_table_has_is_refused(columns: list[str], clash: str):
    with pytest.raises(ColumnClashError, match=f"{clash}, which the answers would"):
        output_columns(columns, TextAnswer())


def test_an_answer_may_not_be_called_like_the_bookkeeping():
    with pytest.raises(AnswerError, match="choose another name"):
        output_columns(["a"], TextAnswer(column="_error"))
