"""A kept shell's streams, however the far end's records of both come one after the other."""

from __future__ import annotations

import asyncio
import base64
import hashlib
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from ecs_exec_magic.channel.events import Closed, Event, Output
from ecs_exec_magic.remote.shell import Shell
from ecs_exec_magic.remote.wrapper import wrap_shell

SECRET = b"0123456789abcdef"
MARK = b"\x1e" + SECRET + b"\x1e"


class FarEnd:
    """Answers commands with records that a test has written before."""

    def __init__(self, nonce: bytes, *answers: list[bytes]) -> None:
        begin = b"\x1e%s B 1 r base64- md5sum- setsid- %s\n" % (nonce, SECRET)
        first = _round("o", MARK + b" 0 c " + MARK) + _round("e", MARK + MARK)
        self.answers = [first, *answers]
        self._coming: asyncio.Queue[list[bytes]] = asyncio.Queue()
        self._coming.put_nowait([begin])

    async def receive(self) -> list[Event]:
        return [Output(data) for data in await self._coming.get()]

    async def send(self, data: bytes) -> None:
        if data.startswith(b"C "):
            self._coming.put_nowait(self.answers.pop(0))

    async def terminate(self) -> None:
        raise AssertionError("nothing has to be ended here")


def _piece(stream: str, data: bytes) -> bytes:
    body = base64.b64encode(data)
    return b"\x1e%s %s b %d\n%s\n" % (SECRET, stream.encode(), len(body), body)


def _proof(stream: str, data: bytes) -> bytes:
    digest = hashlib.md5(data, usedforsecurity=False).hexdigest().encode()
    return b"\x1e%s z %s %s  -\n" % (SECRET, stream.encode(), digest)


def _round(stream: str, *pieces: bytes) -> list[bytes]:
    return [*(_piece(stream, each) for each in pieces), _proof(stream, b"".join(pieces))]


async def _shell(*answers: list[bytes]) -> Shell:
    wrapped = wrap_shell()
    channel: Any = FarEnd(wrapped.nonce, *answers)
    shell = Shell(channel, wrapped)
    await shell.open()
    return shell


@given(st.data())
def test_what_a_child_prints_while_one_stream_is_done(data: st.DataObject) -> None:
    """It belongs to the next command, wherever between the two streams it comes."""
    late = b"late\n"
    out = [*_round("o", b"one\n" + MARK + b" 0 c " + MARK), _piece("o", late)]
    err = _round("e", MARK + MARK)
    # Any interleaving that keeps the order of each stream.
    queues = [out, err]
    mixed: list[bytes] = []
    while any(queues):
        queue = data.draw(st.sampled_from([each for each in queues if each]))
        mixed.append(queue.pop(0))
    end = MARK + b" 3 c " + MARK
    rest = [_piece("o", b"two\n" + end), _proof("o", late + b"two\n" + end)]

    async def both() -> None:
        shell = await _shell(mixed, rest + _round("e", MARK + MARK))
        one = await shell.run("first")
        two = await shell.run("second")
        assert (one.exact, one.exit_code, two.exact, two.exit_code) == (True, 0, True, 3)
        assert one.stdout.read() + two.stdout.read() == b"one\nlate\ntwo\n"
        assert one.stdout.read() == b"one\n"
        assert not shell.over
        shell.let_go()

    asyncio.run(both())


def test_a_session_that_ends_as_soon_as_it_is_open() -> None:
    told = []

    async def opened() -> Shell:
        wrapped = wrap_shell()
        channel = FarEnd(wrapped.nonce)
        receive = channel.receive

        async def receive_and_end() -> list[Event]:
            events = await receive()
            return events if channel.answers else [*events, Closed("")]

        any_channel: Any = channel
        any_channel.receive = receive_and_end
        shell = Shell(any_channel, wrapped, on_over=lambda: told.append("over"))
        await shell.open()
        return shell

    shell = asyncio.run(opened())
    assert shell.over == "its session has ended"
