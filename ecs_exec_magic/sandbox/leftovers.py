"""The directories of sandboxes: each is locked while its sandbox lives.

Knows files and locks. Never knows what is kept in them.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

__all__ = ["Home", "remove", "sweep"]

_PREFIX = "ecs-exec-magic-"
_LOCK = ".lock"


class Home:
    """A new directory for temporary files, its owner's alone; a context manager.

    When its process is killed, the next :func:`sweep` removes it.

    Attributes:
        path: the directory.
    """

    def __init__(self) -> None:
        self.path = Path(tempfile.mkdtemp(prefix=_PREFIX))
        name = self.path / f"{_LOCK}.new"
        self._lock = os.open(name, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        name.rename(self.path / _LOCK)  # whoever finds it finds it locked
        self._open = True

    def close(self) -> None:
        """Remove the directory; harmless when repeated."""
        if self._open:
            self._open = False
            remove(self.path)
            os.close(self._lock)

    def __enter__(self) -> Path:
        return self.path

    def __exit__(self, *_exc: object) -> None:
        self.close()


def sweep() -> list[Path]:
    """Remove the directories whose process was killed; return them. Blocks."""
    removed = []
    for path in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError):
            if path.is_symlink() or path.stat().st_uid != os.geteuid():
                continue
            lock = os.open(path / _LOCK, os.O_RDWR | os.O_NOFOLLOW)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                remove(path)
                removed.append(path)
            finally:
                os.close(lock)
    return removed


def remove(root: Path) -> None:
    """Remove a directory that a container may have made hard to remove. Blocks."""
    if not root.exists():
        return
    top = os.fspath(root)

    def open_up(function: Any, path: Any, _error: Any) -> None:
        """A directory that its owner may not enter is still ours to remove; above ours, none is."""
        path = os.fspath(path)
        for directory in (os.path.dirname(path), path) if path != top else (path,):
            if os.path.isdir(directory) and not os.path.islink(directory):
                os.chmod(directory, 0o700)
        if function in (os.scandir, os.listdir, os.open):
            shutil.rmtree(path, ignore_errors=True)
        elif os.path.lexists(path):
            function(path)

    if sys.version_info >= (3, 12):
        shutil.rmtree(root, onexc=open_up)
    else:
        shutil.rmtree(root, onerror=open_up)
