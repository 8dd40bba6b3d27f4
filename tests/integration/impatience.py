"""Patience in fractions of a second, for tests of faults."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.histories.process import PATIENCE


@pytest.fixture
def impatient() -> Iterator[None]:
    """Wait shortly wherever the real API would be given minutes."""
    with pytest.MonkeyPatch.context() as patch:
        for name, seconds in PATIENCE.items():
            patch.setenv(f"BATCHKIT_{name}_SECONDS", seconds)
        patch.setenv("BATCHKIT_PROPAGATION_GRACE_SECONDS", "0.6")
        yield
