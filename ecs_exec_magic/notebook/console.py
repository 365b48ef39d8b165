"""The local terminal while a session has it, on Windows: its console, raw, and restored.

Knows the console's modes and key records. Never knows sessions.

Only the logic has been tested, against a console that is played; the calls in :class:`Kernel32`
have never run on Windows itself.
"""

from __future__ import annotations

import codecs
import contextlib
import ctypes
import os
import signal
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from .modes import Modes

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import FrameType, TracebackType

__all__ = ["Console", "ConsoleTerminal", "Kernel32", "Key", "typed"]

_TICK = 0.5

# Of input: Ctrl-C is a key, no lines, no echo, keys as the codes of a terminal.
_PROCESSED_INPUT, _LINE_INPUT, _ECHO_INPUT, _MOUSE_INPUT, _VIRTUAL_INPUT = 1, 2, 4, 0x10, 0x200
# Of output: codes are obeyed, and LF does not return to the first column.
_PROCESSED_OUTPUT, _VIRTUAL_OUTPUT, _NO_AUTO_RETURN = 1, 4, 8

_ALT = 0x12
_ENDS = ("SIGINT", "SIGTERM", "SIGBREAK")


@dataclass(frozen=True, slots=True)
class Key:
    """One key record.

    Attributes:
        down: it was pressed, not let go.
        code: the virtual key.
        char: one UTF-16 unit, as a number; 0 for none.
        repeat: how often.
    """

    down: bool
    code: int
    char: int
    repeat: int = 1


class Console(Protocol):
    """What is needed of Windows."""

    def modes(self) -> tuple[int, int]:
        """Those of input and output; OSError when this is no console."""
        ...

    def set_modes(self, modes: tuple[int, int]) -> None: ...
    def wait(self, seconds: float) -> None:
        """Until there are key records, or :meth:`wake` is called."""
        ...

    def wake(self) -> None: ...
    def keys(self) -> list[Key]: ...
    def write(self, text: str) -> None: ...
    def close(self) -> None: ...


def typed(keys: Iterable[Key]) -> bytes:
    """What key records say, as UTF-16 in little-endian order.

    A key that is let go says nothing, but for Alt behind a number that was typed with it.
    """
    units = [
        key.char.to_bytes(2, "little") * max(key.repeat, 1)
        for key in keys
        if key.char and (key.down or key.code == _ALT)
    ]
    return b"".join(units)


class ConsoleTerminal:
    """The process's console; as a context manager it is raw, with nothing left of that at the end.

    Attributes:
        signal: the signal that asked for the end, or None.
        gone: nobody is at the console any more.

    Raises:
        OSError: the process has no console.
    """

    def __init__(self, console: Console | None = None) -> None:
        self.signal: int | None = None
        self.gone = False
        self._console: Console = console if console is not None else Kernel32()
        self._console.modes()
        self._saved: tuple[int, int] | None = None
        self._handlers: dict[int, Any] = {}
        self._modes = Modes()
        self._at_line_start = True
        self._pressed: list[Key] = []
        self._to_text = codecs.getincrementaldecoder("utf-8")("replace")
        # A character beyond the first 65536 comes as two records.
        self._from_units = codecs.getincrementaldecoder("utf-16-le")("replace")

    def __enter__(self) -> ConsoleTerminal:
        try:
            self._catch_signals()
            self._saved = self._console.modes()
            keys, screen = self._saved
            keys &= ~(_PROCESSED_INPUT | _LINE_INPUT | _ECHO_INPUT | _MOUSE_INPUT)
            screen |= _PROCESSED_OUTPUT | _VIRTUAL_OUTPUT | _NO_AUTO_RETURN
            self._console.set_modes((keys | _VIRTUAL_INPUT, screen))
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

    def size(self) -> tuple[int, int]:
        """Columns and rows; 80 and 24 when it does not know."""
        try:
            size = os.get_terminal_size()
        except OSError:
            return 80, 24
        return size.columns or 80, size.lines or 24

    def wake(self) -> None:
        """Let :meth:`wait` return; from any thread."""
        self._console.wake()

    def wait(self, *, reading: bool, writing: bool) -> tuple[bool, bool]:
        """Wait until keys can be read, or something else is to be done; the console always takes
        what is written, so that it is not waited for.

        Returns:
            what can be done of the two.
        """
        if not writing:
            self._console.wait(_TICK)
        if reading and not self._pressed:
            try:
                self._pressed = self._console.keys()
            except OSError:
                self.gone = True
        return reading and bool(self._pressed), writing

    def read(self) -> bytes:
        """The keys that were pressed, as UTF-8; nothing when there are none."""
        pressed, self._pressed = self._pressed, []
        return self._from_units.decode(typed(pressed)).encode("utf-8", "replace")

    def write(self, data: bytes) -> int:
        """Write to the screen; returns how many bytes that were."""
        data = data[:4096]
        try:
            if text := self._to_text.decode(data):
                self._console.write(text)
        except OSError:
            self.gone = True
            return 0
        self._modes.feed(data)
        self._at_line_start = data.endswith(b"\n")
        return len(data)

    def _restore(self) -> None:
        try:
            if self._saved is not None:
                undo = self._modes.undo()
                if self._modes.other_screen or not self._at_line_start:
                    undo += b"\r\n"
                try:
                    if undo:
                        self.write(undo)
                finally:
                    with contextlib.suppress(OSError):
                        self._console.set_modes(self._saved)
        finally:
            self._saved = None
            for number, handler in self._handlers.items():
                signal.signal(number, handler)
            self._handlers.clear()
            self._console.close()

    def _catch_signals(self) -> None:
        if threading.current_thread() is not threading.main_thread():
            return
        for name in _ENDS:
            number = getattr(signal, name, None)
            before = signal.getsignal(number) if number is not None else None
            if number is not None and before is not None and before != signal.SIG_IGN:
                signal.signal(number, self._note)
                self._handlers[number] = before

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.signal = self.signal or number
        self.wake()


# -- Windows -------------------------------------------------------------------------------------


class _KeyRecord(ctypes.Structure):
    """INPUT_RECORD with a KEY_EVENT_RECORD in its union, which is as long as any."""

    _fields_ = (
        ("kind", ctypes.c_uint16),
        ("down", ctypes.c_int32),
        ("repeat", ctypes.c_uint16),
        ("code", ctypes.c_uint16),
        ("scan", ctypes.c_uint16),
        ("char", ctypes.c_uint16),
        ("state", ctypes.c_uint32),
    )


class Kernel32:
    """The console calls of kernel32."""

    _KEY_EVENT = 1
    _INPUT, _OUTPUT = -10, -11

    def __init__(self) -> None:
        windows: Any = ctypes
        self._api = api = windows.WinDLL("kernel32", use_last_error=True)
        handle, number = ctypes.c_void_p, ctypes.c_uint32
        api.GetStdHandle.restype = handle
        api.CreateEventW.restype = handle
        api.CreateEventW.argtypes = (handle, ctypes.c_int, ctypes.c_int, ctypes.c_wchar_p)
        for name in ("SetEvent", "CloseHandle"):
            getattr(api, name).argtypes = (handle,)
        api.GetConsoleMode.argtypes = (handle, ctypes.POINTER(number))
        api.SetConsoleMode.argtypes = (handle, number)
        api.GetNumberOfConsoleInputEvents.argtypes = (handle, ctypes.POINTER(number))
        api.ReadConsoleInputW.argtypes = (handle, handle, number, ctypes.POINTER(number))
        api.WriteConsoleW.argtypes = (handle, handle, number, ctypes.POINTER(number), handle)
        api.WaitForMultipleObjects.argtypes = (number, handle, ctypes.c_int, number)
        self._in = handle(api.GetStdHandle(self._INPUT))
        self._out = handle(api.GetStdHandle(self._OUTPUT))
        # It rings until it is heard, and is quiet by itself then.
        self._event = handle(api.CreateEventW(None, False, False, None))
        self._lock = threading.RLock()

    def _done(self, worked: int) -> None:
        if not worked:
            windows: Any = ctypes
            raise windows.WinError(windows.get_last_error())

    def modes(self) -> tuple[int, int]:
        found = []
        for handle in (self._in, self._out):
            mode = ctypes.c_uint32()
            self._done(self._api.GetConsoleMode(handle, ctypes.byref(mode)))
            found.append(mode.value)
        return found[0], found[1]

    def set_modes(self, modes: tuple[int, int]) -> None:
        for handle, mode in zip((self._in, self._out), modes, strict=True):
            self._done(self._api.SetConsoleMode(handle, mode))

    def wait(self, seconds: float) -> None:
        handles = (ctypes.c_void_p * 2)(self._in, self._event)
        self._api.WaitForMultipleObjects(2, handles, False, int(seconds * 1000))

    def wake(self) -> None:
        with self._lock:
            if self._event:
                self._api.SetEvent(self._event)

    def keys(self) -> list[Key]:
        count = ctypes.c_uint32()
        self._done(self._api.GetNumberOfConsoleInputEvents(self._in, ctypes.byref(count)))
        if not count.value:
            return []
        records = (_KeyRecord * min(count.value, 1024))()
        self._done(
            self._api.ReadConsoleInputW(self._in, records, len(records), ctypes.byref(count))
        )
        return [
            Key(bool(each.down), each.code, each.char, each.repeat)
            for each in records[: count.value]
            if each.kind == self._KEY_EVENT
        ]

    def write(self, text: str) -> None:
        units = text.encode("utf-16-le", "replace")
        while units:
            written = ctypes.c_uint32()
            self._done(
                self._api.WriteConsoleW(
                    self._out, units, len(units) // 2, ctypes.byref(written), None
                )
            )
            units = units[written.value * 2 :]

    def close(self) -> None:
        with self._lock:
            if self._event:
                self._api.CloseHandle(self._event)
                self._event = ctypes.c_void_p()
