"""What all tests share."""

from __future__ import annotations

import signal

from hypothesis import settings


def pytest_configure() -> None:
    """Make tests independent of who starts them and of how busy the machine is."""
    # A shell that starts us in the background has SIGINT ignored for us and all below:
    # Ctrl-C is to be heard by us and by every program that tests start.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    settings.register_profile("batchkit", deadline=None)
    settings.load_profile("batchkit")
