"""Imports, once, what all processes would: they are forked from the one that did."""

from importlib import import_module
from typing import Final

NEEDED: Final = (
    "anthropic",
    "batchkit_tasks.pipeline",
    "batchkit_tasks.steps",
    "encodings.idna",
    "genai_prices.data",
    "httpcore2",
    "pyarrow.dataset",
    "tests.integration.running",
)

for _name in NEEDED:
    import_module(_name)
