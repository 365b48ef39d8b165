"""ExecuteCommand.

Knows the order of its checks, their words, and where a session's transcript goes. Never knows
frames or processes.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any

from ..agent import SessionPlan
from ..api import ApiError, operation
from ..awslogs import LogTarget
from ..transcripts import LoggingPlan
from .requests import find_cluster, find_task, invalid
from .task_view import container_arn

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..api import Caller
    from ..sessions import Gateway
    from ..world import World
    from .model import Cluster, ContainerState, Task

__all__ = ["ExecuteOperations", "logging_plan"]

_NOT_ENABLED = (
    "The execute command failed because execute command was not enabled when the task was run or "
    "the execute command agent isn’t running. Wait and try again or run a new task with "
    "execute command enabled and try again."
)
_NOT_CONNECTED = "The execute command failed due to an internal error. Try again later."
_CHANNELS = ("CreateControlChannel", "CreateDataChannel", "OpenControlChannel", "OpenDataChannel")


def logging_plan(cluster: Cluster, task: Task, container: ContainerState) -> LoggingPlan | None:
    """Where the transcript of a session goes; None for nowhere."""
    execution = cluster.configuration.get("executeCommandConfiguration", {})
    logging = execution.get("logging", "DEFAULT")
    if logging == "NONE":
        return None
    if logging == "DEFAULT":
        definition = task.definition.container(container.name)
        target = LogTarget.of(definition, cluster.region.name, task.task_id)
        return LoggingPlan(target.group, False, None, "", False) if target else None
    log = execution.get("logConfiguration", {})
    return LoggingPlan(
        log.get("cloudWatchLogGroupName"),
        bool(log.get("cloudWatchEncryptionEnabled")),
        log.get("s3BucketName"),
        log.get("s3KeyPrefix", ""),
        bool(log.get("s3EncryptionEnabled")),
    )


class ExecuteOperations:
    """Opens sessions.

    Args:
        world: what there is.
        gateway: opens sessions.
        stream_url: makes the stream URL of a session id.
    """

    service = "ecs"

    def __init__(self, world: World, gateway: Gateway, stream_url: Callable[[str], str]) -> None:
        self._world = world
        self._gateway = gateway
        self._stream_url = stream_url

    @operation("ExecuteCommand")
    async def op_execute_command(self, given: dict[str, Any], caller: Caller) -> dict[str, Any]:
        """Open a session with a terminal."""
        await self._world.settled()
        cluster = find_cluster(self._world.state.region(caller.region), given.get("cluster"))
        task = find_task(cluster, given["task"], "task")
        await self._authorize(caller, cluster, task, given)
        if not given["interactive"]:
            raise invalid("Interactive is the only mode supported currently.")
        if task is None:
            raise invalid("The referenced task was not found.")
        container = self._container(task, given.get("container"))
        if task.status != "RUNNING" or not task.launch.exec_enabled or container.agent != "RUNNING":
            raise invalid(_NOT_ENABLED)
        connected = container.control_channel and await self._connects(task)
        if not (connected and self._world.is_up(task)):
            raise ApiError("TargetNotConnectedException", _NOT_CONNECTED)
        session_id = f"ecs-execute-command-{secrets.token_hex(9)[:17]}"
        plan = SessionPlan(
            session_id,
            "InteractiveCommands",
            given["command"],
            f"ecs:{cluster.name}_{task.task_id}_{container.runtime_id}",
            cluster.key_id,
            region=cluster.region.name,
            role_arn=task.launch.role_arn,
            logging=logging_plan(cluster, task, container),
        )
        session = self._gateway.open(
            plan,
            self._world.container(task, container),
            container.runtime_id,
            document="",
            owner=caller.arn,
        )
        return {
            "clusterArn": cluster.arn,
            "containerArn": container_arn(task, container),
            "containerName": container.name,
            "interactive": True,
            "session": {
                "sessionId": session_id,
                "streamUrl": self._stream_url(session_id),
                "tokenValue": session.token,
            },
            "taskArn": task.arn,
        }

    async def _authorize(
        self, caller: Caller, cluster: Cluster, task: Task | None, given: dict[str, Any]
    ) -> None:
        """Ask whether the caller may; the tags of the cluster and of the task both count."""
        tags = {**cluster.tags, **(task.tags if task else {})}
        context: dict[str, list[str]] = {"ecs:cluster": [cluster.arn]}
        if task is not None:
            context["ecs:task"] = [task.arn]
        name = given.get("container")
        if name is None and task is not None and len(task.containers) == 1:
            name = task.containers[0].name
        if name is not None:
            context["ecs:container-name"] = [name]
        for key, value in tags.items():
            context[f"aws:ResourceTag/{key}"] = context[f"ecs:ResourceTag/{key}"] = [value]
        resource = task.arn if task is not None else cluster.arn
        await self._world.authorizer.check(caller, "ecs:ExecuteCommand", resource, context)

    async def _connects(self, task: Task) -> bool:
        """Whether the task role lets the agent hold its channels.

        Without one the role of the container instance counts, which may.
        """
        if task.launch.role_arn is None and task.instance is not None:
            return True
        for name in _CHANNELS:
            action = f"ssmmessages:{name}"
            if not await self._world.authorizer.role_allows(task.launch.role_arn, action):
                return False
        return True

    @staticmethod
    def _container(task: Task, name: str | None) -> ContainerState:
        if name is None:
            if len(task.containers) > 1:
                raise invalid(
                    "A container name must be specified for tasks with multiple containers."
                )
            return task.containers[0]
        container = task.container(name)
        if container is None:
            raise invalid(f"The container {name} was not found in the task.")
        return container
