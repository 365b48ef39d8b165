"""The harness itself: JupyterLab runs cells on the practice cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from .conftest import Open

pytestmark = pytest.mark.timeout(180)


def test_a_notebook_runs_commands(opened: Open) -> None:
    notebook = opened(
        "%load_ext ecs_exec_magic\n%ecs_target demo/web:nginx", "%ecs_exec echo $((6 * 7))"
    )
    notebook.run_all()
    notebook.done(1)
    assert "42" in notebook.output(1).inner_text()
    assert notebook.execute("print(6 * 9)") == "54\n"
    assert notebook.shot("lab").stat().st_size > 10_000
