"""Ways to isolate a container from the host.

Knows bubblewrap, ``unshare`` and what to say when neither works. Never knows what runs inside.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from .image import Layout

__all__ = ["GUARDED_PROC", "Enclosure", "Runtime", "SandboxUnavailable", "choose"]

GUARDED_PROC = ("sys", "sysrq-trigger", "irq", "bus", "fs", "acpi", "scsi")
"""What root of the host could otherwise write to from within a container."""

_READY = b"ready\n"
_LIMIT = 15.0  # seconds


class SandboxUnavailable(RuntimeError):
    """The practice cluster cannot run here as asked; one line says what would help."""


@dataclass(slots=True)
class Enclosure:
    """A container's first process.

    Attributes:
        entry: the process whose namespaces are to be joined, or ``-`` where there are none.
    """

    entry: str = "-"
    _keeper: subprocess.Popen[bytes] | None = None
    _closers: list[int] = field(default_factory=list)

    def close(self) -> None:
        """End it, and with it every process in its process namespace."""
        if self._keeper is None:
            return
        if self._keeper.poll() is None:
            # Closing its input is not enough: bubblewrap's first process goes on as long as any
            # orphan does. While the keeper runs the id cannot mean another process.
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(self.entry), signal.SIGKILL)
        for handle in self._closers:
            os.close(handle)
        self._closers.clear()
        self._keeper.wait(10)
        self._keeper = None


class Runtime(Protocol):
    """A way to isolate."""

    name: str
    isolated: bool

    def enclose(self, layout: Layout, hostname: str) -> Enclosure:
        """Start a container over a root directory. Blocks for some milliseconds."""


class ProcessRuntime:
    """No isolation: commands run on the host, in a directory of their own."""

    name = "process"
    isolated = False

    def enclose(self, layout: Layout, hostname: str) -> Enclosure:
        """Return an enclosure that encloses nothing."""
        return Enclosure()


def _read_until_ready(handle: int) -> bool:
    data = b""
    deadline = time.monotonic() + _LIMIT
    while not data.endswith(_READY):
        ready, _, _ = select.select([handle], [], [], max(0.0, deadline - time.monotonic()))
        piece = os.read(handle, 64) if ready else b""
        if not piece:
            return False
        data += piece
    return True


def _keep(
    argv: list[str], inherited: tuple[int, ...] = ()
) -> tuple[subprocess.Popen[bytes], int, int]:
    """Start a keeper; return it, the pipe that ends it when closed, and the one it reports on."""
    stdin_read, stdin_write = os.pipe()
    stdout_read, stdout_write = os.pipe()
    try:
        keeper = subprocess.Popen(
            argv,
            stdin=stdin_read,
            stdout=stdout_write,
            stderr=subprocess.PIPE,
            pass_fds=inherited,
            env={"PATH": os.environ.get("PATH", os.defpath)},
            cwd="/",
            start_new_session=True,  # a ^C at the owner's terminal must not reach it
        )
    except BaseException:
        os.close(stdin_write)
        os.close(stdout_read)
        raise
    finally:
        os.close(stdin_read)
        os.close(stdout_write)
    return keeper, stdin_write, stdout_read


def _fail(keeper: subprocess.Popen[bytes], name: str) -> SandboxUnavailable:
    keeper.kill()
    _, errors = keeper.communicate()
    reason = errors.decode("utf-8", "replace").strip().splitlines()
    return SandboxUnavailable(f"{name} does not work here: {reason[-1] if reason else 'no reason'}")


class BubblewrapRuntime:
    """Namespaces made by bubblewrap, which also reaps as process 1."""

    name = "bwrap"
    isolated = True

    def __init__(self, program: str) -> None:
        self._program = program

    def enclose(self, layout: Layout, hostname: str) -> Enclosure:
        """Start bubblewrap; its command waits for the end of its input.

        Raises:
            SandboxUnavailable: this host does not allow it.
        """
        options = ["--unshare-all", "--unshare-user", "--uid", "0", "--gid", "0"]
        options += ["--hostname", hostname, "--cap-drop", "ALL", "--bind", str(layout.root), "/"]
        for host, place in layout.binds:
            options += ["--ro-bind", host, place]
        options += ["--proc", "/proc", "--dev", "/dev", "--chdir", "/"]
        for name in GUARDED_PROC:
            options += ["--ro-bind-try", f"/proc/{name}", f"/proc/{name}"]
        info_read, info_write = os.pipe()
        args_read, args_write = os.pipe()
        options += ["--info-fd", str(info_write)]
        os.write(args_write, b"".join(o.encode() + b"\0" for o in options))  # a few KB: fits
        os.close(args_write)
        try:
            keeper, ender, report = _keep(
                [
                    self._program,
                    "--args",
                    str(args_read),
                    "/bin/sh",
                    "-c",
                    "echo ready; exec >/dev/null; read forever",  # to the end of its input
                ],
                (info_write, args_read),
            )
        finally:
            os.close(info_write)
            os.close(args_read)
        try:
            if not _read_until_ready(report):
                os.close(ender)
                raise _fail(keeper, "bubblewrap")
            info = b""
            while piece := os.read(info_read, 4096):
                info += piece
        finally:
            os.close(report)
            os.close(info_read)
        assert keeper.stderr is not None
        keeper.stderr.close()
        return Enclosure(str(json.loads(info)["child-pid"]), keeper, [ender])


def choose(name: str, probe: Layout) -> Runtime:
    """Return the runtime of this name, having tried it out.

    Args:
        name: ``auto``, ``bwrap``, ``unshare`` or ``process``.
        probe: a layout to try it with.

    Raises:
        SandboxUnavailable: it does not work here; or it is not there yet.
    """
    if name in ("docker", "podman"):
        raise SandboxUnavailable(
            f"--runtime {name} is not there yet; use auto, bwrap (Linux) or process (no isolation)"
        )
    if name == "process":
        return ProcessRuntime()
    if name not in ("auto", "bwrap", "unshare"):
        raise SandboxUnavailable(
            f"unknown runtime {name!r}: auto, bwrap, unshare or process can be chosen"
        )
    if sys.platform != "linux":
        raise SandboxUnavailable(
            "isolated practice containers need Linux; --runtime process works without isolation"
        )
    reasons = []
    from .namespaces import UnshareRuntime

    candidates: list[Runtime] = []
    bwrap = shutil.which("bwrap")
    if name in ("auto", "bwrap"):
        if bwrap:
            candidates.append(BubblewrapRuntime(bwrap))
        else:
            reasons.append("bubblewrap is not installed")
    if name in ("auto", "unshare") and shutil.which("unshare"):
        candidates.append(UnshareRuntime())
    for candidate in candidates:
        try:
            candidate.enclose(probe, "probe").close()
        except (SandboxUnavailable, OSError) as error:
            reasons.append(str(error))
        else:
            return candidate
    raise SandboxUnavailable(
        f"no isolation to be had ({'; '.join(reasons)}): install bubblewrap (the package "
        "'bubblewrap'), or ask for --runtime process, which isolates nothing"
    )
