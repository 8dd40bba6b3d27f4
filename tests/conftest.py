"""What all tests share."""

from __future__ import annotations

import signal


def pytest_configure() -> None:
    """Hear Ctrl-C, and let every program that tests start hear it.

    A shell that starts us in the background has SIGINT ignored for us and all below.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)
