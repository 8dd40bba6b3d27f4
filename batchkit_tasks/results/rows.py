"""Judge one result: which status its row has, what it says, what it cost.

`succeeded` means usable. The API calls truncated, refused and paused messages
succeeded as well; they get statuses of their own. Words of the API that are not known
here pass as values and never become a success by accident.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, NamedTuple

from batchkit_tasks.pricing.rates import Usage
from batchkit_tasks.results.lines import (
    ErrorBody,
    Message,
    MessageUsage,
    Result,
    content_json,
    result_json,
)

Price = Callable[[str, Usage], float | None]
"""Model and usage to USD; `None`: not known."""

TRUNCATED: Final = ("max_tokens", "model_context_window_exceeded")
PLAIN_BLOCKS: Final = frozenset(("text", "thinking", "redacted_thinking"))
"""Blocks that hold no more of an answer than its text does."""

UNKNOWN_RESULT: Final = "unknown_result"
"""Our error type for results of a form that the documentation does not have."""

NO_RESULT: Final = {
    "expired": "expired: the batch ended before this request was run; it is not billed",
    "canceled": "canceled: the batch was canceled before this request was run; it is "
    "not billed",
    "missing": "missing: no result came back for this request",
}


class Row(NamedTuple):
    """One row of a part, with the answer's text instead of its columns."""

    status: str
    error_type: str | None = None
    error: str | None = None
    text: str | None = None
    """What becomes the answer's columns."""
    model: str | None = None
    stop_reason: str | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    cache_creation_5m_tokens: int | None = None
    cache_creation_1h_tokens: int | None = None
    cache_read_tokens: int | None = None
    cost_usd: float | None = None
    service_tier: str | None = None
    raw: str | None = None


MISSING: Final = Row("missing", "missing", NO_RESULT["missing"])
"""A row for which no line came back: what it cost is not known."""


@dataclass(frozen=True, slots=True)
class Judge:
    """Makes rows of results."""

    price: Price
    max_tokens: int
    """What the requests asked for; for messages."""
    is_text: bool
    """A text answer keeps what a truncated row says; a typed one cannot."""

    def row(self, result: Result, line: bytes) -> Row:
        """Judge one result; `line` is where it was read from."""
        kind = result.type
        if kind == "succeeded" and result.message is not None:
            return self._message(result.message, line)
        if kind in ("expired", "canceled"):
            return Row(kind, kind, NO_RESULT[kind], cost_usd=0.0)
        if kind == "errored":
            return _errored(result.error)
        said = (
            "it succeeded without a message"
            if kind == "succeeded"
            else f'type "{kind}"'
        )
        error = f"{UNKNOWN_RESULT}: {said}, which this version does not know"
        return Row("errored", UNKNOWN_RESULT, error, raw=result_json(line))

    def _message(self, message: Message, line: bytes) -> Row:
        content = message.content
        raw: str | None = None
        if len(content) == 1 and content[0].type == "text":
            text = content[0].text
        else:
            kinds = {block.type for block in content}
            text = "".join(block.text for block in content if block.type == "text")
            if not kinds <= PLAIN_BLOCKS:
                raw = result_json(line)
                if "text" not in kinds:
                    text = content_json(line)
        status, error, kept = self._status(message, text)
        usage = message.usage
        if usage is None:
            return Row(
                status,
                error and status,
                error,
                kept,
                message.model,
                message.stop_reason,
                cost_usd=self._cost(message, None),
                raw=raw,
            )
        written_5m, written_1h = cache_writes(usage)
        return Row(
            status,
            error and status,
            error,
            kept,
            message.model,
            message.stop_reason,
            usage.input_tokens,
            usage.output_tokens,
            written_5m,
            written_1h,
            usage.cache_read_input_tokens,
            self._cost(message, usage),
            usage.service_tier,
            raw,
        )

    def _status(
        self, message: Message, text: str
    ) -> tuple[str, str | None, str | None]:
        """Give status, error, and the text that the answer keeps."""
        reason = message.stop_reason
        if reason in TRUNCATED:
            where = (
                f"stopped at max_tokens ({self.max_tokens:,})"
                if reason == "max_tokens"
                else "stopped at the end of the model's context window"
            )
            if self.is_text:
                return "truncated", f"{where}; the answer is cut short", text
            return "truncated", _with_text(where, "the answer so far", text), None
        if reason == "refusal":
            return "refused", _with_text(_refusal(message), "it said", text), None
        if reason == "pause_turn":
            paused = "paused in a long turn (pause_turn), which is not finished"
            return "paused", _with_text(paused, "the answer so far", text), None
        return "succeeded", None, text

    def _cost(self, message: Message, usage: MessageUsage | None) -> float | None:
        if message.stop_reason == "refusal" and not message.content:
            return 0.0  # not billed, although its usage shows tokens (docs, Messages)
        if (
            usage is None
            or message.model is None
            or usage.input_tokens is None
            or usage.output_tokens is None
        ):
            return None
        written_5m, written_1h = cache_writes(usage)
        tools = usage.server_tool_use
        return self.price(
            message.model,
            Usage(
                input_tokens=usage.input_tokens,
                output_tokens=usage.output_tokens,
                cache_creation_5m=written_5m or 0,
                cache_creation_1h=written_1h or 0,
                cache_read=usage.cache_read_input_tokens or 0,
                inference_geo=usage.inference_geo,
                web_searches=(tools and tools.web_search_requests) or 0,
                service_tier=usage.service_tier,
            ),
        )


def cache_writes(usage: MessageUsage) -> tuple[int | None, int | None]:
    """Give the tokens written to the cache for 5 minutes and for an hour.

    Where only their sum is told, what is not known to be for an hour is for 5 minutes,
    which is the API's default.
    """
    total, parts = usage.cache_creation_input_tokens, usage.cache_creation
    if parts is None:
        return total, None
    hour = parts.ephemeral_1h_input_tokens
    short = parts.ephemeral_5m_input_tokens
    if short is None and total is not None:
        short = max(0, total - (hour or 0))
    return short, hour


def _errored(error: ErrorBody | None) -> Row:
    """The API nests the error in one of the type `error`; older forms do not."""
    while error is not None and error.error is not None:
        error = error.error
    kind = (error and error.type) or "unknown_error"
    message = (error and error.message) or "the API gave no message"
    return Row("errored", kind, f"{kind}: {message}", cost_usd=0.0)


def _refusal(message: Message) -> str:
    details = message.stop_details
    category = details and details.category
    explanation = details and details.explanation
    said = f"the model refused ({category})" if category else "the model refused"
    return f"{said}: {explanation}" if explanation else said


def _with_text(sentence: str, label: str, text: str) -> str:
    return f"{sentence}; {label}: {text}" if text.strip() else sentence
