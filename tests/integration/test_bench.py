"""The benchmark still runs: tiny tables, every contender that is installed."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.bench.__main__ import main


def test_a_tiny_benchmark_measures_everything_and_draws_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    sizes = [
        "--cases",
        "short",
        "--rows",
        "60",
        "--upload-rows",
        "0",
        "--no-flow",
    ]
    few = ["--rounds", "1", "--rows-per-batch", "30", "--scale", "60"]

    text = main([*sizes, *few, "--folder", str(tmp_path)])

    for said in ("floor (memcpy-like)", "SDK, iterrows", "| 60 | 3 |"):
        assert said in text
    assert not list(tmp_path.iterdir())
    assert "µs" in capsys.readouterr().out
