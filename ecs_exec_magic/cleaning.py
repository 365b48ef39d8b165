"""Terminal control sequences taken out of text, but for colours.

Knows ECMA-48. Never knows where the text comes from or goes.
"""

from __future__ import annotations

import re

__all__ = ["Cleaner", "last_colour", "plain", "safe_cut", "without_colours"]

# ESC and C1 controls begin sequences; the other controls stand alone. TAB, LF, CR and BS stay:
# every front end renders them.
_SPECIAL = re.compile("[\x00-\x07\x0b\x0c\x0e-\x1f\x7f-\x9f]")
# A string that no terminator ends is ended by the line: better a title on the screen than a log
# that disappears behind half a character.
_STRING_END = re.compile("[\x07\x0a\x18\x1a\x1b\x9c]")
_CSI_BODY = re.compile("[\x20-\x3f]*")
_SGR = re.compile(r"[0-9;:]*$")
_SGR_LONGEST = 64
_COLOUR = re.compile(r"\x1b\[([0-9;:]*)m")
_RESET = re.compile(r"[0;:]*$")


class Cleaner:
    """Takes terminal control sequences out of text, except colours (ECMA-48 SGR).

    Works on text that comes in pieces cut anywhere: pieces give together what the whole would.
    """

    def __init__(self) -> None:
        self._state = "text"
        self._body = ""

    def feed(self, text: str) -> str:
        """Return the text without its control sequences; unfinished ones are held back."""
        if self._state == "text" and not _SPECIAL.search(text):
            return text
        out: list[str] = []
        position = 0
        while position < len(text):
            position = getattr(self, f"_in_{self._state}")(text, position, out)
        return "".join(out)

    def _in_text(self, text: str, position: int, out: list[str]) -> int:
        match = _SPECIAL.search(text, position)
        if match is None:
            out.append(text[position:])
            return len(text)
        out.append(text[position : match.start()])
        # The C1 controls that begin strings do so hardly ever: as characters of text they are what
        # became of a quotation mark that was encoded twice.
        self._state = {"\x1b": "escape", "\x9b": "csi"}.get(match[0], "text")
        return match.end()

    def _in_escape(self, text: str, position: int, out: list[str]) -> int:
        char = text[position]
        if char == "[":
            self._state = "csi"
        elif char in "]PX^_":
            self._state = "string"
        elif char == "\x1b" or "\x20" <= char <= "\x2f":
            pass  # begun anew, or an intermediate byte: the sequence goes on
        elif "\x30" <= char <= "\x7e":
            self._state = "text"
        else:  # no sequence: the character counts for itself
            self._state = "text"
            return position
        return position + 1

    def _in_csi(self, text: str, position: int, out: list[str]) -> int:
        match = _CSI_BODY.match(text, position)
        assert match is not None, "the pattern matches nothing at all, too"
        # One character more than is ever shown, so that what is too long stays too long.
        self._body = (self._body + match[0])[: _SGR_LONGEST + 1]
        if match.end() == len(text):
            return match.end()
        final, body = text[match.end()], self._body
        self._state, self._body = "text", ""
        if not "\x40" <= final <= "\x7e":
            return match.end()  # broken off: the character counts for itself
        if final == "m" and len(body) <= _SGR_LONGEST and _SGR.match(body):
            out.append(f"\x1b[{body}m")
        return match.end() + 1

    def _in_string(self, text: str, position: int, out: list[str]) -> int:
        match = _STRING_END.search(text, position)
        if match is None:
            return len(text)
        self._state = "string_escape" if match[0] == "\x1b" else "text"
        return match.start() if match[0] == "\n" else match.end()

    def _in_string_escape(self, text: str, position: int, out: list[str]) -> int:
        if text[position] == "\\":
            self._state = "text"
            return position + 1
        self._state = "escape"  # ESC ends a string, and begins something else
        return position


def without_colours(text: str) -> str:
    """Clean text without its colours as well, for places that do not render them."""
    return _COLOUR.sub("", text)


def plain(text: str) -> str:
    """A whole text without any control sequence."""
    return without_colours(Cleaner().feed(text))


def last_colour(text: str) -> bool | None:
    """Whether clean text leaves a colour on; None when it says nothing of colours."""
    if "\x1b" not in text:
        return None
    found = _COLOUR.findall(text)
    return not _RESET.match(found[-1]) if found else None


def safe_cut(text: str, at: int) -> int:
    """The last place up to ``at`` where clean text can be cut without breaking a colour in two."""
    begin = text.rfind("\x1b", max(0, at - _SGR_LONGEST - 3), at)
    if begin >= 0:
        match = _COLOUR.match(text, begin)
        if match is not None and match.end() > at:
            return begin
    return at
