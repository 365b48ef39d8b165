"""The isolation of last resort: user namespaces made without any program but a shell.

Knows the mounts a container needs. Never knows what runs inside.
"""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from .runtimes import GUARDED_PROC, Enclosure, LocalRuntime

if TYPE_CHECKING:
    from .image import Layout

__all__ = ["UnshareRuntime"]

_DEVICES = ("null", "zero", "full", "random", "urandom", "tty")

_WAIT = "exec 3<&0 >/dev/null 2>&1; cat <&3 & wait $!"
"""As process 1: until the end of its input, and whatever ends meanwhile is waited for too."""


def _script(layout: Layout, hostname: str, read_only: bool) -> str:
    """Shell commands that turn fresh namespaces into a container; any failure ends them."""
    root = shlex.quote(str(layout.root))
    lines = [
        "set -e",
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
        "mkdir dev/pts dev/shm",
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
        *(["mount -o remount,bind,ro /"] if read_only else ["rmdir .old"]),
        "echo ready",
        f"exec /bin/sh -c {shlex.quote(_WAIT)}",  # `ps` shows no script
    ]
    return "\n".join(lines)


class UnshareRuntime(LocalRuntime):
    """Namespaces made by the fork server, filled by a shell script that becomes process 1."""

    name = "unshare"

    def enclosure(self, layout: Layout, hostname: str, *, read_only: bool) -> Enclosure:
        """The script."""
        return Enclosure(("/bin/sh", "-c", _script(layout, hostname, read_only)), namespaces=True)
