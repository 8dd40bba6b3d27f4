"""Programs as operating system processes: a Prefect server, a worker, a sandbox.

Each runs in a process group of its own, so that it can be killed with everything it
started, and by its id only.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

import httpx

T = TypeVar("T")

ROOT = Path(__file__).parents[2]


class Program:
    """A command that is started, stopped and killed; what it prints is kept."""

    def __init__(
        self, name: str, command: list[str], env: Mapping[str, str], folder: Path
    ) -> None:
        self.name = name
        self.command = command
        self.env = dict(env)
        self.log = folder / f"{name}.log"
        self.cwd = folder
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """The process id; the program must have been started."""
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Start it."""
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self.command,
                cwd=self.cwd,
                env=self.env,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def is_running(self) -> bool:
        """Whether the process itself is there."""
        return self._process is not None and self._process.poll() is None

    def kill(self) -> None:
        """Kill -9, with everything in its process group."""
        self._signal_group(signal.SIGKILL)
        self._reap()

    def kill_alone(self) -> None:
        """Kill -9 of this process only: what it started lives on."""
        os.kill(self.pid, signal.SIGKILL)
        self._reap()

    def stop(self, seconds: float = 30.0) -> None:
        """Ask it to end, then kill what is left of its group."""
        if self.is_running:
            os.kill(self.pid, signal.SIGTERM)
            deadline = time.monotonic() + seconds
            while self.is_running and time.monotonic() < deadline:
                time.sleep(0.05)
        self._signal_group(signal.SIGKILL)
        self._reap()

    def tail(self, lines: int = 30) -> str:
        """The last lines that it printed."""
        text = self.log.read_text(errors="replace") if self.log.exists() else ""
        return "\n".join(text.splitlines()[-lines:])

    def _signal_group(self, number: int) -> None:
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, number)

    def _reap(self) -> None:
        if self._process is not None:
            self._process.wait(timeout=30)


def python(*arguments: str) -> list[str]:
    """A command of this very Python."""
    return [sys.executable, *arguments]


def prefect(*arguments: str) -> list[str]:
    """A command of the Prefect that this Python has."""
    return python("-m", "prefect", *arguments)


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for(
    found: Callable[[], T | None], *, description: str, seconds: float = 240.0
) -> T:
    """Wait until a call gives something, and return it."""
    deadline = time.monotonic() + seconds
    while True:
        value = found()
        if value:
            return value
        assert time.monotonic() < deadline, f"never happened: {description}"
        time.sleep(0.25)


def answers(url: str) -> bool:
    """Whether a server answers with success."""
    try:
        return httpx.get(url, timeout=5).is_success
    except httpx.HTTPError:
        return False


def processes_of_run(flow_run_id: str) -> list[int]:
    """The processes of this machine that run a flow run: Prefect tells them its id."""
    mark = f"PREFECT__FLOW_RUN_ID={flow_run_id}".encode()
    dashed = flow_run_id.replace("-", "").encode()
    found: list[int] = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            environment = (entry / "environ").read_bytes().split(b"\0")
            command = (entry / "cmdline").read_bytes()
        except OSError:
            continue
        wanted = mark in environment or b"PREFECT__FLOW_RUN_ID=" + dashed in environment
        if wanted and command:
            found.append(int(entry.name))
    return found
