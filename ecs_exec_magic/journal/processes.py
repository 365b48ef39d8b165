"""Whether the process that began something still lives.

Knows process ids, and that systems use them again. Never knows what the processes do.
"""

from __future__ import annotations

import functools
import importlib
import os
import platform
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["Process", "lives", "this_process"]


@dataclass(frozen=True, slots=True)
class Process:
    """One process of one host.

    Attributes:
        started: when it began, in a form that only compares; empty where that cannot be known.
    """

    pid: int
    started: str
    host: str


def this_process() -> Process:
    """The process that asks."""
    return _process(os.getpid())  # which differs in a fork


@functools.lru_cache(maxsize=8)
def _process(pid: int) -> Process:
    return Process(pid, _start_of(pid) or "", platform.node())


def lives(process: Process) -> bool | None:
    """Whether a process still runs; None where that cannot be known, as on another host."""
    if process.pid <= 0 or not process.started or process.host != platform.node():
        return None
    try:
        return _start_of(process.pid) == process.started
    except OSError:
        return None


def _start_of(pid: int) -> str | None:
    """When a process began; None if there is none of that id, or only what it left."""
    if not Path("/proc/self/stat").exists():
        return _start_by_psutil(pid)
    try:
        # The name before it may hold anything, brackets too.
        fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    if fields[0] in (b"Z", b"X"):
        return None
    # Clock ticks since the system's start, so it matters which start.
    return f"{_boot_id()}/{fields[19].decode()}"


@functools.lru_cache(maxsize=1)
def _boot_id() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()[:8]
    except OSError:
        return ""


def _start_by_psutil(pid: int) -> str | None:
    """The same where there is no /proc; ipykernel brings psutil along."""
    try:
        psutil: Any = importlib.import_module("psutil")
    except ImportError:
        return ""
    try:
        found = psutil.Process(pid)
        return None if found.status() == psutil.STATUS_ZOMBIE else f"{found.create_time():.2f}"
    except psutil.NoSuchProcess:
        return None
    except psutil.Error:
        return ""
