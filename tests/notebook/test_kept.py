"""``--keep``: one shell for each container, listed among the jobs, ended with the notebook."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from IPython.core.error import UsageError
from IPython.utils.capture import capture_output

from ecs_exec_magic import errors
from ecs_exec_magic.notebook import extension
from ecs_exec_magic.results import CommandResult

from .conftest import FakeTarget

if TYPE_CHECKING:
    from .conftest import World

pytestmark = pytest.mark.kernel


class FakeShell:
    """A shell that remembers what it was told."""

    made: list[FakeShell]

    def __init__(self, ref: Any) -> None:
        self.ref = ref
        self.ran: list[str] = []
        self.over = ""
        self.made.append(self)

    @property
    def state(self) -> str:
        return f"ended: {self.over}" if self.over else "idle"

    @property
    def commands(self) -> int:
        return len(self.ran)

    def run(self, command: str, **how: Any) -> CommandResult:
        self.ran.append(command)
        if command == "exit 3":
            self.over = "it has ended with exit code 3"
        return CommandResult(3 if self.over else 0, command, self.ref)

    def close(self, why: str = "") -> None:
        self.over = self.over or why


@pytest.fixture
def shells(monkeypatch: pytest.MonkeyPatch) -> list[FakeShell]:
    FakeShell.made = []
    monkeypatch.setattr(FakeTarget, "shell", lambda self: FakeShell(self), raising=False)
    monkeypatch.setattr(FakeTarget, "ref", property(lambda self: self), raising=False)
    return FakeShell.made


def run(shell: Any, cell: str) -> tuple[Any, str]:
    with capture_output() as captured:
        outcome = shell.run_cell(cell)
    outcome.raise_error()
    return outcome.result, captured.stdout + captured.stderr


def test_one_shell_for_each_container(shell: Any, world: World, shells: list[FakeShell]) -> None:
    run(shell, "%ecs_target demo/web:nginx")
    run(shell, "%ecs_exec --keep cd /tmp")
    run(shell, "%%ecs_shell --keep\npwd\n")
    run(shell, "%ecs_exec --keep -t demo/worker:worker pwd")
    assert [each.ran for each in shells] == [["cd /tmp", "pwd\n"], ["pwd"]]
    jobs, _ = run(shell, "%ecs_jobs")
    assert "kept shell, 2 commands" in repr(jobs)
    run(shell, "%ecs_jobs --stop 1")
    assert [bool(each.over) for each in shells] == [True, False]
    extension.unload(shell)
    assert all(each.over for each in shells)


def test_a_new_shell_is_announced(shell: Any, world: World, shells: list[FakeShell]) -> None:
    run(shell, "%ecs_target demo/web:nginx")
    with pytest.raises(errors.CommandFailed):
        run(shell, "%ecs_exec --keep exit 3")
    _, said = run(shell, "%ecs_exec --keep pwd")
    assert "ended with exit code 3; a new one begins, without its state" in said
    assert len(shells) == 2


@pytest.mark.parametrize("option", ["--all", "--bg"])
def test_what_does_not_go_with_it(
    shell: Any, world: World, shells: list[FakeShell], option: str
) -> None:
    run(shell, "%ecs_target demo/web:nginx")
    with pytest.raises(UsageError, match="--keep does not go with"):
        run(shell, f"%ecs_exec --keep {option} pwd")
    assert not shells
