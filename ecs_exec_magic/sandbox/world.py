"""The running side of the practice cluster: which task has which containers, and their life.

Knows how state and processes belong together: start, transitions, stop. Never knows requests or
frames.
"""

from __future__ import annotations

import asyncio
import socket
import time
from typing import TYPE_CHECKING

from . import image as images
from . import pages
from .local import LocalContainer
from .model import ContainerState, State, Task
from .seed import seed

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from pathlib import Path

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
        self._containers: dict[str, LocalContainer] = {}
        self._servers: dict[str, pages.PageServer] = {}
        self._lives: set[asyncio.Task[None]] = set()

    async def seed(self) -> None:
        """Fill the account with what it begins with."""
        for task in seed(self.state, self.image_names):
            await self._publish(task)

    def container(self, task: Task, container: ContainerState) -> LocalContainer:
        """What runs for a container of a task; nothing is started yet."""
        known = self._containers.get(container.runtime_id)
        if known is None:
            known = LocalContainer(
                self._root / container.runtime_id,
                images.IMAGES[container.image],
                self._runtime,
                hostname=task.hostname,
                address=task.address,
                environment={
                    "AWS_EXECUTION_ENV": "AWS_ECS_FARGATE",
                    "ECS_CONTAINER_METADATA_URI_V4": "http://169.254.170.2/v4/"
                    + container.runtime_id,
                },
            )
            self._containers[container.runtime_id] = known
        return known

    async def _publish(self, task: Task) -> None:
        """Serve the web roots of a task on ports of this host."""
        for container in task.containers:
            kind = images.IMAGES[container.image]
            if kind.is_web_server and container.runtime_id not in self._servers:
                root = self._root / container.runtime_id / images.WEB_ROOT
                root.mkdir(parents=True, exist_ok=True)
                for path, text in kind.files.items():
                    if path.startswith(images.WEB_ROOT):
                        (self._root / container.runtime_id / path).write_text(text)
                server = pages.PageServer(root)
                listener = socket.create_server(("127.0.0.1", 0))
                container.host_port = listener.getsockname()[1]
                await server.start(listener)
                self._servers[container.runtime_id] = server

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
        server = self._servers.pop(container.runtime_id, None)
        if server is not None:
            await server.stop()
            container.host_port = 0
        running = self._containers.pop(container.runtime_id, None)
        if running is not None:
            await running.stop()

    async def stop(self) -> None:
        """End everything."""
        for life in list(self._lives):
            life.cancel()
        await asyncio.gather(*self._lives, return_exceptions=True)
        await asyncio.gather(*(c.stop() for c in self._containers.values()))
        for server in self._servers.values():
            await server.stop()
