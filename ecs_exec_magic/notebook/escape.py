"""The way out of a session that hangs: ``~.`` at the beginning of a line, as in ssh.

Knows bytes that were typed. Never knows where they come from or go to.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Escapes", "Typed"]

_TILDE, _DOT = 0x7E, 0x2E
_LINE_ENDS = b"\r\n"


@dataclass(frozen=True, slots=True)
class Typed:
    """What typed bytes come to.

    Attributes:
        data: what is for the far end.
        end: ``~.`` was typed behind it; nothing that follows counts.
    """

    data: bytes
    end: bool = False


class Escapes:
    """Finds ``~.`` at the beginning of a line, where ``~~`` stands for one tilde.

    A tilde that begins a line is held back until the next byte tells what it is; with any other
    byte both go on as they are.
    """

    def __init__(self) -> None:
        self._begins_line = True
        self._held = False

    def feed(self, data: bytes) -> Typed:
        """Take some bytes, in pieces of any size."""
        passed = bytearray()
        for byte in data:
            if self._held:
                self._held = False
                if byte == _DOT:
                    return Typed(bytes(passed), end=True)
                passed.append(_TILDE)
                if byte == _TILDE:
                    self._begins_line = False
                    continue
            elif self._begins_line and byte == _TILDE:
                self._held = True
                continue
            passed.append(byte)
            self._begins_line = byte in _LINE_ENDS
        return Typed(bytes(passed))
