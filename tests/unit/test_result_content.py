"""What a message says: every content block, and typed answers."""

from __future__ import annotations

import json
from typing import Any

import pytest

from batchkit_tasks.answers.formats import answer_format, as_answer
from batchkit_tasks.parameters import ColumnsAnswer, OutputColumn, TextAnswer
from batchkit_tasks.results import (
    PART_SCHEMA,
    answer_columns,
    part_schema,
)
from tests.made_results import (
    MODEL,
    collect,
    line,
    row_of,
    succeeded,
    text_block,
)

TYPED = ColumnsAnswer(
    columns=[OutputColumn(name="label"), OutputColumn(name="score", type="number")]
)
FITTING = '{"label":"a","score":1}'


def test_text_blocks_are_joined_and_thinking_is_not_text():
    content = [
        {"type": "thinking", "thinking": "Hm", "signature": "x"},
        {"type": "redacted_thinking", "data": "x"},
        text_block("A"),
        {"type": "text", "text": "B", "citations": None},
    ]

    row = row_of(succeeded(content=content))

    assert (row["response"], row["raw"]) == ("AB", None)


@pytest.mark.parametrize(
    "block",
    [
        {
            "type": "tool_use",
            "id": "toolu_01",
            "name": "f",
            "input": {"ü": [1, 2.5]},
            "caller": {"type": "direct"},
        },
        {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {}},
        {"type": "web_search_tool_result", "tool_use_id": "s", "content": []},
        {"type": "hologram", "text": {"not": "a text"}},
        {"type": "hologram", "text": "of something else"},
        {"no": "type"},
    ],
)
def test_a_message_without_text_gives_its_content_as_json(block: dict[str, Any]):
    result = succeeded(content=[block])

    row = row_of(result)

    assert row["status"] == "succeeded"
    assert json.loads(row["response"]) == [block]
    assert json.loads(row["raw"]) == result
    assert ": " not in row["response"]


def test_text_beside_unknown_blocks_is_the_answer_and_the_rest_is_kept():
    content = [{"type": "hologram", "data": 1}, text_block("A"), {"type": "x"}]

    row = row_of(succeeded(content=content))

    assert row["response"] == "A"
    assert json.loads(row["raw"])["message"]["content"] == content


@pytest.mark.parametrize(
    "content", [[], None, [{"type": "thinking", "thinking": "Hm"}]]
)
def test_a_message_that_says_nothing_is_an_empty_text(content: Any):
    row = row_of(succeeded(content=content))

    assert (row["status"], row["response"]) == ("succeeded", "")


def test_content_that_is_a_plain_text_is_read():
    assert row_of(succeeded(content="Hello"))["response"] == "Hello"


def test_half_characters_are_replaced_and_the_row_is_kept():
    data = line(0, succeeded("X")).replace(b'"X"', rb'"a\ud83d b \ud83e\udd8a"')

    row = collect(data).part.to_pylist()[0]

    assert (row["status"], row["response"]) == ("succeeded", "a\ufffd b 🦊")


def test_a_fitting_answer_fills_its_columns():
    row = row_of(succeeded(FITTING), answer=TYPED)

    assert (row["status"], row["label"], row["score"]) == ("succeeded", "a", 1.0)
    assert row["error"] is None


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('{"label":"a"}', "'score' is a required property"),
        ('{"label":"a","score":"high"}', "$.score: 'high' is not of type 'number'"),
        ("Well, positive.", "not JSON"),
    ],
)
def test_an_answer_that_does_not_fit_is_told_with_its_text(text: str, told: str):
    row = row_of(succeeded(text), answer=TYPED)

    assert (row["status"], row["error_type"]) == ("invalid_answer", "invalid_answer")
    assert row["error"].startswith("does not fit the schema: ")
    assert told in row["error"]
    assert row["error"].endswith(f"; the answer: {text}")
    assert row["label"] is None
    assert row["cost_usd"] == 0.01


def test_an_empty_typed_answer_is_invalid():
    row = row_of(succeeded(content=[]), answer=TYPED)

    assert row["status"] == "invalid_answer"
    assert row["error"].endswith("the answer is empty")


def test_answer_columns_may_be_called_like_columns_of_the_part():
    schema = {"type": "object", "properties": {"model": {"type": "string"}}}
    answer = answer_format(as_answer(schema))

    row = row_of(succeeded('{"model":"T"}'), answer=answer)

    assert answer_columns(answer) == ("answer:model",)
    assert (row["answer:model"], row["model"]) == ("T", MODEL)


def test_a_part_has_the_answer_between_error_and_model():
    schema = part_schema(answer_format(TextAnswer(column="r")))

    assert schema.names[:6] == [
        "position",
        "status",
        "error_type",
        "error",
        "r",
        "model",
    ]
    assert len(schema) == len(PART_SCHEMA) + 1


def test_a_part_without_rows_has_its_columns():
    assert collect(b"", []).part.num_rows == 0
