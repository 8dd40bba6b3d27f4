"""Imported once by the process that all others are forked from."""

import anthropic
import genai_prices
import httpx2
import pyarrow

from batchkit_tasks import pipeline, steps
from tests.integration import running

__all__ = [
    "anthropic",
    "genai_prices",
    "httpx2",
    "pipeline",
    "pyarrow",
    "running",
    "steps",
]
