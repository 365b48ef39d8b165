"""Where a stream for a terminal can be cut, and what must be said before its rest is shown.

Knows control sequences, as far as they change what later bytes mean. Never knows who shows them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

__all__ = ["ScreenModes"]

# A control sequence. A string that has no end within 4 KiB is taken for its first two bytes, so
# that a stream that never ends one costs no more than any other.
_SEQUENCE = re.compile(
    rb"\x1b(?:\[[0-?]*[ -/]*[@-~]|[\]PX^_][^\x07\x1b]{0,4096}(?:\x07|\x1b\\)|[ -/]*[0-~])"
)
_ALTERNATE = ("47", "1047", "1049")
_LINE = 1024  # bytes in which a line should end


@dataclass
class ScreenModes:
    """What a stream has switched on in the terminal that shows it.

    Attributes:
        private: DEC's private modes, by number, with whether they are on.
        keypad: the keypad sends application codes.
        drawing: letters of G0 are line drawings.
        region: the scroll region, as it was set.
    """

    private: dict[str, bool] = field(default_factory=dict)
    keypad: bool = False
    drawing: bool = False
    region: bytes = b""

    @property
    def alternate(self) -> bool:
        """Whether it is the screen that full-screen programs use, which has no scrollback."""
        return any(self.private.get(mode, False) for mode in _ALTERNATE)

    def copy(self) -> ScreenModes:
        """The same, apart."""
        return ScreenModes(dict(self.private), self.keypad, self.drawing, self.region)

    def follow(self, data: bytes | bytearray) -> None:
        """Take in bytes that were shown; they begin outside of any control sequence."""
        for match in _SEQUENCE.finditer(data):
            self._take(match[0])

    def pass_over(self, data: bytes | bytearray, wanted: int) -> int:
        """Take in at least ``wanted`` bytes, up to where the rest can stand by itself.

        Returns:
            how many: up to the end of a line if one ends soon, else of a character or sequence.
        """
        cut = min(wanted, len(data))
        for match in _SEQUENCE.finditer(data):
            if match.start() >= cut:
                break
            cut = max(cut, match.end())
            self._take(match[0])
        while cut < len(data) and data[cut] & 0xC0 == 0x80:  # in a character of UTF-8
            cut += 1
        line = data.find(b"\n", cut, cut + _LINE)
        escape = data.find(b"\x1b", cut, cut + _LINE)
        return line + 1 if line >= 0 and not 0 <= escape < line else cut

    def set_again(self) -> bytes:
        """What brings a fresh terminal to these modes."""
        # Other screens come first: what is set afterwards holds for them.
        order = sorted(self.private.items(), key=lambda mode: (mode[0] not in _ALTERNATE, mode[0]))
        said = [f"\x1b[?{mode}{'h' if on else 'l'}".encode() for mode, on in order]
        said += [b"\x1b="] * self.keypad + [b"\x1b(0"] * self.drawing
        return b"".join(said) + self.region

    def undone(self) -> bytes:
        """What brings a terminal in these modes back to how it began; scrollback stays."""
        on = [mode for mode, is_on in self.private.items() if is_on and mode not in ("7", "25")]
        on.sort(key=lambda mode: (mode in _ALTERNATE, mode))
        left = "".join(f"\x1b[?{mode}l" for mode in on)
        # Wrapping and the cursor are on from the start; the last is a soft reset.
        return f"{left}\x1b[?7h\x1b[?25h\x1b>\x1b(B\x1b[m\x1b[!p".encode()

    def _take(self, sequence: bytes) -> None:
        if sequence in (b"\x1bc", b"\x1b[!p"):  # a reset; a soft one leaves the screen as it is
            kept = {m: on for m, on in self.private.items() if m in _ALTERNATE}
            self.private = {} if sequence == b"\x1bc" else kept
            self.keypad, self.drawing, self.region = False, False, b""
        elif sequence in (b"\x1b=", b"\x1b>"):
            self.keypad = sequence == b"\x1b="
        elif sequence[:2] == b"\x1b(":
            self.drawing = sequence == b"\x1b(0"
        elif sequence[:3] == b"\x1b[?" and sequence[-1:] in b"hl":
            for mode in sequence[3:-1].decode("ascii").split(";"):
                if mode:
                    self.private[mode] = sequence[-1:] == b"h"
        elif sequence[:2] == b"\x1b[" and sequence[-1:] == b"r" and b"?" not in sequence:
            self.region = b"" if sequence == b"\x1b[r" else sequence
