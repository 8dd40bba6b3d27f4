"""Everything that can go wrong, by what the caller should do about it.

Four branches: fix the input (nothing was sent), nothing was created (the API said
no), something may exist (an answer was lost), and what was paid for is gone. An
error is built from facts and writes its sentence itself, so that it pickles and
travels between processes; the sentence says what happened, what is left behind or
billed, and what to do now.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from typing import Any

from batchkit_tasks.ground.amounts import dollars


class BatchkitError(Exception):
    """Base of all errors that batchkit raises by itself."""


# --------------------------------------------------------------- fix the input


class InputError(BatchkitError, ValueError):
    """The input must be changed. Nothing was sent and nothing is billed."""


class ParameterError(InputError):
    """A parameter has a value that cannot work."""

    def __init__(self, parameter: str, problem: str) -> None:
        super().__init__(parameter, problem)
        self.parameter, self.problem = parameter, problem

    def __str__(self) -> str:
        return f"{self.parameter}: {self.problem} Nothing was sent."


class PromptError(InputError):
    """A prompt template cannot be read."""

    def __init__(self, where: str, problem: str) -> None:
        super().__init__(where, problem)
        self.where, self.problem = where, problem

    def __str__(self) -> str:
        return f"The {self.where} cannot be used: {self.problem} Nothing was sent."


class UnknownColumnError(InputError):
    """A template or parameter names a column that the table lacks."""

    def __init__(self, column: str, columns: Sequence[str], where: str) -> None:
        super().__init__(column, tuple(columns), where)
        self.column, self.columns, self.where = column, tuple(columns), where

    def __str__(self) -> str:
        near = difflib.get_close_matches(self.column, self.columns, n=1, cutoff=0.5)
        guess = f" Did you mean {{{near[0]}}}?" if near else ""
        return (
            f"The {self.where} uses {{{self.column}}}, but the table has no such "
            f"column.{guess} There are: {', '.join(self.columns)}. Nothing was sent."
        )


class ColumnTypeError(InputError):
    """A template uses a column whose values have no text."""

    def __init__(self, column: str, kind: str, advice: str) -> None:
        super().__init__(column, kind, advice)
        self.column, self.kind, self.advice = column, kind, advice

    def __str__(self) -> str:
        return (
            f"Column {self.column} holds {self.kind}, which cannot be put into a prompt. "
            f"{self.advice} Nothing was sent."
        )


class ColumnClashError(InputError):
    """The answers would overwrite columns of the table."""

    def __init__(self, clashes: Sequence[str], advice: str) -> None:
        super().__init__(tuple(clashes), advice)
        self.clashes, self.advice = tuple(clashes), advice

    def __str__(self) -> str:
        names = ", ".join(self.clashes)
        return (
            f"The table already has columns of these names: {names}. The answers would "
            f"overwrite them. {self.advice} Nothing was sent."
        )


class SourceError(InputError):
    """The source is missing, of an unknown kind, empty or cannot be read."""

    def __init__(self, source: str, problem: str) -> None:
        super().__init__(source, problem)
        self.source, self.problem = source, problem

    def __str__(self) -> str:
        return f"Source {self.source}: {self.problem} Nothing was sent."


class AnswerError(InputError):
    """The description of the answer cannot be used."""

    def __init__(self, problem: str) -> None:
        super().__init__(problem)
        self.problem = problem

    def __str__(self) -> str:
        return (
            f"The answer's description cannot be used: {self.problem} Nothing was sent."
        )


class MissingKeyError(InputError):
    """There is neither an API key nor a server to talk to."""

    def __str__(self) -> str:
        return (
            "No API key: set ANTHROPIC_API_KEY, pass credentials=AnthropicCredentials("
            'api_key="…"), or choose a credentials block. To try without a key, start '
            "`batchkit sandbox` and set ANTHROPIC_BASE_URL to its address. "
            "Nothing was sent."
        )


class CollisionStrategyError(InputError):
    """A deployment cancels its waiting runs as they wake up."""

    def __init__(self, deployment: str) -> None:
        super().__init__(deployment)
        self.deployment = deployment

    def __str__(self) -> str:
        return (
            f"The deployment {self.deployment} has collision_strategy CANCEL_NEW. A run "
            "gives its slot back while it waits; when it wakes up and another run holds "
            "the slot, Prefect would cancel it, with its message batches under way. Use "
            "ENQUEUE. Nothing was sent."
        )


class SourceChangedError(BatchkitError):
    """The source is not the table any more for which the run was planned."""

    def __init__(self, source: str, change: str, run: str) -> None:
        super().__init__(source, change, run)
        self.source, self.change, self.run = source, change, run

    def __str__(self) -> str:
        return (
            f"The source changed since this run was planned: {self.source} {self.change}. "
            "Answers would be joined to the wrong rows, so nothing more is sent or "
            f"written; what was sent is recorded in {self.run}. Put the old table back "
            "and start the run again to finish it, or start a new run for the new table."
        )


# --------------------------------------------------------- nothing was created


class RefusedError(BatchkitError):
    """The API answered no: it created nothing for this request."""

    def __init__(self, status: int, error_type: str, message: str) -> None:
        super().__init__(status, error_type, message)
        self.status, self.error_type, self.message = status, error_type, message

    def __str__(self) -> str:
        return (
            f"The API refused with {self.status} {self.error_type}: {self.message} "
            "No batch was created by this request. Batches sent before go on; start "
            "the run again once the cause is mended, and it continues."
        )


class KeyRefusedError(RefusedError):
    """The API does not accept the key (401, 403)."""

    def __str__(self) -> str:
        return (
            f"The API refused the key ({self.status} {self.error_type}: {self.message}). "
            "Check the credentials block or ANTHROPIC_API_KEY; the batches of a run can "
            "only be read with a key of the workspace that sent them. No batch was "
            "created or canceled; start the run again with a good key, and it continues."
        )


class NotSentError(BatchkitError):
    """The API could not be reached, or stayed too busy."""

    def __init__(self, why: str, seconds: float) -> None:
        super().__init__(why, seconds)
        self.why, self.seconds = why, seconds

    def __str__(self) -> str:
        return (
            f"The API did not take the batch, though it was tried for "
            f"{self.seconds:,.0f} seconds ({self.why}). Nothing was created and nothing is "
            "billed; try again later."
        )


class SpendLimitError(RefusedError):
    """A spend limit of the organization or workspace is reached."""

    def __str__(self) -> str:
        return (
            f"A spend limit is reached ({self.status}: {self.message}). No batch was "
            "created by this request. Raise the limit in the Console or wait until it "
            "resets, then start the run again: it continues with what is left."
        )


class CreditExhaustedError(BatchkitError):
    """Rows were refused because the organization's credit is used up."""

    def __init__(self, rows: int, message: str) -> None:
        super().__init__(rows, message)
        self.rows, self.message = rows, message

    def __str__(self) -> str:
        return (
            f"The credit balance is used up: {self.rows:,} rows were refused "
            f"({self.message}). They cost nothing and used up no attempt. Buy credits, "
            "then resume the run or start it again: only these rows are sent."
        )


class MostRowsInvalidError(BatchkitError):
    """Most of the first message batch came back as invalid requests."""

    def __init__(self, invalid: int, rows: int, example: str, output: str) -> None:
        super().__init__(invalid, rows, example, output)
        self.invalid, self.rows, self.example = invalid, rows, example
        self.output = output

    def __str__(self) -> str:
        return (
            f"{self.invalid:,} of the first {self.rows:,} rows came back as invalid "
            f"requests (such as: {self.example}), so the rest was not sent. Nothing is "
            f"billed for invalid requests. What came back is in {self.output}; mend the "
            "prompt, model or request fields and start again."
        )


class RunStoppedError(BatchkitError):
    """The run was canceled while this process was still at work on it."""

    def __init__(self, by: str, run: str) -> None:
        super().__init__(by, run)
        self.by, self.run = by, run

    def __str__(self) -> str:
        return (
            f"The flow run {self.by} was canceled, or failed and was not retried in time, "
            f"so nothing more is sent for {self.run}. What had finished is kept there; "
            "starting the run again goes on with what is left."
        )


class BudgetError(BatchkitError):
    """Going on could cost more than the budget allows."""

    def __init__(self, budget_usd: float, need: str, spent: str) -> None:
        super().__init__(budget_usd, need, spent)
        self.budget_usd, self.need, self.spent = budget_usd, need, spent

    def __str__(self) -> str:
        return (
            f"The budget of {dollars(self.budget_usd)} does not cover what is left to "
            f"send: {self.need}. {self.spent} Nothing more is sent. Raise budget_usd (0 "
            "means no limit) and start the run again: it continues with what is left."
        )


# ---------------------------------------------------------- something may exist


class SubmissionUncertainError(BatchkitError):
    """No answer came to a create: a batch may exist and be billed."""

    def __init__(
        self, why: str, requests: int, since: str, candidates: Sequence[str]
    ) -> None:
        super().__init__(why, requests, since, tuple(candidates))
        self.why, self.requests, self.since = why, requests, since
        self.candidates = tuple(candidates)

    def __str__(self) -> str:
        found = ", ".join(self.candidates) or "none listed so far"
        return (
            f"No answer to creating a batch of {self.requests:,} requests ({self.why}); "
            f"it may exist and be billed. Batches of that size created since "
            f"{self.since}: {found}. Nothing was sent again. If one of them is yours, "
            "pass its id to poll_and_retrieve; if none is listed after some minutes, "
            "submit again."
        )


class ChunkUncertainError(SubmissionUncertainError):
    """A run could not find out what became of a create, in all the time it waits."""

    def __init__(
        self,
        why: str,
        requests: int,
        since: str,
        candidates: Sequence[str],
        record: str,
    ) -> None:
        super().__init__(why, requests, since, candidates)
        self.args = (*self.args, record)
        self.record = record

    def __str__(self) -> str:
        found = ", ".join(self.candidates) or "none that could be seen"
        return (
            f"A batch of {self.requests:,} requests was sent at {self.since}, no answer "
            f"came, and it may exist and be billed: {self.why}. Batches it could be: "
            f"{found}. Nothing is sent again for its rows. Start the run again with the "
            "key it began with, and it looks again; if the Console shows that there is "
            f"no such batch, delete {self.record} first, and the rows are sent."
        )


class WrongWorkspaceError(BatchkitError):
    """The key acts in another workspace than the one the run sends in."""

    def __init__(self, sent_in: str, now_in: str) -> None:
        super().__init__(sent_in, now_in)
        self.sent_in, self.now_in = sent_in, now_in

    def __str__(self) -> str:
        return (
            f"The key belongs to workspace {self.now_in}, but the batches of this run "
            f"are in {self.sent_in}, where it cannot see them. They go on there. Nothing "
            "was sent or canceled; start the run again with a key of that workspace."
        )


class RecordUnreadableError(BatchkitError):
    """A file of the run directory is there but cannot be read."""

    def __init__(self, path: str, problem: str) -> None:
        super().__init__(path, problem)
        self.path, self.problem = path, problem

    def __str__(self) -> str:
        return (
            f"The record {self.path} cannot be read ({self.problem}), so it is not known "
            "what was sent. Nothing more is sent, as rows could be paid twice. Restore "
            "the file from a backup, or read the batches in the Console before you "
            "delete it."
        )


# ------------------------------------------------ the results are gone, or short


class ResultsGoneError(BatchkitError):
    """The API no longer has the results of a batch."""

    def __init__(self, batch_id: str, why: str) -> None:
        super().__init__(batch_id, why)
        self.batch_id, self.why = batch_id, why

    def __str__(self) -> str:
        return (
            f"The results of {self.batch_id} are gone: {self.why}. They were billed and "
            "cannot be had again from the API. To have answers, send the requests once "
            "more; that is billed again."
        )


class ResultsUnreadableError(BatchkitError):
    """The results of a batch could not be read to the end just now."""

    def __init__(self, batch_id: str, problem: str) -> None:
        super().__init__(batch_id, problem)
        self.batch_id, self.problem = batch_id, problem

    def __str__(self) -> str:
        return (
            f"The results of {self.batch_id} could not be read: {self.problem}. They "
            "stay at the API for 29 days; start the run again and it reads them again. "
            "Nothing is lost and nothing is sent twice."
        )


class ResultsShortError(ResultsUnreadableError):
    """Some requests of a batch have no line in its results, however often read."""

    def __init__(self, batch_id: str, results: dict[str, Any], requests: int) -> None:
        problem = f"{len(results):,} of {requests:,} requests have a line"
        BatchkitError.__init__(self, batch_id, results, requests)
        self.batch_id, self.problem = batch_id, problem
        self.results, self.requests = results, requests

    def __str__(self) -> str:
        return (
            f"The results of {self.batch_id} come short: {self.problem}. Those are in "
            "this error's `results`. The batch stays at the API for 29 days; reading it "
            "again costs nothing."
        )


class ForeignBatchError(BatchkitError):
    """A batch that was taken for ours holds other people's results."""

    def __init__(self, batch_id: str) -> None:
        super().__init__(batch_id)
        self.batch_id = batch_id

    def __str__(self) -> str:
        return f"{self.batch_id} is not a batch of this run: it is let go unread."


class PollingError(BatchkitError):
    """The state of the batches cannot be read."""

    def __init__(self, batch_ids: Sequence[str], problem: str) -> None:
        super().__init__(tuple(batch_ids), problem)
        self.batch_ids, self.problem = tuple(batch_ids), problem

    def __str__(self) -> str:
        return (
            f"The state of {', '.join(self.batch_ids)} cannot be read: {self.problem} "
            "The batches were neither canceled nor sent again. Start the run again "
            "once the cause is mended, and it goes on."
        )


class RowsLostError(BatchkitError):
    """Rows of the table have neither an answer nor a reason for having none."""

    def __init__(self, rows: int, first: Sequence[int], output: str) -> None:
        super().__init__(rows, tuple(first), output)
        self.rows, self.first, self.output = rows, tuple(first), output

    def __str__(self) -> str:
        numbers = ", ".join(f"{position:,}" for position in self.first)
        which = f" (numbers {numbers}, …)" if numbers else ""
        return (
            f"{self.rows:,} rows{which} have neither an answer nor a reason for having "
            f"none. This is a fault of batchkit, not of yours: {self.output} was not "
            "written, as it would be short, and an older version of it is untouched. "
            "What came back is whole in the run directory, and nothing is sent again. "
            "Keep that folder and report the fault."
        )


class GaveUpWaitingError(BatchkitError):
    """Batches did not end in the time that the run was given."""

    def __init__(self, batch_ids: Sequence[str], hours: float, output: str) -> None:
        super().__init__(tuple(batch_ids), hours, output)
        self.batch_ids, self.hours, self.output = tuple(batch_ids), hours, output

    def __str__(self) -> str:
        return (
            f"{', '.join(self.batch_ids)} had not ended {self.hours:g} hours after "
            f"being created. Rows without an answer are marked missing in {self.output}; "
            "nothing was canceled, and what still ends is billed. Start the run again: "
            "it collects what has ended by then and sends nothing twice."
        )


class RunFailedError(BatchkitError):
    """Too many rows did not succeed. The output is written and complete."""

    def __init__(
        self, failed: int, sent: int, limit_percent: float, kinds: str, output: str
    ) -> None:
        super().__init__(failed, sent, limit_percent, kinds, output)
        self.failed, self.sent, self.limit_percent = failed, sent, limit_percent
        self.kinds, self.output = kinds, output

    def __str__(self) -> str:
        share = 100 * self.failed / self.sent if self.sent else 100.0
        return (
            f"{self.failed:,} of {self.sent:,} rows sent did not succeed ({share:.1f} %; "
            f"the limit is {self.limit_percent:g} %): {self.kinds}. Every row is in "
            f"{self.output}, and the failed ones also in the .failed.parquet beside it: "
            "start the run again to send only these, feed that file into a run of its own, "
            "or raise fail_above_percent."
        )
