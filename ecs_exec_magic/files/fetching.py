"""Out of a container: a stream of bytes from it, and what is made of them here.

Knows the order of things: receive, compare, unpack, put in place. Never knows sessions.
"""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import time
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from ..errors import CopyFailed, InvalidRequest
from .farend import (
    LOST,
    TRIES,
    Words,
    absolute,
    base_name,
    command,
    hasher,
    kind_of_sum,
    local_failure,
    mark,
    mode_of,
    refused,
)
from .result import CopyResult
from .trees import install, new_name
from .unpacking import unpack

if TYPE_CHECKING:
    from collections.abc import Callable

    from .farend import Hash, Runner

__all__ = ["get", "listdir", "read_bytes"]

_LIST = """\
cd "$1" || exit
for f in * .[!.]* ..?*; do
[ -L "$f" ] || [ -e "$f" ] || continue
[ ! "$2" ] || [ ! -d "$f" ] || f=$f/
printf "%s\\0" "$f"
done"""


@dataclass(frozen=True)
class Header:
    """What the far end says before it sends anything.

    Attributes:
        kind: ``f`` a file, ``t`` a directory as tar, ``p`` a directory as plain entries.
        offset: where in the whole the bytes that come begin.
        size: of a file; 0 where it cannot be known.
    """

    kind: str
    zipped: bool
    checksum: str
    offset: int
    mode: int | None
    size: int
    time: int | None

    @classmethod
    def parse(cls, line: str) -> Header:
        """Read its line, without the mark."""
        _, kind, zipped, program, offset, mode, size, seconds = line.split(" ")
        when = int(seconds) if seconds.lstrip("-").isdigit() else None
        return cls(
            kind, zipped == "z", kind_of_sum(program), int(offset), mode_of(mode), int(size), when
        )


class _Stream:
    """The bytes of one source, over as many sessions as it takes."""

    def __init__(
        self, run: Runner, path: str, into: IO[bytes], on_progress: Any, how: dict[str, Any]
    ) -> None:
        self._run = run
        self._path = path
        self._into = into
        self._on_progress = on_progress
        self._how = how
        self._sum: Hash | None = None
        self._header: Header | None = None
        self._unzip: Any = None
        self.written = 0
        self.wire = 0
        self.resumed = 0
        self.verified = ""
        self.session_id = ""
        self.skipped: list[str] = []

    def receive(self) -> Header:
        """Bring all of it here, and compare."""
        idle = 0
        while True:
            before = self.written
            try:
                return self._attempt()
            except LOST:
                idle = idle + 1 if self.written == before else 0
                if idle >= TRIES:
                    raise
                self.resumed += 1

    def _attempt(self) -> Header:
        begin = mark()
        self._unzip = None
        self._words, self._line, self._begin = Words(begin), b"", begin.encode() + b" H "
        self._header = None
        how = {**self._how, "on_output": self._take, "max_bytes": 0}
        result = self._run(command("get.sh", self._path, str(self.written), begin), **how)
        self.session_id = result.session_id
        self._words.end()
        what, header = f"{self._path} cannot be copied", self._said()
        status = self._words.last("S")
        # GNU tar's 1: something was written to meanwhile, and what was there at first is here.
        fine = status == "0" or (status == "1" and self._only_changed())
        if header is None or result.exit_code != 0 or not fine:
            raise refused(what, self._words.said, result.exit_code if status in ("", "0") else None)
        if header.zipped and not self._unzipped():
            raise CopyFailed(f"{what}: what came ends in the middle")
        if header.kind == "f" and self.written < header.size and self._shrunk(header.size):
            raise CopyFailed(
                f"{what}: {self.written} of {header.size} bytes came",
                cause="it became shorter while it was copied",
                cure="copy it again, or a copy of it",
            )
        told = self._words.last("D").split()
        if header.checksum and told:
            assert self._sum is not None
            if told[0] != self._sum.hexdigest():
                raise CopyFailed(
                    f"{what}: the {header.checksum} of what came is not that of what is there",
                    cause="it was changed while it was copied" if self.resumed else "",
                    cure="copy it again",
                )
            self.verified = header.checksum
        elif header.size and header.kind == "f" and header.size != self.written:
            raise CopyFailed(f"{what}: {self.written} of {header.size} bytes came")
        others = self._words.told.get("X", [])
        self.skipped += [f"{name}: not a file, directory or link" for name in others]
        return header

    def sha256(self) -> str:
        """Of a file that has come whole, if that is the kind of checksum."""
        header = self._header
        if header is None or header.kind != "f" or self._sum is None:
            return ""
        return self._sum.hexdigest() if header.checksum in ("sha256", "") else ""

    def _said(self) -> Header | None:
        """The header, which came while another thread ran."""
        return self._header

    def _shrunk(self, size: int) -> bool:
        """Whether the file is shorter than at first: some of the kernel's own always claim more."""
        now = self._words.last("Z").split()
        return len(now) > 1 and now[1].isdigit() and int(now[1]) < size

    def _unzipped(self) -> bool:
        return self._unzip is not None and bool(self._unzip.eof)

    def _only_changed(self) -> bool:
        said = self._words.said
        signs = ("hanged as we read it", "socket ignored")
        return bool(said) and all(any(sign in line for sign in signs) for line in said)

    def _take(self, event: Any) -> None:
        if event.stream == "stderr":
            self._words.feed(event.data)
            return
        data = event.data
        self.wire += len(data)
        if self._header is None:
            self._line += data
            line, newline, data = self._line.partition(b"\n")
            if not newline:
                return
            self._begun(line)
        assert self._header is not None
        if self._unzip is not None:
            data = self._unzip.decompress(data)
        self._write(data)

    def _begun(self, line: bytes) -> None:
        before, found, rest = line.partition(self._begin)
        if not found:
            raise CopyFailed(f"the container's shell says {before[:200]!r} where a header belongs")
        header = Header.parse("H " + rest.decode("ascii", "replace"))
        self._header = header
        self._unzip = zlib.decompressobj(31) if header.zipped else None
        if header.offset != self.written:  # the far end cannot begin in the middle
            self._into.seek(0)
            self._into.truncate()
            self.written, self._sum = 0, None
        if self._sum is None:
            self._sum = hasher(header.checksum)

    def _write(self, data: bytes) -> None:
        if not data:
            return
        assert self._header is not None
        assert self._sum is not None
        self._into.write(data)
        self._sum.update(data)
        self.written += len(data)
        if self._on_progress is not None:
            total = self._header.size if self._header.kind == "f" else 0
            self._on_progress(self.written, total or None)


def get(
    run: Runner,
    remote: str | bytes | os.PathLike[str],
    local: str | os.PathLike[str] = ".",
    *,
    on_progress: Callable[[int, int | None], object] | None = None,
    **how: Any,
) -> CopyResult:
    """Copy a file or directory out of a container; see :meth:`Target.get`."""
    began = time.monotonic()
    source = absolute(remote)
    if not source.strip("/"):
        raise InvalidRequest("/ is the whole container", cure="name a directory in it")
    wanted = os.path.expanduser(os.fspath(local))
    final = Path(wanted)
    base = base_name(source)
    if final.is_dir() and base != ".":
        final = final / base
    named = base == "." and final.is_dir()  # by the user himself: it may be a link
    parent = final if named or (final.is_dir() and not final.is_symlink()) else final.parent
    if not parent.is_dir():
        raise InvalidRequest(f"there is no directory {parent}", cure="make it first")
    temporary = new_name(parent)
    what = f"{source} cannot be copied to {final}"
    try:
        with open(_created(temporary), "r+b") as file:
            stream = _Stream(run, source, file, on_progress, how)
            header = stream.receive()
            file.flush()
            if header.kind == "f":
                _check_file(final, wanted)
                temporary.chmod(0o644 if header.mode is None else header.mode)
                files, size = 1, stream.written
            else:
                _check_directory(final, named)
                tree = new_name(parent)
                try:
                    file.seek(0)
                    files, size, skipped = unpack(file, tree, tar=header.kind == "t")
                    stream.skipped += skipped
                    if header.kind == "p" and header.mode is not None and not final.exists():
                        tree.chmod(header.mode)
                    install(tree, final)
                finally:
                    if tree.exists():
                        _remove_tree(tree)
        if header.kind == "f":
            if header.time is not None:
                os.utime(temporary, (header.time, header.time))
            os.replace(temporary, final)
    except OSError as error:
        if isinstance(error, CopyFailed | ConnectionError):
            raise
        raise local_failure(what, error) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()
    return CopyResult(
        path=os.fspath(final),
        files=files,
        bytes=size,
        wire_bytes=stream.wire,
        duration=time.monotonic() - began,
        verified=stream.verified,
        skipped=tuple(stream.skipped),
        resumed=stream.resumed,
        sha256=stream.sha256(),
        session_id=stream.session_id,
    )


def _check_file(final: Path, wanted: str) -> None:
    cure = "nothing was copied; choose another path"
    if final.is_dir() and not final.is_symlink():
        raise CopyFailed(f"{final} is a directory, and a file is to be there", cure=cure)
    if wanted.endswith(("/", os.sep)) and not Path(wanted).is_dir():
        raise CopyFailed(f"{wanted} is not a directory", cure="make it, or leave out the slash")


def _check_directory(final: Path, named: bool) -> None:
    cure = "nothing was copied; choose another path"
    if final.is_symlink() and not named:
        raise CopyFailed(f"{final} is a link, which is not written through", cure=cure)
    if final.exists() and not final.is_dir():
        raise CopyFailed(f"{final} is a file, and a directory is to be there", cure=cure)


def _created(path: Path) -> int:
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
    return os.open(path, flags | getattr(os, "O_NOFOLLOW", 0), 0o600)


def _remove_tree(tree: Path) -> None:
    # What came may have directories that nobody may write into.
    for directory, _, _ in os.walk(tree):
        with contextlib.suppress(OSError):
            os.chmod(directory, 0o700)
    shutil.rmtree(tree, ignore_errors=True)


def read_bytes(run: Runner, remote: str | bytes | os.PathLike[str], **how: Any) -> bytes:
    """The content of a file in a container; see :meth:`Target.read_bytes`."""
    into = io.BytesIO()
    source = absolute(remote)
    stream = _Stream(run, source, into, None, how)
    if stream.receive().kind != "f":
        raise CopyFailed(f"{source} is a directory", cure="target.get() copies one")
    return into.getvalue()


def listdir(
    run: Runner,
    remote: str | bytes | os.PathLike[str] = ".",
    *,
    slashes: bool = False,
    **how: Any,
) -> list[str]:
    """Names in a directory of a container; see :meth:`Target.listdir`."""
    path = absolute(remote)
    result = run(["sh", "-c", _LIST, "ecs-cp", path, "/" if slashes else ""], **how)
    if result.exit_code != 0:
        raise refused(f"{path} cannot be listed", result.stderr.splitlines(), result.exit_code)
    return sorted(os.fsdecode(name) for name in result.stdout_bytes.split(b"\0") if name)
