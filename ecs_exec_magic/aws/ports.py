"""Where a container's port answers.

Knows network bindings, interfaces and instances. Never opens a connection itself.
"""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from ..errors import EcsExecError, InvalidRequest, TargetNotFound
from .tasks import describe_tasks, with_public_addresses

if TYPE_CHECKING:
    from ..address import ContainerRef
    from .api import AwsApi
    from .tasks import PortBinding, TaskInfo

__all__ = ["container_url"]


async def container_url(api: AwsApi, ref: ContainerRef, port: int) -> str:
    """The URL under which a port of a container answers from outside.

    That is the host's port when the container's is bound to one, else the public address of the
    task's network interface. Whether a security group lets anybody through is not looked at.

    Args:
        api: where to ask.
        ref: the container.
        port: of the container.

    Raises:
        InvalidRequest: the port is none, or nothing public leads to it.
        TargetNotFound: the task is gone.
    """
    if isinstance(port, bool) or not isinstance(port, int) or not 1 <= port <= 65535:
        raise InvalidRequest(f"{port!r} is not a port", cure="give a number from 1 to 65535")
    tasks = await describe_tasks(api, ref.cluster, [ref.task_arn])
    container = tasks[0].container(ref.container) if tasks else None
    if container is None or not tasks[0].running:
        raise TargetNotFound(
            f"{ref} does not run any more", cure="look its address up again: it was replaced"
        )
    task = tasks[0]
    bindings = [
        each
        for each in container.bindings
        if each.container_port == port and each.protocol == "tcp"
    ]
    # Without a network interface of its own a task is reached by its host's ports only.
    for binding in bindings:
        if not (task.eni and _is_any(binding.host)):
            return _url(await _host_of(api, task, binding), binding.host_port, port)
    if not task.eni:
        known = sorted({each.container_port for each in container.bindings})
        raise InvalidRequest(
            f"port {port} of {ref} is not bound to a port of its host",
            cause=f"those that are: {', '.join(map(str, known))}" if known else "none of them is",
            cure=f"use forward({port}), which needs no open port",
        )
    task = (await with_public_addresses(api, [task]))[0]
    if not task.public_ip:
        private = f": {_url(task.private_ip, port, port)}" if task.private_ip else ""
        raise InvalidRequest(
            f"{ref} has no public address that may be looked up",
            cause="the task was started without one (assignPublicIp), or "
            "ec2:DescribeNetworkInterfaces is denied; inside its VPC it answers at its private "
            f"address{private}",
            cure=f"use forward({port}), which needs no public address",
        )
    return _url(task.public_ip, port, port)


async def _host_of(api: AwsApi, task: TaskInfo, binding: PortBinding) -> str:
    if not _is_any(binding.host):
        return binding.host
    if not task.instance_arn:
        # Bound on every address of whatever serves the API: a sandbox.
        return urlsplit(api.endpoint_url or "").hostname or "127.0.0.1"
    answer = await api.call(
        "ecs",
        "describe_container_instances",
        cluster=task.cluster,
        containerInstances=[task.instance_arn],
    )
    ids = [
        each["ec2InstanceId"]
        for each in answer.get("containerInstances", ())
        if each.get("ec2InstanceId")
    ]
    private = ""
    try:
        answer = await api.call("ec2", "describe_instances", InstanceIds=ids) if ids else {}
    except EcsExecError as error:
        private = error.message
        answer = {}
    for reservation in answer.get("Reservations", ()):
        for instance in reservation.get("Instances", ()):
            if instance.get("PublicIpAddress"):
                return str(instance["PublicIpAddress"])
            private = instance.get("PrivateIpAddress", "")
    raise InvalidRequest(
        f"the instance under task {task.address} has no public address that may be looked up",
        cause=f"what is known of it: {private}" if private else "",
        cure=f"use forward({binding.container_port}), which needs no public address",
    )


def _is_any(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_unspecified
    except ValueError:
        return not host


def _url(host: str, port: int, container_port: int) -> str:
    scheme = "https" if container_port == 443 else "http"
    return f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}"
