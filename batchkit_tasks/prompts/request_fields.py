"""The user's own fields of every request, checked before a batch is made of them.

The API takes a batch with fields that it cannot serve and fails every row of it, up to
24 hours later: so what is known to fail is refused here.
"""

from __future__ import annotations

from typing import Any

import msgspec

from batchkit_tasks.errors import ParameterError
from batchkit_tasks.limits import RESERVED_PARAMS


def read_fields(text: str, output_schema: dict[str, Any] | None) -> dict[str, Any]:
    """Read the fields that go into every request, with the answer's format in them.

    Args:
        text: JSON text; blank means none.
        output_schema: JSON Schema of a structured answer.

    Raises:
        ParameterError: It is no JSON object, or sets what it may not.
    """
    try:
        fields = msgspec.json.decode(text.strip() or "{}")
        msgspec.json.encode(fields)
    except (msgspec.DecodeError, UnicodeError) as error:
        raise ParameterError("request", f"it is not JSON: {error}.") from None
    if not isinstance(fields, dict):
        raise ParameterError(
            "request", 'it must be a JSON object, such as {"top_k": 5}.'
        )
    for key, why in RESERVED_PARAMS.items():
        if key in fields:
            raise ParameterError("request", f"it may not set {key!r}: {why}.")
    return _with_format(fields, output_schema)


def _with_format(
    fields: dict[str, Any], output_schema: dict[str, Any] | None
) -> dict[str, Any]:
    config = fields.get("output_config", {})
    if not isinstance(config, dict):
        raise ParameterError("request", "its 'output_config' must be a JSON object.")
    if output_schema is None:
        return fields
    if "format" in config:
        raise ParameterError(
            "request",
            "its 'output_config.format' and the parameter answer both describe the "
            "answer; keep one of them.",
        )
    form = {"type": "json_schema", "schema": output_schema}
    return {**fields, "output_config": {**config, "format": form}}
