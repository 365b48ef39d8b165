"""A finished tree put in place of, or into, a directory.

Knows renames. Never knows what is in the files.
"""

from __future__ import annotations

import contextlib
import os
import secrets
from typing import TYPE_CHECKING

from ..errors import CopyFailed

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["install", "new_name"]


def new_name(parent: Path) -> Path:
    """A name for something temporary, on the file system where it will be needed."""
    return parent / f".ecs-cp-{secrets.token_hex(6)}"


def install(tree: Path, final: Path) -> None:
    """Move a tree to its place; into a directory that is there, as cp does.

    Every file is replaced in one step. What cannot be is found before anything is moved.

    Raises:
        CopyFailed: a file is where a directory is to be, or the other way round.
    """
    if not final.is_dir():
        # A directory that its owner cannot write into cannot be renamed by him either.
        mode = tree.stat().st_mode & 0o777
        tree.chmod(mode | 0o700)
        os.replace(tree, final)
        final.chmod(mode)
        return
    _merge(tree, final, move=False)
    _merge(tree, final, move=True)


def _merge(source: Path, final: Path, *, move: bool) -> None:
    if move:
        with contextlib.suppress(OSError):
            source.chmod(0o700)
    with os.scandir(source) as found:
        entries = list(found)
    for entry in entries:
        there = final / entry.name
        directory = there.is_dir() and not there.is_symlink()
        if entry.is_dir(follow_symlinks=False):
            if directory:
                _merge(source / entry.name, there, move=move)
            elif there.is_symlink() or there.exists():
                raise CopyFailed(
                    f"{there} is not a directory, and a directory is to be there",
                    cause="links are not written through" if there.is_symlink() else "",
                    cure="nothing was copied; choose another path",
                )
            elif move:
                install(source / entry.name, there)
        elif directory:
            raise CopyFailed(
                f"{there} is a directory, and none is to be there",
                cure="nothing was copied; choose another path",
            )
        elif move:
            os.replace(entry.path, there)
