"""``%ecs_policy`` in a shell of this process."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from IPython.core.error import UsageError
from IPython.utils.capture import capture_output

from ecs_exec_magic.client import POLICY_KINDS, PolicyDocument, Simulation
from ecs_exec_magic.notebook.plan_lines import _OF_ENABLING, PROVISION_LINE
from ecs_exec_magic.notebook.policies import _KINDS, POLICY_LINE

from .conftest import FakeClient

if TYPE_CHECKING:
    from .conftest import World

PAGE = (Path(__file__).parents[2] / "docs" / "policies.md").read_text("utf-8")


@pytest.fixture
def asked(world: World, monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """What the client is asked for; it writes real documents for an imaginary cluster."""
    from ecs_exec_magic.aws.exec_settings import ExecSettings
    from ecs_exec_magic.aws.plan.names import Names
    from ecs_exec_magic.aws.policies import Subject, draft

    arn = "arn:aws:ecs:eu-west-1:123456789012:cluster/prod"
    names = Names("prod", "aws", "eu-west-1", "123456789012")
    subject = Subject(ExecSettings("prod", arn), names)
    calls: list[tuple[Any, ...]] = []

    def policy(self: FakeClient, kind: Any, target: str, **limits: Any) -> PolicyDocument:
        calls.append((kind, target, limits))
        return PolicyDocument(draft(kind, subject), target)

    def simulate(self: FakeClient, principal: str, target: str, **more: Any) -> Simulation:
        calls.append((principal, target, more))
        return Simulation((), f"arn:aws:iam::1:user/{principal}", target, more["kind"])

    monkeypatch.setattr(FakeClient, "policy", policy, raising=False)
    monkeypatch.setattr(FakeClient, "simulate", simulate, raising=False)
    return calls


def run(shell: Any, line: str) -> tuple[str, Any]:
    with capture_output() as captured:
        outcome = shell.run_cell(line)
    if outcome.error_in_exec or outcome.error_before_exec:
        raise outcome.error_in_exec or outcome.error_before_exec
    return captured.stdout, outcome.result


def test_a_policy_is_shown_and_returned(shell: Any, asked: list[Any]) -> None:
    said, policy = run(shell, "%ecs_policy operator prod/web --tag a=b,c=d --container app")
    assert asked == [("operator", "prod/web", {"tags": {"a": "b", "c": "d"}, "container": "app"})]
    assert policy["Version"] == "2012-10-17"
    assert '"Sid": "RunCommands"' in said and "RunCommands: ECS looks" in said
    run(shell, "%ecs_policy deny-start-session prod")
    assert asked[-1] == ("deny-start-session", "prod", {"tags": None, "container": None})


def test_the_notebooks_target_is_meant(shell: Any, asked: list[Any]) -> None:
    with pytest.raises(UsageError, match="no target is set"):
        run(shell, "%ecs_policy operator")
    run(shell, "%config EcsExec.target = 'prod/web:nginx'")
    run(shell, "%ecs_policy task-role")
    assert asked[-1][:2] == ("task-role", "prod/web")


def test_somebody_is_simulated(shell: Any, asked: list[Any]) -> None:
    said, found = run(shell, "%ecs_policy operator prod/web --simulate me --container app")
    assert asked == [("me", "prod/web", {"kind": "operator", "container": "app"})]
    assert isinstance(found, Simulation) and "user/me at prod/web: all allowed" in said


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("", "which policy"),
        ("admin prod", "operator, task-role, deny-start-session"),
        ("operator a b", "one CLUSTER/SERVICE is enough"),
        ("operator prod --tag a", "is not KEY=VALUE"),
        ("operator prod --simulate me --tag a=b", "leave out --tag"),
    ],
)
def test_lines_that_say_too_little_or_too_much(
    shell: Any, asked: list[Any], line: str, words: str
) -> None:
    with pytest.raises(UsageError, match=words):
        run(shell, f"%ecs_policy {line}")
    assert asked == []


def test_help_and_kinds(shell: Any) -> None:
    assert _KINDS == POLICY_KINDS
    said, _ = run(shell, "%ecs_policy --help")
    assert "--simulate" in said


def test_the_page_explains_every_option() -> None:
    for option in POLICY_LINE.options:
        if option.dest in ("tag", "container", "simulate"):
            assert f"`{option.flags[0]} " in PAGE
    for kind in POLICY_KINDS:
        assert f"`{kind}`" in PAGE
    provisioning = (Path(__file__).parents[2] / "docs" / "provisioning.md").read_text("utf-8")
    there = provisioning.partition("## A service that is there")[2]
    for name in _OF_ENABLING:
        assert f"`--{name.replace('_', '-')}" in there
        assert any(option.dest == name for option in PROVISION_LINE.options)
