"""Who holds a claim, and whether that process can still be alive.

A claim names its process. Where that process ran on this very machine and is gone, it
cannot send any more, and the claim need not wait for its deadline. Everything that
cannot be known counts as alive: then only time decides.
"""

from __future__ import annotations

import os
import socket
from pathlib import Path


def current_owner() -> str:
    """A name for this process that no other process has."""
    return f"{_namespace()}:{os.getpid()}:{_started(os.getpid())}"


def is_gone(owner: str) -> bool:
    """Whether the process certainly does not exist any more."""
    namespace, _, process = owner.rpartition(":")[0].rpartition(":")
    started = owner.rpartition(":")[2]
    here = _namespace()
    if not here or namespace != here or not process.isdigit() or not started:
        return False
    return _started(int(process)) != started


def _namespace() -> str:
    """Machine, boot and process namespace: only within one do process ids compare.

    Empty where it cannot be told: containers of one name are not one namespace.
    """
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        inside = str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        return ""
    return f"{socket.gethostname()}:{boot}:{inside}".replace(" ", "")


def _started(process: int) -> str:
    """When a process started, in the kernel's own count; empty if it is gone."""
    try:
        stat = Path(f"/proc/{process}/stat").read_text()
    except OSError:
        return "" if Path("/proc/self/stat").exists() else "unknown"
    fields = stat.rpartition(")")[2].split()
    return "" if fields[0] == "Z" else fields[19]
