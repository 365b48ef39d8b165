"""Bytes kept are the bytes written, in memory or in a file, in any order of calls."""

from __future__ import annotations

import copy
import gc
import pickle
import tempfile
import threading
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecs_exec_magic.capture import Capture

CHUNKS = st.lists(st.binary(max_size=40), max_size=20)


@given(CHUNKS, st.integers(0, 200), st.none() | st.integers(0, 200), st.integers(0, 400),
       st.integers(-1, 400))  # fmt: skip
def test_what_is_written_is_read(
    chunks: list[bytes], spill: int, limit: int | None, start: int, size: int
) -> None:
    capture = Capture(spill=spill, limit=limit)
    whole = b""
    for chunk in chunks:
        capture.write(chunk)
        whole += chunk
        kept = whole if limit is None else whole[:limit]
        assert len(capture) == len(kept)
        assert capture.truncated is (limit is not None and len(whole) > limit)
        assert capture.read(start, size) == (kept[start:] if size < 0 else kept[start:][:size])
    kept = whole if limit is None else whole[:limit]
    assert capture.read() == kept
    assert capture.spilled is (len(kept) > spill)
    again = pickle.loads(pickle.dumps(capture))
    assert again == capture == copy.deepcopy(capture)
    assert again.truncated is capture.truncated
    again.write(b"more")
    assert limit is not None or again.read() == kept + b"more"


@given(st.lists(st.sampled_from([b"a", b"bb", b"\n", b"\r", b"\r\n", b"\xff"]), max_size=60),
       st.integers(-1, 12), st.integers(0, 80))  # fmt: skip
def test_last_lines(parts: list[bytes], count: int, at_most: int) -> None:
    whole = b"".join(parts)
    expected = b"".join(whole.splitlines(keepends=True)[-count:]) if count > 0 else b""
    for spill in (0, 1000):
        capture = Capture(whole, spill=spill)
        assert capture.last_lines(count) == expected
        short = capture.last_lines(count, at_most)
        assert len(short) <= at_most
        assert expected.endswith(short)


def test_last_lines_of_much() -> None:
    lines = [b"%d " % number + b"x" * (number % 300) + b"\n" for number in range(5000)]
    for spill in (10, 10**9):
        capture = Capture(b"".join(lines), spill=spill)
        for count in (1, 2, 700, 5000, 9000):
            assert capture.last_lines(count) == b"".join(lines[-count:])


def test_last_lines_reads_no_more_than_it_may(monkeypatch: pytest.MonkeyPatch) -> None:
    capture = Capture(b"x" * 3_000_000, spill=10)
    read: list[int] = []
    plain = capture.read

    def count(start: int = 0, size: int = -1) -> bytes:
        data = plain(start, size)
        read.append(len(data))
        return data

    monkeypatch.setattr(capture, "read", count)
    assert len(capture.last_lines(30, at_most=8192)) == 8192
    assert sum(read) == 8192


def test_a_buffer_that_changes_later() -> None:
    buffer: Any = bytearray(b"abc")
    capture = Capture(spill=100)
    capture.write(buffer)
    buffer[:] = b"xyz"
    assert capture.read() == b"abc"
    assert isinstance(capture.read(), bytes)
    assert isinstance(capture.read(1), bytes)


def test_reading_all_twice_copies_nothing() -> None:
    capture = Capture(b"abc")
    assert capture.read() is capture.read()


def test_disk_full(monkeypatch: pytest.MonkeyPatch) -> None:
    capture = Capture(b"abc", spill=4)

    def full(**_: Any) -> Any:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(tempfile, "TemporaryFile", full)
        with pytest.raises(OSError, match="No space"):
            capture.write(b"defg")
    assert (len(capture), capture.read()) == (3, b"abc")
    capture.write(b"defg")
    assert capture.read() == b"abcdefg"


def test_file_is_closed_with_the_last_reference() -> None:
    capture = Capture(b"abcdef", spill=2)
    file = capture._file
    assert file is not None
    assert not file.closed
    del capture
    gc.collect()
    assert file.closed


def test_many_readers_while_one_writes() -> None:
    capture = Capture(spill=5000)
    unit = b"0123456789"
    wrong: list[bytes] = []
    done = threading.Event()

    def reader() -> None:
        while not done.is_set():
            data = capture.read()
            if data != (unit * (len(data) // 10 + 1))[: len(data)] or len(data) % 10:
                wrong.append(data)
            part = capture.read(10, 10)
            if part not in (b"", unit):
                wrong.append(part)

    threads = [threading.Thread(target=reader) for _ in range(3)]
    for thread in threads:
        thread.start()
    for _ in range(2000):
        capture.write(unit)
    done.set()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert capture.read() == unit * 2000


def test_repr_and_equality() -> None:
    assert repr(Capture(b"abc")) == "<Capture of 3 bytes>"
    assert "in a file" in repr(Capture(b"abc", spill=0))
    assert Capture(b"abc") == Capture(b"abc", spill=0)
    assert Capture(b"abc") != Capture(b"abd")
    assert Capture(b"abc") != b"abc"
    with pytest.raises(TypeError):
        hash(Capture())
