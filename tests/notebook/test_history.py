"""``%ecs_history``: finding runs again, re-opening them, and refusing what cannot be meant."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from IPython.core.error import UsageError
from IPython.utils.capture import capture_output

from ecs_exec_magic.errors import CommandFailed, InvalidRequest
from ecs_exec_magic.journal import Journal
from ecs_exec_magic.notebook.excerpt import excerpt, plain
from ecs_exec_magic.notebook.record_views import KeptResult, Records
from ecs_exec_magic.notebook.selection import Selection, since
from ecs_exec_magic.results import CommandResult

from ..journal.helpers import TARGET, finished
from .conftest import World
from .test_magics import run


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("JPY_SESSION_NAME", raising=False)
    return tmp_path


@pytest.fixture
def journal(home: Path) -> Journal:
    """Five runs: three that succeeded, one that failed, one that still runs."""
    journal = Journal(home / ".ecs-exec")
    for number, (command, code) in enumerate([("ls /", 0), ("df -h", 0), ("false", 1), ("env", 0)]):
        entry = journal.begin("exec", command, target=TARGET, notebook="a.ipynb")
        result = finished(f"out {number} password=hunter2\n".encode(), b"", code, command=command)
        entry.finish(result, CommandFailed("failed", result=result) if code else None)
    journal.begin("exec", "sleep 100", target=TARGET, address="prod/web", notebook="b.ipynb")
    return journal


@pytest.fixture
def notebook(journal: Journal, shell: Any) -> Any:
    return shell


def numbers(records: Any) -> list[int]:
    return [record.number for record in records]


def shown(value: Any) -> str:
    bundle: dict[str, str] = value._repr_mimebundle_()
    assert set(bundle) == {"text/plain", "text/html"}
    return bundle["text/plain"]


# -- lists ---------------------------------------------------------------------------------------


def test_the_newest_are_listed(notebook: Any) -> None:
    listed = run(notebook, "%ecs_history")
    assert isinstance(listed, list)
    assert numbers(listed) == [1, 2, 3, 4, 5]
    lines = shown(listed).splitlines()
    assert lines[0].split()[:2] == ["run", "when"]
    assert [line.split()[0] for line in lines[1:]] == ["1", "2", "3", "4", "5"]
    assert "exit code 1" in lines[3]
    assert "prod/web:nginx" in lines[3]
    assert "running" in lines[5]
    assert run(notebook, "h = %ecs_history -n 2\nh") == listed[-2:]
    assert shown(run(notebook, "%ecs_history -n 2")).endswith("the newest 2 of 5; -n 0 shows all")


def test_more_than_a_screen_of_them(notebook: Any, journal: Journal) -> None:
    for _ in range(20):
        journal.begin("exec", "ls").finish(finished())
    assert numbers(run(notebook, "%ecs_history")) == list(range(6, 26))
    assert len(run(notebook, "%ecs_history -n 0")) == 25
    assert numbers(run(notebook, "%ecs_history 1-3 25")) == [1, 2, 3, 25]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("--failed", [3]),
        ("--target prod/web", [1, 2, 3, 4, 5]),
        ("--target nginx -n 1", [5]),
        ("-t 'prod/w*:nginx'", [1, 2, 3, 4, 5]),
        ("-t 'prod/w*:redis'", []),
        ("-t 0123456789abcdef", [1, 2, 3, 4, 5]),
        ("--grep 'LS /'", [1]),
        ("--grep 'out 2'", [3]),
        ("--grep hunter2", []),
        ("--since 1h", [1, 2, 3, 4, 5]),
        ("--since 2999-01-01", []),
        ("--failed --grep 'ls /'", []),
        ("2-4 --failed", [3]),
    ],
)
def test_filters(notebook: Any, line: str, expected: list[int]) -> None:
    listed = run(notebook, f"%ecs_history {line}")
    assert numbers(listed) == expected
    if not expected:
        assert "matches" in shown(listed)


def test_grep_finds_what_lies_beside(notebook: Any, journal: Journal) -> None:
    data = b"x" * 1_048_570 + b"across the border" + b"y" * 100
    journal.begin("exec", "cat").finish(finished(data))
    assert numbers(run(notebook, "%ecs_history --grep 'across THE border'")) == [6]


def test_only_this_notebook(notebook: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JPY_SESSION_NAME", "work/b.ipynb")
    listed = run(notebook, "%ecs_history")
    assert numbers(listed) == [5]
    assert shown(listed).endswith("4 more of other notebooks; --all-notebooks shows them")
    assert numbers(run(notebook, "%ecs_history --all-notebooks")) == [1, 2, 3, 4, 5]
    assert run(notebook, "%ecs_history 1").command == "ls /", "a number means one, wherever"
    assert numbers(run(notebook, "%ecs_history 1-5")) == [1, 2, 3, 4, 5]
    monkeypatch.delenv("JPY_SESSION_NAME")
    run(notebook, "__vsc_ipynb_file__ = '/home/me/a.ipynb'")
    assert numbers(run(notebook, "%ecs_history")) == [1, 2, 3, 4]


def test_html_takes_nothing_for_markup(notebook: Any, journal: Journal) -> None:
    entry = journal.begin("exec", "echo '<script>alert(1)</script>'\x1b[31m", address='"><u>')
    entry.finish(finished(b"<img src=x>\x1b[31m\n"), ValueError("<i>"))
    for value in (run(notebook, "%ecs_history"), run(notebook, "%ecs_history last")):
        page = value._repr_mimebundle_()["text/html"]
        for bad in ("<script", "<img", "<i>", '"><u>', "\x1b"):
            assert bad not in page
        assert "&lt;script&gt;" in page


def test_the_list_in_the_terminal_and_as_a_value(notebook: Any) -> None:
    with capture_output() as captured:
        notebook.run_cell("%ecs_history")
    assert "df -h" in captured.stdout
    records = Records(run(notebook, "%ecs_history"), "note")
    assert repr(records).endswith("note")
    assert [record.ok for record in records] == [True, True, False, True, None]


# -- one -----------------------------------------------------------------------------------------


def test_one_is_re_opened(notebook: Any) -> None:
    result = run(notebook, "r = %ecs_history 3\nr")
    assert isinstance(result, CommandResult)
    assert (result.exit_code, result.stdout) == (1, "out 2 password=[masked]\n")
    assert (result.exact, result.missing) == (False, "stdout has 1 secret masked")
    text = shown(result)
    for part in (
        "run 3: exit code 1",
        "prod/web:nginx",
        TARGET.task_arn,
        "ecs-execute-command-0123",
        "11111111-2222",
        "a.ipynb",
        "command:\n  false",
        "stdout (1 line, 23 bytes):\n  out 2 password=[masked]",
        "1 masked",
    ):
        assert part in text
    with pytest.raises(CommandFailed):
        result.check()
    assert pickle.loads(pickle.dumps(result)).stdout == result.stdout
    assert run(notebook, "%ecs_history last").missing == "running"


def test_by_id(notebook: Any, journal: Journal) -> None:
    name = journal.read()[1].id
    assert run(notebook, f"%ecs_history {name}").command == "df -h"
    with pytest.raises(InvalidRequest, match=f"there is no run {name[:3]}: there are 1 to 5"):
        run(notebook, f"%ecs_history {name[:3]}")
    assert run(notebook, "number = 2\nr = %ecs_history {number}\nr").command == "df -h"


def test_out(notebook: Any) -> None:
    run(notebook, "%ecs_history 1 -o one")
    run(notebook, "%ecs_history --failed -o many")
    assert notebook.user_ns["one"].command == "ls /"
    assert numbers(notebook.user_ns["many"]) == [3]


def test_long_outputs_are_shown_in_part(notebook: Any, journal: Journal) -> None:
    text = "".join(f"line {number}\n" for number in range(50_000))
    journal.begin("exec", "cat").finish(finished(text.encode()))
    result = run(notebook, "%ecs_history 6")
    assert result.stdout == text
    assert result.exact
    whole = shown(result)
    assert "… 49600 lines not shown …" in whole
    assert "line 199\n" in whole
    assert "line 200\n" not in whole
    assert whole.endswith("line 49999")


def test_what_is_gone_is_said(notebook: Any, journal: Journal) -> None:
    journal.begin("exec", "cat").finish(finished(b"x" * 100_000))
    for path in (journal.directory / "outputs").iterdir():
        path.unlink()
    result = run(notebook, "%ecs_history 6")
    assert "it cannot be read any more" in shown(result)
    assert isinstance(result, KeptResult)


# -- what cannot be meant ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "error", "message"),
    [
        ("99", InvalidRequest, "there is no run 99: there are 1 to 5"),
        ("0", InvalidRequest, "there is no run 0: there are 1 to 5"),
        ("4-9", InvalidRequest, "there is no run 4-9: there are 1 to 5"),
        ("4-2", InvalidRequest, "there is no run 4-2"),
        ("web", InvalidRequest, "there is no run web"),
        ("3 --failed", UsageError, "--failed chooses among runs, and 3 is one"),
        ("3 -n 2", UsageError, "--newest chooses among runs"),
        ("-n x", UsageError, "'x' is not a number of runs"),
        ("--since soon", UsageError, "'soon' is no time; 2h"),
        ("--export x.pdf", UsageError, "'x.pdf' does not end with .md or .html"),
        ("--force", UsageError, "belong to --export"),
        ("--title x", UsageError, "belong to --export"),
        ("--fail", UsageError, "did you mean --failed"),
        ("--failed --export x.md -t nowhere", InvalidRequest, "nothing to report: none of 5"),
    ],
)
def test_one_clear_line(notebook: Any, line: str, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message) as caught:
        run(notebook, f"%ecs_history {line}")
    assert "\n" not in str(caught.value)


def test_nothing_recorded(home: Path, shell: Any) -> None:
    listed = run(shell, "%ecs_history")
    assert (list(listed), shown(listed)) == (
        [], f"no runs are recorded yet in {home / '.ecs-exec'}",
    )  # fmt: skip
    with pytest.raises(InvalidRequest, match="there is no run 1: none is recorded"):
        run(shell, "%ecs_history 1")
    with pytest.raises(InvalidRequest, match="nothing to report: no"):
        run(shell, "%ecs_history --export x.md")
    assert list(home.iterdir()) == []


def test_help(shell: Any) -> None:
    for line in ("%ecs_history --help", "%ecs_history ?"):
        with capture_output() as captured:
            shell.run_cell(line)
        assert captured.stdout.startswith("List the recorded runs")


# -- settings ------------------------------------------------------------------------------------


def test_the_directory_is_that_of_the_beginning(
    notebook: Any, tmp_path_factory: pytest.TempPathFactory
) -> None:
    os.chdir(tmp_path_factory.mktemp("elsewhere"))
    assert len(run(notebook, "%ecs_history")) == 5


def test_another_directory_and_none(notebook: Any, home: Path) -> None:
    Journal(home / "other").begin("exec", "elsewhere")
    run(notebook, "%config EcsExec.history = 'other'")
    assert [record.command for record in run(notebook, "%ecs_history")] == ["elsewhere"]
    run(notebook, f"%config EcsExec.history = {str(home / 'third')!r}")
    assert run(notebook, "%ecs_history") == []
    run(notebook, "%config EcsExec.history = ''")
    with pytest.raises(InvalidRequest, match="the setting `history` is empty"):
        run(notebook, "%ecs_history")


def test_the_workspace_gives_the_journal(notebook: Any, home: Path, magics: Any) -> None:
    """As the magics that run commands take it."""
    space = magics.workspace
    journal = space.journal()
    assert journal is space.journal()
    assert (journal.directory, journal.mask) == (home / ".ecs-exec", True)
    magics.mask = False
    assert space.journal().mask is False
    magics.history = ""
    assert space.journal() is None
    assert space.notebook == ""


def test_a_working_directory_that_is_gone(tmp_path: Path) -> None:
    """Loading must not fail for want of a place to record in."""
    code = (
        "import os, tempfile\n"
        "gone = tempfile.mkdtemp(dir=os.environ['PLACE']); os.chdir(gone); os.rmdir(gone)\n"
        "from types import SimpleNamespace as S\n"
        "from ecs_exec_magic.notebook.workspace import Workspace\n"
        "space = Workspace(None, S(history='.ecs-exec', mask=True))\n"
        "assert space.journal().begin('exec', 'ls').notice\n"
    )
    environment = {
        **os.environ,
        "PLACE": str(tmp_path),
        "PYTHONPATH": str(Path(__file__).parents[2]),
    }
    subprocess.run([sys.executable, "-c", code], check=True, timeout=150, env=environment)


# -- words for times -----------------------------------------------------------------------------

NOW = datetime(2026, 11, 27, 12, 30, tzinfo=timezone(timedelta(hours=1)))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2h", "2026-11-27T10:30:00+01:00"),
        ("1.5h", "2026-11-27T11:00:00+01:00"),
        ("90s", "2026-11-27T12:28:30+01:00"),
        ("30m", "2026-11-27T12:00:00+01:00"),
        ("30min", "2026-11-27T12:00:00+01:00"),
        ("3d", "2026-11-24T12:30:00+01:00"),
        ("1w", "2026-11-20T12:30:00+01:00"),
        ("today", "2026-11-27T00:00:00+01:00"),
        ("yesterday", "2026-11-26T00:00:00+01:00"),
        ("10:30", "2026-11-27T10:30:00+01:00"),
        ("23:00", "2026-11-26T23:00:00+01:00"),
        ("2026-11-26T10:00Z", "2026-11-26T10:00:00+00:00"),
        ("2026-11-26T10:00:05Z", "2026-11-26T10:00:05+00:00"),
        ("2026-11-26Z", "2026-11-26T00:00:00+00:00"),
    ],
)
def test_times(text: str, expected: str) -> None:
    assert since(text, NOW) == datetime.fromisoformat(expected)


def test_local_times() -> None:
    expected = datetime(2026, 11, 26, 10, 0).astimezone()
    assert since("2026-11-26 10:00") == since("2026-11-26T10:00") == expected
    assert since("2026-11-26") == datetime(2026, 11, 26).astimezone()
    moment = datetime.now().astimezone().replace(microsecond=120_000)
    assert since(moment.isoformat()) == since(str(moment)) == moment


@settings(deadline=None)
@given(
    st.text(max_size=12)
    | st.from_regex(r"\d{1,30}[smhdw]|\d\d?:\d\d|\d{4}-\d\d-\d\d", fullmatch=True)
)
def test_times_of_any_kind(text: str) -> None:
    try:
        moment = since(text)
    except ValueError as error:
        assert "is no time" in str(error)
    else:
        assert moment.tzinfo is not None


def test_what_no_condition_leaves_out(journal: Journal) -> None:
    assert all(Selection().matches(record) for record in journal.read())


# -- excerpts ------------------------------------------------------------------------------------


@settings(deadline=None)
@given(
    st.lists(st.binary(max_size=20) | st.just(b"\n"), max_size=30),
    st.integers(1, 12),
    st.integers(4, 60),
)
def test_excerpts_count_what_they_hide(pieces: list[bytes], most: int, side: int) -> None:
    whole = b"".join(pieces)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ecs_exec_magic.notebook.excerpt._SIDE_BYTES", side)
        cut = excerpt(pieces, most)
    lines = whole.count(b"\n") + (not whole.endswith(b"\n") and bool(whole))
    assert (cut.size, cut.lines) == (len(whole), lines)
    if len(whole) <= 2 * side:
        if lines <= most:
            assert (cut.hidden, cut.tail) == (0, "")
        else:
            assert cut.hidden == lines - 2 * max(1, most // 2)
    assert len(cut.head.encode()) + len(cut.tail.encode()) <= 3 * 2 * side + 10


def test_excerpts_read_as_on_a_terminal() -> None:
    assert plain("\x1b[31mred\x1b[0m\x1b]0;title\x07 a\x00b\r\n") == "red ab\n"
    assert plain("10%\r50%\r100%\ndone\r\n") == "100%\ndone\n"
    assert plain("x" * 3000) == f"{'x' * 2000} … 1000 more characters …"
    assert excerpt([b"a\xff", b"\n"], 5).head == "a\ufffd\n"


def test_unloading_takes_it_out(world: World, journal: Journal, shell: Any) -> None:
    from ecs_exec_magic.notebook import extension

    extension.unload(shell)
    assert "ecs_history" not in shell.magics_manager.magics["line"]
    extension.load(shell)
    assert len(run(shell, "%ecs_history")) == 5
