"""The command line, as real processes against a sandbox on a real socket."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from batchkit_tasks.cli import main
from batchkit_tasks.sandbox import Sandbox

ROOT = Path(__file__).parents[2]
PROGRAM = "from batchkit_tasks.cli import main; main()"
BATCHES = "/v1/messages/batches"
PROMPT = ("--prompt", "Mood of: {text}")
FAST = ("--check-every-seconds", "0.1")


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(batch_seconds=0.2, retry_after=None) as running:
        yield running


class Shell:
    """A folder with a table, in which commands are typed."""

    def __init__(self, folder: Path, base_url: str) -> None:
        self.folder = folder
        self.environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "PYTHONPATH": str(ROOT),
            "ANTHROPIC_BASE_URL": base_url,
            "ANTHROPIC_API_KEY": "sk-ant-test",
            "COLUMNS": "80",
        }

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Start a command."""
        return subprocess.Popen(
            [sys.executable, "-c", PROGRAM, *arguments],
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *arguments: str, code: int = 0) -> tuple[str, str]:
        """Run a command to its end; its standard output and error."""
        process = self.start(*arguments)
        out, err = process.communicate(timeout=120)
        assert process.returncode == code, (out, err)
        assert "Traceback" not in err, err
        return out, err

    def json(self, *arguments: str) -> Any:
        """Run a command and read the JSON that it prints."""
        return json.loads(self.run(*arguments, "--json")[0])


@pytest.fixture
def shell(tmp_path: Path, sandbox: Sandbox) -> Shell:
    table = pd.DataFrame({"id": range(6), "text": [f"Text {n}" for n in range(6)]})
    table.to_csv(tmp_path / "reviews.csv", index=False)
    return Shell(tmp_path, sandbox.url)


class Here:
    """The same folder, with commands called in this process: many are soon typed."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    def run(self, *arguments: str, code: int = 0) -> tuple[str, str]:
        """Call a command; its standard output and error."""
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        out, err = self._capsys.readouterr()
        assert ended.value.code == code, (out, err)
        return out, err


@pytest.fixture
def here(
    shell: Shell, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Here:
    monkeypatch.chdir(shell.folder)
    for name in ("ANTHROPIC_BASE_URL", "ANTHROPIC_API_KEY", "COLUMNS"):
        monkeypatch.setenv(name, shell.environment[name])
    return Here(capsys)


def creates(sandbox: Sandbox) -> int:
    return sandbox.count("POST", BATCHES)


def wait_for_batch(sandbox: Sandbox) -> None:
    deadline = time.monotonic() + 60
    while not sandbox.store.all():
        assert time.monotonic() < deadline, "no batch was created within a minute"
        time.sleep(0.05)


def interrupt(shell: Shell, sandbox: Sandbox) -> tuple[str, str]:
    """Start a run and press Ctrl-C once its batch exists."""
    process = shell.start("run", "reviews.csv", *PROMPT, *FAST)
    wait_for_batch(sandbox)
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, (out, err)
    return out, err


# ---------------------------------------------------------------------------- help


def test_help_teaches_and_loads_nothing_heavy() -> None:
    program = (
        "import sys\n"
        "from batchkit_tasks.cli import main\n"
        "try: main(['run', '--help'])\n"
        "finally: print('LOADED', *sys.modules)"
    )

    said = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout

    text, _, loaded = said.partition("LOADED ")
    assert "--columns" in text
    assert "batchkit run reviews.csv" in text
    heavy = {"pandas", "pyarrow", "anthropic", "prefect"}
    assert heavy.isdisjoint(loaded.split())


def test_a_run_that_is_no_flow_run_does_not_load_prefect(shell: Shell) -> None:
    """It takes longer to load than everything else together."""
    program = (
        "import sys\n"
        "from batchkit_tasks.cli import main\n"
        f"try: main({['run', 'reviews.csv', *PROMPT, *FAST]!r})\n"
        "finally: print('LOADED', *sys.modules)"
    )

    ran = subprocess.run(
        [sys.executable, "-c", program],
        cwd=shell.folder,
        env=shell.environment,
        capture_output=True,
        text=True,
    )

    assert ran.returncode == 0, ran.stderr
    assert "prefect" not in ran.stdout.partition("LOADED ")[2].split()


@pytest.mark.parametrize(
    "command", ["run", "estimate", "status", "collect", "cancel", "sandbox", "demo"]
)
def test_every_command_has_help_with_an_example(here: Here, command: str) -> None:
    out, _ = here.run(command, "--help")

    assert f"batchkit {command}" in out.partition("\n")[2]


# ----------------------------------------------------------------------------- run


def test_run_writes_the_table_and_says_where(shell: Shell, sandbox: Sandbox) -> None:
    out, err = shell.run("run", "reviews.csv", *PROMPT, *FAST)

    written = pd.read_parquet(shell.folder / "results" / "reviews.parquet")
    assert list(written.columns) == [
        "id",
        "text",
        "response",
        "_status",
        "_error",
        "_meta",
    ]
    assert written["_status"].tolist() == ["succeeded"] * 6
    assert "6 of 6 rows succeeded" in out
    assert "results/reviews.parquet" in out
    assert "msgbatch_" in err


def test_the_same_command_again_sends_nothing(shell: Shell, sandbox: Sandbox) -> None:
    shell.run("run", "reviews.csv", *PROMPT, *FAST)

    shell.run("run", "reviews.csv", *PROMPT, *FAST)

    assert creates(sandbox) == 1


def test_typed_columns_come_from_the_command_line(shell: Shell) -> None:
    columns = ("--columns", "mood:good|bad:How it feels", "--columns", "stars:integer")

    summary = shell.json("run", "reviews.csv", *PROMPT, *FAST, *columns, "--quiet")

    written = pd.read_parquet(summary["output"])
    assert set(written["mood"]) <= {"good", "bad"}
    assert written["stars"].dtype == "int64"


def test_a_schema_and_a_prompt_may_be_files(shell: Shell) -> None:
    schema = {"type": "object", "properties": {"mood": {"type": "string"}}}
    (shell.folder / "answer.json").write_text(json.dumps(schema))
    (shell.folder / "prompt.txt").write_text("Mood of {text}?")

    summary = shell.json(
        "run", "reviews.csv", "--prompt-file", "prompt.txt", "--schema", "answer.json",
        *FAST, "--output", "out/{source}-answers.parquet",
    )  # fmt: skip

    assert summary["output"].endswith("out/reviews-answers.parquet")
    assert "mood" in pd.read_parquet(summary["output"])


def test_json_on_standard_output_is_all_there_is(shell: Shell) -> None:
    summary = shell.json("run", "reviews.csv", *PROMPT, *FAST)

    assert summary["rows"] == 6
    assert summary["by_status"] == {"succeeded": 6}


def test_too_many_failed_rows_fail_the_run_after_writing(shell: Shell) -> None:
    process = shell.start(
        "run", "reviews.csv", "--prompt", "[[errored:invalid_request_error]] {text}",
        *FAST, "--json",
    )  # fmt: skip
    out, err = process.communicate(timeout=120)

    assert process.returncode == 1, err
    assert "Traceback" not in err
    assert json.loads(out)["by_status"] == {"errored": 6}
    assert "6 of 6 rows" in err
    assert (shell.folder / "results" / "reviews.failed.parquet").exists()


# ----------------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("reviews.csv", "--prompt", "{txt}"), "Did you mean {text}?"),
        (("nowhere.csv", "--prompt", "{text}"), "there is no such file"),
        (("reviews.csv",), "give the prompt as --prompt"),
        (("reviews.csv", "--prompt", "{text"), "The prompt cannot be used"),
        (
            ("reviews.csv", *PROMPT, "--column", "id"),
            "already has columns of these names: id",
        ),
        (("reviews.csv", *PROMPT, "--columns", "mood:colour"), "'colour' is no type"),
        (("reviews.csv", *PROMPT, "--column", "a", "--columns", "b"), "take one of"),
        (("reviews.csv", *PROMPT, "--schema", "no.json"), "no.json cannot be read"),
        (("reviews.csv", *PROMPT, "--rows-per-batch", "0"), "--rows-per-batch: "),
        (("reviews.csv", *PROMPT, "--sample-rows", "-1"), "must be 0 or more"),
        (("reviews.csv", *PROMPT, "--request", "{"), "is not JSON"),
        (("reviews.csv", *PROMPT, "--request", '{"stream": true}'), "cannot stream"),
        (("reviews.csv", *PROMPT, "--output", "{day}.parquet"), "{day} is not known"),
        (("reviews.csv", *PROMPT, "--output", "x.csv"), "does not end in .parquet"),
        (("reviews.csv", *PROMPT, "--promt", "x"), "Did you mean --prompt?"),
        (("reviews.csv", *PROMPT, "--max-tokens", "many"), "many"),
        ((), "SOURCE"),
    ],
)
def test_bad_input_is_one_sentence_and_code_2(
    here: Here, sandbox: Sandbox, arguments: tuple[str, ...], sentence: str
) -> None:
    out, err = here.run("run", *arguments, code=2)

    assert sentence in err
    assert err.count("\n") == 1
    assert out == ""
    assert creates(sandbox) == 0


def test_without_a_key_the_program_says_what_is_missing(shell: Shell) -> None:
    del shell.environment["ANTHROPIC_BASE_URL"], shell.environment["ANTHROPIC_API_KEY"]

    _, err = shell.run("run", "reviews.csv", *PROMPT, code=2)

    assert "No API key: set ANTHROPIC_API_KEY" in err


def test_a_refused_key_is_one_sentence_and_code_1(
    shell: Shell, sandbox: Sandbox
) -> None:
    sandbox.refuse_key("sk-ant-test")

    _, err = shell.run("run", "reviews.csv", *PROMPT, *FAST, code=1)

    assert "The API refused the key (401" in err


def test_an_unknown_command_names_the_nearest(here: Here) -> None:
    _, err = here.run("rn", code=2)

    assert 'Did you mean "run"?' in err


# -------------------------------------------------------------------------- Ctrl-C


def test_ctrl_c_leaves_the_batches_and_the_same_command_goes_on(
    shell: Shell, sandbox: Sandbox
) -> None:
    sandbox.settings.change(batch_seconds=None)

    _, err = interrupt(shell, sandbox)
    sandbox.end_all()
    out, _ = shell.run("run", "reviews.csv", *PROMPT, *FAST)

    assert "Traceback" not in err
    assert "batchkit collect results/_batchkit/reviews.parquet/" in err
    assert "6 of 6 rows succeeded" in out
    assert creates(sandbox) == 1
    assert not any(call.path.endswith("/cancel") for call in sandbox.calls.recent)


def test_collect_goes_on_from_any_folder(shell: Shell, sandbox: Sandbox) -> None:
    sandbox.settings.change(batch_seconds=None)
    interrupt(shell, sandbox)
    sandbox.end_all()
    (shell.folder / "elsewhere").mkdir()
    output = shell.folder / "results" / "reviews.parquet"
    shell.folder = shell.folder / "elsewhere"

    summary = shell.json("collect", str(output))

    assert summary["by_status"] == {"succeeded": 6}
    assert output.exists()
    assert creates(sandbox) == 1


def test_cancel_stops_the_batches_and_collect_as_is_writes_what_there_is(
    shell: Shell, sandbox: Sandbox
) -> None:
    sandbox.settings.change(batch_seconds=None, cancel_seconds=0.2)
    interrupt(shell, sandbox)

    canceled = shell.json("cancel", "results/reviews.parquet")
    summary = shell.json("collect", "results/reviews.parquet", "--as-is")

    assert len(canceled["canceling"]) == 1
    assert summary["by_status"]["canceled"] > 0
    assert sum(summary["by_status"].values()) == 6
    assert creates(sandbox) == 1
    assert "nothing to cancel" in shell.run("cancel", "results/reviews.parquet")[0]


# ------------------------------------------------------------------ status, estimate


def test_status_lists_runs_before_and_after_their_end(
    shell: Shell, sandbox: Sandbox
) -> None:
    sandbox.settings.change(batch_seconds=None)
    interrupt(shell, sandbox)

    (waiting,) = shell.json("status")
    sandbox.end_all()
    (ended,) = shell.json("status", "results")
    shell.run("collect", "results/reviews.parquet")
    (written,) = shell.json("status", "results/reviews.parquet")

    assert (waiting["state"], waiting["batches"]) == ("waiting", {"in_progress": 1})
    assert ended["state"] == "ready to collect"
    assert (written["state"], written["rows_by_status"]) == (
        "written",
        {"succeeded": 6},
    )
    assert written["cost_usd"] > 0


def test_status_works_without_a_key_and_without_runs(shell: Shell) -> None:
    assert "There are no runs" in shell.run("status")[0]
    shell.run("run", "reviews.csv", *PROMPT, *FAST)
    del shell.environment["ANTHROPIC_BASE_URL"], shell.environment["ANTHROPIC_API_KEY"]

    out, _ = shell.run("status")

    assert "results/reviews.parquet   written" in out
    assert "6 succeeded" in out


@pytest.mark.parametrize("command", ["collect", "cancel"])
def test_a_run_that_is_not_there_is_bad_input(here: Here, command: str) -> None:
    _, err = here.run(command, "results/nothing.parquet", code=2)

    assert "there is no run in results/nothing.parquet" in err


def test_estimate_shows_both_prices_and_sends_nothing(
    shell: Shell, sandbox: Sandbox
) -> None:
    out, _ = shell.run("estimate", "reviews.csv", *PROMPT)
    estimate = shell.json("estimate", "reviews.csv", *PROMPT)

    assert "Mood of: Text 0" in out
    assert "Standard price" in out
    assert "Batch price" in out
    assert estimate["counted"]
    assert estimate["requests"] == 6
    assert estimate["batch_usd"] == pytest.approx(estimate["standard_usd"] / 2, rel=0.1)
    assert estimate["batch_usd"] < estimate["batch_usd_ceiling"]
    assert creates(sandbox) == 0
    assert not (shell.folder / "results").exists()


def test_a_dry_run_without_a_key_is_rough(shell: Shell, sandbox: Sandbox) -> None:
    del shell.environment["ANTHROPIC_BASE_URL"], shell.environment["ANTHROPIC_API_KEY"]

    out, _ = shell.run("run", "reviews.csv", *PROMPT, "--dry-run", "--sample-rows", "2")

    assert "guessed from bytes" in out
    assert "2 rows in 1 message batch" in out
    assert "4 skipped" in out
    assert creates(sandbox) == 0


# -------------------------------------------------------------------- sandbox, demo


def test_the_sandbox_prints_its_address_first_and_serves(shell: Shell) -> None:
    process = shell.start("sandbox", "--port", "0", "--batch-seconds", "0.1")
    assert process.stdout is not None
    shell.environment["ANTHROPIC_BASE_URL"] = process.stdout.readline().strip()

    summary = shell.json("run", "reviews.csv", *PROMPT, *FAST)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)

    assert summary["by_status"] == {"succeeded": 6}
    assert process.returncode == 0, err
    assert "answers are made up" in err


def test_a_port_that_is_taken_is_bad_input(shell: Shell, sandbox: Sandbox) -> None:
    port = sandbox.url.rpartition(":")[2]

    _, err = shell.run("sandbox", "--port", port, code=2)

    assert f"{port} cannot be used" in err


def test_the_demo_runs_a_flow_and_says_that_answers_are_made_up(
    shell: Shell, sandbox: Sandbox
) -> None:
    output = shell.folder / "labelled.parquet"

    out, err = shell.run("demo", "--output", str(output))

    written = pd.read_parquet(output)
    assert set(written["_status"]) <= {"succeeded", "skipped"}
    assert written["name"].str.lower().is_monotonic_increasing
    assert "The answers were made up by the sandbox" in out
    assert "Prefect server" in out
    assert max(map(len, out.splitlines())) <= 100
    assert err == ""
    assert creates(sandbox) == 0
