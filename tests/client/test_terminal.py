"""An interactive session from Python, against real containers of the practice cluster."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

import ecs_exec_magic as ecs
from ecs_exec_magic.aws.slots import slots
from ecs_exec_magic.client import Client, Target
from ecs_exec_magic.portal import portal
from ecs_exec_magic.sandbox import Sandbox
from ecs_exec_magic.terminal import session as module
from ecs_exec_magic.terminal import threads
from ecs_exec_magic.terminal.session import Ending, TerminalSession
from ecs_exec_magic.terminal.threads import Terminal

from .conftest import connected, press_key, until_there, wait_until


class Screen:
    """Keeps what comes, and takes it at once unless told otherwise."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.ended = threading.Event()
        self.takes = True
        self._waiting = 0
        self._terminal: Terminal | None = None
        self._lock = threading.Lock()

    def __call__(self, data: bytes) -> None:
        if not data:
            self.ended.set()
        with self._lock:
            self.data += data
            self._waiting += len(data)
        self.take()

    def of(self, terminal: Terminal) -> Terminal:
        self._terminal = terminal
        self.take()
        return terminal

    def take(self) -> None:
        with self._lock:
            if self.takes and self._terminal is not None and self._waiting:
                self._terminal.taken(self._waiting)
                self._waiting = 0

    def wait_for(self, what: bytes, seconds: float = 60.0) -> None:
        end = time.monotonic() + seconds
        while what not in self.data:
            assert time.monotonic() < end, f"{what!r} is not in {bytes(self.data[-2000:])!r}"
            time.sleep(0.01)


@contextlib.contextmanager
def opened(target: Target, *args: Any, **how: Any) -> Iterator[tuple[Terminal, Screen]]:
    screen = Screen()
    terminal = screen.of(target.terminal(*args, on_output=screen, **how))
    try:
        yield terminal, screen
    finally:
        terminal.close()


def wait_free(target: Target) -> None:
    wait_until(lambda: slots.taken(target) == 0)


def test_what_is_typed_arrives_and_output_comes_as_it_is(target: Target) -> None:
    wait_free(target)
    with opened(target, columns=101, rows=33) as (terminal, screen):
        assert terminal.session_id.startswith("ecs-execute-command-")
        assert slots.taken(target) == 1
        terminal.write(b"stty -echo; PS1=; tty; stty size; printf 'a\\001\\303\\251\\n'\r")
        screen.wait_for(b"33 101\r\na\x01\xc3\xa9\r\n")
        terminal.resize(77, 22)
        terminal.write(b"stty size\r")
        screen.wait_for(b"22 77\r\n")
        # In one process: a shell may miss the key while it starts one.
        terminal.write(b"PS1='> '; sh -c 'echo on; exec sleep 100'; echo it went on\r")
        screen.wait_for(b"on\r\n")
        terminal.write(b"\x03")
        screen.wait_for(b"> ")
        terminal.write(b"echo back\r")
        screen.wait_for(b"back\r\n")
        assert b"it went on" not in screen.data
        terminal.write(b"exit 3\r")
        assert terminal.wait(60) == Ending("closed")
        assert screen.ended.is_set()
    wait_free(target)


@pytest.mark.parametrize(
    ("command", "how", "shows"),
    [
        ("echo 'a  b' $HOME;", {}, b"a  b $HOME;"),
        (["printf", "%s|", "a  b", "'", "{{ssm:x}}"], {}, b"a  b|'|{{ssm:x}}|"),
        ("/bin/sh", {"script": "echo $((6*7)) | cat; echo '{{ssm:x}}'"}, b"42\r\n{{ssm:x}}\r\n"),
        (["bash", "-e"], {"script": "false; echo no"}, b""),
    ],
    ids=["words", "list", "script", "options"],
)
def test_what_a_command_can_be(target: Target, command: Any, how: Any, shows: bytes) -> None:
    with opened(target, command, **how) as (terminal, screen):
        assert terminal.wait(60) == Ending("closed")
    assert bytes(screen.data).strip() == shows.strip()


@pytest.mark.parametrize(
    ("command", "how"),
    [
        ("x" * 9000, {}),
        ("a\0b", {}),
        ("\udcff", {}),
        (" ", {}),
        ("gawk", {"script": "1"}),
    ],
    ids=["long", "nul", "surrogate", "blank", "unknown"],
)
def test_what_cannot_be_a_command(target: Target, command: str, how: Any) -> None:
    wait_free(target)
    with pytest.raises(ecs.InvalidRequest):
        target.terminal(command, on_output=lambda _: None, **how)
    assert slots.taken(target) == 0


def test_a_program_that_is_not_there(target: Target) -> None:
    with opened(target, "/bin/nope") as (terminal, _):
        ending = terminal.wait(60)
    assert ending is not None
    assert ending.how == "closed"
    assert isinstance(ending.error, ecs.StartFailed)
    assert "no such file" in str(ending.error)
    with opened(target, "/nowhere/sh") as (terminal, _):
        ending = terminal.wait(60)
    assert ending is not None
    assert ending.error is not None
    assert ending.error.cure == "name a program that the image has"
    wait_free(target)


def test_a_far_end_without_end_is_held_back(target: Target) -> None:
    with opened(target) as (terminal, screen):
        terminal.write(b"stty -echo; PS1='> '; echo be''gin\r")
        screen.wait_for(b"begin\r\n> ")
        start = screen.data.index(b"begin\r\n> ") + len(b"begin\r\n> ")
        screen.takes = False
        terminal.write(b"yes\r")
        session = terminal._session
        assert session is not None
        connection = session._connection
        # Both stages fill, and then the socket is not read any more.
        wait_until(lambda: not connection._link.reading)
        wait_until(lambda: len(screen.data) - start > module.UNREAD)
        stands = len(screen.data)
        assert stands - start < 4 * module.UNREAD
        time.sleep(0.5)
        assert len(screen.data) == stands
        assert connection._channel.queued < 16 * module.UNREAD
        # It goes on where it stood, and Ctrl-C comes through.
        screen.takes = True
        screen.take()
        wait_until(lambda: len(screen.data) > stands + 1_000_000)
        terminal.write(b"\x03")
        wait_until(lambda: screen.data.endswith(b"> "))
        terminal.write(b"echo st''op\r")
        screen.wait_for(b"stop\r\n")
    # The interrupt key makes the terminal drop what waits in it, so the last line may be a torso.
    lines = bytes(screen.data[start:]).split(b"\r\n")
    assert len(lines) > 300_000
    assert set(lines[:-20]) == {b"y"}


def test_a_far_end_that_takes_nothing_holds_us_back(target: Target) -> None:
    with opened(target) as (terminal, screen):
        terminal.write(b"stty raw -echo; echo re''ady; ")
        terminal.write(f"{until_there('/tmp/typed')}; head -c 3000000 | cksum\r".encode())
        screen.wait_for(b"ready")
        data = bytes(range(256)) * 11718 + bytes(192)
        assert len(data) == 3_000_000
        for start in range(0, len(data), 10_000):
            terminal.write(data[start : start + 10_000])
        assert terminal.unsent > 2_500_000  # while it waits; then all of it goes
        target.run("touch /tmp/typed", check=True)
        screen.wait_for(b"%d 3000000" % _cksum(data))
        assert terminal.unsent == 0


def test_a_cut_connection_loses_nothing(cluster: Sandbox, target: Target) -> None:
    cluster.faults.cut_after_frames = 20
    cluster.faults.cut_times = 3
    with opened(target) as (terminal, screen):
        terminal.write(b"stty -echo; PS1=; echo be''gin; seq 1 20000; echo e''nd\r")
        screen.wait_for(b"end\r\n")
        numbers = bytes(screen.data).split(b"begin\r\n")[1].split(b"end\r\n")[0]
        assert numbers == b"".join(b"%d\r\n" % n for n in range(1, 20001))
        assert cluster.counters.attachments[terminal.session_id] >= 2


def test_a_session_that_is_lost(cluster: Sandbox, target: Target) -> None:
    with opened(target) as (terminal, screen):
        screen.wait_for(b"# ")
        cluster.faults.lose_resume = True
        cluster.faults.cut()
        ending = terminal.wait(60)
    assert ending is not None
    assert ending.how == "lost"
    assert isinstance(ending.error, ecs.SessionLost)
    assert target.address in str(ending.error)
    wait_free(target)


def test_a_session_that_is_idle_for_too_long_ends_with_its_slot_free() -> None:
    from ecs_exec_magic import sandbox

    from ..runtimes import WITHOUT_ENGINE

    with sandbox.start(pace="fast", runtime=WITHOUT_ENGINE, idle_timeout=5.0) as cluster:
        target = connected(cluster).target("demo/worker")
        with opened(target) as (terminal, _):
            ending = terminal.wait(60)
        assert ending is not None
        assert ending.how == "closed"
        wait_free(target)


def test_a_task_that_is_gone_without_a_word(
    cluster: Sandbox, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LOOK_AFTER", 0.3)
    target = client.targets("demo/worker")[-1]
    with opened(target) as (terminal, screen):
        screen.wait_for(b"# ")
        cluster.faults.lose_closed = True
        cluster.faults.kill_task(target.task_id)
        ending = terminal.wait(60)
    assert ending is not None
    assert ending.how == "lost"
    assert "has stopped" in str(ending.error)
    cluster.faults.lose_closed = False
    wait_free(target)


def test_closing_ends_the_program(cluster: Sandbox, target: Target) -> None:
    mark = "4.4404"
    with opened(target, ["sh", "-c", f"echo on; sleep {mark}"]) as (terminal, screen):
        screen.wait_for(b"on\r\n")
        terminal.close()
        assert terminal.wait(60) == Ending("ended") == terminal.ending
        assert screen.ended.is_set()
        terminal.write(b"dropped")
        terminal.resize(1, 1)
    wait_free(target)
    assert mark not in target.run("cat /proc/[0-9]*/cmdline | tr '\\0' ' '").stdout


def test_closing_a_session_whose_reader_is_gone(target: Target) -> None:
    with opened(target, "yes") as (terminal, screen):
        screen.takes = False
        wait_until(lambda: len(screen.data) > module.UNREAD)
        terminal.close()
        assert terminal.wait(60) == Ending("ended")
    wait_free(target)


def test_an_output_that_cannot_be_shown_ends_the_session(target: Target) -> None:
    def fails(data: bytes) -> None:
        if data:
            raise ValueError("no screen")

    terminal = target.terminal(on_output=fails)
    with pytest.raises(ValueError, match="no screen"):
        terminal.wait(60)
    assert terminal.ending == Ending("ended")
    wait_free(target)


def test_who_waits_is_told_when_the_end_has_been_handed_out(target: Target) -> None:
    told: list[Ending | None] = []

    def take(data: bytes) -> None:
        if not data:
            told.append(terminal.wait(0))

    terminal = target.terminal(on_output=take)
    terminal.write(b"exit\r")
    assert terminal.wait(60) == Ending("closed")
    assert told == [None]


def test_a_third_session_waits_and_can_be_given_up(target: Target) -> None:
    said: list[str] = []

    def give_up(text: str) -> None:
        said.append(text)
        press_key()

    with opened(target), opened(target):
        with pytest.raises(KeyboardInterrupt):
            target.terminal(on_output=lambda _: None, on_notice=give_up)
        assert len(said) == 1
        assert slots.taken(target) == 2
    wait_free(target)


def test_given_up_in_the_moment_in_which_it_opens(
    target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Bridge:
        def call(self, coroutine: Any) -> Any:
            asyncio.run_coroutine_threadsafe(coroutine, portal.loop()).result(60)
            raise KeyboardInterrupt

    monkeypatch.setattr(threads, "ThreadBridge", Bridge)
    with pytest.raises(KeyboardInterrupt):
        target.terminal(on_output=lambda _: None)
    wait_free(target)


async def test_from_a_loop_of_ones_own(cluster: Sandbox, client: Client, target: Target) -> None:
    session = await TerminalSession.open(client._api, target.ref, "cat", columns=5, rows=5)
    try:
        await session.write(b"one\n")
        data, expected = b"", b"one\r\none\r\n"
        async for piece in session:
            data += piece
            if len(data) >= len(expected):
                break
        assert data == expected
        assert session.ending is None
        await session.write(b"\x04")
        assert await session.read() == b""
        assert await session.wait() == Ending("closed")
        with pytest.raises(ecs.SessionLost):
            await session.write(b"more")
        await session.resize(1, 1)
    finally:
        await session.close()
    await asyncio.to_thread(wait_free, target)


async def test_a_read_that_is_cancelled_loses_nothing(client: Client, target: Target) -> None:
    session = await TerminalSession.open(client._api, target.ref, "cat")
    try:
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(session.read(), 0.05)
        await session.write(b"x\n")
        data, expected = b"", b"x\r\nx\r\n"
        while len(data) < len(expected):
            data += await session.read()
        assert data == expected
    finally:
        await module.close_all()
    assert session.ending == Ending("ended")
    await asyncio.to_thread(wait_free, target)


def _cksum(data: bytes) -> int:
    """The CRC of POSIX cksum."""
    crc = 0
    table = []
    for n in range(256):
        value = n << 24
        for _ in range(8):
            value = (value << 1) ^ (0x04C11DB7 if value & 0x80000000 else 0)
        table.append(value & 0xFFFFFFFF)
    size = len(data)
    tail = bytearray()
    while size:
        tail.append(size & 0xFF)
        size >>= 8
    for byte in (*data, *tail):
        crc = ((crc << 8) & 0xFFFFFFFF) ^ table[(crc >> 24) ^ byte]
    return crc ^ 0xFFFFFFFF
