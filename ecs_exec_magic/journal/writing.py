"""Recording a run: before it begins, and when it has ended.

Knows what to keep of a run, masked. Never knows what runs it, and never stops it: a record that
cannot be written is told once, and the run goes on.
"""

from __future__ import annotations

import codecs
import contextlib
import hashlib
import os
import secrets
import shlex
import threading
import time
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from .. import __version__
from ..capture import Capture
from ..errors import InvalidRequest
from ..masking import Masker, mask
from . import lines
from .files import Folder
from .processes import this_process

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from ..address import ContainerRef
    from .records import Record

__all__ = ["INLINE_BYTES", "Entry", "Journal"]

INLINE_BYTES = 64 * 1024
"""Outputs up to this size stand in the record; larger ones lie beside it."""

_STEP = 1024 * 1024
_LONGEST_MESSAGE = 4000
_DIGITS = "0123456789abcdefghjkmnpqrstvwxyz"  # no i, l, o and u: they look like others


class Journal:
    """The record of all runs in a directory; several processes may write it at once.

    Args:
        directory: made when the first run is recorded, for its owner alone.
        mask: mask secrets in all that is stored.
    """

    def __init__(self, directory: Path, mask: bool = True) -> None:
        self.directory = directory
        self.mask = mask
        self._folder = Folder(directory)
        self._lock = threading.Lock()
        self._last = 0
        self._told = False

    def __repr__(self) -> str:
        return f"<Journal in {self.directory}>"

    def begin(
        self,
        kind: str,
        command: str | Sequence[str | bytes],
        *,
        target: ContainerRef | None = None,
        address: str = "",
        interpreter: str = "",
        identity: str = "",
        notebook: str = "",
        group: str = "",
    ) -> Entry:
        """Record that a run begins; what this returns has to be told of its end.

        It never fails: what went wrong is said in :attr:`Entry.notice`.

        Args:
            kind: ``exec``, ``shell``, ``fleet``, ``copy``, ``terminal`` or ``forward``.
            command: a string, or a list of arguments.
            target: the container, if it is known already.
            address: the target as it was asked for.
            interpreter: what reads the command, when that is not the shell.
            identity: ARN of the user, if it is known already.
            notebook: name or path of the notebook.
            group: the same for the runs of one command in several containers.
        """
        started = datetime.now(timezone.utc)
        entry = Entry(self, self._folder, self._new_id(started))
        with entry._guarded():
            process = this_process()
            entry._unwritten = lines.line(
                "begin",
                {
                    "id": entry.id,
                    "at": lines.time_text(started),
                    "kind": kind,
                    "command": entry._masked_command(command),
                    "interpreter": interpreter,
                    "address": address,
                    "target": lines.container_fields(target) if target is not None else None,
                    "group": group,
                    "identity": identity,
                    "notebook": notebook,
                    "pid": process.pid,
                    "process": process.started,
                    "host": process.host,
                    "version": __version__,
                    "masked": entry.masked,
                },
            )
            entry._write(b"")
        return entry

    def read(self) -> list[Record]:
        """All runs, in the order in which they began.

        Raises:
            InvalidRequest: the record is there, but cannot be read.
        """
        try:
            return lines.records(self._folder.lines(), self._folder)
        except OSError as error:
            raise InvalidRequest(
                f"the record of runs in {self.directory} cannot be read: {error.strerror}"
            ) from None

    def _new_id(self, moment: datetime) -> str:
        """Sortable by time, unique, and short enough to be typed."""
        with self._lock:
            number = self._last = max(self._last + 1, int(moment.timestamp() * 1000))
        digits = ""
        for _ in range(9):
            number, digit = divmod(number, 32)
            digits = _DIGITS[digit] + digits
        return digits + "".join(secrets.choice(_DIGITS) for _ in range(4))

    def _tell(self, text: str) -> str:
        """What to say about a failure: nothing if the one before was told."""
        told, self._told = self._told, bool(text)
        return "" if told else text


class Entry:
    """A run that was recorded to begin.

    Attributes:
        id: of its record.
        notice: one line to show to the user when it could not be recorded; else empty.
        masked: secrets masked so far in what was stored.
    """

    def __init__(self, journal: Journal, folder: Folder, name: str) -> None:
        self.id = name
        self.notice = ""
        self.masked = 0
        self._journal = journal
        self._folder = folder
        self._begun = time.monotonic()
        self._unwritten = b""  # the first line, when it could not be written
        self._finished = False

    def finish(
        self,
        result: Any = None,
        error: BaseException | None = None,
        *,
        target: ContainerRef | None = None,
        identity: str = "",
    ) -> str:
        """Record how the run ended. It never fails, and counts once.

        Args:
            result: the CommandResult, or what has such attributes; where it is None, that of the
                error is taken.
            error: what the run raised.
            target: the container, if it was not known at the beginning.
            identity: ARN of the user, likewise.

        Returns:
            one line to show to the user when it could not be recorded; else nothing.
        """
        if self._finished:
            return ""
        self._finished = True
        self.notice = ""
        if result is None:
            result = getattr(error, "result", None)
        with self._guarded():
            self.masked, before = 0, self.masked  # of this line alone, while it is made
            values = self._end(result, error, target, identity)
            try:
                for name in ("stdout", "stderr"):
                    values[name] = {"lost": "was not stored: it was interrupted"}
                    values[name] = self._stored(getattr(result, f"captured_{name}", None))
            finally:  # whoever does not want to wait for large outputs still gets the rest
                self._write(lines.line("end", {**values, "masked": self.masked}))
                self.masked += before
        return self.notice

    # -- what is kept ----------------------------------------------------------------------------

    def _end(
        self,
        result: Any,
        error: BaseException | None,
        target: ContainerRef | None,
        identity: str,
    ) -> dict[str, Any]:
        elapsed = time.monotonic() - self._begun
        target = target or getattr(result, "target", None)
        return {
            "id": self.id,
            "at": lines.time_text(datetime.now(timezone.utc)),
            "duration": round(getattr(result, "duration", 0.0) or elapsed, 3),
            "exit_code": getattr(result, "exit_code", None),
            "signal": getattr(result, "signal", None) or "",
            "timed_out": bool(getattr(result, "timed_out", False)),
            "interrupted": isinstance(error, KeyboardInterrupt),
            "exact": bool(getattr(result, "exact", False)),
            "missing": self._masked(getattr(result, "missing", "")),
            "error": type(error).__name__ if error is not None else "",
            "message": self._masked(_message(error)) if error is not None else "",
            "cause": self._masked(getattr(error, "cause", "") or ""),
            "session_id": getattr(result, "session_id", ""),
            "request_id": getattr(result, "request_id", "") or getattr(error, "request_id", ""),
            "target": lines.container_fields(target) if target is not None else None,
            "identity": identity,
            **({"traffic": traffic} if (traffic := getattr(result, "traffic", None)) else {}),
        }

    def _stored(self, capture: Capture | None) -> dict[str, Any]:
        capture = capture or Capture()
        values: dict[str, Any] = {"size": len(capture), "truncated": capture.truncated}
        digest = hashlib.sha256()
        masker = Masker() if self._journal.mask else None
        try:
            pieces = _pieces(capture, digest, masker)
            if len(capture) <= INLINE_BYTES:
                whole = b"".join(pieces)
                try:
                    values["text"] = whole.decode()
                except UnicodeDecodeError:
                    values["kept"] = self._folder.keep([whole])
            else:
                values["kept"] = self._folder.keep(pieces)
        except OSError as error:
            values["lost"] = f"could not be stored: {error.strerror}"
            self._tell(error)
            digest = hashlib.sha256()
            for _ in _pieces(capture, digest, None):
                pass
        values["sha256"] = digest.hexdigest()
        values["masked"] = masker.count if masker else 0
        self.masked += values["masked"]
        return values

    def _masked_command(self, command: str | Sequence[str | bytes]) -> str | list[str]:
        if isinstance(command, str):
            return self._masked(command)
        words = [os.fsdecode(word) for word in command]
        whole = shlex.join(words)  # an option and its value are words apart
        masked = self._masked(whole)
        return words if masked == whole else masked

    def _masked(self, text: str) -> str:
        if not self._journal.mask:
            return text
        masked = mask(text)
        self.masked += masked.count
        return masked.text

    # -- writing ---------------------------------------------------------------------------------

    def _write(self, data: bytes) -> None:
        self._folder.append(self._unwritten + data)
        self._unwritten = b""
        self._journal._tell("")

    def _tell(self, error: Exception) -> None:
        reason = (error.strerror if isinstance(error, OSError) else "") or str(error)
        text = f"runs are not recorded in {self._journal.directory}: {reason}"
        self.notice = self._journal._tell(text) or self.notice

    @contextlib.contextmanager
    def _guarded(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # noqa: BLE001 - whatever it is, the run matters more
            self._tell(error)


def _message(error: BaseException) -> str:
    try:
        return str(error)[:_LONGEST_MESSAGE]
    except Exception:  # noqa: BLE001 - an error that cannot even say what it is
        return ""


def _pieces(capture: Capture, digest: Any, masker: Masker | None) -> Iterator[bytes]:
    """What a command printed, masked; the digest is that of what it printed."""
    # Bytes that are not UTF-8 go through as they are.
    decoder = codecs.getincrementaldecoder("utf-8")("surrogateescape")
    for start in range(0, len(capture), _STEP):
        data = capture.read(start, _STEP)
        digest.update(data)
        if masker is not None:
            text = masker.feed(decoder.decode(data))
            data = text.encode("utf-8", "surrogateescape")
        yield data
    if masker is not None:
        text = masker.feed(decoder.decode(b"", True)) + masker.flush()
        yield text.encode("utf-8", "surrogateescape")
