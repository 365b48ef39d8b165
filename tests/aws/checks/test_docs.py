"""docs/checks.md says what the code does."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from ecs_exec_magic.aws.checks import CHECKS
from ecs_exec_magic.check import FIXED
from ecs_exec_magic.check_command import FAILED, FINE, NOT_KNOWN
from ecs_exec_magic.notebook.checking import CHECK_LINE

PAGE = (Path(__file__).parents[3] / "docs" / "checks.md").read_text("utf-8")
ROWS = {
    row.split("`")[1]: [cell.strip() for cell in row.strip("|").split("|")]
    for row in PAGE.splitlines()
    if re.match(r"\| `[a-z0-9]+\.", row)
}


def test_every_check_is_told_in_its_order() -> None:
    assert list(ROWS) == list(CHECKS)


@pytest.mark.parametrize("id_", CHECKS)
def test_permissions_are_those_of_the_code(id_: str) -> None:
    told = re.findall(r"`([^`]+)`", ROWS[id_][3])
    assert tuple(told) == CHECKS[id_].needs


def test_what_is_fixed() -> None:
    assert set(FIXED) <= set(CHECKS)
    text = PAGE.partition("## Putting right")[2].partition("##")[0]
    assert set(re.findall(r"`([a-z]+\.[a-z-]+)`", text)) == set(FIXED)


def test_exit_statuses_and_options() -> None:
    for status in (FINE, FAILED, NOT_KNOWN):
        assert f"\n| {status} | " in PAGE
    for option in CHECK_LINE.options:
        if option.dest in ("agent_log", "outside", "fix", "yes"):
            assert f"`{option.name}`" in PAGE or f"`--{option.dest.replace('_', '-')}`" in PAGE
