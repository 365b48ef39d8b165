"""Terminal control sequences taken out of text, but for colours.

Knows ECMA-48. Never knows where the text comes from or goes.
"""

from __future__ import annotations

import re

__all__ = ["Cleaner", "without_colours"]

# ESC and C1 controls begin sequences; the other controls stand alone. TAB, LF, CR and BS stay:
# every front end renders them.
_SPECIAL = re.compile("[\x00-\x07\x0b\x0c\x0e-\x1f\x7f-\x9f]")
_STRING_END = re.compile("[\x07\x1b\x9c]")
_CSI_BODY = re.compile("[\x20-\x3f]*")
_SGR = re.compile(r"[0-9;:]*$")
_SGR_RESET = re.compile(r"[0;:]*$")
_SGR_LONGEST = 64
_COLOUR = re.compile(r"\x1b\[[0-9;:]*m")


class Cleaner:
    """Takes terminal control sequences out of text, except colours (ECMA-48 SGR).

    Works on text that comes in pieces cut anywhere: pieces give together what the whole would.
    """

    def __init__(self) -> None:
        self._state = "text"
        self._body = ""
        self.coloured = False
        """Whether a colour is on, which somebody must turn off in the end."""

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
        self._state = {
            "\x1b": "escape",
            "\x9b": "csi",
            "\x90": "string",
            "\x98": "string",
            "\x9d": "string",
            "\x9e": "string",
            "\x9f": "string",
        }.get(match[0], "text")
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
            self.coloured = not _SGR_RESET.match(body)
        return match.end() + 1

    def _in_string(self, text: str, position: int, out: list[str]) -> int:
        match = _STRING_END.search(text, position)
        if match is None:
            return len(text)
        self._state = "string_escape" if match[0] == "\x1b" else "text"
        return match.end()

    def _in_string_escape(self, text: str, position: int, out: list[str]) -> int:
        if text[position] == "\\":
            self._state = "text"
            return position + 1
        self._state = "escape"  # ESC ends a string, and begins something else
        return position


def without_colours(text: str) -> str:
    """Clean text without its colours as well, for places that do not render them."""
    return _COLOUR.sub("", text)
