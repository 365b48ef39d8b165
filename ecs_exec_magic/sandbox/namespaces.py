"""The isolation of last resort: user namespaces made by util-linux ``unshare``.

Knows the mounts a container needs. Never knows what runs inside.
"""

from __future__ import annotations

import os
import shlex
from typing import TYPE_CHECKING

from .runtimes import GUARDED_PROC, Enclosure, _fail, _keep, _read_until_ready

if TYPE_CHECKING:
    import subprocess

    from .image import Layout

__all__ = ["UnshareRuntime"]

_DEVICES = ("null", "zero", "full", "random", "urandom", "tty")


def _script(layout: Layout, hostname: str) -> str:
    """Shell commands that turn fresh namespaces into a container; any failure ends them."""
    root = shlex.quote(str(layout.root))
    lines = [
        "set -e",
        "trap '' CHLD",  # as process 1: orphans vanish by themselves
        "mount --make-rprivate /",
        f"mount --bind {root} {root}",
    ]
    for host, place in layout.binds:
        target = shlex.quote(f"{layout.root}{place}")
        lines += [
            f"mount --bind {shlex.quote(host)} {target}",
            f"mount -o remount,bind,ro,nosuid {target}",
        ]
    lines += [f"cd {root}", "mount -t tmpfs -o mode=755,size=1m tmpfs dev"]
    for name in _DEVICES:
        lines += [f": >dev/{name}", f"mount --bind /dev/{name} dev/{name}"]
    lines += [
        "mkdir dev/pts dev/shm .old",
        "mount -t devpts -o newinstance,ptmxmode=0666,mode=620 devpts dev/pts",
        "mount -t tmpfs -o mode=1777,size=64m tmpfs dev/shm",
        "ln -s pts/ptmx dev/ptmx",
        "ln -s /proc/self/fd dev/fd",
        "ln -s fd/0 dev/stdin; ln -s fd/1 dev/stdout; ln -s fd/2 dev/stderr",
        "mount -t proc -o nosuid,nodev,noexec proc proc",
        f"for name in {' '.join(GUARDED_PROC)}; do [ -e proc/$name ] || continue",
        "mount --bind proc/$name proc/$name",
        "mount -o remount,bind,ro,nosuid,nodev,noexec proc/$name",
        "done",
        f"name={shlex.quote(hostname)}",
        'echo "$name" >/proc/sys/kernel/hostname || hostname "$name"',
        "pivot_root . .old",
        "cd /",
        "umount -l .old",
        "rmdir .old",
        "echo ready",
        "exec >/dev/null 2>&1",
        "read forever || :",
    ]
    return "\n".join(lines)


class UnshareRuntime:
    """Namespaces made by ``unshare``, filled by a shell script that becomes process 1."""

    name = "unshare"
    isolated = True

    def enclose(self, layout: Layout, hostname: str) -> Enclosure:
        """Start a container.

        Raises:
            SandboxUnavailable: this host does not allow it.
        """
        keeper, ender, report = _keep(
            [
                "unshare",
                "--user",
                "--map-root-user",
                "--mount",
                "--pid",
                "--fork",
                "--kill-child",
                "--ipc",
                "--uts",
                "--net",
                "/bin/sh",
                "-c",
                _script(layout, hostname),
            ]
        )
        try:
            if not _read_until_ready(report):
                os.close(ender)
                raise _fail(keeper, "unshare")
        finally:
            os.close(report)
        assert keeper.stderr is not None
        keeper.stderr.close()
        return Enclosure(_only_child(keeper), keeper, [ender])


def _only_child(keeper: subprocess.Popen[bytes]) -> str:
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat", "rb") as file:
                    parent = int(file.read().rpartition(b")")[2].split()[1])
            except (OSError, ValueError, IndexError):
                continue
            if parent == keeper.pid:
                return name
    raise OSError("the container's first process has gone")
