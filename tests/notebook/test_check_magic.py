"""``%ecs_check`` in a shell of this process: what a line asks for, and who is asked."""

from __future__ import annotations

import builtins
import io
import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from IPython.core.error import UsageError
from IPython.utils.capture import capture_output

from ecs_exec_magic import errors
from ecs_exec_magic.capture import Capture
from ecs_exec_magic.client import Finding, Findings, Step, StepEvent
from ecs_exec_magic.plan_views import PlanView
from ecs_exec_magic.results import CommandResult

from .conftest import FakeClient

if TYPE_CHECKING:
    from .conftest import World

OK = Finding("cluster.active", "ok", "cluster prod is active")
OFF = Finding(
    "service.exec-enabled",
    "fail",
    "exec is off in service web",
    "enableExecuteCommand is false",
    "switch it on",
    "aws ecs update-service --cluster prod --service web --enable-execute-command",
)
DOWN = Finding("network.route", "fail", "there is no route to AWS", "none", "make one", "aws ec2 x")
STEPS = (Step("cluster", "prod", "keep"), Step("service", "prod/web", "update", "exec on"))


class FakeEnabling:
    def __init__(self, address: str, world: Checks) -> None:
        self.address = address
        self.steps = world.steps
        self._world = world

    def show(self) -> PlanView:
        return PlanView(f"exec for {self.address}", self.steps, (), {})

    def apply(self, progress: Any) -> None:
        self._world.applied.append(self.address)
        self._world.found = [OK]
        for index, step in enumerate(self.steps):
            progress(StepEvent(step, "done", index, len(self.steps)))


class Checks:
    """What was asked of the client, and what it finds."""

    def __init__(self) -> None:
        self.asked: list[tuple[str | None, dict[str, Any]]] = []
        self.found: list[Finding] = [OK, OFF]
        self.agent_log: CommandResult | None = None
        self.services = ["prod/web"]
        self.steps: tuple[Step, ...] = STEPS
        self.applied: list[str] = []

    def check(self, address: str | None, progress: Any, **how: Any) -> Findings:
        self.asked.append((address, how))
        progress("cluster.active", 1, 2)
        return Findings(self.found, "prod/web", self.agent_log, self.services)

    @property
    def last(self) -> dict[str, Any]:
        address, how = self.asked[-1]
        return {"address": address, **{name: value for name, value in how.items() if value}}


@pytest.fixture
def checks(world: World, monkeypatch: pytest.MonkeyPatch) -> Checks:
    there = Checks()
    monkeypatch.setattr(
        FakeClient,
        "check",
        lambda _, address=None, **how: there.check(address, **how),
        raising=False,
    )
    monkeypatch.setattr(
        FakeClient, "enable_exec", lambda _, address: FakeEnabling(address, there), raising=False
    )
    return there


@pytest.fixture
def answers(shell: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Somebody is there, and answers so; what was asked takes the answers' place."""
    given: list[str] = []
    asked: list[str] = []

    def ask(question: str = "") -> str:
        asked.append(question)
        return given.pop(0)

    monkeypatch.setattr(builtins, "input", ask)
    monkeypatch.setattr(
        "ecs_exec_magic.notebook.workspace.Workspace.headless", property(lambda _: False)
    )
    yield given
    given[:] = asked


def run(shell: Any, line: str) -> tuple[Any, str]:
    with capture_output() as shown:
        outcome = shell.run_cell(line)
    if outcome.error_in_exec or outcome.error_before_exec:
        raise outcome.error_in_exec or outcome.error_before_exec
    return outcome.result, shown.stdout


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("prod/web", {"address": "prod/web", "inside": True}),
        ("prod/web:nginx --outside", {"address": "prod/web:nginx"}),
        ("--cluster prod", {"address": None, "cluster": "prod", "inside": True}),
        (
            "--cluster prod --service web --container nginx",
            {
                "address": None,
                "cluster": "prod",
                "service": "web",
                "container": "nginx",
                "inside": True,
            },
        ),
        ("prod/web --agent-log", {"address": "prod/web", "inside": True, "agent_log": True}),
        ("", {"address": None, "inside": True}),
    ],
)
def test_lines(shell: Any, checks: Checks, line: str, expected: dict[str, Any]) -> None:
    found, _ = run(shell, f"%ecs_check {line}")
    assert isinstance(found, Findings)
    assert checks.last == expected


def test_the_notebooks_target(shell: Any, checks: Checks) -> None:
    run(shell, "%ecs_target prod/web:nginx")
    run(shell, "%ecs_check")
    assert checks.last["address"] == "prod/web:nginx"
    run(shell, "%ecs_check --container sidecar")
    assert checks.last["container"] == "sidecar"
    run(shell, "%ecs_check demo/shop")
    assert checks.last["address"] == "demo/shop"


def test_variables_fill_in(shell: Any, checks: Checks) -> None:
    run(shell, "where = 'prod/web'")
    run(shell, "%ecs_check {where}")
    assert checks.last["address"] == "prod/web"


@pytest.mark.parametrize("line", ["a b", "prod/web --yes", "--nonsense"])
def test_lines_that_are_wrong(shell: Any, checks: Checks, line: str) -> None:
    with pytest.raises(UsageError):
        run(shell, f"%ecs_check {line}")
    assert checks.asked == []


def test_it_shows_what_is_wrong_first(shell: Any, checks: Checks) -> None:
    found, _ = run(shell, "%ecs_check prod/web")
    formats, _ = shell.display_formatter.format(found)
    text = formats["text/plain"]
    assert text.startswith("exec in prod/web: 1 failed, 1 fine")
    assert text.index(OFF.title) < text.index(OK.title)
    assert OFF.call in text  # whole, so that it can be copied
    assert OFF.cure in formats["text/html"]
    assert "<details>" in formats["text/html"]


def test_json(shell: Any, checks: Checks) -> None:
    found, shown = run(shell, "%ecs_check prod/web --json")
    assert found is None
    assert json.loads(shown)["worst"] == "fail"


def test_json_shows_no_secret(shell: Any, checks: Checks) -> None:
    secret = "sk_" + "live_4eC39HqLyjWDarjtT1zdp7dc"
    checks.found = [replace(OFF, evidence=f'the log says "password={secret}"')]
    log = f'a line\nAWS_SECRET_ACCESS_KEY="{secret}"\nthe last\n'
    checks.agent_log = CommandResult(0, "cat", captured_stdout=Capture(log.encode()))
    _, shown = run(shell, "%ecs_check prod/web --agent-log --json")
    told = json.loads(shown)
    assert secret not in shown
    assert "the log says" in told["findings"][0]["evidence"]
    assert told["agent_log"].startswith("a line\n")
    assert told["agent_log"].endswith("\nthe last\n")


def test_help(shell: Any, checks: Checks) -> None:
    assert "--agent-log" in run(shell, "%ecs_check --help")[1]
    assert checks.asked == []


# -- putting things right ------------------------------------------------------------------------


def test_a_fix_is_shown_and_asked_for(shell: Any, checks: Checks, answers: list[str]) -> None:
    answers[:] = ["y"]
    found, shown = run(shell, "%ecs_check prod/web --fix")
    assert checks.applied == ["prod/web"]
    assert "exec for prod/web" in shown
    assert found.ok
    assert len(checks.asked) == 2


def test_a_fix_that_is_not_wanted(
    shell: Any, checks: Checks, answers: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was found is not lost: it stands above the question, and is the value."""
    seen: list[str] = []
    ask = builtins.input

    def look(question: str = "") -> str:
        assert isinstance(sys.stdout, io.StringIO)
        seen.append(sys.stdout.getvalue())
        return ask(question)

    monkeypatch.setattr(builtins, "input", look)
    answers[:] = ["n"]
    found, _ = run(shell, "%ecs_check prod/web --fix")
    assert OFF.title in seen[0]
    assert seen[0].index(OFF.title) < seen[0].index("exec for prod/web")
    assert list(found) == [OFF, OK]
    assert checks.applied == []
    assert len(checks.asked) == 1


def test_a_fix_that_is_wanted_for_one_service_only(
    shell: Any, checks: Checks, answers: list[str]
) -> None:
    checks.services = ["prod/web", "prod/api"]
    answers[:] = ["y", "n"]
    found, shown = run(shell, "%ecs_check prod --fix")
    assert checks.applied == ["prod/web"]
    assert shown.count(OFF.title) == 1
    assert found.ok  # as it is now, not as it was
    assert len(checks.asked) == 2


def test_a_fix_that_nobody_can_confirm(shell: Any, checks: Checks) -> None:
    with pytest.raises(errors.InvalidRequest, match="nobody is there"):
        run(shell, "%ecs_check prod/web --fix")
    assert checks.asked == []
    run(shell, "%ecs_check prod/web --fix --yes")
    assert checks.applied == ["prod/web"]


@pytest.mark.parametrize("found", [[OK], [OK, DOWN]])
def test_nothing_that_a_fix_is_for(shell: Any, checks: Checks, found: list[Finding]) -> None:
    checks.found = found
    run(shell, "%ecs_check prod/web --fix --yes")
    assert checks.applied == []


def test_tasks_without_a_service_are_not_fixed(shell: Any, checks: Checks) -> None:
    checks.services = []
    run(shell, "%ecs_check prod/batch --fix --yes")
    assert checks.applied == []


def test_nothing_to_change(shell: Any, checks: Checks) -> None:
    checks.steps = STEPS[:1]
    run(shell, "%ecs_check prod/web --fix --yes")
    assert checks.applied == []
