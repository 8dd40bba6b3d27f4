"""Every Python block of the README runs as it stands, in a process of its own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from batchkit_tasks.sandbox.server import Sandbox

ROOT = Path(__file__).parents[2]

ON_A_SERVER = "<!-- on a server -->\n"

FOUND = re.findall(
    rf"({re.escape(ON_A_SERVER)})?```python\n(.*?)```",
    (ROOT / "README.md").read_text(),
    re.DOTALL,
)

BLOCKS: list[str] = [block for mark, block in FOUND if not mark]


def test_the_readme_has_blocks_for_scripts_and_for_servers() -> None:
    assert len(BLOCKS) >= 4
    assert len(FOUND) > len(BLOCKS)


@pytest.mark.parametrize("number", range(len(BLOCKS)))
def test_a_block_of_the_readme_runs_as_it_stands(number: int, tmp_path: Path) -> None:
    texts = [f"The parcel came {days} days late." for days in range(12)]
    pd.DataFrame({"text": texts}).to_parquet(tmp_path / "reviews.parquet")

    with Sandbox(batch_seconds=0.0) as sandbox:
        done = subprocess.run(
            [sys.executable, "-c", BLOCKS[number]],
            cwd=tmp_path,
            env={
                **os.environ,
                "PYTHONPATH": str(ROOT),
                "ANTHROPIC_API_KEY": "sk-ant-readme",
                "ANTHROPIC_BASE_URL": sandbox.url,
                "BATCHKIT_HOME": str(tmp_path / "home"),
            },
            capture_output=True,
            text=True,
            timeout=120,
        )

    assert done.returncode == 0, done.stderr[-2000:]


def test_the_links_within_the_readme_lead_somewhere() -> None:
    readme = (ROOT / "README.md").read_text()
    headings = re.findall(r"^#+ (.+)$", readme, re.MULTILINE)
    anchors = {
        re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        for heading in headings
    }

    for target in re.findall(r"\]\(#([^)]+)\)", readme):
        assert target in anchors
    for path in re.findall(r"\]\(((?!https?:|#)[^)]+)\)", readme):
        assert (ROOT / path).exists()
