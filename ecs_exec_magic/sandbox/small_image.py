"""The small image that stands in for one an engine cannot have, made of this host's programs.

Knows which programs and libraries it takes. Never knows an engine.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tarfile
from typing import TYPE_CHECKING

from . import image as images
from .leftovers import Home

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["archive", "name_of"]

_REPOSITORY = "localhost/ecs-exec-magic/small"
_FORMAT = "1"
_PROGRAMS = (
    "sh bash cat ls cp mv rm mkdir rmdir ln chmod chown touch stat readlink realpath mktemp df du "
    "dd echo printf test true false sleep date env printenv id whoami hostname uname nproc tty "
    "stty head tail tac wc sort uniq cut tr tee paste join comm nl fold split csplit od base64 "
    "cksum md5sum sha1sum sha256sum sha512sum seq shuf expr basename dirname pwd yes timeout nice "
    "nohup grep egrep fgrep sed awk find xargs diff cmp tar gzip gunzip zcat ps kill pgrep pkill "
    "free uptime top script mkfifo truncate dash setsid flock getent which curl nginx more less"
).split()
_PLACES = ("/usr/local/bin", "/usr/bin", "/bin", "/usr/sbin", "/sbin")
_NEEDED = ("sh", "cat", "sleep")
_LIBRARY = re.compile(r"(?:=> )?(/\S+) \(0x")
_HASHED = 12


def _host_programs() -> dict[str, str]:
    """Where this host has them, by the name they are to have."""
    found = {}
    for name in _PROGRAMS:
        path = shutil.which(name, path=os.pathsep.join(_PLACES))
        if path:
            found[name] = os.path.realpath(path)
    return found


def name_of(kind: images.Image) -> str:
    """The image's name and tag; another one when what it is made of changes."""
    parts = [_FORMAT, repr(kind)]
    for name, path in sorted(_host_programs().items()):
        about = os.stat(path)
        parts.append(f"{name} {path} {about.st_size} {about.st_mtime_ns}")
    digest = hashlib.sha256("\n".join(parts).encode()).hexdigest()[:_HASHED]
    label = next((name for name, image in images.IMAGES.items() if image is kind), "plain")
    return f"{_REPOSITORY}:{label}-{digest}"


def _libraries(paths: list[str]) -> set[str]:
    found = subprocess.run(["ldd", *paths], capture_output=True, text=True, check=False)
    return {match.group(1) for match in _LIBRARY.finditer(found.stdout)}


def _is_static(path: str) -> bool:
    return not _libraries([path])


@contextlib.contextmanager
def archive(kind: images.Image) -> Iterator[Path]:
    """Give a tar file of the image's root directory; it is removed afterwards. Blocks.

    Raises:
        OSError: this host has not what it takes.
    """
    programs = _host_programs()
    missing = [name for name in _NEEDED if name not in programs]
    if sys.platform != "linux" or missing:
        raise OSError("this host has no programs for a small image")
    with Home() as directory:
        root = directory / "root"
        images.build(root, kind, "localhost", "127.0.0.1")
        path = directory / "image.tar"
        with tarfile.open(path, "w") as tar:
            tar.add(root, "/", filter=_as_root)
            linked = {
                name for name in ("bin", "sbin", "lib", "lib64") if (root / name).is_symlink()
            }
            places = {"bin": "usr/bin" if "bin" in linked else "bin"}
            placed = set()
            for name, source in programs.items():
                placed.add(name)
                tar.add(source, f"{places['bin']}/{name}", filter=_as_root)
            libraries = _libraries(sorted(set(programs.values())))
            for place, source in {
                _place(library, linked): library for library in libraries
            }.items():
                tar.add(os.path.realpath(source), place, filter=_as_root)
            _add_busybox(tar, placed, places["bin"])
        yield path


def _place(library: str, linked: set[str]) -> str:
    return f"usr{library}" if library.split("/")[1] in linked else library[1:]


def _add_busybox(tar: tarfile.TarFile, placed: set[str], place: str) -> None:
    """What this host has not itself, of a static busybox."""
    busybox = shutil.which("busybox")
    if busybox is None or not _is_static(busybox):
        return
    tar.add(os.path.realpath(busybox), f"{place}/busybox", filter=_as_root)
    listed = subprocess.run([busybox, "--list"], capture_output=True, text=True, check=False)
    for name in listed.stdout.split():
        if name not in placed and name != "busybox":
            link = tarfile.TarInfo(f"{place}/{name}")
            link.type, link.linkname = tarfile.SYMTYPE, "busybox"
            tar.addfile(link)


def _as_root(info: tarfile.TarInfo) -> tarfile.TarInfo:
    info.uid = info.gid = 0
    info.uname = info.gname = "root"
    return info
