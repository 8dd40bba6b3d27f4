"""Answers to answer formats, for tests."""

from __future__ import annotations

import json
from typing import Any

from batchkit_tasks.answers.formats import AnswerFormat


def values(made: AnswerFormat, answer: Any) -> list[Any]:
    """The columns' values for one answer, which must fit."""
    parsed = made.parse([answer if isinstance(answer, str) else json.dumps(answer)])
    assert parsed.problems == [None]
    return [column.to_pylist()[0] for column in parsed.columns]


def problem(made: AnswerFormat, answer: Any) -> str:
    """Why one answer does not fit; its columns must be null."""
    parsed = made.parse([answer if isinstance(answer, str) else json.dumps(answer)])
    assert all(column.to_pylist() == [None] for column in parsed.columns)
    assert parsed.problems[0]
    return parsed.problems[0]
