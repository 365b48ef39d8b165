"""Reading what the far-end wrapper prints: records, frames and their proof.

Knows the record format of ``farend.sh``. Never knows sessions, times or commands. Bytes in, values
out; the input may be cut anywhere.

Every record begins with RS (0x1e) and a word, and ends with a newline. The word is the run's nonce
in the first record, and after it a secret that the first record tells: the command could read the
nonce in its parent's arguments, but never the secret, so that nothing it prints is a record::

    RS nonce B 1 BYTES ENCODER- CHECKSUM- GROUP- SECRET   the wrapper is ready
    RS secret o|e KIND LENGTH \\n BODY \\n                a piece of stdout or stderr
    RS secret o|e s \\n BASE64 ...                        pieces in base64, until the next record
    RS secret o|e KIND LENGTH SUMS z|- BODY               a short piece of a kept shell
    RS secret z o|e CHECKSUM...                           the far end's checksum of a whole stream
    RS secret c COUNT                                     bytes of standard input were taken
    RS secret X CODE                                      exit code, when streams came merged

KIND says how the body travels: ``t`` as it is, ``u`` with U+FFFD written as SUB (the agent would
cut it to one byte, PROTOCOL 6.6), ``b`` base64, ``x`` hexadecimal; of short pieces ``n`` with
newlines written as SUB, ``q`` octal.

A stream's bytes are followed by the mark (RS secret RS), exit code, a flag for the far end's time
limit, and the mark again (nothing between them on stderr); what stands behind that came too late.
The checksum covers all of it, so that it proves the marks too. A kept shell's short pieces have
sums of their own, of the stream from its beginning, and ``z`` where its end is proved by them; its
checksum is of what has no sums. ``RS secret w`` in its stderr has woken its pump and is no output.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
import zlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = [
    "Begin",
    "Cksum",
    "Credit",
    "Damage",
    "Noise",
    "PlainExit",
    "Proof",
    "Record",
    "RecordReader",
    "Stream",
    "StreamData",
    "Sums",
]

_RS = b"\x1e"
_HEADER_LIMIT = 300
_BODY_LIMIT = 1 << 20
_FFFD = "�".encode()
_SUB = b"\x1a"
_OCTAL = re.compile(rb"[0-3][0-7]{2}")
_SHORT_KINDS = (b"n ", b"q ")
_SHORT = re.compile(rb"([oe]) ([nq]) (\d{1,5}) (\d{1,7}\.\d{1,7}) ([z-]) ")


@dataclass(frozen=True, slots=True)
class Begin:
    """The wrapper is ready.

    Attributes:
        transport: ``r`` raw terminal, ``c`` cooked terminal, ``p`` pipes; ``n`` and ``m``, raw
            and cooked, where streams cannot be told apart: output follows as it is.
        encoder: ``base64``, ``od`` or empty.
        checksum: ``cksum``, ``sha256sum``, ``md5sum`` or empty.
        group: how the command got a process group of its own: ``setsid``, ``-m`` or empty.
        secret: begins all further records.
    """

    transport: str
    encoder: str = ""
    checksum: str = ""
    group: str = ""
    secret: bytes = field(default=b"", repr=False)

    @property
    def mark(self) -> bytes:
        """What stands behind the command's output in each stream."""
        return _RS + self.secret + _RS


@dataclass(frozen=True, slots=True)
class StreamData:
    """A piece of ``o`` (stdout) or ``e`` (stderr), as the command wrote it.

    Attributes:
        sums: the far end's sums of the stream up to here; empty when it has none.
        last: they prove the whole stream, and no :class:`Proof` comes.
    """

    stream: str
    data: bytes
    sums: str = ""
    last: bool = False


@dataclass(frozen=True, slots=True)
class Proof:
    """The far end's checksum of one stream; empty when it had no program for it."""

    stream: str
    checksum: str


@dataclass(frozen=True, slots=True)
class Credit:
    """So many bytes of standard input were handed to the command."""

    count: int


@dataclass(frozen=True, slots=True)
class PlainExit:
    """The exit code of a command whose streams could not be told apart."""

    code: int


@dataclass(frozen=True, slots=True)
class Noise:
    """Bytes outside of all records."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Damage:
    """A record that is not what it says it is."""

    reason: str


Record = Begin | StreamData | Proof | Credit | PlainExit | Noise | Damage


class RecordReader:
    """Cuts the bytes of one terminal or pipe into records.

    Args:
        nonce: the run's, as :func:`~ecs_exec_magic.remote.wrapper.wrap` gave it.
    """

    def __init__(self, nonce: bytes) -> None:
        self._start = _RS + nonce + b" "
        self._buffer = bytearray()
        self._begun = False
        self._run = ""  # the stream that comes in one run of base64

    def feed(self, data: bytes) -> Iterator[Record]:
        """Take bytes, and yield the records that they complete."""
        buffer = self._buffer
        buffer += data
        while buffer:
            if self._run:
                end = buffer.find(_RS)
                yield from self._piece_of_run(len(buffer) if end < 0 else end, over=end >= 0)
                if end < 0:
                    return
            at = buffer.find(self._start)
            if at < 0:
                keep = self._partial_start()
                if len(buffer) > keep:
                    yield Noise(bytes(buffer[: len(buffer) - keep]))
                    del buffer[: len(buffer) - keep]
                return
            if at:
                yield Noise(bytes(buffer[:at]))
                del buffer[:at]
            if self._begun and buffer[len(self._start) + 2 : len(self._start) + 4] in _SHORT_KINDS:
                short = _SHORT.match(buffer, len(self._start))
                if short is not None:
                    end = short.end() + int(short[3])
                    if len(buffer) <= end:
                        return
                    if buffer[end : end + 1] == b"\n":
                        yield _short(short, bytes(buffer[short.end() : end]))
                        del buffer[: end + 1]
                    else:
                        yield Damage("a short frame does not end where it says")
                        yield Noise(bytes(buffer[:1]))
                        del buffer[:1]
                    continue
            newline = buffer.find(b"\n", len(self._start), _HEADER_LIMIT)
            if newline < 0:
                if len(buffer) < _HEADER_LIMIT:
                    return
                yield Damage("a record has no end")
                yield Noise(bytes(buffer[:1]))
                del buffer[:1]
                continue
            words = bytes(buffer[len(self._start) : newline]).decode("ascii", "replace").split()
            match words:
                case [("o" | "e") as stream, kind, length] if self._begun and length.isdecimal():
                    end = newline + 1 + int(length)
                    # A terminal that is not raw ends lines with CR LF.
                    after = bytes(buffer[end : end + 2])
                    if len(after) < 2 and after in (b"", b"\r") and int(length) <= _BODY_LIMIT:
                        return
                    taken = newline + 1
                    if after[:1] == b"\n" or after == b"\r\n":
                        taken = end + (1 if after[:1] == b"\n" else 2)
                        yield _frame(stream, kind, bytes(buffer[newline + 1 : end]))
                    else:
                        yield Damage("a frame does not end where it says")
                    del buffer[:taken]
                case [("o" | "e") as stream, "s"] if self._begun:
                    self._run = stream
                    del buffer[: newline + 1]
                case _:
                    record = _record(words)
                    del buffer[: newline + 1]
                    if isinstance(record, Begin) != (not self._begun):
                        record = Damage("a begin record is missing, or comes twice")
                    elif isinstance(record, Begin):
                        self._begun = True
                        self._start = _RS + record.secret + b" "
                    yield record

    def flush(self) -> Iterator[Record]:
        """Yield what is left when no more will come."""
        if self._buffer:
            if self._buffer.startswith(self._start):
                yield Damage("the last record is cut off")
            yield Noise(bytes(self._buffer))
            self._buffer.clear()

    def _piece_of_run(self, size: int, *, over: bool) -> Iterator[Record]:
        """What the next so many bytes of a run hold; what is no whole group of base64 stays."""
        text = bytes(self._buffer[:size]).replace(b"\n", b"")
        whole = len(text) - len(text) % 4
        self._buffer[:size] = b"" if over else text[whole:]
        if whole:
            yield _frame(self._run, "b", text[:whole])
        if over:
            self._run = ""
            if whole < len(text):
                yield Damage("a run of base64 is cut off")

    def _partial_start(self) -> int:
        """How many bytes at the buffer's end may be the beginning of a record."""
        at = self._buffer.rfind(_RS, max(0, len(self._buffer) - len(self._start)))
        if at < 0 or not self._start.startswith(self._buffer[at:]):
            return 0
        return len(self._buffer) - at


def _frame(stream: str, kind: str, body: bytes) -> Record:
    try:
        match kind:
            case "t":
                return StreamData(stream, body)
            case "u":
                return StreamData(stream, body.replace(_SUB, _FFFD))
            case "b":
                return StreamData(stream, base64.b64decode(body, validate=True))
            case "x":
                return StreamData(stream, bytes.fromhex(body.decode("ascii")))
    except (binascii.Error, ValueError):
        return Damage("the body of a frame cannot be decoded")
    return Damage(f"a frame of unknown kind {kind[:20]!r}")


def _short(head: re.Match[bytes], body: bytes) -> Record:
    stream, sums, last = head[1].decode(), head[4].decode(), head[5] == b"z"
    if head[2] == b"n":
        return StreamData(stream, body.replace(_SUB, b"\n"), sums, last)
    digits = [body[at : at + 3] for at in range(0, len(body), 3)]
    if all(_OCTAL.fullmatch(each) for each in digits):
        return StreamData(stream, bytes(int(each, 8) for each in digits), sums, last)
    return Damage("the body of a frame cannot be decoded")


def _record(words: list[str]) -> Record:
    match words:
        case ["B", "1", transport, encoder, checksum, group, secret]:
            return Begin(transport, encoder[:-1], checksum[:-1], group[:-1], secret.encode())
        case ["z", ("o" | "e") as stream, *rest]:
            return Proof(stream, " ".join(rest))
        case ["c", count] if count.isdecimal():
            return Credit(int(count))
        case ["X", code] if code.isdecimal():
            return PlainExit(int(code))
    return Damage(f"an unknown record: {' '.join(words)[:80]}")


class Stream:
    """One of the command's streams: separates the output from the mark behind it, and proves both.

    What wakes a kept shell's pump (warm.sh) is taken out of it, wherever it stands.

    Args:
        mark: from the begin record.
        checksum: the far end's program, from the begin record.
    """

    def __init__(self, mark: bytes, checksum: str) -> None:
        self._mark = mark
        self._wake = mark[:-1] + b"w"
        self._tail = b""
        self._trailer: bytes | None = None
        self._digest = _digest(checksum)
        self._sums = Sums()
        self._summed = True
        self._checked = 0
        self.count = 0
        self.words: list[str] | None = None
        """What stood between the two marks, once both were seen."""

    def feed(self, data: bytes, sums: str = "") -> bytes:
        """Take bytes of the stream, and return those that are surely output.

        Args:
            sums: the far end's, if it has made any; the checksum is of what has none.
        """
        if sums:
            self._sums.update(data)
            self._summed = self._summed and sums == str(self._sums)
        elif self._digest is not None:
            self._digest.update(data)
            self._checked += len(data)
        self.count += len(data)
        return self.take(data)

    def take(self, data: bytes) -> bytes:
        """Take bytes that another stream has proved: what stood :attr:`behind` its end."""
        if self._trailer is not None:
            self._end(data)
            return b""
        held = (self._tail + data).replace(self._wake, b"")
        at = held.find(self._mark)
        if at >= 0:
            self._tail = b""
            self._end(held[at + len(self._mark) :])
            return held[:at]
        keep = _overlap(held, self._mark)
        self._tail = held[len(held) - keep :]
        return held[: len(held) - keep]

    def flush(self) -> bytes:
        """Return what was held back, when no more will come."""
        tail, self._tail = self._tail, b""
        return tail

    @property
    def behind(self) -> bytes:
        """What came behind the second mark."""
        if self.words is None or self._trailer is None:
            return b""
        return self._trailer.partition(self._mark)[2]

    def proves(self, proof: Proof) -> bool:
        """Whether the far end's checksum is that of the bytes that came."""
        if self._digest is None or not self._summed:
            return False
        words = proof.checksum.split()
        return bool(words) and self._digest.matches(words, self._checked)

    @property
    def summed(self) -> bool:
        """Whether all sums of the far end were those of the bytes that came."""
        return self._summed

    def _end(self, data: bytes) -> None:
        self._trailer = (self._trailer or b"") + data
        if self.words is None and self._mark in self._trailer:
            between = self._trailer[: self._trailer.index(self._mark)]
            self.words = between.decode("ascii", "replace").split()


def _overlap(data: bytes, mark: bytes) -> int:
    """How many bytes at the end of data are a beginning of the mark."""
    if mark[:1] not in data[1 - len(mark) :]:
        return 0
    for size in range(min(len(mark) - 1, len(data)), 0, -1):
        if data.endswith(mark[:size]):
            return size
    return 0


class Cksum:
    """The checksum of POSIX ``cksum``, at the speed of zlib.

    Both use the same polynomial; zlib's works on bits in the opposite order, so that reversing
    the bits of each byte, and of the result, turns one into the other.
    """

    _REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))

    def __init__(self) -> None:
        self._crc = 0xFFFFFFFF  # zlib inverts it at either end: this starts its register at 0
        self._count = 0

    def update(self, data: bytes) -> None:
        self._crc = zlib.crc32(data.translate(self._REVERSED), self._crc)
        self._count += len(data)

    def value(self) -> int:
        size = self._count.to_bytes((self._count.bit_length() + 7) // 8, "little")
        crc = zlib.crc32(size.translate(self._REVERSED), self._crc)
        return int(f"{crc:032b}"[::-1], 2)

    def matches(self, words: list[str], count: int) -> bool:
        return words[:2] == [str(self.value()), str(count)]


class Sums:
    """The sums that a kept shell's far end makes of short output by itself: no process is needed.

    Two polynomials over what ``od -to1`` prints of each byte, as decimal numbers with a 1 before
    them, so that no shell takes them for octal.
    """

    _WORDS = tuple(int(f"1{byte:03o}") for byte in range(256))

    def __init__(self) -> None:
        self._a = self._b = 0

    def update(self, data: bytes) -> None:
        a, b, words = self._a, self._b, self._WORDS
        for byte in data:
            a = (a * 251 + words[byte]) % 8388593
            b = (b * 241 + words[byte]) % 8388587
        self._a, self._b = a, b

    def __str__(self) -> str:
        return f"{self._a}.{self._b}"


class _Hash:
    """A checksum program that prints a hexadecimal digest."""

    def __init__(self, name: str) -> None:
        self._hash = hashlib.new(name, usedforsecurity=False)

    def update(self, data: bytes) -> None:
        self._hash.update(data)

    def matches(self, words: list[str], count: int) -> bool:
        return words[0] == self._hash.hexdigest()


def _digest(program: str) -> Cksum | _Hash | None:
    match program:
        case "cksum":
            return Cksum()
        case "sha256sum" | "md5sum":
            return _Hash(program.removesuffix("sum"))
    return None
