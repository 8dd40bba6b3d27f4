"""The two small endpoints beside batches: counting tokens, and the models."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import msgspec
from starlette.responses import Response

from batchkit_tasks.sandbox.answers import input_tokens
from batchkit_tasks.sandbox.models import CATALOGUE, find_model, model_info
from batchkit_tasks.sandbox.validation import Rules, find_error
from batchkit_tasks.sandbox.wire import ApiError, json_answer

if TYPE_CHECKING:
    from batchkit_tasks.sandbox.endpoints import Call, Endpoint


async def count_tokens(call: Call) -> Response:
    """Count the tokens of one request: the number that its answer will bill."""
    try:
        params: Any = msgspec.json.decode(call.body)
    except msgspec.DecodeError as error:
        text = f"The request body is not valid JSON: {error}"
        raise ApiError(400, text) from None
    if not isinstance(params, dict):
        raise ApiError(400, "Input should be a valid dictionary")
    if invalid := find_error({"max_tokens": 1, **params}, Rules()):
        status = 404 if invalid.type == "not_found_error" else 400
        raise ApiError(status, invalid.message)
    return json_answer({"input_tokens": input_tokens(params)})


async def list_models(call: Call) -> Response:
    """List all models on one page."""
    data = [model_info(model) for model in CATALOGUE]
    ends = {"first_id": data[0]["id"], "last_id": data[-1]["id"]}
    return json_answer({"data": data, "has_more": False, **ends})


async def retrieve_model(call: Call) -> Response:
    """Show one model, by alias or dated id."""
    name = call.request.path_params["model_id"]
    if (model := find_model(name)) is None:
        raise ApiError(404, f"model: {name}")
    return json_answer(model_info(model))


CATALOGUE_ENDPOINTS: Final[Mapping[tuple[str, str], tuple[str, Endpoint]]] = {
    ("POST", "/v1/messages/count_tokens"): ("count_tokens", count_tokens),
    ("GET", "/v1/models"): ("models", list_models),
    ("GET", "/v1/models/{model_id}"): ("models", retrieve_model),
}
