"""Reports: whole, readable, and not to be broken by what commands print."""

from __future__ import annotations

import html as markup
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from IPython.utils.capture import capture_output

from ecs_exec_magic.errors import CommandFailed, InvalidRequest, SessionLost
from ecs_exec_magic.journal import Journal, Record
from ecs_exec_magic.notebook.excerpt import plain
from ecs_exec_magic.notebook.report import Report, html, markdown

from ..journal.helpers import TARGET, finished
from .test_magics import run

mistune = pytest.importorskip("mistune")

IDENTITY = "arn:aws:sts::123456789012:assumed-role/ops/ann"


def kept(directory: Path, *runs: tuple[str, bytes, int | None]) -> list[Record]:
    journal = Journal(directory)
    for command, out, code in runs:
        entry = journal.begin("exec", command, target=TARGET, identity=IDENTITY, notebook="a.ipynb")
        entry.finish(finished(out, b"", code, command=command))
    return journal.read()


def parsed(text: str) -> list[dict[str, Any]]:
    """The blocks of a Markdown text, as a parser of it sees them."""
    tokens: Any = mistune.create_markdown(renderer=None, plugins=["table"])(text)
    return [token for token in tokens if token["type"] != "blank_line"]


def blocks(text: str) -> list[str]:
    return [each["raw"] for each in parsed(text) if each["type"] == "block_code"]


class Page(HTMLParser):
    """Elements of a page, and the text of its <pre> blocks."""

    VOID = frozenset({"meta", "br", "img", "link"})

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[str] = []
        self.pre: list[str] = []
        self.open: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag not in self.VOID:
            self.open.append(tag)
        if tag == "pre":
            self.pre.append("")
        assert not any(name.startswith("on") for name, _ in attrs)
        assert all(name not in ("src", "href") or str(value)[:1] == "#" for name, value in attrs)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "pre" in self.open:
            self.pre[-1] += data


TAGS = {
    "html", "head", "meta", "title", "style", "body", "header", "h1", "div", "i", "dl", "dt", "dd",
    "br", "code", "table", "thead", "tr", "th", "tbody", "td", "a", "section", "h2", "b", "small",
    "pre", "h3", "p", "span", "details", "summary", "footer",
}  # fmt: skip

HOSTILE = st.lists(
    st.text(max_size=6)
    | st.sampled_from(
        ["`", "```", "````", "\n", "\n```\n", "~~~", "|", "\\", "<b>", "</pre>", "</code>",
         "<!--", "&lt;", "# x", "\n---\n", "[a](b)", "![a](b)", "<script>", '"', "'", "\x1b[31m",
         "\r", "    x", "\u2028"]
    ),
    max_size=12,
).map("".join)  # fmt: skip


@settings(deadline=None, max_examples=60)
@given(HOSTILE, HOSTILE, HOSTILE)
@example("`", "```\n", "a|b")
def test_nothing_in_a_run_becomes_markup(command: str, out: str, title: str) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as name:
        journal = Journal(Path(name) / "x", mask=False)
        entry = journal.begin("exec", command, target=TARGET, address=out, notebook=title)
        data = out.encode("utf-8", "replace")
        result = finished(data, b"", None, command=command)
        entry.finish(result, SessionLost(out, cause=command, result=result))
        report = Report.of(journal.read(), title)
        texts = [plain(command)] + ([plain(data.decode())] if data else [])

        page = Page(html(report))
        assert page.open == []
        assert set(page.tags) <= TAGS
        assert [each.strip("\n") for each in page.pre] == [each.strip("\n") for each in texts]

        shown = [each.rstrip("\n") for each in blocks(markdown(report))]
        assert shown == [each.rstrip("\n") for each in texts]
        kinds = [each["type"] for each in parsed(markdown(report))]
        assert kinds.count("heading") == 3
        assert kinds.count("table") == 2
        assert "block_html" not in kinds
        assert "thematic_break" not in kinds


def test_what_a_report_has(tmp_path: Path) -> None:
    records = kept(
        tmp_path / "x",
        ("df -h", b"full\n", 0),
        ("env", b"password=hunter2\n", 0),
        ("false", b"", 1),
    )
    report = Report.of(records)
    assert report.title == f"3 commands in prod/web:nginx, {records[0].started:%Y-%m-%d}"
    for text in (markdown(report), markup.unescape(html(report))):
        for part in (
            "df -h",
            "full",
            "password=[masked]",
            "1 masked",
            "2 succeeded, 1 failed",
            IDENTITY,
            "a.ipynb",
            "prod/web:nginx",
            "123456789012, eu-west-1",
            "3 of 3 outputs are exact",
            "exit code 1",
            f"{records[0].started:%Y-%m-%d %H:%M:%S} to {records[2].ended:%H:%M:%S} UTC",
            "ecs-execute-command-0123",
        ):
            assert part in text, part
        assert text.count(IDENTITY) == 1, "what holds for all runs is said once"


def test_long_outputs_are_cut_and_counted(tmp_path: Path) -> None:
    text = "".join(f"line {number}\n" for number in range(1000))
    report = Report.of(kept(tmp_path / "x", ("cat", text.encode(), 0)))
    for shown in (markdown(report), html(report)):
        assert "940 lines hidden; run 1 of the record has all 1000" in shown
        assert "line 29\n" in shown
        assert "line 30\n" not in shown
        assert "line 970\n" in shown
        assert "line 999" in shown
    assert len(blocks(markdown(report))) == 3


def test_runs_of_several_days_and_states(tmp_path: Path) -> None:
    import dataclasses
    from datetime import timedelta

    first, second = kept(tmp_path / "x", ("a", b"", 0), ("b", b"", 0))
    later = dataclasses.replace(
        second, started=second.started + timedelta(days=2), ended=None, state="killed", number=7
    )
    report = Report.of([later, first])
    assert report.records[0] is first, "in the order in which they began"
    text = markdown(report)
    assert f"{later.started:%Y-%m-%d %H:%M:%S}" in text.partition("## Timeline")[2]
    assert "the kernel ended while it ran" in text
    assert "### Run 7" in text


# -- as files ------------------------------------------------------------------------------------


@pytest.fixture
def notebook(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: Any) -> Any:
    monkeypatch.chdir(tmp_path)
    kept(tmp_path / ".ecs-exec", ("df -h", b"full\n", 0), ("false", b"", 1))
    return request.getfixturevalue("shell")


def test_export(notebook: Any, tmp_path: Path) -> None:
    with capture_output() as captured:
        notebook.run_cell("%ecs_history --export report.md --title 'Disk full'")
    assert captured.stdout == "report.md: 2 runs\n"
    assert (tmp_path / "report.md").read_text("utf-8").startswith("# Disk full\n")
    run(notebook, "%ecs_history --export report.html --failed")
    page = (tmp_path / "report.html").read_text("utf-8")
    assert page.startswith("<!doctype html>")
    assert "df -h" not in page
    run(notebook, "%ecs_history --export one.md 1")
    assert "false" not in (tmp_path / "one.md").read_text("utf-8")
    run(notebook, "name = 'named'\n%ecs_history --export {name}.html -o runs")
    assert (tmp_path / "named.html").exists()
    assert len(notebook.user_ns["runs"]) == 2


def test_a_file_that_is_there_stays(notebook: Any, tmp_path: Path) -> None:
    path = tmp_path / "report.md"
    path.write_text("mine\n")
    with pytest.raises(InvalidRequest, match=r"report\.md is there already") as caught:
        run(notebook, "%ecs_history --export report.md")
    assert caught.value.cure.startswith("--force")
    assert path.read_text() == "mine\n"
    run(notebook, "%ecs_history --export report.md --force")
    assert path.read_text("utf-8").startswith("# 2 commands")
    with pytest.raises(InvalidRequest, match="cannot be written: No such file or directory"):
        run(notebook, "%ecs_history --export nowhere/report.md")


def test_errors_are_told(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "x")
    entry = journal.begin("exec", "ls", target=TARGET)
    entry.finish(None, SessionLost("the session ended", cause="the task stopped"))
    entry = journal.begin("exec", "nosuch", target=TARGET)
    result = finished(b"", b"", 127)
    entry.finish(result, CommandFailed("ended with 127", cause="not on its PATH", result=result))
    text = markdown(Report.of(journal.read()))
    assert "> SessionLost: the session ended (the task stopped)" in text
    assert "> not on its PATH" in text
