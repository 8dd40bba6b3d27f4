"""A process whose output nobody reads any more."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import pathlib, sys
from prefect.logging import get_logger
from prefect.logging.configuration import setup_logging
from batchkit_tasks.flow_run.orphans import outlive_the_worker
setup_logging()
if sys.argv[1] == "outlives":
    outlive_the_worker()
log = get_logger("orphan")
log.info("one")
sys.stdin.readline()
for line in range(3):
    log.info("nobody reads this")
pathlib.Path(sys.argv[2]).touch()
"""


@pytest.mark.parametrize(
    ("kind", "finishes"), [("outlives", True), ("as Prefect has it", False)]
)
def test_a_run_finishes_though_nobody_reads_its_output(
    tmp_path: Path, kind: str, finishes: bool
) -> None:
    finished = tmp_path / "finished"
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM, kind, str(finished)],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    ) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        process.stdout.readline()
        process.stdout.close()
        process.stdin.write(b"go on\n")
        process.stdin.flush()
        process.wait(60)

    assert finished.exists() == finishes
