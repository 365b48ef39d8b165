"""Whatever happens to views and messages: each view shows the stream, and nothing stands still."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

import hypothesis.strategies as st
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from ecs_exec_magic.notebook.widgets.feed import Feed, Replay

KEEP, WINDOW, PIECE, ACK_EVERY = 400, 100, 60, 25


def pattern(start: int, length: int) -> bytes:
    """Bytes that tell where they belong, without newlines or escapes."""
    return bytes(ord("a") + (i * 7 + i // 26) % 26 for i in range(start, start + length))


@dataclass
class View:
    """The page's side, as js/feed.js has it, with its messages still on their way."""

    begin: int = 0
    position: int | None = None
    shown: bytes = b""
    acked: int = 0
    waiting: bool = True
    coming: deque[tuple[int, bytes, bool] | Replay] = field(default_factory=deque)
    asks: bool = True

    def receive(self) -> None:
        message = self.coming.popleft()
        if isinstance(message, Replay):
            if not message.clear and message.at != self.position:
                return
            self.waiting = False
            if message.clear:
                self.begin = self.position = message.at
                self.shown = b""
            self._take(message.data)
            return
        at, data, _ = message
        position = self.position or 0
        if self.waiting or at + len(data) <= position:
            return
        if at > position:
            self.waiting = self.asks = True
        else:
            self._take(data[position - at :])

    def _take(self, data: bytes) -> None:
        assert self.position is not None
        self.position += len(data)
        self.shown += data


class Views(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.feed = Feed(KEEP, 50)
        self.stream = b""
        self.views: list[View] = []
        self.unacknowledged = 0  # as the far end's gate counts

    @property
    def may_send(self) -> bool:
        return self.unacknowledged <= WINDOW

    def _put(self, data: bytes) -> None:
        at = self.feed.put(data)
        assert at == len(self.stream)
        self.stream += data
        self.unacknowledged += len(data)
        for view in self.views:
            view.coming.append((at, data, False))

    @precondition(lambda self: self.may_send)
    @rule(length=st.integers(1, PIECE))
    def far_end_prints(self, length: int) -> None:
        self._put(pattern(len(self.stream), length))

    @rule()
    def somebody_looks(self) -> None:
        self.views.append(View())

    @precondition(lambda self: self.views)
    @rule(data=st.data())
    def a_page_is_gone(self, data: st.DataObject) -> None:
        self.views.remove(data.draw(st.sampled_from(self.views)))

    @precondition(lambda self: any(view.coming for view in self.views))
    @rule(data=st.data(), lost=st.booleans())
    def a_message_comes_or_is_lost(self, data: st.DataObject, lost: bool) -> None:
        view = data.draw(st.sampled_from([view for view in self.views if view.coming]))
        if lost:
            view.coming.popleft()
        else:
            view.receive()

    @precondition(lambda self: any(view.asks for view in self.views))
    @rule(data=st.data())
    def a_view_says_hello(self, data: st.DataObject) -> None:
        self._hello(data.draw(st.sampled_from([view for view in self.views if view.asks])))

    def _hello(self, view: View) -> None:
        view.asks = False
        view.coming.append(self.feed.replay(view.position))

    @precondition(lambda self: any(view.position for view in self.views))
    @rule(data=st.data(), every=st.sampled_from([1, ACK_EVERY]))
    def a_view_acknowledges(self, data: st.DataObject, every: int) -> None:
        self._acknowledge(data.draw(st.sampled_from([v for v in self.views if v.position])), every)

    def _acknowledge(self, view: View, every: int) -> None:
        position = view.position or 0
        if position - view.acked >= every:
            view.acked = position
            self.unacknowledged -= self.feed.shown(position)

    @rule()
    def everything_arrives_and_goes_on(self) -> None:
        """No stall: one view whose messages come in, and that may ask again, frees the far end."""
        if not self.views:
            self.views.append(View())
        view = self.views[-1]
        for _ in range(2):
            while view.coming:
                view.receive()
            view.asks = True  # as it does after a key that nothing follows
            self._hello(view)
        while view.coming:
            view.receive()
        self._acknowledge(view, 1)
        assert view.position == len(self.stream)
        assert self.unacknowledged == 0
        assert self.may_send

    @rule(words=st.sampled_from([b"", b"\r\n"]))
    def another_session_begins(self, words: bytes) -> None:
        at, data = self.feed.begin(words)
        assert at == len(self.stream)
        self.stream += data
        self.unacknowledged = 0
        for view in self.views:
            view.coming.append((at, data, False))

    @invariant()
    def views_show_the_stream(self) -> None:
        for view in self.views:
            if view.position is not None:
                assert view.shown == self.stream[view.begin : view.position]

    @invariant()
    def what_waits_is_bounded_and_kept(self) -> None:
        assert self.unacknowledged == self.feed.end - self.feed.credit
        assert self.unacknowledged <= WINDOW + PIECE
        assert self.feed.start <= self.feed.credit <= self.feed.end == len(self.stream)
        assert self.feed.end - self.feed.start <= KEEP + 50


TestViews = Views.TestCase
TestViews.settings = settings(deadline=None, stateful_step_count=40, max_examples=60)


def test_what_is_kept_begins_with_a_whole_line() -> None:
    feed = Feed(keep=100, slack=20)
    for number in range(60):
        feed.put(b"line %d\r\n" % number)
    replay = feed.replay()
    assert replay.clear
    assert replay.at == feed.start > 0
    assert replay.data.startswith(b"line ")
    assert replay.data.endswith(b"line 59\r\n")
    assert 90 <= len(replay.data) <= 120


def test_modes_from_before_the_cut_are_set_again() -> None:
    feed = Feed(keep=100, slack=20)
    feed.put(b"\x1b[?2004h\x1b[?1049h\x1b[?25l\x1b(0\x1b=\x1b[2;20r")
    feed.put(b"x" * 200)
    replay = feed.replay()
    assert replay.before == b"\x1b[?1049h\x1b[?2004h\x1b[?25l\x1b=\x1b(0\x1b[2;20r"
    assert replay.redraw  # some of its screen was cut off
    feed.put(b"\x1b[?1049l\x1b[?25h\x1b(B\x1b>\x1b[r")
    assert not feed.replay().redraw  # the program is over
    feed.put(b"y" * 200)
    assert feed.replay().before == b"\x1b[?1049l\x1b[?2004h\x1b[?25h"


def test_a_short_stream_is_replayed_from_its_beginning() -> None:
    feed = Feed()
    feed.put(b"\x1b[?1049h all of it")
    assert feed.replay() == Replay(0, b"\x1b[?1049h all of it", clear=True)
    assert feed.replay(9).data == b"all of it"
    assert feed.replay(9).clear is False
    assert feed.replay(feed.end).data == b""


def test_another_session_begins_without_the_modes_of_the_last() -> None:
    feed = Feed()
    feed.put(b"\x1b[?1049h\x1b[?2004h\x1b[?7l$ ")
    at, data = feed.begin(b"\r\n")
    assert at == feed.credit - len(data)
    assert data.startswith(b"\x1b[?2004l\x1b[?1049l\x1b[?7h")
    assert data.endswith(b"\r\n")
    assert feed.shown(feed.end) == 0  # what the last session is owed is not the new one's
    feed.put(b"abc")
    assert feed.shown(feed.end) == 3
    # A view that acknowledges what is not there, or twice, frees nothing.
    assert feed.shown(feed.end + 100) == 0
    assert feed.shown(0) == 0
