"""Masking a text that comes in pieces, line by line.

Knows lines, private keys that run over several of them, and colours that stand between the
characters of a secret. Never knows the shapes of secrets.

A secret is found in its line. What is shown before a line is complete is what the whole line
allows: it is masked anew with all that has come, and only what follows comes out.
"""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .named import name_alone
from .shapes import KEY_BEGIN, KEY_END, masked_line, spans, suspicious, unfinished
from .values import MARK

if TYPE_CHECKING:
    from .values import Span

__all__ = ["LONGEST_LINE", "Masked", "Masker", "mask"]

LONGEST_LINE = 64 * 1024
"""Characters of one line that are looked at together."""

_OVERLAP = 16  # of a line that is too long one part in so many is looked at again
_LINE_END = re.compile(r"[\r\n]")
# Control sequences of terminals (ECMA-48): they neither are nor end a secret.
# Strings for the terminal, as titles and links, count as text: a link may hold a password.
_CONTROL = re.compile("(?:\x1b\\[|\x9b)[0-?]*[ -/]*[@-~]|\x1b[ -/]*[0-Z\\\\-~]")
_CONTROL_BEGUN = re.compile("(?:\x1b\\[|\x9b)[0-?]*[ -/]*\\Z|\x1b\\Z")
_SWALLOW_ENDS = {"": re.compile(r"[\s\"']"), '"': re.compile('"'), "'": re.compile("'")}

_BASE64 = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/="
_AROUND_BODY = " \t\"'+>|\\,;"
_KEY_HEADER = re.compile(r"(?:Proc-Type|DEK-Info|Version|Comment|Hash|Charset|MessageID|X-[\w-]+):")
_BODY_RUN = 40
_MOST_BLANKS = 16


@dataclass(frozen=True, slots=True)
class Masked:
    """A text without its secrets, and how many there were."""

    text: str
    count: int


def mask(text: str) -> Masked:
    """Mask what looks like a secret: keys, tokens, passwords."""
    masker = Masker()
    out = masker.feed(text) + masker.flush()
    return Masked(out, masker.count)


class _Key:
    """A private key whose last line has not come yet."""

    def __init__(self, before: str) -> None:
        self.shape = "" if spans(before) or MARK in before else _shape(before)
        self.shown = False
        self.blanks = ""

    def body(self, text: str) -> str | None:
        """What stands before the key's characters in a line of it; None for other lines."""
        core = text.replace("\\n", "").replace("\\r", "").rstrip(_AROUND_BODY)
        head = core.rstrip(_BASE64)
        run = len(core) - len(head)
        if run and (_shape(head) in ("", self.shape) or run >= _BODY_RUN):
            return head
        return None

    def header(self, text: str) -> bool:
        """Whether a line is one of those between the first and the key's characters."""
        match = _KEY_HEADER.search(text)
        return match is not None and _shape(text[: match.start()]) in ("", self.shape)


def _shape(before: str) -> str:
    """The form of what log collectors and grep put before each line: numbers may differ."""
    return re.sub(r"\d+", "0", before.replace("-", ":").strip(_AROUND_BODY))


class Masker:
    """Masks a text that comes in pieces, which may be cut anywhere.

    With a :meth:`flush` at the end alone the pieces give together exactly what :func:`mask` gives
    for the whole. Whole lines come out at once, but for those of a private key.

    Attributes:
        count: secrets masked so far.
    """

    def __init__(self) -> None:
        self.count = 0
        self._pieces: list[str] = []  # of the line that is not complete
        self._size = 0
        self._done = 0  # characters of the line that came out, themselves or as a mark
        self._ends_marked = False  # a mark was the last of them
        self._key: _Key | None = None
        self._after_name = False
        # What ends a secret that is longer than the longest line.
        self._swallows: re.Pattern[str] | None = None
        self._after_return: str | None = None  # what a newline behind a carriage return becomes

    @property
    def holds(self) -> bool:
        """Whether something is held back that :meth:`flush` may show."""
        return self._size > self._done

    def feed(self, text: str) -> str:
        """Take in a piece; returns what can be shown."""
        if not text:
            return ""
        out: list[str] = []
        position = 0
        if self._is_plain():
            # Most output holds nothing to look at; whole lines of such go through at once.
            last = max(text.rfind("\n"), text.rfind("\r")) + 1
            if last and not suspicious(_CONTROL.sub("", text[:last])):
                out.append(text[:last])
                self._after_return = "\n" if text[last - 1] == "\r" else None
                position = last
        for match in _LINE_END.finditer(text, position):
            self._add(text[position : match.start()], out)
            self._end_line(match[0], out)
            position = match.end()
        self._add(text[position:], out)
        return "".join(out)

    def flush(self, *, final: bool = True) -> str:
        """Show what is held back of an unfinished line.

        Args:
            final: nothing follows. Otherwise the line may go on: of what may be a part of a secret
                nothing is shown, nor is it when more comes.
        """
        out: list[str] = []
        if final:
            if self._size:
                self._end_line("", out)
            if self._key is not None:
                out.append(self._key.blanks)
            count = self.count
            self.__init__()  # type: ignore[misc]
            self.count = count
        elif self._size > self._done:
            raw = self._line()
            plain, where = _without_controls(raw)
            key = self._key
            if key and (_shape(plain) in ("", key.shape) or key.body(plain) is not None):
                return ""
            shown = unfinished(plain)
            if self._key is not None:
                shown = min(shown, len(plain.rstrip(_BASE64 + "- ")))
            upto = _offset(where, shown)
            if begun := _CONTROL_BEGUN.search(raw, max(0, len(raw) - 64)):
                upto = min(upto, begun.start())
            out.append(self._show(raw, upto, spans(plain, after_name=self._after_name), where))
        return "".join(out)

    # -- lines -----------------------------------------------------------------------------------

    def _is_plain(self) -> bool:
        return not (self._size or self._swallows or self._after_name or self._key)

    def _line(self) -> str:
        if len(self._pieces) > 1:
            self._pieces = ["".join(self._pieces)]
        return self._pieces[0] if self._pieces else ""

    def _add(self, text: str, out: list[str]) -> None:
        position = 0
        while position < len(text):
            self._after_return = None
            if self._swallows is not None:
                match = self._swallows.search(text, position)
                if match is None:
                    return
                self._swallows, position = None, match.start()
            piece = text[position : position + LONGEST_LINE - self._size]
            position += len(piece)
            self._pieces.append(piece)
            self._size += len(piece)
            if self._size == LONGEST_LINE:
                self._shorten(out)

    def _end_line(self, end: str, out: list[str]) -> None:
        if end == "\n" and not self._size and self._after_return is not None:
            # It ends the same line, whatever became of that.
            if self._key is not None and self._key.blanks:
                self._key.blanks += end
            else:
                out.append(self._after_return)
            self._after_return = None
            return
        raw = self._line()
        plain, where = _without_controls(raw)
        shown = self._in_key(raw, plain, where, end, out) if self._key is not None else None
        if shown is None:
            shown = True
            found = spans(plain, after_name=self._after_name)
            out += (self._show(raw, len(raw), found, where), end)
            self._key = self._key or _key_begun(plain)
            self._after_name = name_alone(plain) or (self._after_name and not plain.strip())
        self._after_return = ("\n" if shown else "") if end == "\r" else None
        self._pieces, self._size, self._done = [], 0, 0
        self._ends_marked, self._swallows = False, None

    def _in_key(
        self, raw: str, plain: str, where: list[int] | None, end: str, out: list[str]
    ) -> bool | None:
        """Deal with a line behind the begin of a private key.

        Returns:
            whether its end was shown, or None if it is a line like any other.
        """
        key = self._key
        assert key is not None
        # What another secret has swallowed ends no key: masking again would not see it.
        shown_line = masked_line(plain, spans(plain))
        last = KEY_END.search(plain) if KEY_END.search(shown_line) else None
        before = plain[: last.start()] if last else plain
        if last is None and key.body(before) is None:
            before = shown_line
        if _shape(before) in ("", key.shape):
            if last is None:
                key.blanks += raw + end
                if len(_LINE_END.findall(key.blanks)) <= _MOST_BLANKS:
                    return False
                out.append(key.blanks)
                self._key = None
                return True
        elif (head := key.body(before)) is not None:
            if not key.shown:
                found = spans(head + MARK)
                self.count += not found or found[-1].end <= len(head)
                out += (self._show(head + MARK, len(head + MARK), found, None), "" if last else end)
            shown, key.shown = not key.shown, True
            key.blanks = ""
            if last is None:
                return shown
            self._done = max(self._done, _offset(where, last.start()))
        elif last is None and not key.shown and key.header(before):
            return None
        out.append("" if last and key.shown else key.blanks)
        self._key = None
        return None

    # -- what comes out --------------------------------------------------------------------------

    def _show(self, raw: str, upto: int, found: list[Span], where: list[int] | None) -> str:
        """The next of the line, up to an offset of it."""
        if not found and not self._done and upto == len(raw):
            self._done = upto
            return raw
        out: list[str] = []
        position = self._done
        for span in found:
            start, end = _offset(where, span.start), _offset(where, span.end - 1) + 1
            if end <= position:
                continue
            if start >= upto:
                break
            if start >= position:
                out.append(raw[position:start])
            if start >= position or not self._ends_marked:
                out.append(MARK)
                self.count += 1
            # Colours that were switched in between stay switched.
            position = min(end, max(position, upto))
            out += _CONTROL.findall(raw, max(start, self._done), position)
            self._ends_marked = True
        if position < upto:
            out.append(raw[position:upto])
            self._ends_marked = False
        self._done = max(position, upto)
        return "".join(out)

    def _shorten(self, out: list[str]) -> None:
        """Let go of the beginning of a line that has become too long to be held."""
        raw = self._line()
        plain, where = _without_controls(raw)
        if self._key is not None and self._key.body(plain) is not None:
            self._in_key(raw, plain, where, "", out)
            self._keep("")
            return
        found = spans(plain, after_name=self._after_name)
        cut = _cut(found, len(plain))
        if _offset(where, cut) < LONGEST_LINE // 4:
            cut = len(plain)  # hardly more than colours
        if cut < len(plain):
            upto = _offset(where, cut)
            out.append(self._show(raw, upto, found, where))
            self._keep(raw[upto:])
        else:
            out.append(self._show(raw, len(raw), found, where))
            if found and found[-1].end == len(plain):
                quote = plain[found[-1].start - 1]
                self._swallows = _SWALLOW_ENDS.get(quote, _SWALLOW_ENDS[""])
            self._keep("")

    def _keep(self, rest: str) -> None:
        self._done = max(0, self._done - (self._size - len(rest)))
        self._pieces, self._size = [rest] if rest else [], len(rest)


def _key_begun(plain: str) -> _Key | None:
    """The private key that begins in a line and does not end there."""
    begin = None
    for begin in KEY_BEGIN.finditer(plain):  # noqa: B007 - the last of them
        pass
    if begin is None or KEY_END.search(plain, begin.end()):
        return None
    after = plain[begin.end() :].replace("\\n", "").replace("\\r", "")
    if after.strip(_AROUND_BODY + _BASE64):
        return None  # somebody speaks of such keys
    return _Key(plain[: begin.start()])


def _cut(found: list[Span], size: int) -> int:
    """Where to divide a line that is too long: not within a secret nor what tells of it."""
    cut = size - size // _OVERLAP
    for span in reversed(found):
        if span.begin < cut < span.end:
            cut = span.begin
    if cut >= size // 4:
        return cut
    cut = size - size // _OVERLAP  # little would be won
    for span in found:
        if span.begin < cut < span.end:
            cut = span.end
    return cut


def _without_controls(raw: str) -> tuple[str, list[int] | None]:
    """A line without control sequences, and where each of its characters was."""
    if "\x1b" not in raw and "\x9b" not in raw:
        return raw, None
    pieces: list[str] = []
    where: list[int] = []
    position = 0
    for match in itertools.chain(_CONTROL.finditer(raw), (None,)):
        end = match.start() if match else len(raw)
        pieces.append(raw[position:end])
        where += range(position, end)
        position = match.end() if match else end
    where.append(len(raw))
    return "".join(pieces), where


def _offset(where: list[int] | None, offset: int) -> int:
    return offset if where is None else where[offset]
