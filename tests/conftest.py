"""What all tests share."""

from __future__ import annotations

import signal
from typing import Any

import pytest
from hypothesis import settings
from xdist.scheduler import LoadScopeScheduling


def pytest_configure() -> None:
    """Make tests independent of who starts them and of how busy the machine is."""
    # A shell that starts us in the background has SIGINT ignored for us and all below:
    # Ctrl-C is to be heard by us and by every program that tests start.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    settings.register_profile("batchkit", deadline=None)
    settings.load_profile("batchkit")


class OneStack(LoadScopeScheduling):
    """Spread tests over processes, but keep those of the one Prefect server together.

    `--dist loadgroup` is for that, but does nothing with pytest 9.2 and xdist 3.8.
    """

    def _split_scope(self, nodeid: str) -> str:
        return "e2e" if nodeid.startswith("tests/e2e/") else nodeid


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> OneStack:
    """Called where tests are spread over processes (`-n`)."""
    return OneStack(config, log)
