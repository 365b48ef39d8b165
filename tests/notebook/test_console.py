"""Windows' console, played: what is changed is taken back, and keys are what was typed."""

from __future__ import annotations

import ctypes
import signal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecs_exec_magic.notebook.console import ConsoleTerminal, Key, _KeyRecord, typed

NORMAL = 0x1F7, 0x3  # as cmd.exe has them


class Played:
    def __init__(self) -> None:
        self.now = NORMAL
        self.pressed: list[Key] = []
        self.screen = ""
        self.calls: list[str] = []
        self.broken = False

    def modes(self) -> tuple[int, int]:
        if self.broken:
            raise OSError(6, "the handle is invalid")
        return self.now

    def set_modes(self, modes: tuple[int, int]) -> None:
        self.now = modes

    def wait(self, seconds: float) -> None:
        self.calls.append("wait")

    def wake(self) -> None:
        self.calls.append("wake")

    def keys(self) -> list[Key]:
        if self.broken:
            raise OSError(6, "the handle is invalid")
        pressed, self.pressed = self.pressed, []
        return pressed

    def write(self, text: str) -> None:
        self.screen += text

    def close(self) -> None:
        self.calls.append("close")


def presses(text: str) -> list[Key]:
    """Each UTF-16 unit pressed and let go."""
    units = text.encode("utf-16-le")
    chars = [int.from_bytes(units[at : at + 2], "little") for at in range(0, len(units), 2)]
    return [Key(down, 65, char) for char in chars for down in (True, False)]


def test_raw_inside_and_normal_outside() -> None:
    console = Played()
    with ConsoleTerminal(console) as terminal:
        keys, screen = console.now
        assert not keys & 0x17  # no Ctrl-C of the console's, no lines, no echo, no mouse
        assert keys & 0x200
        assert screen & 0xD == 0xD
        assert terminal.write("\x1b[?25lé日".encode()) == len("\x1b[?25lé日".encode())
    assert console.now == NORMAL
    assert console.screen == "\x1b[?25lé日\x1b[?25h\r\n"
    assert console.calls == ["close"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_an_error_inside(error: type[BaseException]) -> None:
    console = Played()
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(error), ConsoleTerminal(console):
        raise error
    assert console.now == NORMAL
    assert signal.getsignal(signal.SIGINT) == before


def test_an_interrupt_is_noted() -> None:
    console = Played()
    with ConsoleTerminal(console) as terminal:
        signal.raise_signal(signal.SIGINT)
        assert terminal.signal == signal.SIGINT
    assert console.now == NORMAL


def test_no_console() -> None:
    console = Played()
    console.broken = True
    with pytest.raises(OSError, match="invalid"):
        ConsoleTerminal(console)


def test_a_console_that_goes_away() -> None:
    console = Played()
    with ConsoleTerminal(console) as terminal:
        console.broken = True
        assert terminal.wait(reading=True, writing=False) == (False, False)
        assert terminal.gone
    assert console.now == NORMAL


def test_keys() -> None:
    console = Played()
    with ConsoleTerminal(console) as terminal:
        assert terminal.wait(reading=True, writing=False) == (False, False)
        assert console.calls == ["wait"]
        console.pressed = presses("a\x03é\r")
        assert terminal.wait(reading=True, writing=True) == (True, True)
        assert console.calls == ["wait"]  # what is to be written is not kept waiting
        assert terminal.read() == "a\x03é\r".encode()
        assert terminal.read() == b""


# A record whose character is 0 has none: what types NUL there cannot be told from a Shift key.
keys = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))


@given(keys, st.sets(st.integers(0, 60)))
def test_text_passes_however_its_records_come(text: str, cuts: set[int]) -> None:
    console = Played()
    records = presses(text)
    ends = sorted({cut for cut in cuts if cut < len(records)} | {len(records)})
    data = b""
    with ConsoleTerminal(console) as terminal:
        for start, end in zip([0, *ends], ends, strict=False):
            console.pressed = records[start:end]
            terminal.wait(reading=True, writing=False)
            data += terminal.read()
    assert data.decode("utf-8") == text


@given(st.text(), st.sets(st.integers(0, 60)))
def test_output_passes_however_it_is_cut(text: str, cuts: set[int]) -> None:
    text = text.replace("\x1b", "").replace("\x0e", "")  # modes are undone, which adds to it
    console = Played()
    data = text.encode()
    ends = sorted({cut for cut in cuts if cut < len(data)} | {len(data)})
    with ConsoleTerminal(console) as terminal:
        for start, end in zip([0, *ends], ends, strict=False):
            assert terminal.write(data[start:end]) == end - start
    assert console.screen in (text, text + "\r\n")


def test_special_keys() -> None:
    assert typed([Key(True, 0x10, 0), Key(True, 65, 65), Key(False, 65, 65)]) == b"A\0"
    assert typed([Key(True, 65, 65, repeat=3)]) == b"A\0" * 3
    assert typed([Key(True, 0x12, 0), Key(False, 0x12, 0xE9)]) == b"\xe9\0"  # Alt 0233


def test_the_record_is_as_long_as_windows_has_it() -> None:
    assert ctypes.sizeof(_KeyRecord) == 20
    assert (_KeyRecord.down.offset, _KeyRecord.char.offset) == (4, 14)
