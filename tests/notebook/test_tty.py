"""The local terminal is raw inside, and as it was on every way out."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import signal
import struct
import termios
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from ecs_exec_magic.notebook.tty import PosixTerminal

if TYPE_CHECKING:
    from collections.abc import Iterator

HANDLED = ("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGTSTP", "SIGCONT", "SIGWINCH")


class Ends:
    """Both ends of a pseudo-terminal."""

    def __init__(self) -> None:
        self.people, self.program = pty.openpty()
        self.before = termios.tcgetattr(self.program)
        self.name = os.ttyname(self.program)

    def as_before(self) -> bool:
        return termios.tcgetattr(self.program) == self.before

    def is_raw(self) -> bool:
        _, output, _, local, *_ = termios.tcgetattr(self.program)
        lines = local & (termios.ICANON | termios.ECHO | termios.ISIG)
        return not lines and not output & termios.OPOST

    def shown(self, size: int) -> bytes:
        """The next that people see; the kernel may hand it out in pieces."""
        data = b""
        while len(data) < size:
            data += os.read(self.people, size - len(data))
        return data

    def descriptors(self) -> set[str]:
        """What is open of this terminal, and pipes; any thread may open sockets and files."""
        found = set()
        if os.path.isdir("/proc/self/fd"):
            for number in os.listdir("/proc/self/fd"):
                with contextlib.suppress(OSError):  # closed meanwhile
                    link = os.readlink(f"/proc/self/fd/{number}")
                    if link.startswith("pipe:") or link.removesuffix(" (deleted)") == self.name:
                        found.add(number)
        return found

    def terminal(self) -> PosixTerminal:
        return PosixTerminal(self.program, self.program)


@pytest.fixture
def ends() -> Iterator[Ends]:
    ends = Ends()
    handlers = [signal.getsignal(getattr(signal, name)) for name in HANDLED]
    descriptors = ends.descriptors()
    yield ends
    assert [signal.getsignal(getattr(signal, name)) for name in HANDLED] == handlers
    assert ends.descriptors() <= descriptors
    for end in (ends.people, ends.program):
        if end >= 0:
            os.close(end)


def read_all(terminal: PosixTerminal, size: int) -> bytes:
    data = b""
    while len(data) < size:
        terminal.wait(reading=True, writing=False)
        data += terminal.read()
    return data


def test_raw_inside_and_normal_outside(ends: Ends) -> None:
    with ends.terminal() as terminal:
        assert ends.is_raw()
        assert terminal.signal is None
        keys = bytes(range(256))
        os.write(ends.people, keys)
        assert read_all(terminal, 256) == keys
        assert terminal.read() == b""
        assert not terminal.gone
        assert terminal.write(b"a\nb\r\n") == 5
        assert ends.shown(5) == b"a\nb\r\n"
        assert os.get_blocking(ends.program)  # only our own descriptor does not block
    assert ends.as_before()


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit, GeneratorExit])
def test_an_error_inside(ends: Ends, error: type[BaseException]) -> None:
    with pytest.raises(error), ends.terminal():
        raise error
    assert ends.as_before()


def test_what_was_typed_before_and_after_stays(ends: Ends) -> None:
    os.write(ends.people, b"before")
    with ends.terminal() as terminal:
        assert read_all(terminal, 6) == b"before"
        os.write(ends.people, b"after\n")
        terminal.wait(reading=True, writing=False)
    assert os.read(ends.program, 100) == b"after\n"


def test_what_programs_left_on_is_put_right(ends: Ends) -> None:
    with ends.terminal() as terminal:
        terminal.write(b"\x1b[?1049h\x1b[?25lx")
    shown = b"\x1b[?1049h\x1b[?25lx\x1b[?25h\x1b[?1049l\r\n"
    assert ends.shown(len(shown)) == shown
    with ends.terminal() as terminal:
        terminal.write(b"line\r\n")
    assert ends.shown(6) == b"line\r\n"
    assert ends.as_before()


def test_something_that_is_no_terminal(ends: Ends) -> None:
    reading, writing = os.pipe()
    try:
        with pytest.raises(termios.error), PosixTerminal(reading, writing):
            raise AssertionError
    finally:
        os.close(reading)
        os.close(writing)


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT"])
def test_signals_are_noted_and_raise_nothing(ends: Ends, name: str) -> None:
    number = getattr(signal, name)
    with ends.terminal() as terminal:
        signal.raise_signal(number)
        assert terminal.signal is None  # not before somebody looks
        terminal.wait(reading=True, writing=False)
        assert terminal.signal == number
        signal.raise_signal(signal.SIGINT)
        terminal.wait(reading=True, writing=False)
        assert terminal.signal == number  # the first counts
    assert ends.as_before()


def test_a_signal_that_the_user_ignores_stays_ignored(ends: Ends) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with ends.terminal() as terminal:
            signal.raise_signal(signal.SIGHUP)
            terminal.wake()
            terminal.wait(reading=True, writing=False)
            assert terminal.signal is None
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def ring(terminal: PosixTerminal) -> None:
    for _ in range(100_000):  # more often than a pipe holds
        terminal.wake()


def test_another_thread_wakes_it(ends: Ends) -> None:
    with ends.terminal() as terminal:
        for _ in range(3):
            thread = threading.Thread(target=ring, args=(terminal,))
            thread.start()
            while thread.is_alive():
                assert terminal.wait(reading=True, writing=False) == (False, False)
            thread.join()
    terminal.wake()  # too late is no error


def test_outside_of_the_main_thread(ends: Ends) -> None:
    seen: list[Any] = []

    def work() -> None:
        with ends.terminal() as terminal:
            seen.append(ends.is_raw())
            os.write(ends.people, b"x")
            seen.append(read_all(terminal, 1))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join(60)
    assert seen == [True, b"x"]
    assert ends.as_before()


def test_a_terminal_that_goes_away(ends: Ends) -> None:
    with ends.terminal() as terminal:
        terminal.write(b"\x1b[?25l")
        os.close(ends.people)
        ends.people = -1
        while not terminal.gone:
            assert terminal.wait(reading=True, writing=True)[0]
            assert terminal.read() == b""
        assert terminal.write(b"x") == 0


def fill(terminal: PosixTerminal) -> int:
    """Write until there is no room; the kernel makes some when it moves what it has."""
    written = 0
    while True:
        room = terminal.wait(reading=False, writing=True)[1]
        count = terminal.write(b"\x1b[?25l" + b"x" * 4000)
        written += count
        if not room and not count:
            return written


def test_a_screen_that_takes_nothing_and_then_does(ends: Ends) -> None:
    with ends.terminal() as terminal:
        written = fill(terminal)
        assert terminal.write(b"x") == 0
        assert not terminal.gone
        seen = bytearray()

        def read() -> None:
            while not ends.as_before():
                time.sleep(0.01)
            while not seen.endswith(b"\x1b[?25h\r\r\n"):
                seen.extend(os.read(ends.people, 4096))

        reader = threading.Thread(target=read)
        reader.start()
    reader.join(60)
    assert len(seen) == written + len(b"\x1b[?25h\r\r\n")
    assert ends.as_before()


def test_a_screen_that_takes_nothing_does_not_hold_up_a_deadly_signal(ends: Ends) -> None:
    with ends.terminal() as terminal:
        fill(terminal)
        signal.raise_signal(signal.SIGTERM)
        terminal.wait(reading=True, writing=True)
    assert ends.as_before()


def test_sizes(ends: Ends) -> None:
    terminal = ends.terminal()
    assert terminal.size() == (80, 24)  # nobody has set one
    fcntl.ioctl(ends.people, termios.TIOCSWINSZ, struct.pack("HHHH", 33, 101, 0, 0))
    assert terminal.size() == (101, 33)
