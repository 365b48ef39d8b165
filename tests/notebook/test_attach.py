"""Keys, output and sizes go over in the right order, and each end is told for what it is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hypothesis import given
from hypothesis import strategies as st

from ecs_exec_magic.notebook import attach
from ecs_exec_magic.notebook.attach import Inbox, join

if TYPE_CHECKING:
    from collections.abc import Callable


class Far:
    """A session that keeps what it is told."""

    def __init__(self) -> None:
        self.keys = b""
        self.sizes: list[tuple[int, int]] = []
        self.taken_bytes = 0
        self.unsent = 0

    def write(self, data: bytes) -> None:
        self.keys += data

    def resize(self, columns: int, rows: int) -> None:
        self.sizes.append((columns, rows))

    def taken(self, count: int) -> None:
        self.taken_bytes += count


class Near:
    """A terminal that follows a script: before each wait the next step is done."""

    def __init__(self, *steps: Callable[[Near], object]) -> None:
        self.signal: int | None = None
        self.gone = False
        self.steps = list(steps)
        self.keys = b""
        self.screen = b""
        self.columns = 80
        self.takes = 1 << 30
        self.asked: list[tuple[bool, bool]] = []

    def __enter__(self) -> Near:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def wake(self) -> None:
        pass

    def size(self) -> tuple[int, int]:
        return self.columns, 24

    def wait(self, *, reading: bool, writing: bool) -> tuple[bool, bool]:
        self.asked.append((reading, writing))
        assert len(self.asked) < 10_000, "it never ends"
        if self.steps:
            self.steps.pop(0)(self)
        return reading and bool(self.keys), writing and self.takes > 0

    def read(self) -> bytes:
        keys, self.keys = self.keys, b""
        return keys

    def write(self, data: bytes) -> int:
        self.screen += data[: self.takes]
        return min(len(data), self.takes)


def typing(keys: bytes) -> Any:
    return lambda near: setattr(near, "keys", near.keys + keys)


def bye(inbox: Inbox) -> Any:
    def end(_: Near) -> None:
        inbox.put(b"bye")
        inbox.put(b"")

    return end


def run(near: Near, far: Far, inbox: Inbox) -> str:
    return join(near, far, inbox, (80, 24))


def test_keys_and_output_until_the_session_is_over() -> None:
    far, inbox = Far(), Inbox(lambda: None)
    near = Near(
        typing(b"ls\r"),
        lambda _: inbox.put(b"a  b\r\n"),
        lambda near: setattr(near, "columns", 100),
        bye(inbox),
    )
    assert run(near, far, inbox) == "over"
    assert far.keys == b"ls\r"
    assert near.screen == b"a  b\r\nbye"
    assert far.taken_bytes == len(near.screen)
    assert far.sizes == [(100, 24)]


def test_keys_behind_the_end_are_not_read() -> None:
    far, inbox = Far(), Inbox(lambda: None)
    near = Near(bye(inbox), typing(b"1 + 1\r"))
    assert run(near, far, inbox) == "over"
    assert (far.keys, near.keys) == (b"", b"1 + 1\r")


def test_the_way_out_is_not_sent() -> None:
    far, inbox = Far(), Inbox(lambda: None)
    near = Near(typing(b"exit\r"), typing(b"~"), typing(b".rm\r"))
    assert run(near, far, inbox) == "escape"
    assert far.keys == b"exit\r"


def test_a_signal_and_a_terminal_that_is_gone() -> None:
    inbox = Inbox(lambda: None)
    assert run(Near(lambda near: setattr(near, "signal", 15)), Far(), inbox) == "signal"
    assert run(Near(lambda near: setattr(near, "gone", True)), Far(), inbox) == "gone"


def test_a_far_end_that_takes_nothing_is_not_typed_at() -> None:
    far, inbox = Far(), Inbox(lambda: None)
    near = Near(
        typing(b"x"),
        lambda _: setattr(far, "unsent", attach.MOST_UNSENT),
        typing(b"y"),
        lambda _: inbox.put(b"z"),
        lambda _: setattr(far, "unsent", 0),
        lambda _: None,
        lambda _: inbox.put(b""),
    )
    assert run(near, far, inbox) == "over"
    assert near.asked[2:4] == [(False, False), (False, False)]
    assert far.keys == b"xy"
    assert near.screen == b"z"


@given(st.lists(st.binary(min_size=1, max_size=30)), st.integers(1, 40))
def test_a_screen_that_takes_little_gets_all(pieces: list[bytes], takes: int) -> None:
    far, inbox = Far(), Inbox(lambda: None)
    near = Near()
    near.takes = takes
    for piece in (*pieces, b""):
        inbox.put(piece)
    assert run(near, far, inbox) == "over"
    assert near.screen == b"".join(pieces)
    assert far.taken_bytes == len(near.screen)


def test_an_inbox_calls_for_each_piece() -> None:
    calls: list[int] = []
    inbox = Inbox(lambda: calls.append(1))
    inbox.put(b"a")
    inbox.put(b"")
    assert len(calls) == 2
    assert not inbox.over
    inbox.written(1)
    assert inbox.over
