"""What programs have switched on in a terminal, and the bytes that switch it off again.

Knows control sequences. Never knows a terminal.

A program that ends switches off itself what it has switched on; one whose session is lost cannot.
Without this the user would be left on the editor's screen, or get codes typed at each move of the
mouse.
"""

from __future__ import annotations

import re

__all__ = ["Modes"]

# DEC private modes and whether they are normally on. Others are left alone: what is normal for
# them is for the user to say.
_PRIVATE = dict.fromkeys(
    (1, 5, 6, 9, 47, 66, 1000, 1002, 1003, 1004, 1005, 1006, 1015, 1016), False
)
_PRIVATE |= dict.fromkeys((1047, 1049, 2004, 2026), False)
_PRIVATE |= {7: True, 25: True}
_OTHER_SCREEN = (47, 1047, 1049)

_SEQUENCE = re.compile(
    rb"\x1b(?:"
    rb"\[(?P<parameters>[0-?]*)(?P<between>[ -/]*)(?P<final>[@-~])"
    rb"|(?P<set>[()])(?P<charset>[ -~])"
    rb"|(?P<plain>[=>c])"
    rb")|(?P<shift>[\x0e\x0f])"
)
# What may yet become one of these, or the text of a title.
_UNFINISHED = re.compile(rb"\x1b(?:\[[0-?]*[ -/]*|[()]|[]PX^_][^\x07\x18\x1b]*)?\Z")
_CANCEL = b"\x18"
_LONGEST = 256


class Modes:
    """Follows what is printed to a terminal."""

    def __init__(self) -> None:
        self._tail = b""
        self._reset()

    def _reset(self) -> None:
        self._private: set[int] = set()
        self._undo: dict[str, bytes] = {}
        self._keyboards = 0

    def feed(self, data: bytes) -> None:
        """Take printed bytes, in pieces of any size."""
        data = self._tail + data
        unfinished = _UNFINISHED.search(data[-_LONGEST:])
        self._tail = unfinished.group() if unfinished else b""
        for found in _SEQUENCE.finditer(data, 0, len(data) - len(self._tail)):
            if found["final"]:
                self._control(found["parameters"], found["between"], found["final"])
            elif found["set"]:
                name = "charset" + found["set"].decode()
                self._note(name, found["charset"] != b"B", b"\x1b" + found["set"] + b"B")
            elif found["shift"]:
                self._note("shift", found["shift"] == b"\x0e", b"\x0f")
            elif found["plain"] == b"c":
                self._reset()
            else:
                self._note("keypad", found["plain"] == b"=", b"\x1b>")

    def _note(self, name: str, changed: bool, undo: bytes) -> None:
        if changed:
            self._undo[name] = undo
        else:
            self._undo.pop(name, None)

    def _control(self, parameters: bytes, between: bytes, final: bytes) -> None:
        mark, text = parameters[:1], parameters[1:]
        if mark == b"?" and final in b"hl" and not between:
            for number in _numbers(text):
                if number in _PRIVATE:
                    is_normal = (final == b"h") == _PRIVATE[number]
                    (self._private.discard if is_normal else self._private.add)(number)
        elif between == b" " and final == b"q":
            self._note("cursor", parameters not in (b"", b"0"), b"\x1b[0 q")
        elif between == b"!" and final == b"p":
            screens = self._private.intersection(_OTHER_SCREEN)
            self._reset()
            self._private |= screens
        elif between:
            return
        elif mark == b">" and final == b"m" and text.split(b";")[0] == b"4":
            # xterm's modifyOtherKeys
            on = text.partition(b";")[2] not in (b"", b"0")
            self._note("keys", on, b"\x1b[>4m")
        elif mark in b"<>" and mark and final == b"u":
            # kitty's keyboard protocol: a stack
            count = (_numbers(text) or [1])[0] if mark == b"<" else -1
            self._keyboards = min(max(self._keyboards - count, 0), 64)
        elif mark in b"<=>?" and mark:
            return
        elif final == b"m":
            self._note("style", parameters.strip(b"0;") != b"", b"\x1b[0m")
        elif final == b"r":
            # It moves the cursor home, so that is kept over it.
            self._note("region", parameters != b"", b"\x1b7\x1b[r\x1b8")
        elif final in b"hl" and 4 in _numbers(parameters):
            self._note("insert", final == b"h", b"\x1b[4l")

    @property
    def other_screen(self) -> bool:
        """Whether the screen shown is not the one with the user's lines."""
        return not self._private.isdisjoint(_OTHER_SCREEN)

    def undo(self) -> bytes:
        """The bytes that bring the terminal back to normal; none when it is."""
        # A sequence that was cut off in its middle would swallow what follows.
        parts = [*([_CANCEL] if self._tail else []), *self._undo.values()]
        if self._keyboards:
            parts.append(b"\x1b[<%du" % self._keyboards)
        # The screen comes last: what belongs to the other one is put right there.
        modes = sorted(self._private, key=lambda n: (n in _OTHER_SCREEN, n))
        parts += [b"\x1b[?%d%c" % (n, b"h" if _PRIVATE[n] else b"l") for n in modes]
        return b"".join(parts)

    def redo(self) -> bytes:
        """The bytes that bring back what :meth:`undo` has taken, for a program that goes on."""
        modes = sorted(self._private, key=lambda n: (n not in _OTHER_SCREEN, n))
        parts = [b"\x1b[?%d%c" % (n, b"l" if _PRIVATE[n] else b"h") for n in modes]
        return b"".join([*parts, *([b"\x1b="] if "keypad" in self._undo else [])])


def _numbers(text: bytes) -> list[int]:
    return [int(each) for each in text.split(b";") if each.isdigit() and len(each) < 6]
