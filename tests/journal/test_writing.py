"""What is kept of a run, where and for whom; and that a record never stops what it records."""

from __future__ import annotations

import codecs
import errno
import hashlib
import json
import os
import stat
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ecs_exec_magic import errors
from ecs_exec_magic.capture import Capture
from ecs_exec_magic.errors import CommandFailed, Interrupted, SessionLost, TargetNotFound
from ecs_exec_magic.journal import Journal, Record, files, writing
from ecs_exec_magic.masking import MARK

from .helpers import TARGET, finished

IDENTITY = "arn:aws:sts::123456789012:assumed-role/ops/ann"


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / ".ecs-exec"


def recorded(directory: Path, result: Any, error: BaseException | None = None) -> Record:
    journal = Journal(directory)
    entry = journal.begin("exec", "ls -l /", target=TARGET)
    assert entry.notice == ""
    assert entry.finish(result, error) == ""
    return journal.read()[-1]


def modes(directory: Path) -> dict[str, int]:
    return {
        str(path.relative_to(directory.parent)): stat.S_IMODE(path.stat().st_mode)
        for path in [directory, *directory.rglob("*")]
    }


# -- what is kept --------------------------------------------------------------------------------


def test_a_run_from_begin_to_end(directory: Path) -> None:
    journal = Journal(directory)
    entry = journal.begin(
        "shell",
        "set -e\nls",
        target=TARGET,
        address="prod/web:nginx",
        interpreter="/bin/bash",
        notebook="incident.ipynb",
    )
    (running,) = journal.read()
    assert (running.state, running.ok, running.outcome) == ("running", None, "running")
    assert running.ended is None
    assert running.result().exit_code is None
    assert running.result().missing == "running"

    result = finished(b"out\n", b"err\n", 3)
    error = CommandFailed("it ended with 3", cause="the program said so", result=result)
    assert entry.finish(None, error, identity=IDENTITY) == ""
    (record,) = journal.read()
    assert (record.number, record.id, record.kind) == (1, entry.id, "shell")
    assert (record.command, record.interpreter) == ("set -e\nls", "/bin/bash")
    assert (record.address, record.where, record.target) == (
        "prod/web:nginx", "prod/web:nginx", TARGET,
    )  # fmt: skip
    assert (record.state, record.ok, record.outcome) == ("ended", False, "exit code 3")
    assert (record.exit_code, record.signal, record.exact) == (3, "", True)
    assert (record.error, record.message, record.cause) == (
        "CommandFailed", "it ended with 3", "the program said so",
    )  # fmt: skip
    assert (record.session_id, record.request_id) == ("ecs-execute-command-0123", "11111111-2222")
    assert (record.identity, record.notebook) == (IDENTITY, "incident.ipynb")
    assert (record.duration, record.masked, record.timed_out) == (1.25, 0, False)
    assert record.ended is not None
    assert record.started <= record.ended
    assert record.stdout.size == 4
    assert record.stdout.sha256 == hashlib.sha256(b"out\n").hexdigest()
    assert (record.stdout.text, record.stderr.text) == ("out\n", "err\n")
    assert record.process.pid == os.getpid()
    assert record.version


def test_it_comes_back_as_a_result(directory: Path) -> None:
    result = finished(b"out \xff\x00\n", b"err\n", 137, timed_out=True)
    again = recorded(directory, result).result()
    assert (again.stdout_bytes, again.stderr_bytes) == (result.stdout_bytes, result.stderr_bytes)
    assert (again.exit_code, again.signal, again.timed_out) == (137, "SIGKILL", True)
    assert (again.command, again.target) == (result.command, result.target)
    assert (again.exact, again.missing, again.duration) == (True, "", 1.25)
    assert (again.session_id, again.request_id) == (result.session_id, result.request_id)


def test_what_was_not_proved_is_not_proved_later(directory: Path) -> None:
    result = finished(b"out\n", exact=False, missing="the image has no cksum")
    again = recorded(directory, result).result()
    assert (again.exact, again.missing) == (False, "the image has no cksum")


def test_an_error_without_a_result(directory: Path) -> None:
    record = recorded(directory, None, TargetNotFound("there is no web"))
    assert (record.ok, record.outcome, record.message) == (
        False, "TargetNotFound", "there is no web",
    )  # fmt: skip
    assert (record.target, record.exit_code) == (TARGET, None)
    assert record.result().stdout == ""


def test_an_interrupt(directory: Path) -> None:
    record = recorded(directory, None, Interrupted("ended", finished(b"half", exit_code=None)))
    assert (record.interrupted, record.outcome, record.stdout.text) == (True, "interrupted", "half")
    record = recorded(directory, None, KeyboardInterrupt())
    assert (record.interrupted, record.ok) == (True, False)


def test_a_lost_session(directory: Path) -> None:
    error = SessionLost("gone", result=finished(b"half", exit_code=None, exact=False))
    record = recorded(directory, None, error)
    assert (record.ok, record.outcome) == (False, "SessionLost")
    assert record.result().exact is False


def test_lists_of_arguments(directory: Path) -> None:
    journal = Journal(directory)
    journal.begin("exec", ["printf", "%s", b"a \xff"])
    journal.begin("exec", ["psql", "--password", "hunter2"])
    first, second = journal.read()
    assert first.command == ["printf", "%s", "a \udcff"]
    assert second.command == f"psql --password {MARK}"


def test_an_entry_ends_once(directory: Path) -> None:
    journal = Journal(directory)
    entry = journal.begin("exec", "ls")
    entry.finish(finished(exit_code=0))
    entry.finish(finished(exit_code=1))
    assert [record.exit_code for record in journal.read()] == [0]
    assert len(journal._folder.lines_path.read_bytes().splitlines()) == 2


def test_ids_sort_and_differ(directory: Path) -> None:
    journal = Journal(directory)
    ids = [journal.begin("exec", "ls").id for _ in range(50)]
    assert ids == sorted(ids)
    assert len(set(ids)) == 50
    assert {len(each) for each in ids} == {13}
    assert [record.number for record in journal.read()] == list(range(1, 51))


# -- secrets -------------------------------------------------------------------------------------


def test_no_secret_reaches_the_disk(directory: Path) -> None:
    large = b"x" * 100_000 + b"\npassword=q9Zhunter2\n"
    journal = Journal(directory)
    entry = journal.begin("exec", "PGPASSWORD=q9Zhunter1 psql")
    result = finished(b"token=q9Zhunter3\n", large, 1, missing="secret=q9Zhunter4")
    entry.finish(
        result, CommandFailed("api_key=q9Zhunter5", cause="token=q9Zhunter6", result=result)
    )
    for path in directory.rglob("*"):
        assert path.is_dir() or b"q9Z" not in path.read_bytes()
    (record,) = journal.read()
    assert record.command == f"PGPASSWORD={MARK} psql"
    assert (record.stdout.masked, record.stderr.masked, record.masked, entry.masked) == (1, 1, 6, 6)
    again = record.result()
    assert again.stdout == f"token={MARK}\n"
    assert again.stderr == f"{'x' * 100_000}\npassword={MARK}\n"
    assert again.exact is False
    assert again.missing == "stdout has 1 secret masked; stderr has 1 secret masked"
    assert record.stdout.sha256 == hashlib.sha256(result.stdout_bytes).hexdigest()


def test_masking_can_be_turned_off(directory: Path) -> None:
    journal = Journal(directory, mask=False)
    journal.begin("exec", "PGPASSWORD=hunter2 psql").finish(finished(b"token=abc\n"))
    (record,) = journal.read()
    assert record.command == "PGPASSWORD=hunter2 psql"
    assert record.result().exact is True
    assert record.masked == 0


# -- large and strange outputs -------------------------------------------------------------------


@settings(deadline=None)
@given(st.binary(max_size=300), st.integers(1, 40), st.integers(0, 200))
def test_every_byte_comes_back(data: bytes, step: int, inline: int) -> None:
    """Whatever is no secret: also where characters are cut in two, and where nothing is UTF-8."""
    import tempfile

    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as name:
        patch.setattr(writing, "_STEP", step)
        patch.setattr(writing, "INLINE_BYTES", inline)
        record = recorded(Path(name) / "x", finished(data))
        if record.masked == 0:
            assert record.result().stdout_bytes == data
            assert record.result().exact


def test_large_outputs_lie_beside_and_once(directory: Path) -> None:
    data = bytes(range(256)) * 1024
    text = b"line\n" * 20_000
    first = recorded(directory, finished(data, text))
    second = recorded(directory, finished(text, data))
    assert first.stdout.kept == second.stderr.kept == hashlib.sha256(data).hexdigest()
    assert first.stdout.text is None
    assert {path.name for path in (directory / "outputs").iterdir()} == {
        first.stdout.kept, first.stderr.kept,
    }  # fmt: skip
    assert first.result().stdout_bytes == data
    assert first.result().exact
    edge = recorded(directory, finished(b"x" * writing.INLINE_BYTES))
    assert edge.stdout.kept == ""


def test_spilled_outputs_are_never_whole_in_memory(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    capture = Capture(spill=1000)
    for number in range(3000):
        capture.write(b"password=%d " % number + b"x" * 1000 + b"\n")
    reads: list[int] = []
    read = Capture.read

    def watched(self: Capture, start: int = 0, size: int = -1) -> bytes:
        data = read(self, start, size)
        reads.append(len(data))
        return data

    monkeypatch.setattr(writing, "_STEP", 64 * 1024)
    monkeypatch.setattr(Capture, "read", watched)
    record = recorded(directory, finished(captured=capture))
    assert max(reads) <= 64 * 1024
    monkeypatch.undo()
    assert (record.masked, record.stdout.size) == (3000, len(capture))
    assert record.result().stdout.count(f"password={MARK} ") == 3000


def test_what_was_changed_or_is_gone_is_told(directory: Path) -> None:
    record = recorded(directory, finished(b"x" * 100_000))
    path = directory / "outputs" / record.stdout.kept
    path.write_bytes(b"y" * 100_000)
    assert record.result().missing == "stdout has been changed since it was stored"
    path.unlink()
    gone = record.result()
    assert (gone.exact, gone.stdout) == (False, "")
    assert gone.missing == "stdout cannot be read any more: No such file or directory"


def test_the_truncated_stay_truncated(directory: Path) -> None:
    capture = Capture(limit=5)
    capture.write(b"0123456789")
    again = recorded(directory, finished(captured=capture)).result()
    assert (again.stdout, again.truncated) == ("01234", True)


# -- for the owner alone -------------------------------------------------------------------------


@pytest.mark.skipif(os.name != "posix", reason="modes of files")
def test_modes_whatever_the_umask(directory: Path) -> None:
    former = os.umask(0)
    try:
        recorded(directory, finished(b"x" * 100_000))
    finally:
        os.umask(former)
    found = modes(directory)
    assert {mode for name, mode in found.items() if name.endswith((".ecs-exec", "outputs"))} == {
        0o700
    }
    files_found = {name for name, mode in found.items() if mode == 0o600}
    assert len(files_found) == 3
    assert ".ecs-exec/.gitignore" in files_found
    assert (directory / ".gitignore").read_text() == "*\n"


@pytest.mark.skipif(os.name != "posix", reason="modes of files")
def test_files_are_never_open_to_others(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the first byte: each is opened with its final mode."""
    created: list[int] = []
    real = os.open

    def watched(path: Any, flags: int, mode: int = 0o777, **more: Any) -> int:
        if flags & os.O_CREAT:
            created.append(mode)
        return real(path, flags, mode, **more)

    monkeypatch.setattr(os, "open", watched)
    monkeypatch.setattr(os, "chmod", lambda *_: pytest.fail("too late"))
    recorded(directory, finished(b"x" * 100_000))
    assert set(created) == {0o600}


@pytest.mark.skipif(os.name != "posix", reason="modes of files")
def test_a_file_that_others_may_read_is_closed_to_them(directory: Path) -> None:
    directory.mkdir()
    (directory / "history.jsonl").touch(0o644)
    recorded(directory, finished())
    assert modes(directory)[".ecs-exec/history.jsonl"] == 0o600


@pytest.mark.skipif(os.name != "posix", reason="symbolic links")
def test_a_link_does_not_lead_elsewhere(directory: Path, tmp_path: Path) -> None:
    """A notebook from somewhere may bring such a directory along."""
    victim = tmp_path / ".bashrc"
    victim.write_text("# mine\n")
    directory.mkdir()
    (directory / "history.jsonl").symlink_to(victim)
    journal = Journal(directory)
    assert journal.begin("exec", "ls").notice.startswith("runs are not recorded in ")
    assert victim.read_text() == "# mine\n"
    with pytest.raises(errors.InvalidRequest, match="cannot be read"):
        journal.read()


def test_a_gitignore_of_the_users_stays(directory: Path) -> None:
    directory.mkdir()
    (directory / ".gitignore").write_text("outputs\n")
    recorded(directory, finished())
    assert (directory / ".gitignore").read_text() == "outputs\n"


# -- when it cannot be written -------------------------------------------------------------------


def test_no_place_is_told_once_and_stops_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    journal = Journal(tmp_path / "file" / "x")
    entry = journal.begin("exec", "ls")
    assert entry.notice == f"runs are not recorded in {journal.directory}: Not a directory"
    assert entry.finish(finished()) == ""
    assert journal.begin("exec", "ls").notice == ""
    assert journal.directory.parent.is_file()


def test_a_place_that_comes_later_gets_the_whole(directory: Path) -> None:
    directory.touch()
    journal = Journal(directory)
    entry = journal.begin("exec", "ls", target=TARGET)
    assert entry.notice
    directory.unlink()
    assert entry.finish(finished(b"out\n")) == ""
    (record,) = journal.read()
    assert (record.ok, record.stdout.text, record.target) == (True, "out\n", TARGET)
    directory.rename(directory.with_name("away"))
    directory.touch()
    assert journal.begin("exec", "ls").notice, "it is told again when it had worked in between"


class FullDisk:
    """Takes so many bytes more, as a disk does that runs full."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, room: int) -> None:
        self.room = room
        self._write = os.write
        monkeypatch.setattr(os, "write", self)

    def __call__(self, descriptor: int, data: bytes) -> int:
        if not self.room:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        taken = self._write(descriptor, data[: self.room])
        self.room -= taken
        return taken


@pytest.mark.parametrize("room", [0, 1, 100, 10_000])
def test_a_full_disk(directory: Path, monkeypatch: pytest.MonkeyPatch, room: int) -> None:
    recorded(directory, finished(b"before\n"))
    disk = FullDisk(monkeypatch, room)
    journal = Journal(directory)
    entry = journal.begin("exec", "ls", target=TARGET)
    notice = entry.notice or entry.finish(finished(b"x" * 20_000))
    assert "No space left on device" in notice
    disk.room = 10**9
    entry = journal.begin("exec", "after")
    assert entry.notice == ""
    assert entry.finish(finished(b"after\n")) == ""
    records = journal.read()
    assert records[0].stdout.text == "before\n"
    assert (records[-1].command, records[-1].ok, records[-1].stdout.text) == (
        "after", True, "after\n",
    )  # fmt: skip


def test_an_output_that_does_not_fit(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def keep(self: files.Folder, pieces: Any) -> str:
        next(iter(pieces))
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(files.Folder, "keep", keep)
    journal = Journal(directory)
    entry = journal.begin("exec", "cat large")
    data = b"0123456789" * 20_000
    assert "No space left on device" in entry.finish(finished(data, b"err\n"))
    (record,) = journal.read()
    assert (record.ok, record.stdout.size, record.stderr.text) == (True, len(data), "err\n")
    assert record.stdout.sha256 == hashlib.sha256(data).hexdigest()
    assert record.result().missing == "stdout could not be stored: No space left on device"


def test_nothing_is_left_of_what_could_not_be_kept(directory: Path) -> None:
    def pieces() -> Any:
        yield b"half"
        raise OSError(errno.EIO, "broken")

    folder = files.Folder(directory)
    with pytest.raises(OSError, match="broken"):
        folder.keep(pieces())
    assert list((directory / "outputs").iterdir()) == []
    old = directory / "outputs" / ".part-1-00"
    new = directory / "outputs" / ".part-1-01"
    old.touch()
    new.touch()
    os.utime(old, (0, 0))
    folder.keep([b"whole"])
    assert not old.exists()
    assert new.exists(), "somebody may be at it"


def test_an_interrupt_while_it_is_stored(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever does not want to wait for a large output still gets the rest recorded."""

    def keep(self: files.Folder, pieces: Any) -> str:
        raise KeyboardInterrupt

    monkeypatch.setattr(files.Folder, "keep", keep)
    journal = Journal(directory)
    entry = journal.begin("exec", "cat large")
    with pytest.raises(KeyboardInterrupt):
        entry.finish(finished(b"x" * 100_000, exit_code=4))
    (record,) = journal.read()
    assert (record.state, record.exit_code) == ("ended", 4)
    assert record.result().missing.startswith("stdout was not stored: it was interrupted")


def test_a_fault_of_ours_does_not_stop_a_run(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(text: str) -> Any:
        raise ZeroDivisionError("oops")

    monkeypatch.setattr(writing, "mask", broken)
    entry = Journal(directory).begin("exec", "ls")
    assert entry.notice == f"runs are not recorded in {directory}: oops"


# -- the form of the lines -----------------------------------------------------------------------


def test_lines_are_json_with_a_version(directory: Path) -> None:
    recorded(directory, finished("ä \u2028 \x00".encode()))
    lines = (directory / "history.jsonl").read_text("utf-8").split("\n")
    assert lines.pop() == ""
    begin, end = map(json.loads, lines)
    assert (begin["v"], begin["event"], end["v"], end["event"]) == (1, "begin", 1, "end")
    assert begin["id"] == end["id"]
    assert begin["at"][-5:-4] == "."
    assert begin["at"].endswith("Z")
    assert end["stdout"]["text"] == "ä \u2028 \x00"
    assert codecs.BOM_UTF8 not in (directory / "history.jsonl").read_bytes()
