"""What a command gave back: exact bytes, outcomes, and tables of what people really print."""

from __future__ import annotations

import csv
import io
import json
import pickle
import sys
from dataclasses import FrozenInstanceError, replace
from datetime import datetime, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecs_exec_magic.address import ContainerRef
from ecs_exec_magic.capture import Capture
from ecs_exec_magic.errors import CommandFailed, CommandTimeout, InvalidRequest
from ecs_exec_magic.results import CommandResult

REF = ContainerRef("prod", "web", "web", "t1", "arn:t1", "nginx", "rt", "eu-west-1")


def said(stdout: bytes | str = b"", stderr: bytes = b"", code: int | None = 0, **more: Any) -> Any:
    data = stdout.encode() if isinstance(stdout, str) else stdout
    return CommandResult(
        code,
        more.pop("command", "cmd"),
        captured_stdout=Capture(data),
        captured_stderr=Capture(stderr),
        **more,
    )


# -- outcome -------------------------------------------------------------------------------------


@given(st.none() | st.integers(0, 255), st.booleans())
def test_outcome(code: int | None, timed_out: bool) -> None:
    result = said(code=code, timed_out=timed_out, target=REF)
    good = code == 0 and not timed_out
    assert result.ok is good
    assert bool(result) is good
    assert (result.signal is not None) is (code is not None and 129 <= code <= 159)
    if good:
        assert result.check() is result
        return
    kind = CommandTimeout if timed_out else CommandFailed
    with pytest.raises(kind) as caught:
        result.check()
    assert type(caught.value) is kind
    assert caught.value.result is result
    again = pickle.loads(pickle.dumps(caught.value))
    assert again.result == result


@pytest.mark.parametrize(
    ("code", "name"),
    [(130, "SIGINT"), (137, "SIGKILL"), (139, "SIGSEGV"), (141, "SIGPIPE"), (143, "SIGTERM"),
     (129, "SIGHUP"), (159, "SIGSYS"), (128, None), (160, None), (255, None), (0, None)],
)  # fmt: skip
def test_signals(code: int, name: str | None) -> None:
    assert said(code=code).signal == name


def test_unknown_exit_code_says_why() -> None:
    with pytest.raises(CommandFailed, match="unknown exit code") as caught:
        said(code=None, missing="the session was lost").check()
    assert caught.value.cause == "the session was lost"


@pytest.mark.parametrize(
    ("command", "told"),
    [("'ls -l; df'", True), ('"ls -l"', True), (["ls -l"], True), ("ls -l; df", False),
     ("lss", False), (["lss", "-l"], False), ("echo 'open", False), ("", False)],
)  # fmt: skip
def test_a_whole_line_in_quotes_is_told_of(command: str | list[str], told: bool) -> None:
    with pytest.raises(CommandFailed) as caught:
        said(code=127, command=command).check()
    assert ("without quotes" in caught.value.cure) is told
    with pytest.raises(CommandFailed) as caught:
        said(code=1, command=command).check()
    assert not caught.value.cure


@given(st.binary(max_size=300), st.binary(max_size=300))
def test_bytes_are_exact_and_travel(out: bytes, err: bytes) -> None:
    result = said(out, err, started_at=datetime.now(timezone.utc), target=REF, exact=True)
    assert (result.stdout_bytes, result.stderr_bytes) == (out, err)
    assert str(result) == result.stdout == out.decode("utf-8", "replace")
    again = pickle.loads(pickle.dumps(result))
    assert again == result
    assert again.stdout_bytes == out


def test_spilled_result_travels_with_its_bytes() -> None:
    data = bytes(range(256)) * 100
    result = CommandResult(0, "x", captured_stdout=Capture(data, spill=100))
    assert pickle.loads(pickle.dumps(result)).stdout_bytes == data


def test_frozen_and_compared_by_value() -> None:
    result = said("a")
    with pytest.raises(FrozenInstanceError):
        result.exit_code = 1
    assert result == said("a") != said("b")
    assert result != replace(result, exit_code=1)
    assert result != "a"
    with pytest.raises(TypeError):
        hash(result)


@given(st.text(max_size=200), st.text(max_size=200))
def test_shown_in_one_line_and_escaped(command: str, out: str) -> None:
    result = said(out.encode("utf-8", "surrogatepass"), command=command + "<script>")
    assert "\n" not in repr(result)
    shown = result._repr_mimebundle_()["text/html"]
    assert "<script>" not in shown


# -- text and JSON -------------------------------------------------------------------------------


def test_lines() -> None:
    lines = said("a 1\nb 2\r\n\nc\x85\u2028d\n").lines
    assert list(lines) == ["a 1", "b 2", "", "c\x85\u2028d"]
    assert list(lines.grep("b")) == ["b 2"]
    assert list(said("").lines) == []
    assert list(said("x").lines) == ["x"]


@given(st.lists(st.text(st.characters(exclude_characters="\n\r", codec="utf-8"), min_size=1)))
def test_lines_are_those_of_unix(lines: list[str]) -> None:
    assert list(said("".join(f"{line}\n" for line in lines)).lines) == lines


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(), lambda x: st.lists(x) | st.dictionaries(
        st.text(), x), max_leaves=8
)  # fmt: skip


@given(_JSON)
def test_json(value: Any) -> None:
    for ascii_only in (True, False):
        text = json.dumps(value, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")
        if b"\xed" not in text:  # lone surrogates are no UTF-8
            assert said(text).json() == value


@given(st.lists(st.dictionaries(st.text(st.characters(codec="utf-8")), st.integers()), min_size=2))
def test_json_on_each_line(rows: list[dict[str, int]]) -> None:
    text = "\n".join(json.dumps(row, ensure_ascii=False) for row in rows) + "\n"
    assert said(text).json() == rows
    assert said(text).table() == rows


@pytest.mark.parametrize("text", ["", "x", "{", "{}\nx"])
def test_not_json(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        said(text).json()


def test_tail() -> None:
    result = said("1\n2\n3\n", b"e1\ne2\n")
    assert result.tail(2) == "2\n3\n"
    assert result.tail(1, "stderr") == "e2\n"
    assert result.tail(0) == ""
    assert result.tail(99) == "1\n2\n3\n"


# -- tables --------------------------------------------------------------------------------------

PS = """\
USER         PID %CPU %MEM    VSZ   RSS TTY      STAT START   TIME COMMAND
root           1  0.0  0.1  11408  7200 ?        Ss   10:00   0:00 nginx: master process nginx -g
nginx         29  0.0  0.0  11872  2700 ?        S    10:00   0:00 nginx: worker process
"""
PS_SHORT = """\
    PID TTY          TIME CMD
      1 ?        00:00:01 sh
1234567 ?        00:00:00 sleep
"""
DF = """\
Filesystem     1K-blocks    Used Available Use% Mounted on
overlay         30787492 6142924  23054896  22% /
tmpfs              65536       0     65536   0% /dev/my disk
"""
FREE = """\
               total        used        free      shared  buff/cache   available
Mem:         7935420      593704     5216412         668     2125304     7067736
Swap:              0           0           0
"""
DOCKER = """\
CONTAINER ID   IMAGE          COMMAND                  STATUS         PORTS     NAMES
1a2b3c4d5e6f   nginx:latest   "/docker-entrypoint.…"   Up 2 minutes   80/tcp    web
2a2b3c4d5e6f   redis          "redis-server"           Up 2 hours               cache one
"""
NETSTAT = """\
Proto Recv-Q Send-Q Local Address           Foreign Address         State       PID/Program name
tcp        0      0 0.0.0.0:80              0.0.0.0:*               LISTEN      1/nginx: master
tcp        0      0 10.0.0.1:80             10.0.0.2:5000           ESTABLISHED -
"""


def test_ps() -> None:
    rows = said(PS).table()
    assert [row["PID"] for row in rows] == ["1", "29"]
    assert rows[0]["COMMAND"] == "nginx: master process nginx -g"
    rows = said(PS_SHORT).table()
    assert rows == [
        {"PID": "1", "TTY": "?", "TIME": "00:00:01", "CMD": "sh"},
        {"PID": "1234567", "TTY": "?", "TIME": "00:00:00", "CMD": "sleep"},
    ]


def test_df() -> None:
    rows = said(DF).table()
    assert rows[0]["Mounted on"] == "/"
    assert rows[0]["Use%"] == "22%"
    assert rows[1]["Mounted on"] == "/dev/my disk"


def test_free_whose_first_column_has_no_name() -> None:
    mem, swap = said(FREE).table()
    assert (mem[""], mem["total"], mem["available"]) == ("Mem:", "7935420", "7067736")
    assert (swap[""], swap["free"], swap["available"]) == ("Swap:", "0", "")


def test_columns_with_blanks_in_their_names() -> None:
    first, second = said(DOCKER).table()
    assert first["CONTAINER ID"] == "1a2b3c4d5e6f"
    assert second["PORTS"] == ""
    assert (second["STATUS"], second["NAMES"]) == ("Up 2 hours", "cache one")


def test_netstat() -> None:
    first, second = said(NETSTAT).table()
    assert first["Local Address"] == "0.0.0.0:80"
    assert first["Foreign Address"] == "0.0.0.0:*"
    assert first["State"] == "LISTEN"
    assert second["PID/Program name"] == "-"


def test_separated() -> None:
    assert said("a\tb\n1\t\n").table() == [{"a": "1", "b": ""}]
    assert said("a,b\n1,2\n").table() == [{"a": "1", "b": "2"}]
    assert said("a;b\n1;2\n").table(sep=";") == [{"a": "1", "b": "2"}]
    assert said('a,b\n"1,5","x\ny"\n').table(sep=",") == [{"a": "1,5", "b": "x\ny"}]


def test_no_cell_is_lost() -> None:
    assert said("a,b\n1,2,3\n4,\n").table() == [
        {"a": "1", "b": "2", "": "3"},
        {"a": "4", "b": "", "": ""},
    ]
    assert said("a,a,a_2\n1,2,3\n").table() == [{"a": "1", "a_3": "2", "a_2": "3"}]
    assert said("x x\n1 2\n").table() == [{"x": "1", "x_2": "2"}]


def test_nothing_to_read() -> None:
    assert said("").table() == said("\n \n").table() == said("A B\n").table() == []
    assert said("[]").table() == []


@pytest.mark.parametrize("sep", ["", "ab", "\n", "\r", chr(34)])
def test_separators_that_are_none(sep: str) -> None:
    with pytest.raises(InvalidRequest):
        said("a,b\n1,2\n").table(sep=sep)


_CELL = st.text(st.characters(codec="utf-8", exclude_characters="\r\x00"), max_size=12)


@given(
    st.lists(_CELL, min_size=2, max_size=4, unique=True),
    st.data(),
    st.sampled_from([",", "\t", ";", "|"]),
)
def test_what_csv_writes_is_read_back(names: list[str], data: Any, sep: str) -> None:
    rows = data.draw(
        st.lists(st.lists(_CELL, min_size=len(names), max_size=len(names)), max_size=5)
    )
    file = io.StringIO()
    csv.writer(file, delimiter=sep, quoting=csv.QUOTE_ALL, lineterminator="\n").writerows(
        [names, *rows]
    )
    assert said(file.getvalue()).table(sep=sep) == [
        dict(zip(names, row, strict=True)) for row in rows
    ]


@given(st.text(max_size=200) | st.text("ab ,\t\n\"'{}[]:1", max_size=200),
       st.none() | st.text(max_size=2))  # fmt: skip
def test_any_text_is_a_table_or_refused(text: str, sep: str | None) -> None:
    try:
        rows = said(text.encode("utf-8", "replace")).table(sep)
    except InvalidRequest:
        return
    assert isinstance(rows, list)
    for row in rows:
        assert all(isinstance(name, str) for name in row)


def test_dataframe_without_pandas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(InvalidRequest, match="pandas"):
        said("a b\n1 2\n").dataframe()


def shown(stdout: bytes) -> str:
    return CommandResult(0, "x", captured_stdout=Capture(stdout))._repr_mimebundle_()["text/html"]


def test_json_shows_as_a_tree() -> None:
    page = shown(b'{"name": "<web>", "tasks": [{"id": 1}, {"id": 2}], "none": null, "empty": {}}')
    assert page.count("<details") == 1 + 1 + 2 + 1, "object, list, its two objects, and the streams"
    assert "&quot;&lt;web&gt;&quot;" in page
    assert "2 items" in page
    assert "null" in page
    assert "0 keys" not in page
    assert "1 key<" in shown(b'{"a": 1}')
    assert shown(b'{"a": 1}\n{"a": 2}\n').count("2 items") == 1, "one value on each line"


@pytest.mark.parametrize(
    "stdout", [b"[not json", b"{}", b"5", b'"text"', b"[" * 100_000, b"[1, \xff]"]
)
def test_what_is_no_json_object_has_no_tree(stdout: bytes) -> None:
    assert "monospace" not in shown(stdout)


def test_a_tree_is_bounded_and_says_so() -> None:
    page = shown(str(list(range(5000))).encode())
    assert "more than fits here" in page
    assert len(page) < 400_000
    deep = shown(b"[" * 60 + b"1" + b"]" * 60)
    assert "…" in deep
