"""Run a language model over every row of a table at half price, with Prefect.

Prefect imports this module at start to register the credentials block, and every
worker imports it before each run, so names load when they are first used: importing
it loads neither the Anthropic SDK nor pandas nor Arrow.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from batchkit_tasks.credentials import AnthropicCredentials
    from batchkit_tasks.dataframe import batch_dataframe
    from batchkit_tasks.errors import (
        AnswerError,
        BatchkitError,
        BudgetError,
        ChunkUncertainError,
        CollisionStrategyError,
        ColumnClashError,
        ColumnTypeError,
        CreditExhaustedError,
        GaveUpWaitingError,
        InputError,
        KeyRefusedError,
        MissingKeyError,
        MostRowsInvalidError,
        NotSentError,
        ParameterError,
        PollingError,
        PromptError,
        RecordUnreadableError,
        RefusedError,
        ResultsGoneError,
        ResultsShortError,
        ResultsUnreadableError,
        RowsLostError,
        RunFailedError,
        RunStoppedError,
        SourceChangedError,
        SourceError,
        SpendLimitError,
        SubmissionUncertainError,
        UnknownColumnError,
        WrongWorkspaceError,
    )
    from batchkit_tasks.kit import BatchKit
    from batchkit_tasks.parameters import (
        Advanced,
        ColumnsAnswer,
        Job,
        OutputColumn,
        SchemaAnswer,
        TextAnswer,
    )
    from batchkit_tasks.pricing import estimate_batch_cost
    from batchkit_tasks.summary import RunSummary
    from batchkit_tasks.tasks import (
        cancel_batches,
        collect_batch,
        plan_chunks,
        plan_rerun,
        poll_batches,
        stage_input,
        submit_chunk,
        write_output,
    )

_HOMES = {
    "credentials": ("AnthropicCredentials",),
    "dataframe": ("batch_dataframe",),
    "errors": (
        "AnswerError",
        "BatchkitError",
        "BudgetError",
        "ChunkUncertainError",
        "CollisionStrategyError",
        "ColumnClashError",
        "ColumnTypeError",
        "CreditExhaustedError",
        "GaveUpWaitingError",
        "InputError",
        "KeyRefusedError",
        "MissingKeyError",
        "MostRowsInvalidError",
        "NotSentError",
        "ParameterError",
        "PollingError",
        "PromptError",
        "RecordUnreadableError",
        "RefusedError",
        "ResultsGoneError",
        "ResultsShortError",
        "ResultsUnreadableError",
        "RowsLostError",
        "RunFailedError",
        "RunStoppedError",
        "SourceChangedError",
        "SourceError",
        "SpendLimitError",
        "SubmissionUncertainError",
        "UnknownColumnError",
        "WrongWorkspaceError",
    ),
    "kit": ("BatchKit",),
    "parameters": (
        "Advanced",
        "ColumnsAnswer",
        "Job",
        "OutputColumn",
        "SchemaAnswer",
        "TextAnswer",
    ),
    "pricing": ("estimate_batch_cost",),
    "summary": ("RunSummary",),
    "tasks": (
        "cancel_batches",
        "collect_batch",
        "plan_chunks",
        "plan_rerun",
        "poll_batches",
        "stage_input",
        "submit_chunk",
        "write_output",
    ),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "Advanced",
    "AnswerError",
    "AnthropicCredentials",
    "BatchKit",
    "BatchkitError",
    "BudgetError",
    "ChunkUncertainError",
    "CollisionStrategyError",
    "ColumnClashError",
    "ColumnTypeError",
    "ColumnsAnswer",
    "CreditExhaustedError",
    "GaveUpWaitingError",
    "InputError",
    "Job",
    "KeyRefusedError",
    "MissingKeyError",
    "MostRowsInvalidError",
    "NotSentError",
    "OutputColumn",
    "ParameterError",
    "PollingError",
    "PromptError",
    "RecordUnreadableError",
    "RefusedError",
    "ResultsGoneError",
    "ResultsShortError",
    "ResultsUnreadableError",
    "RowsLostError",
    "RunFailedError",
    "RunStoppedError",
    "RunSummary",
    "SchemaAnswer",
    "SourceChangedError",
    "SourceError",
    "SpendLimitError",
    "SubmissionUncertainError",
    "TextAnswer",
    "UnknownColumnError",
    "WrongWorkspaceError",
    "batch_dataframe",
    "cancel_batches",
    "collect_batch",
    "estimate_batch_cost",
    "plan_chunks",
    "plan_rerun",
    "poll_batches",
    "stage_input",
    "submit_chunk",
    "write_output",
]


def __getattr__(name: str) -> Any:
    home = _HOME_OF.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
