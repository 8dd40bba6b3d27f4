"""Identifiers in the API's form."""

from __future__ import annotations

import secrets
import string
from typing import Final

_ALPHABET: Final = string.digits + string.ascii_letters


def new_id(prefix: str) -> str:
    """Return `prefix_` and 24 characters, the first two `01`, as the API's."""
    return f"{prefix}_01" + "".join(secrets.choice(_ALPHABET) for _ in range(22))
