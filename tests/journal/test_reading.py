"""Reading what processes wrote that were killed, that wrote at once, or that are newer."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ecs_exec_magic.errors import SessionLost
from ecs_exec_magic.journal import Journal, lines, processes
from ecs_exec_magic.journal.processes import Process, lives, this_process
from ecs_exec_magic.journal.records import Traffic

from .helpers import TARGET, finished


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / ".ecs-exec"


def test_nothing_recorded_yet(directory: Path) -> None:
    assert Journal(directory).read() == []
    assert not directory.exists(), "reading makes nothing"


# -- torn and strange lines ----------------------------------------------------------------------


def test_cut_at_every_place(directory: Path) -> None:
    """What a process leaves that is killed while it writes, and what the next one makes of it."""
    journal = Journal(directory)
    for number in range(3):
        journal.begin("exec", f"command {number}").finish(finished(b"out\n"))
    path = directory / "history.jsonl"
    whole = path.read_bytes()
    ends = [at + 1 for at, byte in enumerate(whole) if byte == 10]
    for size in range(len(whole)):
        path.write_bytes(whole[:size])
        # A line that lacks nothing but its newline is a whole one.
        complete = sum(end <= size + 1 for end in ends)
        records = journal.read()
        assert len(records) == (complete + 1) // 2
        assert sum(record.state == "ended" for record in records) == complete // 2
        if size % 7 == 0:
            journal.begin("exec", "after")
            after = journal.read()
            assert [record.command for record in after] == [
                *(record.command for record in records), "after",
            ]  # fmt: skip


def test_a_forwarded_port(directory: Path) -> None:
    journal = Journal(directory)
    told = {"local_port": 8080, "connections": 3, "refused": 1, "sent": 10, "received": 20}

    class Ended:
        traffic: Mapping[str, Any] = {**told, "sessions": 2}
        session_id = "me-0123"

    journal.begin("forward", "%ecs_forward 8080", target=TARGET)
    journal.begin("forward", "%ecs_forward 8080").finish(Ended())
    journal.begin("forward", "%ecs_forward 8080").finish(Ended(), SessionLost("the task stopped"))
    running, stopped, lost = journal.read()
    assert (running.state, running.outcome, running.ok) == ("running", "running", None)
    assert (stopped.outcome, stopped.ok) == ("stopped, 3 connections", True)
    assert stopped.traffic == Traffic(**told, sessions=2)
    assert stopped.session_id == "me-0123"
    assert (lost.outcome, lost.ok, lost.traffic) == ("SessionLost", False, stopped.traffic)
    for damaged in (b'{"sent":"x"}', b"7"):
        path = directory / "history.jsonl"
        before = path.read_bytes()
        found = before.replace(json.dumps(Ended.traffic, separators=(",", ":")).encode(), damaged)
        path.write_bytes(found)
        assert [record.outcome for record in journal.read()] == [
            "running", "stopped, 0 connections", "SessionLost",
        ]  # fmt: skip
        path.write_bytes(before)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=6,
)


def _sample() -> tuple[dict[str, Any], dict[str, Any]]:
    import tempfile

    with tempfile.TemporaryDirectory() as name:
        journal = Journal(Path(name) / "x")
        journal.begin("exec", "ls", target=TARGET).finish(finished(b"out\n"))
        begin, end = (Path(name) / "x" / "history.jsonl").read_bytes().splitlines()
    return json.loads(begin), json.loads(end)


BEGIN, END = _sample()


@settings(deadline=None)
@given(st.data())
def test_fields_of_any_kind(data: st.DataObject) -> None:
    """A reader takes what it understands and never fails."""
    changed = []
    for values in (BEGIN, END):
        values = dict(values)
        for name in data.draw(st.lists(st.sampled_from(sorted(values)), max_size=3)):
            values[name] = data.draw(JSON)
        inner = data.draw(st.sampled_from(["target", "stdout"]))
        if isinstance(values.get(inner), dict) and values[inner]:
            one = data.draw(st.sampled_from(sorted(values[inner])))
            values[inner] = {**values[inner], one: data.draw(JSON)}
        changed.append(json.dumps(values).encode() + b"\n")
    for record in lines.records([b"\n", b"no json\n", b"[1]\n", b'"x"\n', *changed, b'{"id":3}\n']):
        assert record.number == 1
        assert record.outcome
        assert isinstance(record.where, str)
        assert record.result().stdout in ("out\n", "", record.stdout.text)
        assert repr(record)


@settings(deadline=None)
@given(st.lists(st.binary(max_size=30), max_size=5))
def test_lines_of_any_kind(strange: list[bytes]) -> None:
    good = [lines.line("begin", BEGIN), lines.line("end", END)]
    between = [each.replace(b"\n", b"") + b"\n" for each in strange]
    (record,) = lines.records([*between, good[0], *between, good[1], *between])
    assert record.ok


def test_lines_of_a_newer_form() -> None:
    newer = [
        {**BEGIN, "v": 2, "mood": "good"},
        {**END, "v": 2, "stdout": {"text": "x", "weight": 3}},
    ]
    (record,) = lines.records(json.dumps(each).encode() for each in newer)
    assert record.ok
    assert record.stdout.text == "x"


def test_a_record_cannot_name_other_files(directory: Path) -> None:
    (directory / "outputs").mkdir(parents=True)
    (directory / "secret").write_text("x")
    end = {**END, "stdout": {**END["stdout"], "kept": "../secret"}}
    end["stdout"].pop("text")
    (directory / "history.jsonl").write_bytes(lines.line("begin", BEGIN) + lines.line("end", end))
    (record,) = Journal(directory).read()
    assert record.result().stdout == ""
    assert record.result().missing == "stdout was not recorded"


# -- processes -----------------------------------------------------------------------------------

WRITER = """
import sys
from pathlib import Path
from tests.journal.helpers import finished
from ecs_exec_magic.journal import Journal
journal = Journal(Path(sys.argv[1]))
for number in range(int(sys.argv[3])):
    entry = journal.begin("exec", f"{sys.argv[2]} {number}")
    entry.finish(finished(f"{sys.argv[2]} {number} ".encode() * (number % 50 * 100)))
    assert not entry.notice, entry.notice
"""

KILLED = """
import os, sys, time
from pathlib import Path
from ecs_exec_magic.journal import Journal
journal = Journal(Path(sys.argv[1]))
entry = journal.begin("exec", "sleep 1000")
print(entry.id, flush=True)
time.sleep(1000)
"""

ROOT = Path(__file__).parents[2]


def test_several_processes_at_once(directory: Path) -> None:
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITER, str(directory), name, "100"], cwd=ROOT)
        for name in "abcd"
    ]
    journal = Journal(directory)
    seen = 0
    while any(writer.poll() is None for writer in writers):
        records = journal.read()  # also while they write
        assert len(records) >= seen
        seen = len(records)
    assert [writer.returncode for writer in writers] == [0] * 4
    records = journal.read()
    assert len(records) == 400
    assert sorted(str(record.command) for record in records) == sorted(
        f"{name} {number}" for name in "abcd" for number in range(100)
    )
    for record in records:
        number = int(str(record.command).split()[1])
        assert record.ok
        assert record.result().stdout == f"{record.command} " * (number % 50 * 100)
        assert record.result().exact


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")
def test_a_process_that_is_killed_in_mid_run(directory: Path) -> None:
    child = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(directory)], stdout=subprocess.PIPE, text=True
    )
    try:
        assert child.stdout is not None
        name = child.stdout.readline().strip()
        journal = Journal(directory)
        (record,) = journal.read()
        assert (record.id, record.state, record.process.pid) == (name, "running", child.pid)
        child.send_signal(signal.SIGKILL)
        end = time.monotonic() + 30
        while journal.read()[0].state == "running":  # until it is a zombie at least
            assert time.monotonic() < end
        (zombie,) = journal.read()
        child.wait()
        (gone,) = journal.read()
        for record in (zombie, gone):
            assert (record.state, record.ok) == ("killed", False)
            assert record.outcome == "the kernel ended while it ran"
            assert record.result().missing == "the kernel ended while it ran"
    finally:
        child.kill()
        child.wait()
        if child.stdout is not None:
            child.stdout.close()


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")
def test_a_process_id_that_was_given_out_again() -> None:
    me = this_process()
    assert lives(me) is True
    assert lives(Process(me.pid, me.started + "0", me.host)) is False
    boot, _, ticks = me.started.partition("/")
    assert lives(Process(me.pid, f"x{boot}/{ticks}", me.host)) is False


def test_where_it_cannot_be_known() -> None:
    me = this_process()
    assert lives(Process(me.pid, me.started, "elsewhere")) is None
    assert lives(Process(me.pid, "", me.host)) is None
    assert lives(Process(0, me.started, me.host)) is None
    (record,) = lines.records([lines.line("begin", {**BEGIN, "host": "elsewhere"})])
    assert (record.state, record.ok) == ("unknown", None)
    assert record.outcome == "not known: it began on elsewhere"


def test_a_system_without_proc(monkeypatch: pytest.MonkeyPatch) -> None:
    psutil = pytest.importorskip("psutil")
    monkeypatch.setattr(processes, "_start_of", processes._start_by_psutil)
    processes._process.cache_clear()
    try:
        me = this_process()
        assert me.started == f"{psutil.Process().create_time():.2f}"
        assert lives(me) is True
        assert lives(Process(me.pid, "1.00", me.host)) is False
        child = subprocess.Popen([sys.executable, "-c", ""])
        child.wait()
        assert lives(Process(child.pid, "1.00", me.host)) is False
    finally:
        processes._process.cache_clear()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_fork_is_another_process() -> None:
    assert processes._process(os.getppid()) != this_process()
    assert this_process().pid == os.getpid()
