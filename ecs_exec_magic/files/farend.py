"""The scripts that run in the container, and what their words mean.

Knows how a script is handed over, checksums, and a failure's own words. Never knows local files.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.resources
import os
import re
import secrets
from collections.abc import Callable
from typing import Any, Protocol

from ..cleaning import plain
from ..errors import ConnectError, CopyFailed, SessionLost
from ..remote.decoder import Cksum
from ..results import CommandResult

__all__ = [
    "LOST",
    "TRIES",
    "Hash",
    "Runner",
    "Words",
    "absolute",
    "base_name",
    "command",
    "hasher",
    "kind_of_sum",
    "local_failure",
    "mark",
    "mode_of",
    "refused",
]

Runner = Callable[..., CommandResult]
"""A function that runs a command: :meth:`Target.run`."""

LOST = (SessionLost, ConnectError)
"""What ends one session and leaves the copy to go on in another."""

TRIES = 4
"""Sessions in a row that bring nothing, after which a copy gives up."""

_CURES = (
    ("No space left", "the disk there is full", "make room, or copy to another file system"),
    ("Disk quota", "the disk quota there is used up", "make room, or copy elsewhere"),
    ("Read-only file system", "it cannot be written", "copy to a volume, or to /tmp if it has one"),
    ("Permission denied", "the user in the container may not", "choose another path"),
    ("Operation not permitted", "the user in the container may not", "choose another path"),
    ("No such file", "there is no such path in the container", "target.listdir() lists one"),
    ("nonexistent", "there is no such path in the container", "target.listdir() lists one"),
    ("link to a directory", "links are never followed on writing", "name where it leads to"),
    ("irectory", "one is a directory and the other is not", "choose another path"),
    ("removed before we read", "a part of it was removed meanwhile", "copy it again"),
    ("hanged as we read", "it is being written to", "copy it again, or a copy of it"),
    ("not found", "the image lacks a tool", "add coreutils to the image"),
)


class Hash(Protocol):
    """A checksum that grows."""

    def update(self, data: bytes, /) -> None: ...
    def hexdigest(self) -> str: ...


class _Crc:
    """POSIX ``cksum`` with the face of a hash: its first word."""

    def __init__(self) -> None:
        self._sum = Cksum()

    def update(self, data: bytes, /) -> None:
        self._sum.update(data)

    def hexdigest(self) -> str:
        return str(self._sum.value())


def kind_of_sum(program: str) -> str:
    """The checksum of a far end's program, as its header names it; empty when it has none."""
    word = program.removesuffix("-")
    return {"md5sum": "md5", "cksum": "cksum", "": ""}.get(word, "sha256")


def hasher(kind: str) -> Hash:
    """A checksum of that kind; SHA-256 where the far end has none."""
    if kind == "cksum":
        return _Crc()
    return hashlib.md5(usedforsecurity=False) if kind == "md5" else hashlib.sha256()


@functools.cache
def _script(name: str) -> str:
    source = importlib.resources.files(__package__).joinpath(name).read_text("utf-8")
    return "\n".join(line for line in source.splitlines() if line and line[0] != "#")


def command(name: str, *arguments: str) -> list[str | bytes]:
    """The arguments that run one of the scripts."""
    return ["sh", "-c", _script(name), "ecs-cp", *arguments]


def mark() -> str:
    """What begins the scripts' own lines, among those of tools."""
    return f"ecs-cp-{secrets.token_hex(6)}"


def absolute(path: str | bytes | os.PathLike[str]) -> str:
    """A path in the container that no tool takes for an option."""
    text = os.fsdecode(path)
    return text if text.startswith("/") else f"./{text}"


def base_name(path: str) -> str:
    """The last part, as cp takes it; ``.`` where the content is meant and not the directory."""
    last = path.rstrip("/").rpartition("/")[2]
    return "." if last in ("", ".", "..") else last


def mode_of(word: str) -> int | None:
    """Permission bits, of octal digits or of what ``ls -l`` says."""
    if re.fullmatch(r"[0-7]{1,5}", word):
        return int(word, 8) & 0o777
    if re.fullmatch(r".[rwxsStT-]{9}.?", word):
        bits = [char not in "-ST" for char in word[1:10]]
        return sum(bit << (8 - place) for place, bit in enumerate(bits))
    return None


class Words:
    """What comes on stderr: the script's own lines, and those of the tools that it runs."""

    def __init__(self, begin: str) -> None:
        self.told: dict[str, list[str]] = {}
        self.said: list[str] = []
        self._begin = begin.encode()
        self._rest = b""

    def feed(self, data: bytes) -> None:
        """Take a piece."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            self._line(line)

    def end(self) -> None:
        """Nothing more comes."""
        if self._rest:
            self._line(self._rest)
        self._rest = b""

    def last(self, key: str) -> str:
        """What the script told last under that letter."""
        return (self.told.get(key) or [""])[-1]

    def _line(self, line: bytes) -> None:
        # A tool may have left its own line open.
        before, found, after = line.partition(self._begin + b" ")
        if found:
            key, _, value = os.fsdecode(after).partition(" ")
            self.told.setdefault(key, []).append(value)
        if before.strip() and len(self.said) < 50:
            self.said.append(before.decode("utf-8", "replace"))


def refused(what: str, said: list[str], code: int | None, result: Any = None) -> CopyFailed:
    """The error for a copy that the far end could not do, in its own words."""
    words = [plain(line).strip()[:300] for line in said if line.strip()]
    told = words[-1] if words else f"it ended with exit code {code}"
    if code == 80 and not words:  # put.sh: a tool failed
        told = "a tool failed there without a word, as when it is killed"
    if code is not None and 128 < code < 160:
        told = f"the copying command was killed there (exit code {code})"
    for sign, cause, cure in _CURES:
        if any(sign in line for line in words):
            shown = next(line for line in words if sign in line)
            return CopyFailed(f"{what}: {shown}", cause=cause, cure=cure, result=result)
    return CopyFailed(f"{what}: {told}", result=result)


def local_failure(what: str, error: OSError) -> CopyFailed:
    """The error for what this machine could not do."""
    told = error.strerror or str(error)
    name = f" ({os.fsdecode(error.filename)})" if isinstance(error.filename, str | bytes) else ""
    for sign, _, cure in _CURES[:5]:
        if sign in told:
            return CopyFailed(f"{what}: {told}{name}", cause="this machine refused it", cure=cure)
    return CopyFailed(f"{what}: {told}{name}", cause="this machine refused it")
