"""Rows of the picker: what typing finds, and why a row cannot be chosen."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecs_exec_magic.notebook.widgets.rows import Rows, labels
from ecs_exec_magic.tables import width_of

from ..account import NOW, container, task


def rows_of(*tasks: Any) -> Rows:
    return Rows(tasks, NOW)


PROD = rows_of(
    task(0xA1, "prod", "web", "nginx", "sidecar", tags={"team": "Blue Whale"}),
    task(0xA2, "prod", "web", "nginx", "sidecar"),
    task(0xB1, "prod", "worker", "main", container("aws-guardduty-agent")),
    task(0xC1, "prod", None, "app", exec_enabled=False, family="batch"),
)


def test_those_of_one_kind_stand_beside_each_other_and_ready_ones_first() -> None:
    shown = [(row.service, row.address.rpartition(":")[2]) for row in PROD.find("").rows]
    assert shown == [
        *(("web", "nginx"), ("web", "nginx"), ("web", "sidecar"), ("web", "sidecar")),
        ("worker", "main"),
        ("", "app"),
    ]
    assert [row.ready for row in PROD.find("").rows] == [True] * 5 + [False]


@pytest.mark.parametrize(
    ("typed", "count"),
    [
        ("", 6),
        ("web", 4),
        ("WEB nginx", 2),
        ("nginx web", 2),
        ("000000a1", 2),
        ("sidecar 000000a2", 1),
        ("blue whale", 2),
        ("team=blue", 2),
        ("family:batch", 1),
        ("exec off", 1),
        ("ready", 5),
        ("eu-west-1a worker", 1),
        ("guardduty", 0),  # AWS's own container; nobody means it
        ("nothing", 0),
    ],
)
def test_every_word_must_occur(typed: str, count: int) -> None:
    assert PROD.find(typed).count == count


def test_a_service_narrows_and_empty_means_tasks_without_one() -> None:
    assert PROD.find("", service="web").count == 4
    assert [row.cells[1] for row in PROD.find("", service="").rows] == ["family:batch"]
    assert PROD.services == ["web", "worker", ""]


def test_no_more_than_the_limit_but_all_are_counted() -> None:
    found = PROD.find("web", limit=3)
    assert (len(found.rows), found.count) == (3, 4)


@pytest.mark.parametrize(
    ("change", "state", "why", "cure"),
    [
        ({"exec_enabled": False}, "off", "not enabled", "update-service"),
        ({"desired_status": "STOPPED"}, "off", "about to stop", "another task"),
        ({"status": "PENDING"}, "starting", "nginx of web is", "by itself"),
        (
            {"containers": (container("nginx", agent_status="PENDING"),)},
            "starting",
            "still starting",
            "wait",
        ),
        (
            {"containers": (container("nginx", agent_status="STOPPED", agent_reason="No disk"),)},
            "off",
            "No disk",
            "replace the task",
        ),
        ({"containers": (container("nginx", agent_status=""),)}, "off", "no exec agent", "wait"),
        (
            {"containers": (container("nginx", status="STOPPED", reason="OutOfMemory"),)},
            "off",
            "OutOfMemory",
            "another",
        ),
        (
            {"containers": (container("nginx", status="PENDING", agent_status=""),)},
            "starting",
            "is pending",
            "by itself",
        ),
    ],
)
def test_why_a_row_is_not_ready_and_what_helps(
    change: dict[str, Any], state: str, why: str, cure: str
) -> None:
    made = replace(task(0xA1, "prod", "web", "nginx"), **change)
    row = rows_of(made).find("").rows[0]
    assert (row.state, row.ready) == (state, False)
    assert why in row.why and cure in row.cure


def test_a_row_that_is_gone_says_so_and_keeps_its_columns() -> None:
    row = PROD.find("worker").rows[0]
    gone = rows_of().gone(row)
    assert not gone.ready and gone.address == row.address
    assert "has stopped" in gone.why and len(gone.cells) == len(row.cells)
    assert gone.cells[4] == "gone"


def test_a_task_of_days_ago_shows_its_date() -> None:
    old = task(0xA1, "prod", "web", "nginx", started_at=NOW - timedelta(days=3))
    assert rows_of(old).find("").rows[0].cells[4] == "since 26 Feb"


names = st.text(st.characters(categories=["L", "N", "P"]), min_size=1, max_size=40)


@given(st.lists(st.tuples(names, names), max_size=8))
def test_columns_are_aligned_whatever_the_names(pairs: list[tuple[str, str]]) -> None:
    tasks = [task(number, "prod", service, name) for number, (service, name) in enumerate(pairs)]
    found = rows_of(*tasks).find("").rows
    lines = labels(found)
    assert len(lines) == len(found)
    starts = set()
    for line, row in zip(lines, found, strict=True):
        # Runs of plain blanks would be shown as one in a list of a page.
        assert not re.search(" {2}", line) and "\n" not in line
        head = line[: line.rindex(row.cells[4])]
        starts.add(width_of(head))
    assert len(starts) <= 1


@given(
    st.lists(st.sampled_from("web nginx 000000a1 zzz Blue".split()), max_size=4), st.integers(0, 9)
)
def test_more_words_never_find_more(words: list[str], limit: int) -> None:
    all_of_them = {row.address for row in PROD.find("").rows}
    before = all_of_them
    for end in range(len(words) + 1):
        found = PROD.find(" ".join(words[:end]), limit=limit)
        now = {row.address for row in PROD.find(" ".join(words[:end])).rows}
        assert now <= before and found.count == len(now)
        assert len(found.rows) == min(limit, found.count)
        before = now
