"""Ways to run containers apart from the host.

Knows the ladder of engines, bubblewrap and namespaces, and what to say when none works. Never knows
what runs inside.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import os
import shutil
import sys
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..waiting import wait_for
from .containers import ContainerSpec, Events, StartError
from .forks import ForkServer
from .leftovers import Home
from .local import LocalPod

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterator, Sequence
    from pathlib import Path
    from typing import Any

    from .containers import Backend
    from .image import Layout

__all__ = [
    "GUARDED_PROC",
    "Enclosure",
    "LocalRuntime",
    "ProcessRuntime",
    "Runtime",
    "SandboxUnavailable",
    "choose",
]

GUARDED_PROC = ("sys", "sysrq-trigger", "irq", "bus", "fs", "acpi", "scsi")
"""What root of the host could otherwise write to from within a container."""


class SandboxUnavailable(RuntimeError):
    """The practice cluster cannot run here as asked; one line says what would help."""


@dataclass(frozen=True, slots=True)
class Enclosure:
    """How a container's first process is started.

    Attributes:
        argv: a command that says ``ready`` and then waits for the end of its input; empty where
            there is nothing to enclose.
        namespaces: whether the namespaces are to be made for it; else it makes them by itself and
            tells its first process on descriptor 3.
        options: what the command finds on descriptor 4, each word with a NUL after it.
    """

    argv: tuple[str, ...] = ()
    namespaces: bool = False
    options: tuple[str, ...] = ()


class Runtime(ABC):
    """A way to run containers.

    Attributes:
        name: as it is asked for.
        isolated: whether commands are kept from this host.
        warning: what its user should know; empty for nothing.
    """

    name: str
    isolated: bool = True
    warning: str = ""

    @abstractmethod
    def pod(self, root: Path, specs: Sequence[ContainerSpec], events: Events) -> Backend:
        """Make the containers of a task; nothing is started yet."""

    def close(self) -> None:  # noqa: B027  # most hold nothing
        """Let go of what it holds, when every container has stopped. Blocks for moments."""


class LocalRuntime(Runtime):
    """Containers by this host's own means.

    Attributes:
        server: forks for each of them; runs while there are any.
    """

    def __init__(self) -> None:
        self.server = ForkServer()

    @abstractmethod
    def enclosure(self, layout: Layout, hostname: str, *, read_only: bool) -> Enclosure:
        """How to start a container over a root directory."""

    def pod(self, root: Path, specs: Sequence[ContainerSpec], events: Events) -> Backend:
        """Make the containers of a task; nothing is started yet."""
        return LocalPod(root, self, specs, events)


class ProcessRuntime(LocalRuntime):
    """No isolation: commands run on the host, in a directory of their own."""

    name = "process"
    isolated = False
    warning = (
        "--runtime process isolates nothing: commands run on this host, as you, and can read and "
        "change whatever you can"
    )

    def enclosure(self, layout: Layout, hostname: str, *, read_only: bool) -> Enclosure:
        """Nothing."""
        return Enclosure()


class BubblewrapRuntime(LocalRuntime):
    """Mounts and namespaces made by bubblewrap, which also reaps as process 1."""

    name = "bwrap"

    def __init__(self, program: str) -> None:
        super().__init__()
        self._program = program

    def enclosure(self, layout: Layout, hostname: str, *, read_only: bool) -> Enclosure:
        """Bubblewrap, with a command that waits for the end of its input."""
        options = ["--unshare-pid", "--unshare-ipc", "--unshare-uts", "--die-with-parent"]
        options += ["--hostname", hostname, "--cap-drop", "ALL", "--info-fd", "3"]
        options += ["--ro-bind" if read_only else "--bind", str(layout.root), "/"]
        for host, place in layout.binds:
            options += ["--ro-bind", host, place]
        options += ["--proc", "/proc", "--dev", "/dev", "--chdir", "/"]
        for name in GUARDED_PROC:
            options += ["--ro-bind-try", f"/proc/{name}", f"/proc/{name}"]
        wait = "echo ready; exec >/dev/null 2>&1; read forever"
        # Not as arguments: `ps` in the container would show them.
        argv = (self._program, "--args", "4", "/bin/sh", "-c", wait)
        return Enclosure(argv, options=tuple(options))


def _try(runtime: Runtime) -> None:
    """Run a command in a container of a pod, with a loop and a thread of its own.

    Raises:
        SandboxUnavailable: it does not work here; one line says why.
    """

    async def attempt() -> None:
        spec = ContainerSpec("probe", "probe", "probe", "10.0.0.1")
        with Home() as directory:
            backend = runtime.pod(directory / "pod", [spec], Events(_ignore, _ignore))
            container = backend.containers["probe"]
            try:
                process = await container.spawn(["true"], container.environment(), "separate")
                for handle in process.files:
                    os.close(handle)
                status = await wait_for(process.ended, 10)
                if status:
                    raise StartError(f"a first command ended with status {status}")
            finally:
                await container.stop()
                await backend.close()

    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        try:
            pool.submit(_run_apart, attempt()).result()
        except (StartError, OSError, asyncio.TimeoutError) as error:
            reason = (str(error).strip() or "no answer in time").splitlines()[-1]
            raise SandboxUnavailable(f"{runtime.name} does not work here: {reason}") from None


def _run_apart(work: Coroutine[Any, Any, None]) -> None:
    """What ``asyncio.run`` does, which leaves its loop open wherever nest_asyncio was applied."""
    loop = asyncio.new_event_loop()
    try:
        loop.run_until_complete(work)
        loop.run_until_complete(loop.shutdown_asyncgens())
    finally:
        loop.close()


def _ignore(_name: str, _what: object) -> None:
    """Nobody wants to know."""


def choose(name: str, pull: bool = True) -> Runtime:
    """Return the runtime of this name, having tried it out.

    Args:
        name: ``auto`` (the first that works), ``docker``, ``podman``, ``bwrap``, ``unshare`` or
            ``process``.
        pull: whether a container engine may fetch images that it does not have.

    Raises:
        SandboxUnavailable: it does not work here; one line says what would help.
    """
    if name == "process":
        return ProcessRuntime()
    if name not in ("auto", "docker", "podman", "bwrap", "unshare"):
        raise SandboxUnavailable(
            f"unknown runtime {name!r}: auto, docker, podman, bwrap, unshare or process can be "
            "chosen"
        )
    reasons: list[str] = []
    for candidate in _candidates(name, pull, reasons):
        try:
            _try(candidate)
        except SandboxUnavailable as error:
            candidate.close()
            reasons.append(str(error))
        else:
            return candidate
    cure = {
        "docker": "start Docker, or name its socket in DOCKER_HOST",
        "podman": "run `podman system service`, or name its socket in DOCKER_HOST",
    }.get(name, "install bubblewrap (the package 'bubblewrap')")
    raise SandboxUnavailable(
        f"no isolation to be had ({'; '.join(reasons)}): {cure}, or ask for --runtime bwrap, or "
        "for --runtime process, which isolates nothing"
    )


def _candidates(name: str, pull: bool, reasons: list[str]) -> Iterator[Runtime]:
    """Every runtime that may serve, best first; why not goes to ``reasons``."""
    if name in ("auto", "docker", "podman"):
        from .engine import connect

        try:
            yield connect(name, pull)
        except SandboxUnavailable as error:
            reasons.append(str(error))
    if name in ("docker", "podman"):
        return
    if sys.platform != "linux":
        reasons.append("other isolation needs Linux")
        return
    if name in ("auto", "bwrap"):
        bwrap = shutil.which("bwrap")
        if bwrap:
            yield BubblewrapRuntime(bwrap)
        else:
            reasons.append("bubblewrap is not installed")
    if name in ("auto", "unshare"):
        from .namespaces import UnshareRuntime

        yield UnshareRuntime()
