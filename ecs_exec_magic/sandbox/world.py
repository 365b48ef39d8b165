"""The running side of the practice cluster: the lives of tasks.

Knows how state, networks, logs and processes belong together: start, transitions, stop. Never
knows requests or frames.
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING

from . import image as images
from .api import ApiError
from .awslogs import AwsLogs, LogError, LogTarget
from .ecs.model import AwsVpc
from .ecs.roles import check_roles
from .ecs.scheduler import Scheduler
from .ecs.state import State
from .iam import seed_roles
from .pods import ContainerSpec, Pod, PodError
from .seed import connect, seed

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping
    from pathlib import Path
    from typing import Any

    from .account import Account
    from .containers import Container
    from .ecs.model import ContainerState, Task
    from .iam import Authorizer
    from .network import Network
    from .pace import Pace
    from .runtimes import Runtime

__all__ = ["AGENT_FAILED", "World"]

_LOG = logging.getLogger(__name__)
_STOP_TIMEOUT = 30.0
_FAST_GRACE = 1.0  # seconds between SIGTERM and SIGKILL where waits are left out
AGENT_FAILED = "ExecuteCommandAgent process exited with exit code: 1"


class World:
    """State and containers of the account.

    Args:
        root: a directory for the containers' file systems.
        runtime: how they are isolated.
        pace: how long transitions take.
        region: where the seed goes.
        account: the other services.
        network: gives addresses.
        authorizer: decides what roles may do.

    Attributes:
        on_stopped: called with the id of a task whose containers have stopped.
    """

    def __init__(
        self,
        root: Path,
        runtime: Runtime,
        pace: Pace,
        *,
        region: str = "us-east-1",
        account: Account,
        network: Network,
        authorizer: Authorizer,
    ) -> None:
        self.account = account
        self.network = network
        self.authorizer = authorizer
        self.region = region
        self.state = State(self.account.account_id)
        self.pace = pace
        self.on_stopped: Callable[[str], object] = lambda _task_id: None
        self.scheduler = Scheduler(self)
        self.logs = AwsLogs(self.account, self.authorizer)
        self._root = root
        self._runtime = runtime
        self._pods: dict[Task, Pod] = {}
        self._starts: dict[Task, asyncio.Task[None]] = {}
        self._lives: set[asyncio.Task[None]] = set()
        self._seeding: asyncio.Task[None] | None = None
        self._closing = False

    async def seed(self) -> None:
        """Fill the account with what it begins with; addresses and ports follow at once."""
        self._seeding = self._live(self._seed(seed(self.state.region(self.region))))

    async def _seed(self, tasks: list[Task]) -> None:
        await seed_roles(self.account, self.region)
        subnets, groups = await self.network.defaults(self.region)
        connect(tasks, AwsVpc(tuple(subnets), tuple(groups), public=True))
        for task in tasks:
            if task.desired == "RUNNING":
                await self.attach(task)
                await self._open_logs(task)
                await self._start_pod(task)

    async def settled(self) -> None:
        """Wait until what the account begins with has its addresses and ports."""
        if self._seeding is not None:
            await asyncio.gather(self._seeding, return_exceptions=True)

    def container(self, task: Task, container: ContainerState) -> Container:
        """What runs for a container of a running task.

        Raises:
            KeyError: the task has not started, or has ended.
        """
        return self._pods[task].container(container.name)

    def is_up(self, task: Task) -> bool:
        """Whether there are containers for a task."""
        return task in self._pods

    # lives of tasks

    async def attach(self, task: Task) -> None:
        """Give a task that wants one its network interface.

        Raises:
            ApiError: the subnets or groups are not there.
        """
        wanted = task.launch.network
        if wanted is not None and task.interface is None:
            task.interface = await self.network.attach(
                task.cluster.region.name, wanted.subnets, wanted.groups, wanted.public
            )

    async def abandon(self, task: Task) -> None:
        """Undo a task that was never launched."""
        task.cluster.tasks.pop(task.task_id, None)
        await self._detach(task)

    async def _detach(self, task: Task) -> None:
        if task.interface is not None:
            try:
                await self.network.detach(task.cluster.region.name, task.interface)
            except Exception as error:  # noqa: BLE001  # somebody deleted it: it is gone all the same
                _LOG.debug("an interface could not be detached: %s", error)

    def launch(self, task: Task) -> None:
        """Take a new task from PROVISIONING to RUNNING; after :meth:`stop` nothing starts."""
        if self._closing:
            return
        life = self._live(self._start(task))
        self._starts[task] = life
        life.add_done_callback(lambda _: self._starts.pop(task, None))

    def live(self, life: Coroutine[Any, Any, None]) -> None:
        """Let something go on by itself until the account ends."""
        if self._closing:
            life.close()
        else:
            self._live(life)

    def _live(self, life: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.ensure_future(self._guard(life))
        self._lives.add(task)
        task.add_done_callback(self._lives.discard)
        # Cancelled before its first step, the guard never gets to it: it would warn.
        task.add_done_callback(lambda _: life.close())
        return task

    @staticmethod
    async def _guard(life: Coroutine[Any, Any, None]) -> None:
        try:
            await life
        except Exception:  # noqa: BLE001  # one task's life must not end in silence, nor others'
            _LOG.exception("the life of a practice task went wrong")

    async def _start(self, task: Task) -> None:
        try:
            if task.deployment is not None:  # RunTask has looked already
                await check_roles(self, task.cluster.region.name, task.launch)
            await self.attach(task)
            await asyncio.sleep(self.pace.transition)
            if task.desired == "STOPPED":
                return
            task.to("PENDING")
            task.connected = task.pull_started = time.time()
            await asyncio.sleep(self.pace.transition)
            if task.desired == "STOPPED":
                return
            await self._open_logs(task)
            task.pull_stopped = time.time()
            await self._start_pod(task)
        except PodError as error:
            container = task.container(error.container)
            if container is not None:
                container.reason = str(error)
            self.stop_task(task, str(error), "TaskFailedToStart")
        except LogError as error:
            self.stop_task(task, str(error), "TaskFailedToStart")
        except ApiError as error:
            self.stop_task(task, error.message, "TaskFailedToStart")
        except Exception:  # noqa: BLE001  # a service would wait for this task for ever
            _LOG.exception("a practice task could not be started")
            self.stop_task(task, "Task failed to start", "TaskFailedToStart")
        else:
            await self._run(task)

    async def _run(self, task: Task) -> None:
        for status in ("ACTIVATING", "RUNNING"):
            if task.desired == "STOPPED":
                return
            task.to(status)
            if status == "ACTIVATING":
                await asyncio.sleep(self.pace.transition)
        task.started = time.time()
        self.scheduler.wake(task)
        await asyncio.sleep(self.pace.transition)
        if task.desired == "RUNNING":
            self._start_agents(task)

    @staticmethod
    def _start_agents(task: Task) -> None:
        """Every container's agent comes up, unless its file system is read-only."""
        task.version += 1
        alone = task.definition.document.get("pidMode") != "task"
        first = True
        for container in task.containers:
            if container.agent != "PENDING" or container.status != "RUNNING":
                continue
            if task.definition.container(container.name).get("readonlyRootFilesystem"):
                container.agent, container.agent_reason = "STOPPED", AGENT_FAILED
                container.control_channel = False
                continue
            container.agent, container.agent_started = "RUNNING", time.time()
            # One process namespace holds one working agent: the other containers' cannot connect.
            container.control_channel = alone or first
            first = False

    async def _open_logs(self, task: Task) -> None:
        region = task.cluster.region
        for definition in task.definition.containers:
            target = LogTarget.of(definition, region.name, task.task_id)
            if target is not None:
                arn = region.arn("", "").split(":")
                group_arn = f"arn:{arn[1]}:logs:{target.region}:{arn[4]}:log-group:{target.group}"
                await self.logs.open(target, task.launch.execution_role_arn, group_arn)

    # processes

    async def _start_pod(self, task: Task) -> None:
        targets = {
            definition["name"]: LogTarget.of(definition, task.cluster.region.name, task.task_id)
            for definition in task.definition.containers
        }

        def on_output(name: str, data: bytes) -> None:
            target = targets[name]
            if target is not None:
                self.logs.write(target, data)

        def on_exit(name: str, code: int) -> None:
            target = targets[name]
            if target is not None:
                self.logs.close(target)
            self._exited(task, name, code)

        pod = Pod(
            self._root / task.task_id,
            self._runtime,
            [self._spec(task, container) for container in task.containers],
            on_output=on_output,
            on_exit=on_exit,
        )
        self._pods[task] = pod
        await pod.start()
        for container in task.containers:
            if container.status == "PENDING":
                container.status = "RUNNING"
            container.bindings = tuple(
                (port, host)
                for (name, port), host in pod.host_ports.items()
                if name == container.name
            )

    def _spec(self, task: Task, container: ContainerState) -> ContainerSpec:
        definition = task.definition.container(container.name)
        override = task.launch.override_of(container.name)
        environment = {
            "AWS_EXECUTION_ENV": "AWS_ECS_FARGATE"
            if task.launch.launch_type == "FARGATE"
            else "AWS_ECS_EC2",
            "ECS_CONTAINER_METADATA_URI_V4": f"http://169.254.170.2/v4/{container.runtime_id}",
            "AWS_REGION": task.cluster.region.name,
            "AWS_DEFAULT_REGION": task.cluster.region.name,
        }
        for pair in (*definition.get("environment", ()), *override.get("environment", ())):
            environment[pair["name"]] = pair.get("value", "")
        entry = definition.get("entryPoint")
        command = override.get("command") or definition.get("command")
        memory = override.get("memory") or definition.get("memory")
        return ContainerSpec(
            container.name,
            container.image,
            task.hostname,
            task.address,
            environment,
            tuple(entry) if entry else None,
            tuple(command) if command else None,
            working_directory=definition.get("workingDirectory", ""),
            read_only=bool(definition.get("readonlyRootFilesystem")),
            init=bool(definition.get("linuxParameters", {}).get("initProcessEnabled")),
            ports=_ports(container.image, definition),
            memory=memory,
            essential=container.essential,
        )

    def _exited(self, task: Task, name: str, code: int) -> None:
        """A main process ended by itself."""
        container = task.container(name)
        if container is None or container.status == "STOPPED":
            return
        container.status, container.exit_code = "STOPPED", code
        task.version += 1
        if container.agent is not None:
            container.agent, container.control_channel = "STOPPED", False
        if container.essential:
            self.stop_task(task, "Essential container in task exited", "EssentialContainerExited")

    def stop_agent(self, task: Task, name: str, reason: str = AGENT_FAILED) -> None:
        """The exec agent of a container ends by itself, as if it had crashed."""
        container = task.container(name)
        if container is not None and container.agent is not None:
            container.agent, container.agent_reason = "STOPPED", reason
            container.control_channel = False
            task.version += 1

    # stopping

    def stop_task(self, task: Task, reason: str = "", code: str = "UserInitiated") -> None:
        """Begin to stop a task; harmless when it is stopping. A service starts another."""
        if task.desired == "STOPPED" or self._closing:
            return
        task.desired, task.stop_code = "STOPPED", code
        task.stopped_reason = reason or "Task stopped by user"
        task.stopping = time.time()
        task.to("DEACTIVATING" if task.status == "RUNNING" else "STOPPING")
        self._live(self._end(task))
        self.scheduler.wake(task)

    async def _end(self, task: Task) -> None:
        start = self._starts.get(task)
        if start is not None:
            await asyncio.wait({start})
        await asyncio.sleep(self.pace.transition)
        task.to("STOPPING")
        codes: dict[str, int] = {}
        pod = self._pods.get(task)
        if pod is not None:
            try:
                codes = await pod.stop(self._grace(task))
            except Exception:  # noqa: BLE001  # what a runtime could not remove stops no life
                _LOG.exception("something of a practice task is left")
            self._pods.pop(task)
            self.on_stopped(task.task_id)
        self._stopped(task, codes)
        task.execution_stopped = time.time()
        await asyncio.sleep(self.pace.transition)
        task.to("DEPROVISIONING")
        await self._detach(task)
        await asyncio.sleep(self.pace.transition)
        task.stopped = time.time()
        task.to("STOPPED")
        task.cluster.gone.append(task)
        task.cluster.prune()
        self.scheduler.wake(task)

    def _grace(self, task: Task) -> float:
        if not self.pace.transition:
            return _FAST_GRACE
        limits = [c.get("stopTimeout", _STOP_TIMEOUT) for c in task.definition.containers]
        return float(max(limits))

    def _stopped(self, task: Task, codes: dict[str, int]) -> None:
        for definition, container in zip(task.definition.containers, task.containers, strict=True):
            target = LogTarget.of(definition, task.cluster.region.name, task.task_id)
            if target is not None:
                self.logs.close(target)
            if container.exit_code is None and container.status == "RUNNING":
                container.exit_code = codes.get(container.name)
            container.status, container.bindings = "STOPPED", ()
            if container.agent is not None:
                container.agent, container.control_channel = "STOPPED", False

    async def stop(self) -> None:
        """End everything."""
        self._closing = True
        self.scheduler.stop()
        for life in list(self._lives):
            life.cancel()
        await asyncio.gather(*self._lives, return_exceptions=True)
        stops = [pod.stop(0.0) for pod in self._pods.values()]
        for result in await asyncio.gather(*stops, return_exceptions=True):
            if isinstance(result, Exception):
                _LOG.error("something of a practice task is left: %s", result)
        self._pods.clear()
        await self.logs.stop()


def _ports(image: str, definition: Mapping[str, Any]) -> tuple[int, ...]:
    """The ports that are mapped, and the one that the image itself listens on.

    In a task of its own address every port is open without a mapping; here one has to be told.
    """
    mapped = [
        m["containerPort"] for m in definition.get("portMappings", ()) if "containerPort" in m
    ]
    own = images.find(image).port
    return tuple(dict.fromkeys([*mapped, own] if own else mapped))
