"""Examples that need a server: a flow of one's own, and the README's automation."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pytest

from tests.e2e.processes import ROOT, python
from tests.e2e.stack import Stack

PROGRAM = """
import sys
from batchkit_tasks import AnthropicCredentials
from flows.two_prompts import two_prompts

source, folder, key, base_url = sys.argv[1:]
credentials = AnthropicCredentials(api_key=key, base_url=base_url)
print(two_prompts(source, credentials, folder, check_every_seconds=0.1))
"""


@dataclass
class TwoPrompts:
    """What the flow wrote, and what it bought when it was started once more."""

    moods: pd.DataFrame
    replies: pd.DataFrame
    batches: int
    batches_after_second_start: int


def two_prompts(stack: Stack) -> TwoPrompts:
    """Start the example twice over three files."""
    sandbox = stack.new_sandbox("two-prompts")
    sandbox.order("settings", batch_seconds=0.1)
    folder = stack.folder / "two-prompts"
    (folder / "in").mkdir(parents=True)
    for number in range(3):
        rows = [f"review {number}-{row}" for row in range(20)]
        pd.DataFrame({"text": rows}).to_csv(
            folder / "in" / f"{number}.csv", index=False
        )
    _start(stack, folder, sandbox.url)
    batches = len(sandbox.batches())
    _start(stack, folder, sandbox.url)
    return TwoPrompts(
        moods=pd.read_parquet(folder / "moods.parquet"),
        replies=pd.read_parquet(folder / "replies.parquet"),
        batches=batches,
        batches_after_second_start=len(sandbox.batches()),
    )


def _start(stack: Stack, folder: Path, url: str) -> None:
    (folder / "replies.parquet").unlink(missing_ok=True)
    subprocess.run(
        python("-c", PROGRAM, str(folder / "in"), str(folder), "sk-ant-two", url),
        env=stack.env, cwd=ROOT, check=True, capture_output=True, timeout=280,
    )  # fmt: skip


@pytest.mark.story(of=two_prompts)
def test_the_second_prompt_answers_the_rows_that_the_first_one_chose(
    told: TwoPrompts,
) -> None:
    angry = told.moods[told.moods["mood"] == "angry"]

    assert len(told.moods) == 60
    assert 0 < len(angry) < 60
    assert told.replies["text"].tolist() == angry["text"].tolist()
    assert told.replies["reply"].notna().all()


@pytest.mark.story(of=two_prompts)
def test_started_again_the_flow_buys_nothing_a_second_time(told: TwoPrompts) -> None:
    assert told.batches == 2
    assert told.batches_after_second_start == 2


def automation_of_the_readme(stack: Stack) -> list[str]:
    """Run the README's block for servers; return the names of all automations."""
    readme = (ROOT / "README.md").read_text()
    block = readme.split("<!-- on a server -->\n```python\n")[1].split("```")[0]
    subprocess.run(python("-c", block), env=stack.env, check=True, timeout=280)
    return [each["name"] for each in stack.post("/automations/filter", {})]


@pytest.mark.story(of=automation_of_the_readme)
def test_the_automation_of_the_readme_is_taken_by_the_server(told: list[str]) -> None:
    assert "Say when more than 1 % of a run's rows failed" in told
