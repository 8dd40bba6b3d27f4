"""What is added to each row: its columns, and the reading of answers."""

from __future__ import annotations

import json
from enum import Enum
from typing import Any, Literal

import pyarrow as pa
import pytest
from pydantic import BaseModel, Field

from batchkit_tasks.answers.formats import answer_format, as_answer, output_columns
from batchkit_tasks.errors import AnswerError, ColumnClashError
from batchkit_tasks.parameters import (
    ColumnsAnswer,
    OutputColumn,
    SchemaAnswer,
    TextAnswer,
)
from tests.made_answers import problem, values


def of_columns(*columns: OutputColumn) -> Any:
    return answer_format(ColumnsAnswer(columns=list(columns)))


def test_a_text_answer_is_one_column_and_sends_no_schema():
    made = answer_format(TextAnswer(column="reply"))

    parsed = made.parse(["A", None, ""])

    assert made.fields == (pa.field("reply", pa.string()),)
    assert (made.output_schema, made.is_text) == (None, True)
    assert parsed.columns[0].to_pylist() == ["A", None, ""]
    assert parsed.problems == [None, None, None]


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
        ([OutputColumn(name="a"), OutputColumn(name="a")], "named twice: a"),
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


def test_the_output_has_the_table_then_the_answer_then_the_bookkeeping():
    names = output_columns(["id", "text"], TextAnswer(column="r"))

    assert names == ("id", "text", "r", "_status", "_error", "_meta")


@pytest.mark.parametrize(
    ("columns", "clash"),
    [(["response"], "response"), (["a", "_status"], "_status"), (["_meta"], "_meta")],
)
def test_a_name_that_the_table_has_is_refused(columns: list[str], clash: str):
    with pytest.raises(ColumnClashError, match=f"names: {clash}\\. The answers would"):
        output_columns(columns, TextAnswer())


def test_an_answer_may_not_be_called_like_the_bookkeeping():
    with pytest.raises(AnswerError, match="choose another name"):
        output_columns(["a"], TextAnswer(column="_error"))
