"""Every message of the error tree once, with real facts, as a person would read it.

Each must say what happened, what is left behind or billed, and what to do now.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from batchkit_tasks import errors
from tests.unit.test_package import all_errors

BATCH = "msgbatch_01HkcTjaV5uDC8jWR4ZsDV8d"

MADE: list[errors.BatchkitError] = [
    errors.ParameterError("sample_rows", "must be 0 (all rows) or more."),
    errors.PromptError("prompt", "a { is never closed; write {{ for a brace."),
    errors.UnknownColumnError("txet", ("id", "text", "stars"), "prompt"),
    errors.ColumnTypeError("image", "bytes", "Decode it to text first."),
    errors.ColumnClashError(("mood",), "Choose another name for the answer's column."),
    errors.SourceError(
        "s3://shop/reviews.parquet", "there is no such file or folder; check the path."
    ),
    errors.AnswerError("the column 'mood' is there twice; rename one."),
    errors.MissingKeyError(),
    errors.CollisionStrategyError("batch-table/nightly"),
    errors.SourceChangedError("reviews.parquet", "has 120 rows more", "_batchkit/r/1f"),
    errors.RefusedError(400, "invalid_request_error", "model: no such model."),
    errors.KeyRefusedError(401, "authentication_error", "invalid x-api-key"),
    errors.NotSentError("429 rate_limit_error", 600.0),
    errors.SpendLimitError(400, "invalid_request_error", "spend limit reached."),
    errors.CreditExhaustedError(1200, "Your credit balance is too low"),
    errors.MostRowsInvalidError(980, 1000, "prompt is too long", "out.parquet"),
    errors.RunStoppedError("reviews.parquet: 24,310 rows", "_batchkit/r/1f"),
    errors.BudgetError(10.0, "4,297 requests at $0.01", "Spent so far: $2.72."),
    errors.SubmissionUncertainError("timed out", 10_000, "08:12 UTC", (BATCH,)),
    errors.ChunkUncertainError(
        "the list cannot be read", 10_000, "08:12 UTC", (), "chunks/00001-1.json"
    ),
    errors.WrongWorkspaceError("wrkspc_01A", "wrkspc_01B"),
    errors.RecordUnreadableError("_batchkit/r/1f/chunks/00001-1.json", "it is empty"),
    errors.ResultsGoneError(BATCH, "created 1 Oct 2026, kept for 29 days"),
    errors.ResultsUnreadableError(BATCH, "the connection was cut"),
    errors.ResultsShortError(BATCH, {"a": 1}, 3),
    errors.PollingError((BATCH,), "the API does not know it."),
    errors.RowsLostError(2, (17, 91), "out.parquet"),
    errors.GaveUpWaitingError((BATCH,), 26.0, "out.parquet"),
    errors.RunFailedError(56, 499, 5.0, "26 errored, 30 refused", "out.parquet"),
]

LEFT_BEHIND = re.compile(
    r"nothing (was|is|more is|will be) (sent|created|billed|lost|written)|not sent|"
    r"no batch was|go on|goes on|billed|cost nothing|costs nothing|is written|is in |"
    r"are in |stay|was not written|untouched|neither canceled nor sent|continues",
    re.IGNORECASE,
)
"""Clauses that say what is left, or that nothing is."""

TO_DO = re.compile(
    r"\b(set|start|choose|check|raise|restore|read|buy|mend|pass|put|feed|rename|write|"
    r"try|submit|use|save|give|make|wait|waiting|resume|decode|look|remove|change|"
    r"reading|send|again|did you mean|there are:|must be|report)\b",
    re.IGNORECASE,
)
"""Clauses that say what to do, or that there is nothing to do."""

BASES = {"BatchkitError", "InputError"}
INTERNAL = {"ForeignBatchError"}
"""Never shown: the batch is let go and the chunk looked for again."""


def test_the_table_has_every_error_that_a_person_can_meet() -> None:
    shown = {type(error).__name__ for error in MADE}
    names = {kind.__name__ for kind in all_errors()} - BASES - INTERNAL

    assert shown == names


@pytest.mark.parametrize("error", MADE, ids=lambda error: type(error).__name__)
def test_every_message_says_what_happened_what_is_left_and_what_to_do(
    error: errors.BatchkitError,
) -> None:
    message = str(error)

    assert message[0].isupper() or message.startswith((BATCH, *"0123456789sc"))
    assert message.endswith((".", "!"))
    assert LEFT_BEHIND.search(message), f"does not say what is left: {message}"
    assert TO_DO.search(message), f"does not say what to do: {message}"
    assert "None" not in message
    assert "  " not in message


def test_the_table_of_messages_is_written_for_reading() -> None:
    rows = [f"| `{type(error).__name__}` | {error} |" for error in MADE]
    folder = Path("test-output")
    folder.mkdir(exist_ok=True)

    text = "\n".join(["| error | message |", "|---|---|", *rows]) + "\n"
    (folder / "errors.md").write_text(text)

    assert len(set(rows)) == len(MADE)
