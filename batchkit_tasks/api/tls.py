"""The TLS settings of all clients of a process, read once.

Each step opens a client of its own, and reading the system's certificates costs 40 to
70 ms of CPU: as much as reading the results of thousands of rows.
"""

from __future__ import annotations

import os
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import ssl

    import httpx2


def http_client() -> httpx2.Client:
    """The SDK's own HTTP client, with the shared TLS settings; close it."""
    import anthropic

    places = (os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR"))
    return anthropic.DefaultHttpxClient(verify=_context(places))


@lru_cache(maxsize=4)
def _context(places: tuple[str | None, ...]) -> ssl.SSLContext:
    """Read the certificates that these environment variables name, or the usual ones."""
    import httpx2

    return httpx2.create_ssl_context()
