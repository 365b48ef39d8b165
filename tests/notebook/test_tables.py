"""Tables: aligned, cut to the line, escaped, and how tasks look in them."""

from __future__ import annotations

import html.parser
import pickle
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ecs_exec_magic.aws.listing import ClusterInfo
from ecs_exec_magic.notebook.listing import Clusters, Tasks, age_text, short_ids
from ecs_exec_magic.tables import (
    SHOWN_ROWS,
    Cell,
    Column,
    Row,
    Table,
    clean,
    cut,
    width_of,
)

from .account import NOW, container, task

COLUMNS = (Column("A", least=4), Column("NUMBER", number=True), Column("LAST", least=6))


def table(*rows: tuple[str, ...], caption: str = "caption", note: str = "") -> Table:
    made = tuple(Row(tuple(map(Cell, cells)), note) for cells in rows)
    return Table(caption, COLUMNS, made)


class Reader(html.parser.HTMLParser):
    """The text of markup, by cells, and all its elements."""

    def __init__(self, markup: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.open: list[str] = []
        self.texts: list[str] = []
        self.feed(markup)
        self.close()

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.tags.append(tag)
        if tag != "br":
            self.open.append(tag)
        if tag in ("td", "th"):
            self.texts.append("")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "td" in self.open or "th" in self.open:
            self.texts[-1] += data


# -- text ----------------------------------------------------------------------------------------


def test_columns_are_aligned() -> None:
    text = table(("one", "1", "x"), ("three", "300", "")).text()
    assert text.splitlines() == [
        "caption",
        "",
        "A      NUMBER  LAST",
        "one         1  x",
        "three     300",
    ]


def test_columns_without_content_are_left_out() -> None:
    assert table(("one", "", ""), ("two", "", "")).text().splitlines()[2:] == ["A", "one", "two"]


def test_long_lines_are_cut_from_the_right() -> None:
    text = table(("a" * 30, "5", "z" * 60), ("b", "6", "y")).text(60)
    assert text.splitlines()[3] == f"{'a' * 30}       5  {'z' * 19}…"
    text = table(("a" * 30, "5", "z" * 60)).text(30)
    assert text.splitlines()[3] == f"{'a' * 13}…       5  {'z' * 5}…"


def test_a_remark_has_a_line_of_its_own() -> None:
    text = table(("one", "1", "x"), note="because " * 40).text(40)
    assert text.splitlines()[4:] == [
        "    because because because because",
        "    because because because because",
        "    because because because because …",
    ]


def test_many_rows_are_counted() -> None:
    shown = table(*[(f"row {number}", "", "") for number in range(SHOWN_ROWS + 7)])
    lines = shown.text().splitlines()
    assert len(lines) == SHOWN_ROWS + 4
    assert lines[-1].startswith("and 7 more")
    assert "and 7 more" in shown.html()
    assert "row 206" not in shown.html()


any_text = st.text(max_size=60)


@given(st.lists(st.tuples(any_text, any_text, any_text), max_size=5), st.integers(40, 120))
@example([("\x1b[31mred", "a\nb\tc", "\u202ereversed")], 50)
@example([("日本語" * 20, "e\u0301" * 30, "\x9b1m")], 60)
def test_no_cell_breaks_a_line_or_a_terminal(rows: list[tuple[str, ...]], width: int) -> None:
    numbers = max([width_of(clean(row[1])) for row in rows] or [0])
    text = table(*rows, caption="a\nb").text(width)
    for line in text.split("\n"):
        assert line.isprintable()
        # What may not be cut is not: the column of numbers, and two gaps.
        assert width_of(line) <= max(width, 10 + 4 + max(6, numbers))


@given(any_text, st.integers(0, 70))
def test_what_is_cut_is_the_beginning(text: str, width: int) -> None:
    shown = cut(text, width)
    assert width_of(shown) <= width or not width
    assert shown == text or text.startswith(shown[:-1])


# -- HTML ----------------------------------------------------------------------------------------


@given(st.lists(st.tuples(any_text, any_text, any_text), min_size=1, max_size=4), any_text)
@example([("<script>alert(1)</script>", '" onload="x', "&lt;")], "<b>")
def test_nothing_that_is_shown_becomes_markup(rows: list[tuple[str, ...]], note: str) -> None:
    read = Reader(table(*rows, caption="<i>", note=note).html())
    assert set(read.tags) <= {"div", "table", "thead", "tbody", "tr", "th", "td"}
    assert read.open == []
    for cell in (clean(cell) for row in rows for cell in row):
        assert not cell or cell in read.texts


def test_html_needs_no_style_sheet_and_no_script() -> None:
    markup = Tasks([task(1, "prod", "web", "nginx")], "prod", at=NOW)._repr_mimebundle_()[
        "text/html"
    ]
    assert "<style" not in markup
    assert "<script" not in markup
    assert "class=" not in markup
    for colour in ("color:#000", "color:#fff", "background:#"):
        assert colour not in markup, "it must be readable on white and on black"


# -- tasks ---------------------------------------------------------------------------------------


def test_how_tasks_look() -> None:
    off = {"agent_status": "STOPPED", "agent_reason": "no memory"}
    tasks = Tasks(
        [
            task(125, "prod", "web", "nginx", "sidecar"),
            task(7, "prod", None, "app", exec_enabled=False, tags={"aws:x": "y"}),
            task(1, "prod", "api", container("main"), container("log", **off)),
            task(3, "prod", "api", container("main", **off)),
            task(0, "prod", "new", container("main", status="PENDING", agent_status="PENDING")),
        ],
        "prod",
        at=NOW,
    )
    tag = "environment=production"
    assert str(tasks).splitlines() == [
        "5 tasks in prod (eu-west-1) at 12:00:00 UTC; exec is off in 4",
        "",
        "SERVICE      TASK      CONTAINERS               EXEC     AGE  AZ  TYPE     TAGS",
        f"web          0000007d  running: nginx, sidecar  on        2h  1a  FARGATE  {tag}",
        "family:lone  00000007  running: app             off       7m  1a  FARGATE",
        "    exec off: not enabled when the task was started",
        f"api          00000001  running: main, log       partly   60s  1a  FARGATE  {tag}",
        "    exec partly: agent of log is stopped (no memory)",
        f"api          00000003  running: main            off       3m  1a  FARGATE  {tag}",
        "    exec off: agent of main is stopped (no memory)",
        f"new          00000000  pending: main            pending   0s  1a  FARGATE  {tag}",
        "    exec pending: agent of main is pending",
    ]
    assert repr(tasks) == str(tasks) == tasks._repr_mimebundle_()["text/plain"]
    read = Reader(tasks._repr_mimebundle_()["text/html"])
    assert "● nginx running● sidecar running" in read.texts
    assert "eu-west-1a" in read.texts
    assert "exec partly: agent of log is stopped (no memory)" in read.texts
    assert tasks[1].exec_state == "off: not enabled when the task was started"


def test_how_stopped_tasks_look() -> None:
    ended: dict[str, Any] = {
        "status": "STOPPED",
        "started_at": NOW - timedelta(hours=3),
        "stopped_at": NOW - timedelta(minutes=5),
        "stopped_reason": "Essential container",
        "tags": {"team": "a"},
    }
    killed = container("main", status="STOPPED", exit_code=137, reason="OutOfMemoryError")
    polite = container("side", status="STOPPED", exit_code=143)
    tasks = Tasks(
        [task(1, "prod", "web", killed, polite, **ended)],
        "prod",
        stopped=True,
        at=NOW,
    )
    assert str(tasks).splitlines() == [
        "1 stopped task in prod (eu-west-1) at 12:00:00 UTC",
        "",
        "SERVICE  TASK      CONTAINERS                        ENDED  RAN FOR  AZ  TYPE     TAGS",
        "web      00000001  stopped: main (137), side (143)  5m ago       2h  1a  FARGATE  team=a",
        "    Essential container; main: OutOfMemoryError",
    ]
    read = Reader(tasks._repr_mimebundle_()["text/html"])
    assert "● main stopped, exit 137● side stopped, exit 143" in read.texts


def test_few_tasks_and_none() -> None:
    assert str(Tasks([], "prod")) == "no task runs in prod; --stopped shows those that have ended"
    assert str(Tasks([], "prod", stopped=True)) == "no task has stopped lately in prod"
    some = Tasks([task(1, "prod", "web", "nginx")], "prod", of=3, at=NOW)
    assert str(some).startswith("1 of 3 tasks in prod (eu-west-1) at")
    assert str(Tasks([], "prod", of=3, at=NOW)) == "0 of 3 tasks in prod at 12:00:00 UTC"


def test_tasks_are_a_list_that_pickles() -> None:
    tasks = Tasks([task(1, "prod", "web", "nginx")], "prod", at=NOW)
    assert isinstance(tasks, list)
    assert tasks[0].address.startswith("prod/00000001")
    again = pickle.loads(pickle.dumps(tasks))
    assert (again, str(again)) == (tasks, str(tasks))
    assert repr(tasks[0]) == f"<TaskInfo {tasks[0].address} of web, RUNNING, exec on>"


def test_hundred_columns_are_enough_for_what_is_long() -> None:
    names = [f"container-with-a-long-name-{number}" for number in range(5)]
    tags = {f"key-{number}": "v" * 30 for number in range(9)}
    long = task(1, "prod", "service-with-a-very-long-name-" + "x" * 40, *names, tags=tags)
    for line in str(Tasks([long], "prod", at=NOW)).splitlines():
        assert len(line) <= 100
    markup = Tasks([long], "prod", at=NOW)._repr_mimebundle_()["text/html"]
    assert "and 5 more" in markup


def test_clusters() -> None:
    known = ClusterInfo("prod", "eu-west-1", "ACTIVE", 7, 0, 2)
    closing = ClusterInfo("old", "eu-west-1", "DEPROVISIONING", 0, 0, 0)
    assert str(Clusters([known, closing])).splitlines() == [
        "2 clusters in eu-west-1",
        "",
        "CLUSTER  RUNNING  PENDING  SERVICES  STATUS",
        "prod           7        0         2",
        "old            0        0         0  deprovisioning",
        "%ecs_tasks prod lists the tasks of one",
    ]
    unknown = ClusterInfo("prod", "eu-west-1")
    assert "CLUSTER\nprod\n" in str(Clusters([unknown, ClusterInfo("a", "eu-west-1")]))
    assert str(Clusters([])) == "there is no cluster in this region"


# -- words ---------------------------------------------------------------------------------------


@given(st.lists(st.text("0123456789abcdef", min_size=32, max_size=32), max_size=8))
@example(["a" * 32, "a" * 31 + "b"])
@example(["a" * 32, "a" * 32])
def test_short_ids_are_beginnings_that_differ_as_the_ids_do(ids: list[str]) -> None:
    short = short_ids(ids)
    assert all(
        whole.startswith(part) and len(part) >= 8 for whole, part in zip(ids, short, strict=True)
    )
    assert len(set(short)) == len(set(ids))


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, ""), (0, "0s"), (119.9, "119s"), (120, "2m"), (7199, "119m"), (7200, "2h"),
     (172799, "47h"), (172800, "2d"), (1e7, "115d")],
)  # fmt: skip
def test_ages(seconds: float | None, text: str) -> None:
    assert age_text(seconds) == text
