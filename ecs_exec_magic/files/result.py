"""What a copy did.

Knows counts. Never knows how it was done.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..views import size

__all__ = ["CopyResult"]


@dataclass(frozen=True)
class CopyResult:
    """A copy that has been done.

    Attributes:
        path: what there is now; in the container for ``put``, local for ``get``.
        files: how many.
        bytes: in them.
        wire_bytes: that crossed the channel.
        duration: seconds.
        verified: the checksum program's kind that both ends agreed by: ``sha256``, ``md5`` or
            ``cksum``; empty where the container has none of them, and sizes alone agree.
        skipped: what was not copied, each as a sentence: links that lead out of the tree, devices.
        resumed: how often it went on after a lost session.
        sha256: of a file's content, in hexadecimal; empty for a directory, and where the container
            has a checksum of another kind.
        session_id: of the last session.
    """

    path: str
    files: int
    bytes: int
    wire_bytes: int
    duration: float
    verified: str
    skipped: tuple[str, ...] = ()
    resumed: int = 0
    sha256: str = ""
    session_id: str = ""

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        printer.text(str(self))  # what a cell shows of it

    def __str__(self) -> str:
        many = "1 file" if self.files == 1 else f"{self.files} files"
        proof = f"{self.verified} agrees" if self.verified else "the container has no checksums"
        text = f"{many}, {size(self.bytes)} in {self.duration:.1f} s ({proof}): {self.path}"
        if self.skipped:
            text += f"; {len(self.skipped)} not copied"
        return text
