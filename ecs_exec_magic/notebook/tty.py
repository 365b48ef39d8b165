"""The local terminal while a session has it, on POSIX: raw, and restored on every way out.

Knows termios, signals and job control. Never knows sessions.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import sys
import termios
import threading
from typing import TYPE_CHECKING, Any

from .modes import Modes

if TYPE_CHECKING:
    from types import FrameType, TracebackType

__all__ = ["PosixTerminal"]

_TICK = 0.5  # sizes are looked at so often where SIGWINCH does not come: outside the main thread
_PATIENCE = 0.5  # for a screen that takes nothing, when it is to be restored
_PIECE = 4096

_ENDS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)
_HANDLED = (*_ENDS, signal.SIGTSTP, signal.SIGCONT, signal.SIGWINCH)


class PosixTerminal:
    """A terminal; as a context manager it is raw, with nothing left of that at the end.

    No signal raises or ends anything inside: those that ask for the end are found in
    :attr:`signal`, so that nothing can come between a change and what takes it back. SIGTSTP stops
    the process with its terminal restored, and SIGCONT makes it raw again.

    Args:
        keys: the descriptor to read keys from; a terminal.
        screen: the one to write to; a terminal.

    Attributes:
        signal: the signal that asked for the end, or None.
        gone: nobody is at the terminal any more.
    """

    def __init__(self, keys: int, screen: int) -> None:
        self.signal: int | None = None
        self.gone = False
        self._descriptors = keys, screen
        self._keys = self._screen = -1
        self._saved: list[Any] | None = None
        self._modes = Modes()
        self._redo = b""
        self._owed = b""
        self._at_line_start = True
        self._noted: list[int] = []
        self._handlers: dict[int, Any] = {}
        self._lock = threading.RLock()
        self._alarm: tuple[int, int] | None = None
        # kqueue and epoll do not take every terminal; select does not take high descriptors.
        poll = getattr(selectors, "PollSelector", None)
        self._selector: type[Any] = (
            poll if poll and sys.platform == "linux" else selectors.SelectSelector
        )

    def __enter__(self) -> PosixTerminal:
        keys, screen = self._descriptors
        try:
            self._alarm = os.pipe()
            for end in self._alarm:
                os.set_blocking(end, False)
            self._keys = _reopened(keys, os.O_RDONLY)
            self._screen = _reopened(screen, os.O_WRONLY)
            self._catch_signals()
            self._saved = termios.tcgetattr(self._keys)
            self._make_raw()
        except BaseException:
            self._restore()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._restore()

    # -- use -------------------------------------------------------------------------------------

    def size(self) -> tuple[int, int]:
        """Columns and rows; 80 and 24 when it does not know."""
        try:
            size = os.get_terminal_size(self._descriptors[1])
        except OSError:
            return 80, 24
        return size.columns or 80, size.lines or 24

    def wake(self) -> None:
        """Let :meth:`wait` return; from any thread, and from signal handlers."""
        with self._lock:
            if self._alarm is not None:
                with contextlib.suppress(BlockingIOError):  # it is full: it rings already
                    os.write(self._alarm[1], b"\0")

    def wait(self, *, reading: bool, writing: bool) -> tuple[bool, bool]:
        """Wait until keys can be read, the screen takes more, or something else is to be done.

        Args:
            reading: whether keys are wanted.
            writing: whether something is to be written.

        Returns:
            what can be done of the two.
        """
        assert self._alarm is not None
        wanted = {self._alarm[0]: selectors.EVENT_READ}
        if reading:
            wanted[self._keys] = selectors.EVENT_READ
        if writing:
            wanted[self._screen] = selectors.EVENT_WRITE
        ready = self._ready(wanted, _TICK)
        if self._alarm[0] in ready:
            with contextlib.suppress(BlockingIOError):
                os.read(self._alarm[0], _PIECE)
        self._heed_signals()
        return reading and self._keys in ready, writing and self._screen in ready

    def _ready(self, wanted: dict[int, int], seconds: float) -> set[int]:
        with self._selector() as selector:
            for descriptor, events in wanted.items():
                selector.register(descriptor, events)
            return {key.fd for key, _ in selector.select(seconds)}

    def read(self) -> bytes:
        """The keys that were pressed; nothing when there are none."""
        try:
            data = os.read(self._keys, _PIECE)
        except BlockingIOError:
            return b""
        except OSError:
            data = b""
        if not data:
            self.gone = True
        return data

    def write(self, data: bytes) -> int:
        """Write to the screen what it takes now; returns how many bytes that were."""
        try:
            count = os.write(self._screen, data[:_PIECE])
        except BlockingIOError:
            return 0
        except OSError:
            self.gone = True
            return 0
        self._modes.feed(data[:count])
        if count:
            self._at_line_start = data[count - 1 : count] == b"\n"
        return count

    # -- raw and back ----------------------------------------------------------------------------

    def _make_raw(self) -> None:
        assert self._saved is not None
        iflag, oflag, cflag, lflag, ispeed, ospeed, cc = self._saved
        iflag &= ~(termios.IGNBRK | termios.BRKINT | termios.PARMRK | termios.ISTRIP)
        iflag &= ~(termios.INLCR | termios.IGNCR | termios.ICRNL | termios.IXON)
        oflag &= ~termios.OPOST
        cflag = (cflag & ~(termios.CSIZE | termios.PARENB)) | termios.CS8
        lflag &= ~(termios.ECHO | termios.ECHONL | termios.ICANON | termios.ISIG | termios.IEXTEN)
        cc = list(cc)
        cc[termios.VMIN], cc[termios.VTIME] = 1, 0
        raw = [iflag, oflag, cflag, lflag, ispeed, ospeed, cc]
        # At once and without a flush: what has been typed ahead is the session's.
        termios.tcsetattr(self._keys, termios.TCSANOW, raw)

    def _make_normal(self) -> None:
        """Take back what programs and we have changed; a terminal that is not ours is left alone.

        In the background that is so: it belongs to another job then, and touching it would stop us.
        """
        if self._saved is None or not self._foreground():
            return
        undo = self._modes.undo()
        if self._modes.other_screen or not self._at_line_start:
            undo += b"\r\n"
        self._owed = self._write_out(undo)
        with contextlib.suppress(termios.error):
            termios.tcsetattr(self._keys, termios.TCSANOW, self._saved)

    def _write_out(self, data: bytes) -> bytes:
        """Write to the screen, but do not wait for one that takes nothing; returns the rest."""
        while data and not self.gone:
            if not self._ready({self._screen: selectors.EVENT_WRITE}, _PATIENCE):
                return data
            data = data[self.write(data) :]
        return b""

    def _foreground(self) -> bool:
        try:
            return os.tcgetpgrp(self._keys) == os.getpgrp()
        except OSError:
            return True  # not our controlling terminal: there are no jobs on it

    def _restore(self) -> None:
        try:
            self._make_normal()
        finally:
            for number, handler in self._handlers.items():
                signal.signal(number, handler)
            self._handlers.clear()
            self._saved = None
            with self._lock:
                alarm, self._alarm = self._alarm, None
            for descriptor in (*(alarm or ()), self._keys, self._screen):
                if descriptor >= 0:
                    os.close(descriptor)
            self._keys = self._screen = -1
        if self._owed and self.signal is None:
            # The keys work as ever: whoever does not want to wait for this screen can interrupt.
            with contextlib.suppress(OSError):
                while self._owed:
                    self._owed = self._owed[os.write(self._descriptors[1], self._owed) :]

    # -- signals ---------------------------------------------------------------------------------

    def _catch_signals(self) -> None:
        if threading.current_thread() is not threading.main_thread():
            return
        for number in _HANDLED:
            before = signal.getsignal(number)
            # Set by C code, or not wanted, as with nohup.
            if before is not None and before != signal.SIG_IGN:
                signal.signal(number, self._note)
                self._handlers[number] = before

    def _note(self, number: int, frame: FrameType | None) -> None:
        self._noted.append(number)
        self.wake()

    def _heed_signals(self) -> None:
        while self._noted:
            number = self._noted.pop(0)
            if number in _ENDS:
                self.signal = self.signal or number
            elif number == signal.SIGTSTP:
                self._stop()
            elif number == signal.SIGCONT:
                self._go_on()

    def _stop(self) -> None:
        """Stop as any program does; goes on here when it is continued."""
        self._redo = self._modes.redo()
        self._make_normal()
        _as_if_not_caught(signal.SIGTSTP)
        self._go_on()

    def _go_on(self) -> None:
        if not self._foreground():
            # In the background there are no keys for us. To wait for some all the same would stop
            # us at the next one that is meant for the shell, so it is done now.
            _as_if_not_caught(signal.SIGTTIN)
        if self._foreground():
            # Whoever had the terminal meanwhile has set it as he likes it.
            try:
                self._make_raw()
            except termios.error:
                self.gone = True  # a terminal that goes away continues us, to let us see it
            redo, self._redo = self._redo, b""
            self._write_out(redo)


def _as_if_not_caught(number: signal.Signals) -> None:
    """Let a signal do to the process what it does by itself."""
    before = signal.signal(number, signal.SIG_DFL)
    signal.raise_signal(number)
    if before is not None:
        signal.signal(number, before)


def _reopened(descriptor: int, flags: int) -> int:
    """The same terminal once more, so that not to block is a matter of this descriptor alone."""
    try:
        return os.open(os.ttyname(descriptor), flags | os.O_NOCTTY | os.O_NONBLOCK)
    except OSError:
        # It has no name here, as in some containers: then a write may wait for the screen.
        return os.dup(descriptor)
