"""The running side of the practice cluster: which task has which containers, and their life.

Knows how state and processes belong together: start, transitions, stop. Never knows requests or
frames.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from . import image as images
from .model import ContainerState, State, Task
from .pods import ContainerSpec, Pod
from .seed import seed

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from pathlib import Path

    from .containers import Container
    from .pace import Pace
    from .runtimes import Runtime

__all__ = ["World"]


class World:
    """State and containers of the account.

    Args:
        root: a directory for the containers' file systems.
        runtime: how they are isolated.
        pace: how long transitions take.
    """

    def __init__(self, root: Path, runtime: Runtime, pace: Pace) -> None:
        self.state = State()
        self.image_names = {kind: image.name for kind, image in images.IMAGES.items()}
        self._root = root
        self._runtime = runtime
        self._pace = pace
        self._pods: dict[str, Pod] = {}
        self._lives: set[asyncio.Task[None]] = set()

    async def seed(self) -> None:
        """Fill the account with what it begins with."""
        for task in seed(self.state, self.image_names):
            await self._publish(task)

    def _pod(self, task: Task, container: ContainerState) -> Pod:
        known = self._pods.get(container.runtime_id)
        if known is None:
            image = images.IMAGES[container.image]
            known = Pod(
                self._root / container.runtime_id,
                self._runtime,
                [
                    ContainerSpec(
                        "it",
                        image.name,
                        task.hostname,
                        task.address,
                        {
                            "AWS_EXECUTION_ENV": "AWS_ECS_FARGATE",
                            "ECS_CONTAINER_METADATA_URI_V4": "http://169.254.170.2/v4/"
                            + container.runtime_id,
                        },
                        ports=(image.port,) if image.port else (),
                    )
                ],
            )
            self._pods[container.runtime_id] = known
        return known

    def container(self, task: Task, container: ContainerState) -> Container:
        """What runs for a container of a task; nothing is started yet."""
        return self._pod(task, container).container("it")

    async def _publish(self, task: Task) -> None:
        """Open the ports of a task on this host."""
        for container in task.containers:
            port = images.IMAGES[container.image].port
            if port and container.runtime_id not in self._pods:
                pod = self._pod(task, container)
                await pod.start()
                container.host_port = pod.host_ports["it", port]

    # lives of tasks

    def launch(self, task: Task) -> None:
        """Take a new task from PROVISIONING to RUNNING."""
        self._live(self._start(task))

    def _live(self, life: Coroutine[None, None, None]) -> None:
        task = asyncio.ensure_future(life)
        self._lives.add(task)
        task.add_done_callback(self._lives.discard)

    async def _start(self, task: Task) -> None:
        for status in ("PENDING", "ACTIVATING"):
            await asyncio.sleep(self._pace.transition)
            task.status = status
        await asyncio.sleep(self._pace.transition)
        if task.desired != "RUNNING":
            return
        await self._publish(task)
        task.status, task.started = "RUNNING", time.time()
        for container in task.containers:
            container.status = "RUNNING"
        await asyncio.sleep(self._pace.transition)
        for container in task.containers:
            if container.agent == "PENDING":
                container.agent = "RUNNING"

    def stop_task(self, task: Task, reason: str) -> None:
        """Begin to stop a task; a service then starts another in its place."""
        if task.desired == "STOPPED":
            return
        task.desired, task.stop_code = "STOPPED", "UserInitiated"
        task.stopped_reason = reason or "Task stopped by user"
        task.stopping = time.time()
        task.status = "DEACTIVATING"
        self._live(self._end(task))
        cluster = self.state.clusters[task.cluster]
        service = cluster.services.get(task.service)
        if service is not None:
            another = self.state.new_task(
                cluster,
                service.definition,
                self.image_names,
                created=time.time(),
                exec_enabled=service.exec_enabled,
                service=service.name,
                group=task.group,
                started_by=task.started_by,
                tags=dict(task.tags),
            )
            self.launch(another)

    async def _end(self, task: Task) -> None:
        for status in ("STOPPING", "DEPROVISIONING"):
            await asyncio.sleep(self._pace.transition)
            task.status = status
        for container in task.containers:
            await self._remove(container)
            container.status, container.exit_code = "STOPPED", 137
            if container.agent is not None:
                container.agent = "STOPPED"
        await asyncio.sleep(self._pace.transition)
        task.status, task.stopped = "STOPPED", time.time()

    async def _remove(self, container: ContainerState) -> None:
        container.host_port = 0
        running = self._pods.pop(container.runtime_id, None)
        if running is not None:
            await running.stop(0)

    async def stop(self) -> None:
        """End everything."""
        for life in list(self._lives):
            life.cancel()
        await asyncio.gather(*self._lives, return_exceptions=True)
        await asyncio.gather(*(pod.stop(0) for pod in self._pods.values()))
