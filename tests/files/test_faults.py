"""What goes wrong at either end leaves the destination as it was, and nothing behind."""

from __future__ import annotations

import errno
import io
import os
import random
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import ecs_exec_magic as ecs
from ecs_exec_magic.client import Target
from ecs_exec_magic.files import fetching, sending
from ecs_exec_magic.files.farend import command
from ecs_exec_magic.results import CommandResult
from ecs_exec_magic.sandbox import Sandbox

from ..client.conftest import wait_until
from .conftest import seen, temporaries

KILL = """\
for p in /proc/[0-9]*; do
[ "$(readlink $p/fd/1 2>/dev/null | sed 's/-[0-9a-f]*$//')" = /tmp/t/.ecs-cp ] || continue
kill -9 ${p#/proc/} && n=1
done
[ $n ]"""
NOISE = random.Random(3).randbytes(400_000)


def test_reading_goes_on_where_it_stopped(cluster: Sandbox, target: Target, tmp_path: Path) -> None:
    target.write_bytes("/tmp/t/x", NOISE)
    cluster.faults.lose_resume = True
    cluster.faults.cut_after_frames = 250
    cluster.faults.cut_times = 5  # the session before, which is closing, may use one up
    asked: list[int] = []

    def run(command: Any, **how: Any) -> CommandResult:
        asked.append(int(command[5]))
        if len(asked) == 2:  # it goes on from where the first session was cut
            cluster.faults.clear()
        return target.run(command, **how)

    result = fetching.get(run, "/tmp/t/x", tmp_path / "x")
    assert (tmp_path / "x").read_bytes() == NOISE
    assert result.verified == "sha256"
    assert result.resumed == 1
    assert asked[0] == 0
    assert 0 < asked[1] < len(NOISE)
    assert result.wire_bytes < 1.1 * len(NOISE) + 200


def test_a_tree_goes_on_where_it_stopped(cluster: Sandbox, image: Target, tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    for n in range(4):
        (tmp_path / "one" / f"{n}").write_bytes(NOISE[n:100_000])
    image.put(tmp_path / "one", "/tmp/t/one")
    cluster.faults.lose_resume = True
    cluster.faults.cut_after_frames = 250
    cluster.faults.cut_times = 5  # the session before, which is closing, may use one up

    asked: list[int] = []

    def run(command: Any, **how: Any) -> CommandResult:
        asked.append(int(command[5]))
        if len(asked) == 2:
            cluster.faults.clear()
        return image.run(command, **how)

    result = fetching.get(run, "/tmp/t/one", tmp_path / "two")
    assert result.resumed == 1
    assert asked[1] > 0
    assert seen(tmp_path / "two") == seen(tmp_path / "one")


def test_writing_goes_on_where_it_stopped(cluster: Sandbox, target: Target) -> None:
    cluster.faults.lose_resume = True
    cluster.faults.cut_after_inputs = 40
    calls: list[int] = []

    def run(command: Any, **how: Any) -> CommandResult:
        calls.append(1)
        if len(calls) == 2:
            cluster.faults.clear()
        return target.run(command, **how)

    result = sending.write_bytes(run, "/tmp/t/x", NOISE)
    assert result.resumed == 1
    assert len(calls) == 2
    assert target.read_bytes("/tmp/t/x") == NOISE
    assert result.wire_bytes < 1.9 * len(NOISE), "the second session began in the middle"
    assert temporaries(target) == []


def test_sessions_that_bring_nothing_end_a_copy(target: Target, tmp_path: Path) -> None:
    calls: list[int] = []

    def run(command: Any, **how: Any) -> CommandResult:
        calls.append(1)
        raise ecs.SessionLost("gone")

    with pytest.raises(ecs.SessionLost):
        fetching.get(run, "/tmp/t/x", tmp_path / "x")
    assert len(calls) == 4
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ecs.SessionLost):
        sending.write_bytes(run, "/tmp/t/x", b"x")
    assert len(calls) == 8


def test_a_copying_command_that_is_killed(image: Target, tmp_path: Path) -> None:
    image.write_bytes("/tmp/t/x", b"old")
    (tmp_path / "x").write_bytes(NOISE)
    killed: list[bool] = []

    def kill(done: int, total: int | None) -> None:
        if done > 100_000 and not killed:
            killed.append(True)
            image.run(KILL, check=True)  # nothing more is sent until it is done

    with pytest.raises(ecs.CopyFailed, match=r"killed|Killed"):
        image.put(tmp_path / "x", "/tmp/t/x", on_progress=kill)
    assert killed
    assert image.read_bytes("/tmp/t/x") == b"old"
    assert temporaries(image) == []


def test_what_is_changed_while_it_is_copied_is_not_taken_for_whole(target: Target) -> None:
    target.write_bytes("/tmp/t/x", NOISE)

    def run(command: Any, **how: Any) -> CommandResult:
        take = how["on_output"]

        def spoil(event: Any) -> None:
            if event.stream == "stderr":
                event = type(event)(event.stream, event.data.replace(b" D ", b" D 0"), "")
            take(event)

        return target.run(command, **{**how, "on_output": spoil})

    with pytest.raises(ecs.CopyFailed, match="is not that of what is there"):
        fetching.read_bytes(run, "/tmp/t/x")


def test_no_room_here(target: Target, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target.write_bytes("/tmp/t/x", NOISE)
    (tmp_path / "x").write_text("old")

    def full(self: Any, data: bytes) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(fetching._Stream, "_write", full)
    with pytest.raises(ecs.CopyFailed, match="No space left") as caught:
        target.get("/tmp/t/x", tmp_path / "x")
    assert "room" in caught.value.cure
    assert (tmp_path / "x").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


def test_no_room_there(target: Target) -> None:
    target.write_bytes("/tmp/t/x", b"old")
    # As on a full disk, cat writes what it can and says so: /dev/full answers as one does.
    target.run(
        "printf '#!/bin/sh\\n/bin/head -c 1000; exec /bin/cat >/dev/full\\n' >/usr/local/bin/cat; "
        "chmod +x /usr/local/bin/cat",
        check=True,
    )
    try:
        with pytest.raises(ecs.CopyFailed, match="No space left") as caught:
            target.write_bytes("/tmp/t/x", NOISE)
    finally:
        target.run("rm /usr/local/bin/cat", check=True)
    assert "room" in caught.value.cure
    assert target.read_bytes("/tmp/t/x") == b"old"
    assert temporaries(target) == []


def test_what_is_not_there(image: Target, tmp_path: Path) -> None:
    with pytest.raises(ecs.CopyFailed, match="/nowhere"):
        image.get("/nowhere", tmp_path)
    with pytest.raises(ecs.CopyFailed, match="/nowhere"):
        image.listdir("/nowhere")
    with pytest.raises(ecs.CopyFailed, match=r"/nowhere.*No such file") as caught:
        image.write_bytes("/nowhere/x", b"x")
    assert "no such path" in caught.value.cause
    with pytest.raises(ecs.CopyFailed, match="No such file"):
        image.put(tmp_path / "nothing", "/tmp/t")
    with pytest.raises(ecs.InvalidRequest, match="no directory"):
        image.get("/etc/passwd", tmp_path / "no" / "x")
    assert list(tmp_path.iterdir()) == []


def test_where_nothing_can_be_written(target: Target) -> None:
    with pytest.raises(ecs.CopyFailed) as caught:
        target.write_bytes("/proc/x", b"x")
    assert caught.value.cure
    target.write_bytes("/tmp/t/x", b"x")
    with pytest.raises(ecs.CopyFailed, match="directory"):
        target.read_bytes("/tmp/t")
    with pytest.raises(ecs.InvalidRequest, match="whole container"):
        target.get("/", "x")
    with pytest.raises(ecs.InvalidRequest):
        target.write_bytes("/tmp/t/", b"x")


def test_a_source_that_vanishes_here(target: Target, tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(NOISE)

    def run(command: Any, **how: Any) -> CommandResult:
        (tmp_path / "x").unlink(missing_ok=True)
        return target.run(command, **how)

    with pytest.raises(ecs.CopyFailed, match="No such file"):
        sending.put(run, tmp_path / "x", "/tmp/t/y")
    assert target.listdir("/tmp/t") == []


def test_start_session_cannot_write(target: Target) -> None:
    with pytest.raises(ecs.MethodUnavailable, match="write"):
        sending.write_bytes(target.run, "/tmp/t/x", b"x", method="start-session")


@pytest.mark.parametrize("how", ["end of input", "signal"])
def test_nothing_is_kept_where_nothing_has_come(image: Target, how: str) -> None:
    """The script itself takes its file away when it is ended before it got a line."""
    over = threading.Event()

    def silent() -> Iterator[bytes]:
        over.wait()
        yield b""

    def ended() -> int | None:
        script = command("put.sh", "/tmp/t/x", "", "f", "some", "mark")
        if how == "end of input":
            return image.run(script, stdin=b"").exit_code
        running = image.start(script, stdin=silent())
        wait_until(lambda: running.tail().startswith("mark H "))
        running.cancel()
        return running.result().exit_code

    try:
        assert ended() in (82, 143)
        assert image.listdir("/tmp/t") == []
        # What has come in a session before is what the next one goes on with.
        image.write_bytes("/tmp/t/.ecs-cp-some", b"half")
        assert ended() in (82, 143)
        assert image.read_bytes("/tmp/t/.ecs-cp-some") == b"half"
    finally:
        over.set()


def test_an_interrupt_leaves_nothing(target: Target, tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(NOISE)

    class Pressed(BaseException):
        pass

    def press() -> None:
        raise Pressed

    with pytest.raises(Pressed):
        target.put(tmp_path / "x", "/tmp/t/x", on_tick=press)
    # Its session is ended behind it, and the script with that.
    wait_until(lambda: target.listdir("/tmp/t") == [])
    with pytest.raises(Pressed):
        target.write_bytes("/tmp/t/x", NOISE)
        target.get("/tmp/t/x", tmp_path / "y", on_progress=lambda *_: press())
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


def test_large_files_stay_out_of_memory(tmp_path: Path) -> None:
    """Every piece that is held is a small one, whatever the size of the source."""
    from ecs_exec_magic.files.packing import Tools, pack

    with open(tmp_path / "big", "wb") as file:
        file.truncate(300_000_000)
    packed = pack(tmp_path / "big", Tools(tar=True, gzip=False, checksum="sha256"))
    assert packed.size == 300_000_000
    assert max(len(piece) for piece in packed.pieces(0)) <= 256 * 1024
    packed.content.close()
    assert isinstance(packed.content, io.BufferedReader)
