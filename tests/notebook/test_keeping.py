"""What lines leave in the record of runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from ecs_exec_magic import errors
from ecs_exec_magic.journal import Journal, Record

from .test_magics import run, targeted

if TYPE_CHECKING:
    from .conftest import World

__all__ = ["targeted"]  # a fixture


@pytest.fixture
def kept(shell: Any, tmp_path: Path) -> Path:
    return tmp_path / ".ecs-exec"


def records(kept: Path) -> list[Record]:
    return Journal(kept).read()


def test_a_run_is_recorded_before_it_starts(targeted: Any, world: World, kept: Path) -> None:
    seen: list[Record] = []
    world.client.on_run = lambda: seen.extend(records(kept))
    run(targeted, "%ecs_exec ls -l")
    ((before,), (after,)) = seen, records(kept)
    assert (before.command, before.state, before.address) == ("ls -l", "running", "demo/web:nginx")
    assert (after.state, after.exit_code, after.kind) == ("ended", 0, "exec")
    assert after.target is not None
    assert after.target.container == "nginx"
    assert after.identity == "arn:aws:iam::123456789012:user/somebody"
    assert after.result().stdout == "out of ls\n"


@pytest.mark.parametrize(
    ("line", "error", "exit_code"),
    [
        ("%ecs_exec fail", "", 3),
        ("%ecs_exec --no-raise fail", "", 3),
        ("%ecs_exec lose", "SessionLost", 0),
        ("%ecs_exec -t nowhere ls", "TargetNotFound", None),
    ],
)
def test_every_end_is_recorded(
    targeted: Any, kept: Path, line: str, error: str, exit_code: int | None
) -> None:
    try:
        run(targeted, line)
    except errors.EcsExecError:
        assert "--no-raise" not in line
    (record,) = records(kept)
    assert (record.error, record.exit_code, record.state) == (error, exit_code, "ended")
    assert not record.ok


def test_interrupts_and_scripts(targeted: Any, kept: Path) -> None:
    with pytest.raises(errors.Interrupted):
        run(targeted, "%%ecs_shell --shell bash\ninterrupt\nmore")
    (record,) = records(kept)
    assert (record.kind, record.interpreter, record.interrupted) == ("shell", "bash", True)
    assert record.command == "interrupt\nmore\n"


def test_malformed_lines_leave_nothing(targeted: Any, kept: Path) -> None:
    for line in ("%ecs_exec", "%ecs_exec --nonsense ls", "%ecs_exec --stdin missing ls"):
        with pytest.raises(Exception, match="%ecs_exec"):
            run(targeted, line)
    assert not kept.exists()


def test_secrets_do_not_reach_the_file(targeted: Any, kept: Path) -> None:
    run(targeted, "%ecs_exec mysql --password hunter2hunter2")
    text = "".join(path.read_text() for path in kept.rglob("*.jsonl"))
    assert "hunter2" not in text
    assert json.loads(text.splitlines()[0])["command"].startswith("mysql --password ")
    run(targeted, "%config EcsExec.mask = False")
    run(targeted, "%ecs_exec mysql --password hunter2hunter2")
    assert "hunter2" in "".join(path.read_text() for path in kept.rglob("*.jsonl"))


def test_it_can_be_turned_off(targeted: Any, kept: Path) -> None:
    run(targeted, "%config EcsExec.history = ''")
    run(targeted, "%ecs_exec ls")
    assert not kept.exists()


def test_what_cannot_be_recorded_is_said_once_and_runs(
    targeted: Any, kept: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kept.write_text("a file where the directory should be")
    for _ in range(2):
        targeted.run_cell("r = %ecs_exec ls")
    assert targeted.user_ns["r"].stdout == "out of ls\n"
    said = [line for line in capsys.readouterr().err.splitlines() if "not recorded" in line]
    assert len(said) == 1
