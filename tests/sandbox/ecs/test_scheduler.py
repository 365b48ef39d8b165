"""The service scheduler alone, over every order of events."""

from __future__ import annotations

from typing import Any, cast

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from ecs_exec_magic.sandbox.ecs.deployment import Deployment, Service
from ecs_exec_magic.sandbox.ecs.model import Launch, Task
from ecs_exec_magic.sandbox.ecs.scheduler import Scheduler
from ecs_exec_magic.sandbox.ecs.state import Region


class FakeWorld:
    """Tasks do what the test says, when it says so."""

    def __init__(self) -> None:
        self.healthy = 0

    def launch(self, task: Task) -> None:
        assert task.status == "PROVISIONING"

    def stop_task(self, task: Task, reason: str, code: str) -> None:
        assert task.desired == "RUNNING" and code == "ServiceSchedulerInitiated" and reason
        task.desired, task.stop_code, task.stopping = "STOPPED", code, 1.0
        task.to("STOPPING")


class StillScheduler(Scheduler):
    """One that acts when it is told to, not by the clock."""

    def changed(self, service: Service) -> None:
        self._due.add(service)

    def _may_try(self, service: Service) -> bool:
        return True


class Machine(RuleBasedStateMachine):
    """A service of a few tasks."""

    def __init__(self) -> None:
        super().__init__()
        region = Region("us-east-1", "123456789012")
        cluster = region.add_cluster("c")
        document = {"family": "f", "containerDefinitions": []}
        self.definition = region.add_definition(document, "me", {})
        self.world = FakeWorld()
        self.scheduler = StillScheduler(cast(Any, self.world))
        self.service = Service("s", "arn", cluster, 2, "me")
        self.service.deploy(Launch(self.definition))
        cluster.services["s"] = self.service
        self.look()

    def look(self) -> None:
        """Let the scheduler act, and hold it to its bounds."""
        before, there = self.running(), self.alive()
        self.scheduler.changed(self.service)
        self.scheduler.catch_up()
        least, most = self.service.bounds()
        if self.service.status == "ACTIVE":
            assert self.alive() <= max(most, there), "it started too many"
            assert self.running() >= min(before, least), "it stopped what had to stay healthy"

    def alive(self) -> int:
        return sum(len(d.alive()) for d in self.service.deployments)

    def running(self) -> int:
        return sum(d.running() for d in self.service.deployments)

    def tasks(self, *statuses: str) -> list[Task]:
        every = [t for d in self.service.deployments for t in d.tasks.values()]
        return [t for t in every if t.status in statuses]

    @precondition(lambda self: self.tasks("PROVISIONING"))
    @rule(index=st.integers(0, 50))
    def comes_up(self, index: int) -> None:
        tasks = self.tasks("PROVISIONING")
        task = tasks[index % len(tasks)]
        task.started = 1.0
        task.to("RUNNING")
        self.scheduler.wake(task)
        self.look()

    @precondition(lambda self: self.tasks("PROVISIONING", "RUNNING"))
    @rule(index=st.integers(0, 50))
    def dies(self, index: int) -> None:
        tasks = self.tasks("PROVISIONING", "RUNNING")
        task = tasks[index % len(tasks)]
        task.desired, task.stop_code, task.stopping = "STOPPED", "EssentialContainerExited", 2.0
        task.to("STOPPING")
        self.scheduler.wake(task)
        self.look()

    @precondition(lambda self: self.tasks("STOPPING"))
    @rule(index=st.integers(0, 50))
    def is_gone(self, index: int) -> None:
        tasks = self.tasks("STOPPING")
        task = tasks[index % len(tasks)]
        task.stopped = 3.0
        task.to("STOPPED")
        self.scheduler.wake(task)
        self.look()

    @precondition(lambda self: self.service.status == "ACTIVE")
    @rule(count=st.integers(0, 5))
    def scales(self, count: int) -> None:
        self.service.desired = count
        self.look()

    @precondition(lambda self: self.service.status == "ACTIVE")
    @rule(percent=st.sampled_from([(0, 100), (0, 200), (50, 100), (100, 300)]))
    def has_other_bounds(self, percent: tuple[int, int]) -> None:
        names = ("minimumHealthyPercent", "maximumPercent")
        self.service.options["deploymentConfiguration"] = dict(zip(names, percent, strict=True))
        self.look()

    @precondition(lambda self: self.service.status == "ACTIVE")
    @rule()
    def deploys(self) -> None:
        self.service.deploy(Launch(self.definition, exec_enabled=True))
        self.look()

    @rule()
    def everything_settles(self) -> None:
        """Whatever happened, with no more trouble it comes to rest as wanted."""
        for _ in range(200):
            if tasks := self.tasks("PROVISIONING"):
                tasks[0].to("RUNNING")
            elif tasks := self.tasks("STOPPING"):
                tasks[0].stopped = 3.0
                tasks[0].to("STOPPED")
            else:
                break
            self.scheduler.wake(tasks[0])
            self.look()
        self.look()
        least, most = self.service.bounds()
        if self.service.status == "ACTIVE" and least == most and self.service.desired:
            return  # no room to replace anything: so it stays, on AWS too
        if self.service.status == "ACTIVE":
            assert self.running() == self.service.desired
            assert len(self.service.deployments) == 1
            assert self.service.primary.state == "COMPLETED" and self.service.steady
            assert "steady state" in self.service.events[0]["message"]
        else:
            assert self.service.status == "INACTIVE" and self.running() == 0

    @precondition(lambda self: self.service.status == "ACTIVE")
    @rule(sure=st.integers(0, 5))
    def is_deleted(self, sure: int) -> None:
        if sure == 0:
            self.service.status, self.service.desired = "DRAINING", 0
            self.look()
            assert not [d for d in self.service.deployments if d.alive()]

    @invariant()
    def one_is_wanted(self) -> None:
        statuses = [d.status for d in self.service.deployments]
        assert statuses[:1] == ["PRIMARY"] and set(statuses[1:]) <= {"ACTIVE"}
        primary: Deployment = self.service.primary
        assert primary.launch.definition is self.definition


TestScheduler = Machine.TestCase
TestScheduler.settings = settings(max_examples=150, stateful_step_count=30, deadline=None)
