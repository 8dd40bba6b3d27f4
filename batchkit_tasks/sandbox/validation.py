"""What the API finds wrong with a request's `params` only when it runs.

`params` are validated asynchronously: the batch is accepted and the request is errored
at the end. The first error found is returned; texts that the contract does not give are
worded after the API's own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

from batchkit_tasks.sandbox.models import (
    EXTENDED_OUTPUT_BETA,
    EXTENDED_OUTPUT_TOKENS,
    Model,
    find_model,
)

SAMPLING_REFUSED_SINCE: Final = "2026-10-21"
"""`anthropic-version` from which temperature, top_p and top_k are refused."""

_KNOWN: Final = frozenset(
    [
        "model",
        "max_tokens",
        "messages",
        "system",
        "metadata",
        "stop_sequences",
        "temperature",
        "top_k",
        "top_p",
        "thinking",
        "tools",
        "tool_choice",
        "service_tier",
        "container",
        "context_management",
        "mcp_servers",
        "output_config",
        "output_format",
        "inference_geo",
        "cache_control",
        "diagnostics",
        "user_profile_id",
        "billing_policy",
        "stream",
    ]
)
_NOT_IN_BATCHES: Final = (
    "speed",
    "store",
    "previous_thread_event_id",
    "cache_hint",
    "context_hint",
    "fallbacks",
)
_USUAL: Final = frozenset(
    ("model", "max_tokens", "messages", "system", "output_config", "metadata")
)


@dataclass(frozen=True, slots=True)
class Rules:
    """What the batch's own headers allow in its requests."""

    version: str = SAMPLING_REFUSED_SINCE
    betas: frozenset[str] = frozenset()
    refuses_sampling: bool = True


@dataclass(frozen=True, slots=True)
class Invalid:
    """Why a request is errored."""

    message: str
    type: str = "invalid_request_error"
    ran: bool = False


def find_error(params: Mapping[str, Any], rules: Rules) -> Invalid | None:
    """Return what is wrong with these params; `None` when they can run."""
    if not _USUAL.issuperset(params) and (invalid := _fields_error(params, rules)):
        return invalid
    model = find_model(params.get("model"))
    if model is None:
        return _model_error(params)
    if message := _max_tokens_error(params, model, rules):
        return Invalid(message)
    return _messages_error(params, model) or _thinking_error(params, model)


def _fields_error(params: Mapping[str, Any], rules: Rules) -> Invalid | None:
    """Look at the fields beyond the usual ones."""
    for field in _NOT_IN_BATCHES:
        if params.get(field) is not None:
            return Invalid(f"{field}: not supported in message batches")
    for field in params:
        if field not in _KNOWN and field not in _NOT_IN_BATCHES:
            return Invalid(f"{field}: Extra inputs are not permitted")
    if params.get("stream"):
        return Invalid("stream: streaming is not supported in message batches")
    match params.get("billing_policy"):
        case {"bill_to": "user_profile"}:
            return Invalid(
                "billing_policy.bill_to: user_profile is not supported in message batches"
            )
        case _:
            return _sampling_error(params, rules)


def _sampling_error(params: Mapping[str, Any], rules: Rules) -> Invalid | None:
    """Refuse sampling parameters under the versions that have dropped them."""
    if not rules.refuses_sampling or rules.version < SAMPLING_REFUSED_SINCE:
        return None
    for field in ("temperature", "top_p", "top_k"):
        if field in params:
            return Invalid(f"{field}: Extra inputs are not permitted")
    return None


def _model_error(params: Mapping[str, Any]) -> Invalid:
    if "model" not in params:
        return Invalid("model: Field required")
    if not isinstance(params["model"], str):
        return Invalid("model: Input should be a valid string")
    return Invalid(f"model: {params['model']}", "not_found_error")


def _max_tokens_error(
    params: Mapping[str, Any], model: Model, rules: Rules
) -> str | None:
    if "max_tokens" not in params:
        return "max_tokens: Field required"
    asked = params["max_tokens"]
    if not isinstance(asked, int) or isinstance(asked, bool):
        return "max_tokens: Input should be a valid integer"
    if asked < 1:
        return "max_tokens: Input should be greater than or equal to 1"
    most = model.max_tokens
    if EXTENDED_OUTPUT_BETA in rules.betas and model.generation >= (4, 6):
        most = EXTENDED_OUTPUT_TOKENS
    if asked > most:
        return (
            f"max_tokens: {asked} > {most}, which is the maximum allowed number of "
            f"output tokens for {model.dated_id}"
        )
    return None


def _messages_error(params: Mapping[str, Any], model: Model) -> Invalid | None:
    if "messages" not in params:
        return Invalid("messages: Field required")
    messages = params["messages"]
    if not isinstance(messages, list):
        return Invalid("messages: Input should be a valid list")
    if not messages:
        return Invalid("messages: at least one message is required")
    for at, message in enumerate(messages):
        if invalid := _message_error(at, message):
            return invalid
    if messages[-1]["role"] == "assistant" and not model.takes_prefill:
        return Invalid(
            "This model does not support assistant message prefill. The conversation "
            "must end with a user message."
        )
    return None


def _message_error(at: int, message: Any) -> Invalid | None:
    if not isinstance(message, dict):
        return Invalid(f"messages.{at}: Input should be a valid dictionary")
    for field in ("role", "content"):
        if field not in message:
            return Invalid(f"messages.{at}.{field}: Field required")
    if message["role"] not in ("user", "assistant", "system"):
        return Invalid(f"messages.{at}.role: Input should be 'user' or 'assistant'")
    content = message["content"]
    if not isinstance(content, str | list):
        return Invalid(f"messages.{at}.content: Input should be a valid string")
    if not content:
        return Invalid(f"messages.{at}: all messages must have non-empty content")
    if isinstance(content, str):
        return None
    return next(filter(None, (_block_error(at, block) for block in content)), None)


def _block_error(at: int, block: Any) -> Invalid | None:
    """Look at one content block: empty texts, and sources that cannot be fetched."""
    match block:
        case {"type": "text", "text": ""}:
            return Invalid("messages: text content blocks must be non-empty")
        case {"source": {"type": "url", "url": str(url)}}:
            if (urlsplit(url).hostname or "").endswith(".invalid"):
                return Invalid(f"Unable to download the file at {url}", ran=True)
        case {"source": {"type": "file", "file_id": str(file_id)}}:
            if "missing" in file_id:
                return Invalid(f"File not found: {file_id}", ran=True)
        case {"type": str()}:
            pass
        case _:
            return Invalid(f"messages.{at}.content.0.type: Field required")
    return None


def _thinking_error(params: Mapping[str, Any], model: Model) -> Invalid | None:
    match params.get("thinking"):
        case {"type": "enabled"} if model.thinking == "adaptive":
            return Invalid(
                'thinking.type: "enabled" is not supported by this model; use '
                '"adaptive" and output_config.effort'
            )
        case {"type": "adaptive"} if model.generation < (4, 6):
            return Invalid('thinking.type: "adaptive" is not supported by this model')
        case {"type": "enabled", "budget_tokens": int(budget)}:
            if budget < 1024:
                return Invalid(
                    "thinking.enabled.budget_tokens: Input should be greater than or "
                    "equal to 1024"
                )
            if budget >= params["max_tokens"]:
                return Invalid(
                    "`max_tokens` must be greater than `thinking.budget_tokens`"
                )
        case {"type": "enabled"}:
            return Invalid("thinking.enabled.budget_tokens: Field required")
        case _:
            pass
    return None
