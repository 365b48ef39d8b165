"""Into a container: packed bytes to its script, which puts them in place when they agree.

Knows the order of things: ask what is there, pack, send, clean up. Never knows sessions.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import CopyFailed, EcsExecError, InvalidRequest, MethodUnavailable
from .farend import (
    LOST,
    TRIES,
    Words,
    absolute,
    base_name,
    command,
    kind_of_sum,
    local_failure,
    mark,
    refused,
)
from .packing import Packed, Tools, pack, pack_bytes
from .result import CopyResult

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from .farend import Runner

__all__ = ["put", "write_bytes"]

_CLEAN = """\
d=$1
[ -d "$d" ] || d=${d%/*}/
rm -rf "${d%/}/.ecs-cp-$2"* "${1%/*}/.ecs-cp-$2"* "${d%/}/$3/.ecs-cp-$2"*"""

_CLEAN_LIMIT = 20.0  # seconds that taking temporary files away may take


class _Sending:
    """One source on its way, over as many sessions as it takes."""

    def __init__(
        self,
        run: Runner,
        path: str,
        base: str,
        kind: str,
        make: Callable[[Tools], Packed],
        on_progress: Any,
        how: dict[str, Any],
    ) -> None:
        self._run = run
        self._path = path
        self._base = base
        self._kind = kind
        self._make = make
        self._on_progress = on_progress
        self._how = how
        self._id = secrets.token_hex(6)
        self._reached = 0
        self._failure: BaseException | None = None
        self.packed: Packed | None = None
        self.tools: Tools | None = None
        self.wire = 0
        self.resumed = 0
        self.where = ""
        self.session_id = ""

    def send(self) -> None:
        """Bring all of it there."""
        idle, done = 0, False
        try:
            while True:
                before = self._reached
                try:
                    done = self._attempt()
                    return
                except LOST:
                    idle = idle + 1 if self._reached == before else 0
                    if idle >= TRIES:
                        raise
                    self.resumed += 1
        finally:
            if not done:
                self._clean()
            if self.packed is not None:
                self.packed.content.close()

    def _attempt(self) -> bool:
        begin = mark()
        self._words, self._out = Words(begin), Words(begin)
        self._ready, self._over = threading.Event(), False
        arguments = (self._path, self._base, self._kind, self._id, begin)
        how = {**self._how, "stdin": self._input(), "on_output": self._take, "max_bytes": 0}
        try:
            result = self._run(command("put.sh", *arguments), **how)
        except EcsExecError:
            if self._failure is not None:
                raise self._failure from None
            raise
        finally:
            self._over = True
            self._ready.set()
        self.session_id = result.session_id
        self._words.end()
        self._out.end()
        where = self._out.told.get("R")
        if result.exit_code != 0 or where is None:
            what = f"{self._path} cannot be written"
            raise refused(what, self._words.said, result.exit_code)
        self.where = "\n".join([where[-1], *self._out.said])
        return True

    def _take(self, event: Any) -> None:
        (self._words if event.stream == "stderr" else self._out).feed(event.data)
        if not self._ready.is_set() and "H" in self._out.told:
            self._ready.set()

    def _input(self) -> Iterator[bytes]:
        """What the script gets once it has said what it can take; read in a thread of its own."""
        self._ready.wait()
        if self._over:
            return
        offset, tar, zips, program = self._out.last("H").split()
        try:
            if self.packed is None:
                self.tools = Tools(tar == "t", zips == "z", kind_of_sum(program))
                self.packed = self._make(self.tools)
            yield self.packed.line.encode("ascii")
            self._reached = sent = int(offset)
            for piece in self.packed.pieces(sent):
                for begin in range(0, len(piece), 4096):
                    part = piece[begin : begin + 4096]
                    yield part
                    sent += len(part)
                    self.wire += len(part)
                    self._reached = max(self._reached, sent)
                    if self._on_progress is not None:
                        self._on_progress(sent, self.packed.size)
        except OSError as error:
            self._failure = error
            raise CopyFailed(f"it cannot be read: {error}") from error

    def _clean(self) -> None:
        """Take away what may lie there, if anybody is there to ask."""
        if self.tools is None:  # nothing was sent, and the script keeps nothing that is empty
            return
        arguments = ["sh", "-c", _CLEAN, "ecs-cp", self._path, self._id, self._base]
        with contextlib.suppress(EcsExecError):
            self._run(arguments, timeout=_CLEAN_LIMIT)


def put(
    run: Runner,
    local: str | os.PathLike[str],
    remote: str | bytes | os.PathLike[str],
    *,
    on_progress: Callable[[int, int | None], object] | None = None,
    **how: Any,
) -> CopyResult:
    """Copy a file or directory into a container; see :meth:`Target.put`."""
    source = Path(os.path.expanduser(os.fspath(local)))
    text = os.fspath(local)
    what = f"{text} cannot be copied"
    try:
        kind = "d" if source.is_dir() else "f"
        if kind == "f":
            with open(source, "rb"):
                pass
    except OSError as error:
        raise local_failure(what, error) from error
    if kind == "f" and text.endswith(("/", os.sep)):
        raise CopyFailed(f"{text} is not a directory", cure="leave out the slash")
    base = base_name(text.replace(os.sep, "/")) if kind == "d" else source.name
    return _put(
        run, absolute(remote), base, kind, lambda tools: pack(source, tools), on_progress, how, what
    )


def write_bytes(
    run: Runner,
    remote: str | bytes | os.PathLike[str],
    data: bytes,
    *,
    mode: int | None = None,
    **how: Any,
) -> CopyResult:
    """Make a file of bytes in a container; see :meth:`Target.write_bytes`."""
    path = absolute(remote)
    if base_name(path) == "." or path.endswith("/"):
        raise InvalidRequest(f"{path} is a directory", cure="give the path of a file")
    if mode is not None and not 0 <= mode <= 0o777:
        raise InvalidRequest(f"the mode {mode!r} is not one of permissions", cure="as in 0o644")
    said = "=" if mode is None else f"{mode:o}"
    what = f"{path} cannot be written"

    def make(tools: Tools) -> Packed:
        return pack_bytes(data, tools, said)

    return _put(run, path, "", "f", make, None, how, what)


def _put(
    run: Runner,
    path: str,
    base: str,
    kind: str,
    make: Callable[[Tools], Packed],
    on_progress: Any,
    how: dict[str, Any],
    what: str,
) -> CopyResult:
    if how.get("method") == "start-session":
        raise MethodUnavailable(
            'method="start-session" cannot write files',
            cause="the agent gives such a session's command no input (PROTOCOL 6.12)",
            cure='use method="execute-command"; reading files works with both',
        )
    began = time.monotonic()
    sending = _Sending(run, path, base, kind, make, on_progress, how)
    try:
        sending.send()
    except OSError as error:
        if isinstance(error, EcsExecError):
            raise
        raise local_failure(what, error) from error
    assert sending.packed is not None
    assert sending.tools is not None
    return CopyResult(
        path=sending.where,
        files=sending.packed.files,
        bytes=sending.packed.total,
        wire_bytes=sending.wire,
        duration=time.monotonic() - began,
        verified=sending.tools.checksum,
        skipped=sending.packed.skipped,
        resumed=sending.resumed,
        sha256=sending.packed.raw if sending.tools.checksum in ("sha256", "") else "",
        session_id=sending.session_id,
    )
