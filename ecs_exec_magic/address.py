"""How one container is named: ``[CLUSTER/]NAME[:CONTAINER]`` and the ARNs of tasks and services.

Knows the grammar only. Never knows what exists; :mod:`ecs_exec_magic.aws.targets` looks that up.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from .errors import InvalidRequest

__all__ = ["Address", "ContainerRef", "parse_address"]

_ARN = re.compile(
    r"arn:(?P<partition>[a-z0-9-]+):ecs:(?P<region>[a-z0-9-]+):(?P<account>\d{12}):"
    r"(?P<kind>task|service|container|cluster|task-definition|container-instance)/(?P<path>[^:]+)"
    r"(?::(?P<container>.*))?$"
)
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*$")
_SYNTAX = "[CLUSTER/]NAME[:CONTAINER], where NAME is a service, task id, family or ARN"


@dataclass(frozen=True, slots=True)
class Address:
    """A parsed address; every part that was not given is None.

    Attributes:
        name: service, task id or its prefix, or family; None when only options name the target.
        container: a container's name, or ``*`` for every one.
        kind: ``task`` or ``service`` when an ARN said so, ``family`` when an option did.
        arn: the ARN, when one was given.
    """

    cluster: str | None = None
    name: str | None = None
    container: str | None = None
    kind: str | None = None
    arn: str | None = None
    region: str | None = None

    def __str__(self) -> str:
        text = self.arn or "/".join(part for part in (self.cluster, self.name) if part)
        return f"{text}:{self.container}" if self.container else text


@dataclass(frozen=True)
class ContainerRef:
    """One container of one running task: plain data, with no connection behind it.

    Attributes:
        cluster: short name.
        service: short name of the service that started the task, or None.
        family: family of the task definition.
        task_id: last path element of the task's ARN.
        runtime_id: the container runtime's id; part of the name that Session Manager knows.
    """

    cluster: str
    service: str | None
    family: str
    task_id: str
    task_arn: str
    container: str
    runtime_id: str
    region: str

    @property
    def address(self) -> str:
        """The canonical address, ``CLUSTER/TASKID:CONTAINER``; accepted wherever one is."""
        return f"{self.cluster}/{self.task_id}:{self.container}"

    @property
    def session_target(self) -> str:
        """What Session Manager calls this container (PROTOCOL 1.1)."""
        return f"ecs:{self.cluster}_{self.task_id}_{self.runtime_id}"

    def __str__(self) -> str:
        return self.address


def parse_address(text: str) -> Address:
    """Read an address.

    Raises:
        InvalidRequest: the text is none, with what was expected.
    """
    text = text.strip()
    if text.startswith("arn:"):
        return _parse_arn(text)
    head, colon, container = text.partition(":")
    cluster, slash, name = head.rpartition("/")
    if colon and not container:
        raise _malformed(text, "nothing follows the colon")
    if slash and not (cluster and name):
        raise _malformed(text, "a part beside the slash is empty")
    for part in filter(None, (cluster, name, None if container == "*" else container)):
        if not _NAME.match(part):
            raise _malformed(text, f"{part!r} is not a name")
    if not name:
        raise _malformed(text, "it names nothing")
    return Address(cluster or None, name, container or None)


def _parse_arn(text: str) -> Address:
    match = _ARN.match(text)
    if match is None:
        raise _malformed(text, "it is not the ARN of a task or service")
    kind, path, container = match["kind"], match["path"].split("/"), match["container"]
    if kind not in ("task", "service"):
        raise _malformed(text, f"it is the ARN of a {kind}, not of a task or service")
    if container == "":
        raise _malformed(text, "nothing follows the last colon")
    arn = text if container is None else text[: -len(container) - 1]
    # ARNs made before 2018 have no cluster in them: arn:...:task/ID
    cluster = path[-2] if len(path) > 1 else None
    return Address(cluster, path[-1], container, kind, arn, match["region"])


def _malformed(text: str, why: str) -> InvalidRequest:
    return InvalidRequest(
        f"{text!r} is not an address: {why}", cure=f"write {_SYNTAX}, as in prod/web:nginx"
    )
