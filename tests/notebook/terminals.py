"""A program in a pseudo-terminal, used as people do: typing, looking, resizing, sending signals."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
import threading
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

__all__ = ["Typist", "plain"]

# The child takes the terminal as its controlling one, as a login does.
_LOGIN = (
    "import fcntl, os, sys, termios\n"
    "fcntl.ioctl(0, termios.TIOCSCTTY, 0)\n"
    "os.execvp(sys.argv[1], sys.argv[1:])\n"
)
_CODES = re.compile(rb"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[()].|[=>78])")


def plain(data: bytes) -> bytes:
    """What a screen shows, without its codes and carriage returns."""
    return _CODES.sub(b"", data).replace(b"\r", b"")


class Typist:
    """Runs a program in a terminal of its own and reads all it prints.

    Attributes:
        data: everything that was printed.
        reads: whether the screen takes anything now.
    """

    def __init__(
        self, command: Sequence[str], environment: Mapping[str, str], *, columns: int, rows: int
    ) -> None:
        self.data = bytearray()
        self.reads = threading.Event()
        self.reads.set()
        self._master, self._slave = pty.openpty()
        self.resize(columns, rows)
        self.process = subprocess.Popen(
            [sys.executable, "-c", _LOGIN, *command],
            stdin=self._slave,
            stdout=self._slave,
            stderr=self._slave,
            start_new_session=True,
            env={**os.environ, "TERM": "xterm-256color", **environment},
        )
        self._over = False
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        while not self._over:
            self.reads.wait()
            try:
                data = os.read(self._master, 65536)
            except OSError:
                return
            self.data += data

    def close(self) -> None:
        self.process.send_signal(signal.SIGHUP)  # interactive shells do not heed SIGTERM
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.hang_up()

    def hang_up(self) -> None:
        """Take the terminal away, as when its window is closed."""
        if self._slave < 0:
            return
        self._over = True
        self.reads.set()
        os.write(self._slave, b"\0")  # lets the reader see that it is over
        self._thread.join(5)
        os.close(self._slave)
        os.close(self._master)
        self._slave = self._master = -1

    # -- as people do ----------------------------------------------------------------------------

    def type(self, keys: str | bytes) -> None:
        data = keys.encode() if isinstance(keys, str) else keys
        while data:
            data = data[os.write(self._master, data) :]

    def line(self, text: str) -> None:
        self.type(text + "\r")

    def resize(self, columns: int, rows: int) -> None:
        """The kernel tells whoever is in the foreground with SIGWINCH."""
        size = struct.pack("HHHH", rows, columns, 0, 0)
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, size)

    def attributes(self) -> list[Any]:
        return termios.tcgetattr(self._slave)

    def sees(self, what: str, after: int = 0, seconds: float = 60.0) -> re.Match[bytes]:
        """Wait until the screen shows something, by a regular expression; codes do not count.

        Args:
            after: where in :attr:`data` to begin.
        """
        found: list[re.Match[bytes]] = []
        expression = re.compile(what.encode())

        def there() -> bool:
            match = expression.search(plain(bytes(self.data[after:])))
            found.extend([match] if match else [])
            return bool(found)

        self.until(there, seconds, what)
        return found[-1]

    def until(self, so: Callable[[], bool], seconds: float = 60.0, what: str = "so") -> None:
        end = time.monotonic() + seconds
        while not so():
            if time.monotonic() > end:
                shown = plain(bytes(self.data[-3000:])).decode("utf-8", "replace")
                raise AssertionError(f"never {what}; the screen:\n{shown}")
            time.sleep(0.02)
