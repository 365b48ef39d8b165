"""The log of a session made readable.

Knows what ``script`` and the exact wrapper put around what a terminal showed (PROTOCOL 6.10).
Never knows where the log came from. It raises for no bytes, and whatever is printable in them
stays: a log that hides something would be none. So a carriage return begins a new line instead of
overwriting the one before, and what was typed and rubbed out again stays too.
"""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass
from datetime import datetime, timezone

from ..cleaning import plain
from ..masking import mask
from ..remote.decoder import (
    Begin,
    Damage,
    Noise,
    PlainExit,
    Proof,
    RecordReader,
    Stream,
    StreamData,
)

__all__ = ["Transcript", "transcript"]

_HEAD = re.compile(rb"Script started on ([^\n]*)\n")
_FOOT = re.compile(rb"\n?Script done on ([^\n]*)\n?\Z")
_WHEN = re.compile(r"(\d{4}-\d\d-\d\d) (\d\d:\d\d:\d\d)([+-]\d\d:\d\d)?")
# The first record of a wrapper: nothing but what the terminal echoed stands before it.
_BEGIN = re.compile(rb"\x1e([0-9A-Za-z]{1,64}) B 1 ([rcnm]) [^\r\n]{0,250}(\r*)\n")
_FRAME = re.compile(
    rb"\x1e[^\s\x1e]{1,80} (?:[oe] ([tubx]) \d+|[zc][^\n]{0,250}|B 1[^\n]{0,250})\n"
)
_TARGET = re.compile(r"/ssm/(?:ecs:)?([^/\s\"]+)_([0-9a-f]{32,36})_([^/\s\"]+)/session/")
_LONGEST_UTF8 = 4


@dataclass(frozen=True, slots=True)
class Transcript:
    """What a session showed.

    Attributes:
        text: without control characters, script's own lines and the wrapper's frames; masked.
        written: when the log was made, which is at the end of the session; None if it says none.
        exit_code: of the command, where the wrapper's frames tell it; else None.
        cut: only the beginning of the log was read.
        masked: secrets that are masked in the text.
        damaged: the wrapper's frames do not fit together; their text is there all the same.
        target: cluster, task id and runtime id of the container, where script's first line tells.
    """

    text: str
    written: datetime | None = None
    exit_code: int | None = None
    cut: bool = False
    masked: int = 0
    damaged: bool = False
    target: tuple[str, str, str] | None = None

    def __str__(self) -> str:
        return self.text


def transcript(data: bytes, *, cut: bool = False, masked: bool = True) -> Transcript:
    """Read the log of a session.

    Args:
        data: as it lies in S3 or CloudWatch Logs, or the beginning of it.
        cut: it is only the beginning.
        masked: mask what looks like a secret.
    """
    body, head, foot = _without_script(data, cut)
    begin = _BEGIN.search(body)
    exit_code, damaged = None, False
    if begin is not None:
        # script runs on a terminal of its own, which ends lines with CR LF; CloudWatch's copy has
        # lost that again, and lengths in the frames count neither.
        if len(begin[3]) > (begin[2] in b"cm"):
            body = body.replace(b"\r\n", b"\n")
        body, exit_code, damaged = _unwrapped(body, begin[1], cut)
    text = _readable(body, cut)
    hidden = mask(text) if masked else None
    written = _moment(foot) or _moment(head)
    where = _TARGET.search(head.decode("utf-8", "replace"))
    return Transcript(
        text if hidden is None else hidden.text,
        written,
        exit_code,
        cut,
        0 if hidden is None else hidden.count,
        damaged,
        (where[1], where[2], where[3]) if where else None,
    )


def _without_script(data: bytes, cut: bool) -> tuple[bytes, bytes, bytes]:
    """The log without the first and last line of ``script``, and these two."""
    head = _HEAD.match(data)
    if head is None:  # nothing of script is at the end either
        return data, b"", b""
    data = data[head.end() :]
    foot = None if cut else _FOOT.search(data, max(0, len(data) - 400))
    if foot is None:
        return data, head[1], b""
    return data[: foot.start()], head[1], foot[1]


def _moment(line: bytes) -> datetime | None:
    found = _WHEN.search(line.decode("ascii", "replace"))
    if found is None:
        return None
    try:
        moment = datetime.fromisoformat(f"{found[1]}T{found[2]}{found[3] or '+00:00'}")
        return moment.astimezone(timezone.utc)
    except (ValueError, OverflowError):
        return None


# -- the exact wrapper ---------------------------------------------------------------------------


def _unwrapped(data: bytes, nonce: bytes, cut: bool) -> tuple[bytes, int | None, bool]:
    """What the command printed, both streams as they came; its exit code; and whether it broke."""
    reader = RecordReader(nonce)
    streams: dict[str, Stream] = {}
    out: list[bytes] = []
    code, mark = None, b""

    def ended(name: str) -> None:
        """A kept shell's streams begin again with each of its commands."""
        nonlocal code
        stream, streams[name] = streams[name], Stream(mark, "")
        out.append(streams[name].take(stream.behind))
        if stream.words and stream.words[0].isdecimal():
            code = int(stream.words[0][:6])

    for record in reader.feed(data):
        match record:
            case Begin():
                mark = record.mark
                streams = {name: Stream(mark, "") for name in "oe"}
            case StreamData(name, piece):
                out.append(streams[name].feed(piece))
                if record.last:
                    ended(name)
            case Proof(name) if name in streams and streams[name].words is not None:
                ended(name)
            case Noise(piece):
                out.append(piece)
            case PlainExit():
                code = record.code
            case Damage():
                return _loosely(data), None, True
    rest = b"".join(each.data for each in reader.flush() if isinstance(each, Noise))
    # What the streams still hold back is the beginning of a mark. Where a log is cut, that of a
    # frame's head is left.
    end = _loosely(rest)
    out.append(re.sub(rb"\x1e[^\n]*\Z", b"", end) if cut else end)
    for stream in streams.values():
        if stream.words and stream.words[0].isdecimal():
            code = int(stream.words[0][:6])
    return b"".join(out), code, bool(rest) and not cut


def _loosely(data: bytes) -> bytes:
    """The text of frames that do not fit together: nothing but their heads is taken away."""
    out: list[bytes] = []
    position, kind = 0, b""
    for frame in [*_FRAME.finditer(data), None]:
        body = data[position : frame.start() if frame else len(data)]
        out.append(_decoded(kind, body))
        if frame is not None:
            position, kind = frame.end(), frame[1] or b""
    return b"".join(out)


def _decoded(kind: bytes, body: bytes) -> bytes:
    try:
        if kind == b"b":
            packed = b"".join(body.split())
            return base64.b64decode(packed[: len(packed) // 4 * 4], validate=True)
        if kind == b"x":
            return bytes.fromhex(body.decode("ascii"))
    except (binascii.Error, ValueError):
        pass
    return body


# -- characters ----------------------------------------------------------------------------------


def _readable(data: bytes, cut: bool) -> str:
    if cut:
        data = data[: len(data) - _broken_end(data)]
    # What is not UTF-8 is shown by its bytes.
    text = plain(data.decode("utf-8", "backslashreplace"))
    text = re.sub(r"\r+\n|\r+", "\n", text.replace("\b", ""))
    return re.sub(r"[ \t]+$", "", text, flags=re.MULTILINE)


def _broken_end(data: bytes) -> int:
    """How many bytes at the end begin a character that was cut."""
    for size in range(1, min(_LONGEST_UTF8, len(data) + 1)):
        byte = data[-size]
        if byte >= 0xC0:
            needed = 2 if byte < 0xE0 else 3 if byte < 0xF0 else 4
            return size if needed > size else 0
        if byte < 0x80:
            return 0
    return 0
