"""The lives of tasks, over every order of what can happen to them."""

from __future__ import annotations

import asyncio
import itertools
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ecs_exec_magic.sandbox import world as module
from ecs_exec_magic.sandbox.api import ApiError
from ecs_exec_magic.sandbox.ecs.definition_rules import normalise
from ecs_exec_magic.sandbox.ecs.model import AwsVpc, Launch, Task
from ecs_exec_magic.sandbox.pace import FAST
from ecs_exec_magic.sandbox.world import World


def pod_error() -> Any:
    """The error that the world listens for."""
    return vars(module)["PodError"]


ORDER = (
    "PROVISIONING PENDING ACTIVATING RUNNING DEACTIVATING STOPPING DEPROVISIONING STOPPED".split()
)


class Network:
    """Counts interfaces."""

    def __init__(self, works: bool) -> None:
        self.held = 0
        self.works = works

    async def attach(self, region: str, subnets: Any, groups: Any, public: bool) -> Any:
        for _ in range(Pod.steps):
            await asyncio.sleep(0)
        if not self.works:
            raise ApiError("InvalidParameterException", "The subnet is gone.")
        self.held += 1
        return type("Interface", (), {"private_name": "ip", "private_address": "10.0.0.1"})()

    async def detach(self, region: str, interface: Any) -> None:
        self.held -= 1


class Pod:
    """Starts in so many steps, or fails; its containers end when the test says so."""

    living: int = 0
    steps = 0
    fails = False
    made: list[Pod]

    def __init__(
        self, root: Any, runtime: Any, specs: Any, *, on_output: Any, on_exit: Any
    ) -> None:
        self.host_ports: dict[tuple[str, int], int] = {}
        self.on_exit = on_exit
        self.names = [spec.name for spec in specs]
        self.stops = 0
        Pod.living += 1
        Pod.made.append(self)

    async def start(self) -> None:
        for _ in range(Pod.steps):
            await asyncio.sleep(0)
        if Pod.fails:
            raise pod_error()(self.names[0], "CannotStartContainerError: no")

    async def stop(self, grace: float = 30.0) -> dict[str, int]:
        await asyncio.sleep(0)
        self.stops += 1
        Pod.living -= 1
        return dict.fromkeys(self.names, 143)


def make(tmp_path: Path, network: Network) -> tuple[World, Task]:
    """A world with one task that was not launched yet."""
    account = type("Account", (), {"account_id": "123456789012"})()
    world = World(
        tmp_path,
        cast(Any, None),
        FAST,
        account=account,
        network=cast(Any, network),
        authorizer=cast(Any, object()),
    )
    region = world.state.region("us-east-1")
    containers = [{"name": "app", "image": "i"}, {"name": "side", "image": "i", "essential": False}]
    document = normalise(
        {
            "family": "f",
            "networkMode": "awsvpc",
            "cpu": "256",
            "memory": "512",
            "containerDefinitions": containers,
        },
        "",
    )
    launch = Launch(
        region.add_definition(document, "me", {}), network=AwsVpc(("s",)), exec_enabled=True
    )
    return world, region.add_task(region.add_cluster("c"), launch)


async def live(
    tmp_path: Path, events: list[tuple[int, str]], fails: bool, steps: int, network_works: bool
) -> None:
    Pod.living, Pod.steps, Pod.fails, Pod.made = 0, steps, fails, []
    network = Network(network_works)
    world, task = make(tmp_path, network)
    seen = [task.status]
    kept, original = task.version, Task.to

    def to(self: Task, status: str) -> None:
        original(self, status)
        seen.append(status)

    Task.to = to  # type: ignore[method-assign]  # a spy, for this test only
    try:
        world.launch(task)
        due = sorted(events)
        for tick in itertools.count():
            while due and due[0][0] <= tick:
                happen(world, task, due.pop(0)[1])
            await asyncio.sleep(0)
            if not due and not world._lives:
                break
        await world.stop()
    finally:
        Task.to = original  # type: ignore[method-assign]  # the spy goes
    ranks = [ORDER.index(status) for status in seen]
    assert ranks == sorted(ranks), f"it went backwards: {seen}"
    assert task.version > kept
    assert Pod.living == 0 and all(pod.stops == 1 for pod in Pod.made)
    check_end(task, network, events, broken=fails or not network_works)


def happen(world: World, task: Task, event: str) -> None:
    if event == "stop":
        world.stop_task(task, "enough")
    elif Pod.made:
        container = task.container(event)
        assert container is not None
        ended, code = container.status == "STOPPED", container.exit_code
        Pod.made[0].on_exit(event, 3)
        assert container.exit_code == (code if ended else 3), "an end is not rewritten"


def check_end(task: Task, network: Network, events: list[Any], *, broken: bool) -> None:
    if broken or any(event == "stop" for _, event in events):
        assert task.status == "STOPPED"
    if task.status == "STOPPED":
        assert network.held == 0 and task.stopped is not None
        assert task.stop_code in ("UserInitiated", "TaskFailedToStart", "EssentialContainerExited")
        assert {c.status for c in task.containers} == {"STOPPED"}
        assert not any(c.control_channel for c in task.containers)
        if not Pod.made:
            assert all(c.exit_code is None for c in task.containers)
    else:
        assert (task.status, network.held) == ("RUNNING", 1)
        assert task.started is not None and task.containers[0].agent == "RUNNING"


@settings(max_examples=300, deadline=None)
@given(
    events=st.lists(
        st.tuples(st.integers(0, 25), st.sampled_from(["stop", "app", "side"])), max_size=4
    ),
    fails=st.booleans(),
    steps=st.integers(0, 5),
    network_works=st.sampled_from([True, True, True, False]),
)
def test_every_order(
    tmp_path_factory: pytest.TempPathFactory,
    events: list[tuple[int, str]],
    fails: bool,
    steps: int,
    network_works: bool,
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "Pod", Pod)
        root = tmp_path_factory.getbasetemp()
        asyncio.run(live(root, events, fails, steps, network_works))


async def test_nothing_starts_after_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "Pod", Pod)
    Pod.living, Pod.steps, Pod.fails, Pod.made = 0, 0, False, []
    world, task = make(tmp_path, Network(works=True))
    await world.stop()
    world.launch(task)  # a request that was on its way
    assert not world._lives and not Pod.made


@pytest.mark.parametrize("method", ["start", "stop"])
async def test_a_failure_of_ours_stops_a_task_too(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    method: str,
) -> None:
    async def fail(self: Pod, *_given: float) -> None:
        raise RuntimeError("the disk is full")

    monkeypatch.setattr(module, "Pod", Pod)
    monkeypatch.setattr(Pod, method, fail)
    Pod.living, Pod.steps, Pod.fails, Pod.made = 0, 0, False, []
    network = Network(works=True)
    world, task = make(tmp_path, network)
    world.launch(task)
    await asyncio.gather(*world._lives)
    if method == "stop":
        world.stop_task(task)
    await asyncio.gather(*world._lives)
    assert task.status == "STOPPED" and network.held == 0
    assert "the disk is full" in caplog.text
    await world.stop()
