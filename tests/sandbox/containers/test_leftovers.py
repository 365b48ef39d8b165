"""Directories of sandboxes, and the engine's framing."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ecs_exec_magic.sandbox.engine_streams import Framed, Raw
from ecs_exec_magic.sandbox.leftovers import Home, remove, sweep


def test_only_what_a_killed_owner_left_is_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    script = (
        "import os, signal\n"
        "from ecs_exec_magic.sandbox.leftovers import Home\n"
        "path = Home().path\n"
        "(path / 'a').mkdir(); (path / 'a/b').write_text('x'); (path / 'a').chmod(0)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    killed = subprocess.run(
        [sys.executable, "-c", script], env={**os.environ, "TMPDIR": str(tmp_path)}, check=False
    )
    assert killed.returncode == -signal.SIGKILL
    (left,) = tmp_path.iterdir()
    stranger = tmp_path / "ecs-exec-magic-stranger"
    stranger.mkdir()
    (tmp_path / "ecs-exec-magic-link").symlink_to(left)
    with Home() as mine:
        assert sweep() == [left]
        assert mine.exists() and stranger.exists() and not left.exists()
        assert mine.stat().st_mode & 0o077 == 0
    assert not mine.exists()


def test_what_holds_a_directory_is_left_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tmp_path.chmod(0o1777)
    root = tmp_path / "root"
    root.mkdir()
    original, late = os.rmdir, [root / "late"]

    def rmdir(path: object, **given: int | None) -> None:
        if os.path.basename(str(path)) == "root" and late:
            late.pop().write_text("a process of the container was faster")
        original(path, **given)  # type: ignore[arg-type]  # as shutil calls it

    monkeypatch.setattr(os, "rmdir", rmdir)
    with pytest.raises(OSError, match="not empty"):
        remove(root)
    assert tmp_path.stat().st_mode & 0o7777 == 0o1777
    monkeypatch.undo()
    remove(root)
    assert not root.exists()


PIECES = st.lists(st.tuples(st.sampled_from([1, 2]), st.binary(min_size=1, max_size=50)))


@settings(max_examples=50, deadline=None)
@given(PIECES, st.integers(1, 60), st.integers(0, 2))
def test_frames_cut_anywhere(pieces: list[tuple[int, bytes]], size: int, early: int) -> None:
    """What a command has written to stderr may come before the report that stdout begins with."""
    wire = b"pid 7\r\n" + pieces[0][1] if pieces else b"pid 7\n"
    frames = [(1, wire), *pieces[1:]]
    errors = [frame for frame in pieces[1:] if frame[0] == 2][:early]
    for frame in errors:
        frames.remove(frame)
    frames[:0] = errors
    data = b"".join(struct.pack(">BxxxI", n, len(p)) + p for n, p in frames)

    async def go() -> dict[int, bytes]:
        near, far = socket.socketpair()
        far.setblocking(False)
        with near, far:
            source = Framed(far)
            found = {1: b"", 2: b""}

            async def feed() -> None:
                for start in range(0, len(data), size):
                    near.sendall(data[start : start + size])
                    await asyncio.sleep(0)
                near.shutdown(socket.SHUT_WR)

            feeding = asyncio.ensure_future(feed())
            assert await source.read_line() == "pid 7"
            while (piece := await source.read()) is not None:
                found[piece[0]] += piece[1]
            await feeding
            return found

    expected = {n: b"".join(p for m, p in pieces[1:] if m == n) for n in (1, 2)}
    if pieces:
        expected[1] = pieces[0][1] + expected[1]
    assert asyncio.run(go()) == expected


async def test_an_engines_own_words_may_come_on_either_stream() -> None:
    for stream in (1, 2):
        near, far = socket.socketpair()
        far.setblocking(False)
        with near, far:
            near.sendall(struct.pack(">BxxxI", stream, 9) + b"no such x")
            near.shutdown(socket.SHUT_WR)
            source = Framed(far)
            assert await source.read_line() == "no such x"
            assert await source.read() is None


async def test_a_terminals_first_line() -> None:
    near, far = socket.socketpair()
    far.setblocking(False)
    with near, far:
        near.sendall(b"pid 12\r\n$ ")
        source = Raw(far)
        assert await source.read_line() == "pid 12"
        assert await source.read() == (1, b"$ ")
        near.close()
        assert await source.read() is None
