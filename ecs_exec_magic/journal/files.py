"""A directory that keeps lines and large texts, for its owner alone.

Knows files, and several processes that write to them at once. Never knows what is in them.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import secrets
import stat
import time
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

__all__ = ["Folder"]

_OURS = 0o600
# Absent on Windows; a symbolic link in a directory that came with a notebook must not lead our
# lines into another file.
_FLAGS = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
_DAY = 24 * 3600.0


class Folder:
    """A directory of ours, made when something is first written.

    Attributes:
        path: of the directory.
        lines_path: of the file of lines.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.lines_path = path / "history.jsonl"
        self._outputs = path / "outputs"

    # -- lines -----------------------------------------------------------------------------------

    def append(self, data: bytes) -> None:
        """Append whole lines, in one piece, beside whoever else does.

        Raises:
            OSError: it cannot be written, or only in part.
        """
        self._make()
        descriptor = os.open(self.lines_path, os.O_RDWR | os.O_APPEND | os.O_CREAT | _FLAGS, _OURS)
        try:
            state = os.fstat(descriptor)
            if not stat.S_ISREG(state.st_mode):
                raise OSError(errno.EINVAL, "not a regular file", str(self.lines_path))
            if os.name == "posix" and state.st_mode & 0o077:
                os.fchmod(descriptor, _OURS)  # it was there before us
            if state.st_size:
                os.lseek(descriptor, state.st_size - 1, os.SEEK_SET)
                if os.read(descriptor, 1) != b"\n":
                    data = (
                        b"\n" + data
                    )  # somebody's last line was torn; it must not take ours along
            if os.write(descriptor, data) != len(data):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.lines_path))
        finally:
            os.close(descriptor)

    def lines(self) -> Iterator[bytes]:
        """All lines; the last may be torn.

        Raises:
            OSError: they cannot be read. That there are none is no error.
        """
        try:
            descriptor = os.open(self.lines_path, os.O_RDONLY | _FLAGS)
        except FileNotFoundError:
            return
        with open(descriptor, "rb") as file:
            yield from file

    # -- large texts -----------------------------------------------------------------------------

    def keep(self, pieces: Iterable[bytes]) -> str:
        """Keep a text; the same text is kept once.

        Returns:
            its name, which is the SHA-256 of it.

        Raises:
            OSError: it cannot be written; nothing is left of it.
        """
        self._make()
        self._outputs.mkdir(mode=0o700, exist_ok=True)
        self._tidy()
        part = self._outputs / f".part-{os.getpid()}-{secrets.token_hex(4)}"
        digest = hashlib.sha256()
        try:
            with open(
                os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _FLAGS, _OURS), "wb"
            ) as file:
                for piece in pieces:
                    digest.update(piece)
                    file.write(piece)
            name = digest.hexdigest()
            os.replace(part, self._outputs / name)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(part)
            raise
        return name

    def kept(self, name: str) -> IO[bytes]:
        """Open a text that was kept.

        Raises:
            OSError: it is gone or cannot be read.
        """
        return open(os.open(self._outputs / name, os.O_RDONLY | _FLAGS), "rb")

    def _make(self) -> None:
        try:
            self.path.mkdir(mode=0o700, parents=True)
        except FileExistsError:
            if not self.path.is_dir():
                raise
        with contextlib.suppress(FileExistsError):
            ignore = os.open(
                self.path / ".gitignore", os.O_WRONLY | os.O_CREAT | os.O_EXCL | _FLAGS, _OURS
            )
            with open(ignore, "wb") as file:
                file.write(b"*\n")

    def _tidy(self) -> None:
        """Take away what processes left that were killed while they kept something."""
        with contextlib.suppress(OSError):
            for part in self._outputs.glob(".part-*"):
                if part.stat().st_mtime < time.time() - _DAY:
                    part.unlink()
