"""JSON as text, strictly: what other programs write is read, and what we write they read.

Python's own reader takes `NaN`, dies of deep nesting and hands out half characters
(a lone surrogate such as `"\\ud83d"`), which no UTF-8 file can hold.
"""

from __future__ import annotations

import json
from typing import Any, NoReturn


def _refuse_constant(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")


_decoder = json.JSONDecoder(parse_constant=_refuse_constant)


def read_json(text: str) -> Any:
    """Read one JSON value.

    Raises:
        ValueError: The text is not JSON, nests too deeply or has a number of more
            than 4,300 digits.
    """
    try:
        return _decoder.decode(text)
    except RecursionError:
        raise ValueError("it nests too deeply") from None


def write_json(value: Any) -> str:
    """Write a value compactly, non-ASCII characters kept, always encodable."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return whole_characters(text)


def whole_characters(text: str) -> str:
    """Replace half characters by U+FFFD; two halves side by side become the whole."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text
