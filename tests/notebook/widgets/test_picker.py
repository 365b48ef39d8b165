"""The picker without a browser: what is typed and chosen comes as a front end sends it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from IPython.core.error import UsageError
from IPython.utils.capture import capture_output

from ecs_exec_magic import errors
from ecs_exec_magic.notebook import extension
from ecs_exec_magic.notebook.magics import EcsExec
from ecs_exec_magic.notebook.widgets import enter
from ecs_exec_magic.notebook.widgets.picker import SHOWN, TaskPicker
from ecs_exec_magic.notebook.workspace import Workspace

from ..account import container, task
from ..conftest import World

NGINX = "prod/000000a10123456789abcdef01234567:nginx"
NGINX2 = "prod/000000a20123456789abcdef01234567:nginx"
SIDECAR = "prod/000000a10123456789abcdef01234567:sidecar"
BATCH = "prod/000000c10123456789abcdef01234567:app"


class Hand:
    """A picker, and the user before it.

    Attributes:
        now: what its clock says; a choice right after the list has changed is not taken.
    """

    def __init__(self, space: Workspace, **how: Any) -> None:
        self.now = 100.0
        self.picker = TaskPicker(space, clock=lambda: self.now, **how)
        assert self.picker.wait(60)
        self.now += 10

    @property
    def addresses(self) -> list[str]:
        return [address for _, address in self.picker._box.options]

    @property
    def said(self) -> str:
        return str(self.picker._status.value)

    @property
    def counted(self) -> str:
        return str(self.picker._count.value)

    def type(self, text: str) -> None:
        self.picker._filter.value = text
        self.now += 10

    def enter(self) -> None:
        # The very message that the front end sends for the Enter key.
        before = threading.enumerate()
        self.picker._filter._handle_custom_msg({"event": "submit"}, [])
        # No text comes behind it.
        for thread in threading.enumerate():
            if isinstance(thread, threading.Timer) and thread not in before:
                thread.join(60)

    def choose(self, *addresses: str) -> None:
        self.picker._box.index = [self.addresses.index(each) for each in addresses]

    def refresh(self) -> None:
        self.picker._again.click()
        assert self.picker.wait(60)

    def beat(self) -> None:
        """What happens every few seconds."""
        self.picker._worker.ask(self.picker._list_again)
        assert self.picker.wait(60)


@pytest.fixture
def space(magics: EcsExec) -> Workspace:
    return magics.workspace


@pytest.fixture
def hand(space: Workspace, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Hand]]:
    monkeypatch.setattr(enter, "WAIT", 0.05)
    hands: list[Hand] = []

    def made(**how: Any) -> Hand:
        hands.append(Hand(space, run=False, **{"cluster": "prod", **how}))
        return hands[-1]

    yield made
    for each in hands:
        each.picker.close()


Made = Callable[..., Hand]


def test_it_shows_what_runs_and_a_choice_is_the_target(hand: Made, space: Workspace) -> None:
    user = hand()
    assert user.addresses[0] == NGINX and user.addresses[-1] == BATCH
    assert "no target yet" in user.said
    assert "6 containers" in user.counted and "1 not ready" in user.counted
    user.choose(NGINX)
    assert space.settings.target == NGINX
    assert user.picker.value == (NGINX,)
    assert "prod/000000a1…:nginx is this notebook" in user.said
    assert space.resolve({}).container == "nginx"


def test_the_clusters_are_listed_and_the_notebooks_own_comes_first(
    world: World, space: Workspace
) -> None:
    space.settings.target = "prod/web:nginx"
    user = Hand(space, run=False)
    assert tuple(user.picker._cluster_menu.options) == ("demo", "prod")
    assert user.picker._cluster_menu.value == "prod"
    assert "prod/web:nginx is this" in user.said
    user.picker._cluster_menu.value = "demo"
    assert user.picker.wait(60)
    assert [a[:5] for a in user.addresses] == ["demo/"]
    assert space.settings.target == "prod/web:nginx"  # looking around chooses nothing
    user.picker.close()


def test_typing_narrows_and_enter_takes_the_first(hand: Made, space: Workspace) -> None:
    user = hand()
    user.type("web side")
    assert user.addresses == [SIDECAR, SIDECAR.replace("a1", "a2", 1)]
    assert "2 of 6" in user.counted
    assert not space.choice  # a list that changes chooses nothing by itself
    user.enter()
    assert space.settings.target == SIDECAR
    assert user.picker._box.value == (SIDECAR,)
    user.type("")
    assert user.picker._box.value == (SIDECAR,)
    assert space.settings.target == SIDECAR


def test_enter_takes_what_was_typed_even_if_its_end_comes_later(
    hand: Made, space: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(enter, "WAIT", 60)
    user = hand()
    user.type("web n")
    user.picker._filter._handle_custom_msg({"event": "submit"}, [])
    assert not space.choice
    user.type("worker")
    assert space.settings.target.endswith(":main")


def test_enter_takes_nothing_that_is_not_ready(hand: Made, space: Workspace) -> None:
    user = hand()
    user.type("batch")
    user.enter()
    assert not space.choice


def test_one_that_is_off_is_not_chosen_and_says_what_helps(hand: Made, space: Workspace) -> None:
    user = hand()
    user.choose(NGINX)
    user.choose(BATCH)
    assert space.settings.target == NGINX and user.picker.value == (NGINX,)
    assert "ECS Exec is not enabled" in user.said
    assert "run-task --enable-execute-command" in user.said
    user.choose(NGINX)
    assert "not enabled" not in user.said


def test_several_are_what_all_means(hand: Made, space: Workspace) -> None:
    user = hand()
    user.choose(NGINX, NGINX2, BATCH)
    assert space.picked == (NGINX, NGINX2)
    assert user.picker.value == (NGINX, NGINX2)
    assert user.picker._box.value == (NGINX, NGINX2, BATCH)
    assert "2 containers are picked" in user.said and "not enabled" in user.said
    with pytest.raises(errors.InvalidRequest, match="2 containers are picked") as caught:
        space.resolve({})
    assert "--all" in caught.value.cure
    user.choose(NGINX)
    assert space.settings.target == NGINX and not space.picked


def test_a_target_that_others_set_is_told(hand: Made, space: Workspace) -> None:
    user = hand()
    user.choose(NGINX, NGINX2)
    space.settings.target = "prod/worker"
    assert "prod/worker is this" in user.said
    assert not user.picker.value and not user.picker._box.value
    assert space.picked == ()


def test_a_service_narrows_and_can_be_given(hand: Made, world: World) -> None:
    user = hand(service="worker")
    assert user.picker._service_menu.value == "worker"
    assert len(user.addresses) == 1
    user.picker._service_menu.value = "without a service"
    assert user.addresses == [BATCH]
    user.picker._service_menu.value = "all services"
    assert len(user.addresses) == 6
    gone = hand(service="no-such")
    assert gone.picker._service_menu.value == "no-such"
    assert gone.addresses == [] and "0 of 6" in gone.counted


# -- looking again -------------------------------------------------------------------------------


def test_looking_again_keeps_the_choice_and_every_place(
    hand: Made, world: World, space: Workspace
) -> None:
    user = hand()
    user.choose(NGINX2)
    before = user.addresses
    tasks = world.account.tasks
    # One task has ended, one has lost its agent, and one is new and would stand first.
    off = replace(tasks[1], containers=(container("nginx", agent_status="STOPPED"),))
    world.account.tasks[:] = [task(0xA0, "prod", "a-new", "one"), off, *tasks[2:]]
    user.beat()
    assert user.addresses[: len(before)] == before
    assert user.addresses[len(before)].endswith(":one")
    assert user.picker._box.value == (NGINX2,) and space.settings.target == NGINX2
    user.choose(NGINX)
    assert "is gone" in user.said and space.settings.target == NGINX2
    user.choose(NGINX2)
    assert "agent" in user.said
    # Only when the user asks do rows move.
    user.refresh()
    assert user.addresses[0].endswith(":one") and NGINX not in user.addresses
    assert user.picker._box.value == (NGINX2,)


def test_a_list_that_is_the_same_is_not_sent_again(hand: Made) -> None:
    user = hand()
    sent: list[Any] = []
    user.picker._box.observe(sent.append, "_options_labels")
    user.beat()
    user.beat()
    assert sent == []


def test_a_choice_that_crosses_a_change_of_the_list_is_not_taken(
    hand: Made, space: Workspace
) -> None:
    user = hand()
    user.picker._filter.value = "sidecar"
    user.picker._box.index = [0]  # the message has been on its way since before
    assert not space.choice and user.picker._box.value == ()
    user.now += 1
    user.choose(SIDECAR)
    assert space.settings.target == SIDECAR


def test_it_looks_again_by_itself_until_it_is_closed(hand: Made, world: World) -> None:
    user = hand()
    assert user.picker._beat.beating
    user.picker.rest()
    user.type("web")  # a sign of life
    assert user.picker._beat.beating
    user.picker.close()
    assert user.picker.wait(60)
    count = world.account.count("tasks")
    user.picker._worker.ask(user.picker._list_again)
    assert world.account.count("tasks") == count


def test_unloading_the_magics_closes_it(hand: Made, shell: Any) -> None:
    user = hand()
    extension.unload(shell)
    assert user.picker._worker.stale


def test_it_waits_for_nothing(world: World, space: Workspace) -> None:
    world.account.gate = threading.Event()
    picker = TaskPicker(space, cluster="prod", run=False)
    assert "listing" in picker._count.value
    assert "are being listed" in picker.text()
    world.account.gate.set()
    assert picker.wait(60)
    assert len(picker._box.options) == 6
    picker.close()


def test_another_cluster_chosen_meanwhile_is_the_one_that_is_shown(
    world: World, space: Workspace
) -> None:
    world.account.gate = threading.Event()
    picker = TaskPicker(space, cluster="prod", run=False)
    picker._cluster_menu.options = ["demo", "prod"]
    picker._cluster_menu.value = "demo"
    world.account.gate.set()
    assert picker.wait(60)
    assert [address[:5] for _, address in picker._box.options] == ["demo/"]
    picker.close()


# -- what goes wrong -----------------------------------------------------------------------------


def test_who_may_not_list_clusters_may_know_one(world: World, hand: Made) -> None:
    world.account.denied.add("cluster_names")
    user = hand()
    assert len(user.addresses) == 6
    blind = Hand(user.picker._space, run=False)
    assert "cluster_names is not allowed" in blind.said
    assert blind.addresses == []


def test_an_error_is_shown_until_it_goes_well_again(world: World, hand: Made) -> None:
    user = hand()
    world.account.broken = errors.CredentialsError("expired", cause="12 h", cure="aws sso login")
    user.beat()
    for text in ("expired", "12 h", "→ aws sso login"):
        assert text in user.said
    assert len(user.addresses) == 6  # what was there stays
    world.account.broken = None
    user.refresh()
    assert "expired" not in user.said


def test_names_are_never_markup(world: World, hand: Made) -> None:
    world.account.broken = errors.EcsExecError("<img src=x onerror=alert(1)>")
    user = hand()
    assert "<img" not in user.said and "&lt;img" in user.said


def test_an_account_without_clusters(world: World, space: Workspace) -> None:
    world.account.clusters.clear()
    user = Hand(space, run=False)
    assert "there is no cluster" in user.counted
    user.picker.close()


# -- many, text, recent --------------------------------------------------------------------------


def test_of_thousands_some_are_shown_and_typing_finds_any(world: World, hand: Made) -> None:
    world.account.tasks[:] = [
        task(number, "prod", f"service{number % 40}", "app") for number in range(1, 5001)
    ]
    user = hand()
    assert len(user.addresses) == SHOWN
    assert "5,000 containers" in user.counted and "type to narrow" in user.counted
    user.type(f"{4321:08x}")
    assert [address[5:13] for address in user.addresses] == [f"{4321:08x}"]


def test_without_widgets_it_is_a_table_and_the_target(hand: Made) -> None:
    user = hand()
    user.choose(NGINX)
    text = user.picker.text()
    for word in ("worker", "000000b1", "nginx, sidecar", "not enabled", f"{NGINX} is this"):
        assert word in text


def test_what_was_used_before_can_be_taken_again(
    hand: Made, space: Workspace, world: World
) -> None:
    journal = space.journal()
    assert journal is not None
    for address in ("prod/web:nginx", "prod/nowhere", "prod/web:nginx"):
        journal.begin("exec", "true", address=address).finish(None, errors.EcsExecError("x"))
    user = hand()
    recent = user.picker._recent
    assert [value for _, value in recent.options] == ["", "prod/web:nginx", "prod/nowhere"]
    recent.value = "prod/web:nginx"
    assert user.picker.wait(60)
    assert space.settings.target == "prod/web:nginx"
    assert recent.value == ""
    recent.value = "prod/nowhere"
    assert user.picker.wait(60)
    assert "there is no prod/nowhere" in user.said
    assert space.settings.target == "prod/web:nginx"


# -- the magic -----------------------------------------------------------------------------------


def run(shell: Any, cell: str) -> tuple[Any, str]:
    with capture_output() as captured:
        outcome = shell.run_cell(cell)
    if outcome.error_in_exec:
        raise outcome.error_in_exec
    return outcome.result, captured.stdout


def test_where_nobody_can_click_it_is_text_and_wants_a_target(shell: Any, magics: EcsExec) -> None:
    with pytest.raises(errors.InvalidRequest, match="nobody can choose") as caught:
        run(shell, "%ecs_pick prod")
    assert "--default" in caught.value.cure and "\n" not in str(caught.value)
    _, out = run(shell, "%ecs_pick prod/web --default prod/web:nginx")
    assert "000000a1" in out and "000000b1" not in out
    assert "target: prod/web:nginx" in out
    assert magics.target == "prod/web:nginx"
    run(shell, "%ecs_pick prod --default prod/worker")
    assert magics.target == "prod/web:nginx"  # only if there is none


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("--default a/b/c/d", "--default"),
        ("prod demo", "one CLUSTER/SERVICE"),
        ("--nothing", "unknown option"),
        ("--default", "needs a value"),
    ],
)
def test_mistakes_in_the_line(shell: Any, line: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        run(shell, f"%ecs_pick {line}")


def test_a_command_without_a_target_points_here(shell: Any) -> None:
    with pytest.raises(errors.InvalidRequest, match="no target is set") as caught:
        run(shell, "%ecs_exec true")
    assert "%ecs_pick" in caught.value.cure
