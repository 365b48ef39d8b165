"""The harness itself: JupyterLab runs cells on the practice cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING

from playwright.sync_api import expect

if TYPE_CHECKING:
    from .conftest import Open


def test_a_notebook_runs_commands(opened: Open) -> None:
    notebook = opened(
        "%load_ext ecs_exec_magic\n%ecs_target demo/web:nginx", "%ecs_exec echo $((6 * 7))"
    )
    notebook.run_all()
    notebook.done(1)
    expect(notebook.output(1)).to_contain_text("42")
    assert notebook.execute("print(6 * 9)") == "54\n"
    assert notebook.shot("lab").stat().st_size > 10_000
