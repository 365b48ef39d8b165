"""docs/notebooks.md says what the code does."""

from __future__ import annotations

import re
from pathlib import Path

from ecs_exec_magic.notebook.magics import EXEC_LINE, SHELL_CELL
from ecs_exec_magic.notebook.options import ACCOUNT, HELP, WHERE
from ecs_exec_magic.notebook.settings import Settings

PAGE = (Path(__file__).parents[2] / "docs" / "notebooks.md").read_text("utf-8")


def table(title: str) -> list[list[str]]:
    """Rows of the table whose first column has that title."""
    found = re.search(rf"^\| {title} \|.*\n\|[-|]+\|\n((?:\|.*\n)+)", PAGE, re.MULTILINE)
    assert found is not None
    return [[cell.strip() for cell in row.strip("|").split(" |")] for row in found[1].splitlines()]


def test_every_option_is_explained() -> None:
    told = {
        flag for row in table("option") for flag in re.findall(r"(?<![\w-])--?[a-z][a-z-]*", row[0])
    }
    elsewhere = {*WHERE, *ACCOUNT, HELP}
    options = {*EXEC_LINE.options, *SHELL_CELL.options} - elsewhere
    assert told == {flag for option in options for flag in option.flags}
    for option in elsewhere - {HELP}:
        assert f"`{option.name}`" in PAGE


def test_every_setting_is_explained_with_its_default() -> None:
    told = {row[0].strip("`"): row[1] for row in table("setting")}
    traits = Settings.class_traits(config=True)
    assert told == {name: str(trait.default_value) for name, trait in traits.items()}
