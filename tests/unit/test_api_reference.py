"""The API reference is made from the docstrings alone, without a network."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import batchkit_tasks

ROOT = Path(__file__).parents[2]


def test_the_reference_holds_every_public_name_with_its_docstring() -> None:
    folder = ROOT / "test-output" / "api"

    # As the README says it: the warnings that pdoc finds in docstrings are errors.
    subprocess.run(
        [sys.executable, "-W", "error::UserWarning:pdoc", "-m", "pdoc",
         "--docformat", "google", "--output-directory", str(folder), "batchkit_tasks"],
        check=True, cwd=ROOT,
    )  # fmt: skip

    page = (folder / "batchkit_tasks.html").read_text()
    for name in batchkit_tasks.__all__:
        assert f'id="{name}"' in page, f"{name} is not in the reference"
