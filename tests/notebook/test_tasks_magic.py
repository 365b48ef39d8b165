"""``%ecs_tasks`` and ``%ecs_target --check`` in a shell of this process."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from IPython.core.error import UsageError
from IPython.utils.capture import capture_output

from ecs_exec_magic import errors
from ecs_exec_magic.notebook.listing import Clusters, Tasks

from .account import NOW

if TYPE_CHECKING:
    from .conftest import World


def run(shell: Any, cell: str) -> Any:
    """Run a cell as a notebook does; raise what it raised."""
    with capture_output():
        outcome = shell.run_cell(cell)
    if outcome.error_in_exec or outcome.error_before_exec:
        raise outcome.error_in_exec or outcome.error_before_exec
    return outcome.result


def ids(tasks: Any) -> list[str]:
    assert isinstance(tasks, Tasks)
    return [task.task_id[6:8] for task in tasks]


# -- what is listed ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("prod", ["a1", "a2", "b1", "c1"]),
        ("demo", ["d1"]),
        ("prod/web", ["a1", "a2"]),
        ("prod/000000b1", ["b1"]),
        ("--cluster prod", ["a1", "a2", "b1", "c1"]),
        ("--cluster prod --service web", ["a1", "a2"]),
        ("prod --exec-off", ["c1"]),
        ("prod --tag environment=production", ["a1", "a2", "b1", "c1"]),
        ("prod --tag environment", ["a1", "a2", "b1", "c1"]),
        ("prod --tag environment=test", []),
        ("prod --tag environment,team", ["a1"]),
        ("prod --tag 'team=a b'", ["a1"]),
        ("prod --stopped", ["b1"]),
    ],
)
def test_lines(shell: Any, world: World, line: str, expected: list[str]) -> None:
    tasks = world.account.tasks
    tasks[0].tags["team"] = "a b"
    if "--stopped" in line:
        tasks[2] = replace(tasks[2], stopped_at=NOW - timedelta(minutes=1))
    assert ids(run(shell, f"%ecs_tasks {line}")) == expected


def test_each_is_good_for_a_target(shell: Any, world: World) -> None:
    run(shell, "tasks = %ecs_tasks prod")
    run(shell, "%ecs_exec -t {tasks[0].address}:nginx ls")
    assert world.client.asked[-1][0] == f"prod/{world.account.tasks[0].task_id}:nginx"


def test_the_table_is_shown_as_text_and_html(shell: Any) -> None:
    with capture_output() as shown:
        shell.run_cell("tasks = %ecs_tasks prod\nget_ipython().display_formatter.format(tasks)")
    assert shown.stdout.startswith("Out[") or "text/plain" in shown.stdout
    formats, _ = shell.display_formatter.format(shell.user_ns["tasks"])
    assert formats["text/plain"] == str(shell.user_ns["tasks"])
    assert "exec is off in 1" in formats["text/plain"]
    assert formats["text/html"].startswith("<div")


# -- which cluster -------------------------------------------------------------------------------


def test_without_a_cluster_the_clusters_are_listed(shell: Any, world: World) -> None:
    clusters = run(shell, "%ecs_tasks")
    assert isinstance(clusters, Clusters)
    assert [str(each) for each in clusters] == ["demo", "prod"]
    assert "prod           4" in str(clusters)
    world.account.clusters.remove("demo")
    assert ids(run(shell, "%ecs_tasks")) == ["a1", "a2", "b1", "c1"], "there is but one"
    world.account.clusters.clear()
    assert run(shell, "%ecs_tasks") == []


def test_the_cluster_of_the_target(shell: Any, world: World) -> None:
    run(shell, "%ecs_target prod/web:nginx")
    assert ids(run(shell, "%ecs_tasks")) == ["a1", "a2", "b1", "c1"]
    assert ids(run(shell, "%ecs_tasks --service worker")) == ["b1"]
    assert ids(run(shell, "%ecs_tasks demo")) == ["d1"]
    arn = "arn:aws:ecs:eu-west-1:123456789012:service/demo/shop"
    assert ids(run(shell, f"%ecs_tasks --service {arn}")) == ["d1"]
    run(shell, "%config EcsExec.target = 'web:nginx'")
    with pytest.raises(errors.TargetNotFound, match="'default'"):
        run(shell, "%ecs_tasks")


def test_the_cluster_of_the_settings(shell: Any, world: World) -> None:
    run(shell, "%config EcsExec.cluster = 'demo'")
    assert ids(run(shell, "%ecs_tasks")) == ["d1"]
    run(shell, "%ecs_target prod/web:nginx")
    assert ids(run(shell, "%ecs_tasks")) == ["a1", "a2", "b1", "c1"]


def test_account_and_region_of_the_line(shell: Any, world: World) -> None:
    run(shell, "%ecs_tasks prod")
    run(shell, "%ecs_tasks prod --region us-east-1 --profile ops")
    run(shell, "%ecs_tasks --cluster prod")
    assert [client.settings["region"] for client in world.clients] == [None, "us-east-1"]
    assert world.client.settings["profile"] == "ops"


# -- bad input -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("prod demo", "one CLUSTER/NAME is enough; there are 2"),
        ("--stopped --exec-off", "exec is off in every stopped task"),
        ("--tag =x", "is not KEY=VALUE"),
        ("--tag a,", "is not KEY=VALUE"),
        ("--tags a", "did you mean --tag?"),
    ],
)
def test_malformed_lines(shell: Any, world: World, line: str, message: str) -> None:
    with pytest.raises(UsageError, match=message.replace("?", r"\?")) as caught:
        run(shell, f"%ecs_tasks {line}")
    assert type(caught.value) is UsageError
    assert world.clients == []


def test_what_is_not_there(shell: Any) -> None:
    with pytest.raises(errors.TargetNotFound) as caught:
        run(shell, "%ecs_tasks web")
    assert caught.value.cure == "check it; a service of that name is CLUSTER/web"
    with pytest.raises(errors.TargetNotFound) as caught:
        run(shell, "%ecs_tasks wep/web")
    assert caught.value.cure == "check it"
    with pytest.raises(errors.TargetNotFound):
        run(shell, "%ecs_tasks prod/nothing")
    with pytest.raises(errors.InvalidRequest):
        run(shell, "%ecs_tasks a:b")
    with pytest.raises(errors.InvalidRequest, match="contradict"):
        run(shell, "%ecs_tasks prod/web --service api")


@pytest.mark.parametrize("line", ["--help", "-h", "?"])
def test_help(shell: Any, line: str) -> None:
    with capture_output() as shown:
        shell.run_line_magic("ecs_tasks", line)
    assert "%ecs_tasks [OPTIONS] [CLUSTER[/NAME]]" in shown.stdout


# -- %ecs_target --check -------------------------------------------------------------------------


def test_check_says_in_one_line_that_it_worked(shell: Any, world: World) -> None:
    with capture_output() as shown:
        shell.run_cell("t = %ecs_target prod/web:nginx --check")
    address = shell.user_ns["t"].address
    assert shown.stdout == f"{address} runs commands: `true` was back in 0.00 s\n"
    assert [call[:2] for call in world.client.calls] == [("run", "true")]


def test_check_says_when_nothing_proves_the_output(shell: Any, world: World) -> None:
    world.exact = False
    with capture_output() as shown:
        shell.run_cell("t = %ecs_target prod/web:nginx --check")
    assert "but nothing proves its output: no cksum" in shown.stdout
    assert shown.stdout.count("\n") == 1


def test_a_check_that_fails_changes_nothing(shell: Any, world: World) -> None:
    run(shell, "%ecs_target prod/web:nginx")

    def refuse() -> None:
        raise errors.AgentNotConnected("the agent is gone", cause="why", cure="what")

    world.client.on_run = refuse
    with capture_output() as shown:
        outcome = shell.run_cell("%ecs_target prod/worker:main --check")
    assert isinstance(outcome.error_in_exec, errors.AgentNotConnected)
    assert shown.stdout.splitlines() == [
        "AgentNotConnected: the agent is gone",
        "cause: why",
        "cure:  what",
    ]
    assert run(shell, "%ecs_target").address.endswith(":nginx")
