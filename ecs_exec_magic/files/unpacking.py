"""A tree out of an archive that somebody else made, into a new directory and never out of it.

Knows tar and the plain entries of get.sh. Never knows where they come from, or where the tree goes.

Nothing that is written goes through a link: links are made when all else is there, and those that
lead out of the tree are left out.
"""

from __future__ import annotations

import os
import shutil
import tarfile
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, cast

from ..errors import CopyFailed
from .farend import mode_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["escapes", "inside", "unpack"]

_LONGEST = 64 * 1024  # bytes in a name or in the line before it


@dataclass(frozen=True)
class _Entry:
    kind: str  # d, f, l, h (a hard link), or what it is in words
    name: str
    mode: int | None
    time: float | None
    content: IO[bytes] | None = None
    size: int = 0
    link: str = ""


def inside(name: str) -> tuple[str, ...]:
    """The parts of a name in an archive.

    Raises:
        CopyFailed: it leads out of the tree.
    """
    parts = tuple(part for part in name.split("/") if part not in ("", "."))
    bad = name.startswith("/") or ".." in parts or "\0" in name
    if os.name == "nt":
        bad = bad or any(set(part) & set('\\:*?"<>|') for part in parts)
    if bad:
        raise CopyFailed(
            f"the container's archive names {name!r}, which is outside of the directory",
            cause="tar there is not the usual one, or somebody wants to write here",
            cure="nothing was written; look at the container",
        )
    return parts


def escapes(link: str, parts: tuple[str, ...]) -> bool:
    """Whether a link at that place leads out of the tree."""
    if link.startswith("/") or (os.name == "nt" and (":" in link or "\\" in link)):
        return True
    steps = [step for step in link.split("/") if step not in ("", ".")]
    up = next((n for n, step in enumerate(steps) if step != ".."), len(steps))
    # Behind another name, .. is the parent of wherever that name leads to: nobody can tell here.
    return up > len(parts) - 1 or ".." in steps[up:]


def unpack(archive: IO[bytes], tree: Path, *, tar: bool) -> tuple[int, int, list[str]]:
    """Make the tree.

    Returns:
        how many files, how many bytes in them, and what was left out.

    Raises:
        CopyFailed: the archive is none, or wants to write elsewhere.
        OSError: this machine refuses.
    """
    tree.mkdir(mode=0o700)
    files = size = 0
    skipped: list[str] = []
    directories: dict[tuple[str, ...], _Entry] = {}
    links: dict[tuple[str, ...], str] = {}
    try:
        for entry in _tar(archive) if tar else _plain(archive):
            parts = inside(entry.name)
            where = tree.joinpath(*parts)
            if entry.kind == "d":
                where.mkdir(mode=0o700, parents=True, exist_ok=True)
                directories[parts] = entry
                continue
            if not parts:
                raise CopyFailed("the container's archive has a file that has no name")
            where.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            if entry.kind == "f" and entry.content is not None:
                _write(entry, where)
                files, size = files + 1, size + entry.size
            elif entry.kind == "h":
                other = tree.joinpath(*inside(entry.link))
                if other.is_symlink() or not other.is_file():
                    skipped.append(f"{entry.name}: its other name {entry.link} is not there")
                    continue
                os.link(other, where)
                files += 1
            elif entry.kind == "l" and not escapes(entry.link, parts):
                links[parts] = entry.link
            elif entry.kind == "l":
                skipped.append(f"{entry.name}: the link leads out, to {entry.link}")
            else:
                skipped.append(f"{entry.name}: {entry.kind}")
    except tarfile.TarError as error:
        raise CopyFailed(f"the container's tar made no archive: {error}") from None
    for parts, link in links.items():
        try:
            tree.joinpath(*parts).symlink_to(link)
        except FileExistsError:
            raise CopyFailed(f"the container's archive has {'/'.join(parts)!r} twice") from None
        except OSError:
            if os.name != "nt":
                raise
            skipped.append(f"{'/'.join(parts)}: Windows makes no links here")
    # The deepest first: what is made in a directory changes its time.
    for parts in sorted(directories, key=len, reverse=True):
        _settle(directories[parts], tree.joinpath(*parts))
    return files, size, skipped


def _write(entry: _Entry, where: Path) -> None:
    assert entry.content is not None
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
    with open(os.open(where, flags | getattr(os, "O_NOFOLLOW", 0), 0o600), "wb") as file:
        shutil.copyfileobj(entry.content, file, 256 * 1024)
        if file.tell() != entry.size:
            raise CopyFailed(f"the container's archive ends within {entry.name!r}")
    _settle(entry, where)


def _settle(entry: _Entry, where: Path) -> None:
    if entry.time is not None:
        os.utime(where, (entry.time, entry.time))
    os.chmod(where, entry.mode if entry.mode is not None else 0o755 if entry.kind == "d" else 0o644)


def _tar(archive: IO[bytes]) -> Iterator[_Entry]:
    # Only read here: every name goes through this module's own checks, on all Pythons alike.
    with tarfile.open(
        fileobj=archive, mode="r|", encoding="utf-8", errors="surrogateescape"
    ) as file:
        for member in file:
            mode, name = member.mode & 0o777, member.name
            if member.isdir():
                yield _Entry("d", name, mode, member.mtime)
            elif member.isreg():
                content = file.extractfile(member)
                yield _Entry("f", name, mode, member.mtime, content, member.size)
            elif member.issym():
                yield _Entry("l", name, mode, member.mtime, link=member.linkname)
            elif member.islnk():
                yield _Entry("h", name, mode, member.mtime, link=member.linkname)
            else:
                yield _Entry("not a file, directory or link", name, mode, member.mtime)


def _plain(archive: IO[bytes]) -> Iterator[_Entry]:
    while line := archive.readline(_LONGEST):
        try:
            kind, mode, size, when, length = line.decode("ascii").split()
            name = os.fsdecode(archive.read(min(int(length), _LONGEST)))
            count = int(size)
            seconds = float(when) if when != "-" else None
            if kind not in "dfl":
                raise ValueError(kind)
        except ValueError:
            raise CopyFailed(
                "the directory changed while it was copied", cure="copy it again"
            ) from None
        if kind == "d":
            yield _Entry("d", name, mode_of(mode), seconds)
        elif kind == "l":
            yield _Entry("l", name, None, None, link=os.fsdecode(archive.read(count)))
        else:
            begin = archive.tell()
            yield _Entry(
                "f", name, mode_of(mode), seconds, cast("IO[bytes]", _Part(archive, count)), count
            )
            archive.seek(begin + count)


class _Part:
    """The next bytes of a file, and no more."""

    def __init__(self, file: IO[bytes], size: int) -> None:
        self._file = file
        self._left = size

    def read(self, size: int = -1) -> bytes:
        data = self._file.read(min(size, self._left) if size >= 0 else self._left)
        self._left -= len(data)
        return data
