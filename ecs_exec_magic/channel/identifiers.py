"""Message ids.

Knows how to make many UUIDs cheaply. Never knows what they name.
"""

from __future__ import annotations

import os
import struct
from uuid import UUID

__all__ = ["MessageIds", "uuid_text"]

_LOW = struct.Struct(">Q")


class MessageIds:
    """UUIDs of version 4 in form: a random start, then counted, so that none comes twice.

    One is needed for every frame sent, acknowledgements included, and ``uuid.uuid4`` costs more
    than the rest of an acknowledgement.

    Args:
        seed: 16 bytes to start from, given to make ids reproducible.
    """

    __slots__ = ("_high", "_low")

    def __init__(self, seed: bytes | None = None) -> None:
        raw = UUID(bytes=seed or os.urandom(16), version=4).bytes
        self._high = raw[:8]
        # The two variant bits stay as they are for 2**61 ids.
        self._low = _LOW.unpack(raw[8:])[0] & ~(1 << 61)

    def __call__(self) -> bytes:
        """Return the 16 bytes of the next id."""
        self._low += 1
        return self._high + _LOW.pack(self._low)


def uuid_text(raw: bytes) -> str:
    """Return 16 bytes as a UUID is written: lower case, with hyphens."""
    return str(UUID(bytes=raw))
