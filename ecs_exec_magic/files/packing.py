"""A local file or tree as one run of bytes that can be sent again from any place in it.

Knows tar, gzip and the plain form of put.sh. Never knows sessions.

What needs packing lies in a temporary file without a name, never in memory: so that what is sent
again after a lost session is the same, whatever happens to the source meanwhile.
"""

from __future__ import annotations

import io
import os
import stat
import tarfile
import tempfile
import time
import zlib
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING

from ..errors import CopyFailed
from .farend import hasher

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["Packed", "Tools", "pack", "pack_bytes"]

_PIECE = 256 * 1024
_SAMPLE = 64 * 1024


@dataclass(frozen=True)
class Tools:
    """What the far end has.

    Attributes:
        checksum: kind of its checksum, or empty.
    """

    tar: bool
    gzip: bool
    checksum: str


@dataclass(frozen=True)
class Packed:
    """What is sent.

    Attributes:
        line: what the far end must know first.
        size: of what is sent.
        files: how many are in it.
        total: bytes in them.
        raw: checksum of a file's content as it is here.
    """

    content: IO[bytes]
    line: str
    size: int
    files: int
    total: int
    skipped: tuple[str, ...] = ()
    raw: str = ""

    def pieces(self, offset: int) -> Iterator[bytes]:
        """The bytes from there on."""
        self.content.seek(offset)
        while data := self.content.read(_PIECE):
            yield data


def pack(path: Path, tools: Tools) -> Packed:
    """Make ready a file or directory.

    Raises:
        OSError: it cannot be read, or the temporary file not be written.
    """
    found = path.stat()
    if stat.S_ISDIR(found.st_mode):
        return _pack_tree(path, tools)
    if not stat.S_ISREG(found.st_mode):
        raise CopyFailed(f"{path} is not a file or directory", cure="copy what it is made of")
    file = open(path, "rb")  # noqa: SIM115 - closed with what is made of it
    return _pack_file(file, tools, f"{found.st_mode & 0o777:o}", _stamp(found.st_mtime))


def pack_bytes(data: bytes, tools: Tools, mode: str) -> Packed:
    """Make ready a file's content."""
    return _pack_file(io.BytesIO(data), tools, mode, "-")


def _pack_file(source: IO[bytes], tools: Tools, mode: str, stamp: str) -> Packed:
    raw = hasher(tools.checksum)
    sample = source.read(_SAMPLE)
    # What does not shrink is better sent as it is: compressed bytes cost more on a terminal.
    zipped = tools.gzip and len(sample) > 200 and len(zlib.compress(sample, 1)) < 0.9 * len(sample)
    source.seek(0)
    size = 0
    spool = _Spool(zipped=True) if zipped else None
    while data := source.read(_PIECE):
        raw.update(data)
        size += len(data)
        if spool is not None:
            spool.write(data)
    content: IO[bytes] = source
    wire, count = raw.hexdigest(), size
    if spool is not None:
        source.close()
        content = spool.done()
        wire, count = _sum_of(content, tools.checksum)
    line = _line("f", zipped, wire, count, raw.hexdigest(), mode, stamp, 0)
    return Packed(content, line, count, 1, size, raw=raw.hexdigest())


def _pack_tree(path: Path, tools: Tools) -> Packed:
    spool = _Spool(zipped=tools.gzip)
    entries, skipped = _walk(path)
    script = 0
    files = size = 0
    if tools.tar:
        # GNU's format: busybox does not read the names of the newer one.
        with tarfile.open(
            fileobj=spool,  # type: ignore[call-overload]
            mode="w|",
            format=tarfile.GNU_FORMAT,
            encoding="utf-8",
            errors="surrogateescape",
        ) as tar:
            for name, full in entries:
                info = tar.gettarinfo(full, arcname=f"./{name}" if name else ".")
                info.uid = info.gid = 0
                info.uname = info.gname = ""
                info.mode &= 0o777
                info.mtime = max(0, int(info.mtime))
                if info.islnk():  # each name with its content: the plain form knows no other way
                    info.type, info.size = tarfile.REGTYPE, os.stat(full).st_size
                if info.isreg():
                    with open(full, "rb") as file:
                        tar.addfile(info, file)
                    files, size = files + 1, size + info.size
                else:
                    tar.addfile(info)
    else:
        files, size, script = _plain(entries, spool)
    content = spool.done()
    wire, count = _sum_of(content, tools.checksum)
    line = _line("t" if tools.tar else "p", tools.gzip, wire, count, "-", "-", "-", script)
    return Packed(content, line, count, files, size, tuple(skipped))


def _walk(top: Path) -> tuple[list[tuple[str, str]], list[str]]:
    """Names in the tree, parents first, and what is none of a file, directory or link."""
    entries, skipped = [("", os.fspath(top))], []

    def fail(error: OSError) -> None:
        raise error

    for directory, below, names in os.walk(top, onerror=fail):
        below.sort()
        for name in sorted([*below, *names]):
            full = os.path.join(directory, name)
            relative = os.path.relpath(full, top).replace(os.sep, "/")
            mode = os.lstat(full).st_mode
            if stat.S_ISDIR(mode) or stat.S_ISREG(mode) or stat.S_ISLNK(mode):
                entries.append((relative, full))
            else:
                skipped.append(f"{relative}: not a file, directory or link")
    return entries, skipped


def _plain(entries: list[tuple[str, str]], spool: _Spool) -> tuple[int, int, int]:
    """Contents one behind the other, and the commands that make a tree of them."""
    lines: list[bytes] = []
    last: list[bytes] = []
    links: list[bytes] = []
    files = size = 0
    for name, full in entries:
        found = os.lstat(full)
        word = _word(f"./{name}" if name else ".")
        mode, stamp = b"%o" % (found.st_mode & 0o777), _stamp(found.st_mtime).encode()
        if stat.S_ISDIR(found.st_mode):
            if name:
                lines.append(b"D " + word)
            last.append(b"M %s %s %s" % (mode, stamp, word))
        elif stat.S_ISLNK(found.st_mode):
            links.append(b"L %s %s" % (_word(os.readlink(full)), word))
        else:
            count = 0
            with open(full, "rb") as file:
                while data := file.read(_PIECE):
                    spool.write(data)
                    count += len(data)
            lines.append(b"F %d %d %s %s %s" % (size, count, mode, stamp, word))
            files, size = files + 1, size + count
    spool.write(b"\n".join([*lines, *links, *reversed(last), b""]))
    return files, size, size


def _word(name: str) -> bytes:
    return b"'" + os.fsencode(name).replace(b"'", b"'\\''") + b"'"


def _stamp(seconds: float) -> str:
    """A time as ``touch -t`` takes it, in UTC."""
    return time.strftime("%Y%m%d%H%M.%S", time.gmtime(min(max(0, int(seconds)), 253402300799)))


def _line(
    form: str, zipped: bool, wire: str, size: int, raw: str, mode: str, stamp: str, script: int
) -> str:
    return f"{form} {'z' if zipped else '-'} {wire} {size} {raw} {mode} {stamp} {script}\n"


def _sum_of(file: IO[bytes], kind: str) -> tuple[str, int]:
    digest, size = hasher(kind), 0
    file.seek(0)
    while data := file.read(_PIECE):
        digest.update(data)
        size += len(data)
    return digest.hexdigest(), size


class _Spool:
    """A temporary file, perhaps compressed."""

    def __init__(self, *, zipped: bool) -> None:
        self._file: IO[bytes] = tempfile.TemporaryFile(prefix="ecs-cp-")  # noqa: SIM115
        self._zip = zlib.compressobj(6, zlib.DEFLATED, 31) if zipped else None

    def write(self, data: bytes) -> int:
        """Append."""
        self._file.write(self._zip.compress(data) if self._zip is not None else data)
        return len(data)

    def done(self) -> IO[bytes]:
        """Return the file, complete."""
        if self._zip is not None:
            self._file.write(self._zip.flush())
        return self._file
