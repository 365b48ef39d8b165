"""How one container is named: ``[CLUSTER/]NAME[:CONTAINER]`` and the ARNs of tasks and services.

Knows the grammar only. Never knows what exists; :mod:`ecs_exec_magic.aws.targets` looks that up.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from .errors import InvalidRequest

__all__ = [
    "Address",
    "ContainerRef",
    "combine",
    "parse_address",
    "parse_cluster",
    "parse_scope",
]

_ARN = re.compile(
    r"arn:(?P<partition>[a-z0-9-]+):ecs:(?P<region>[a-z0-9-]+):(?P<account>\d{12}):"
    r"(?P<kind>task|service|container|cluster|task-definition|container-instance)/(?P<path>[^:]+)"
    r"(?::(?P<container>.*))?",
    re.ASCII | re.DOTALL,
)
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*", re.ASCII)
_SYNTAX = "[CLUSTER/]NAME[:CONTAINER], where NAME is a service, task id, family or ARN"


@dataclass(frozen=True, slots=True)
class Address:
    """A parsed address; every part that was not given is None.

    Attributes:
        name: service, task id or its prefix, or family; None when only options name the target.
        container: a container's name, or ``*`` for every one.
        kind: ``task`` or ``service`` when an ARN or option said so, ``family`` when an option did.
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
    if not isinstance(text, str):
        raise _malformed(text, "it is not a text")
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
        if not _NAME.fullmatch(part):
            raise _malformed(text, f"{part!r} is not a name")
    if not name:
        raise _malformed(text, "it names nothing")
    return Address(cluster or None, name, container or None)


def parse_cluster(text: str) -> tuple[str, str | None]:
    """Short name of a cluster, and its region if the text is an ARN.

    Raises:
        InvalidRequest: the text is neither the name nor the ARN of a cluster.
    """
    text = text.strip() if isinstance(text, str) else text
    if isinstance(text, str) and text.startswith("arn:"):
        match = _ARN.fullmatch(text)
        if match and match["kind"] == "cluster" and match["container"] is None:
            name = match["path"]
            if _NAME.fullmatch(name):
                return name, match["region"]
    elif isinstance(text, str) and _NAME.fullmatch(text):
        return text, None
    raise InvalidRequest(
        f"{text!r} is not a cluster", cure="give its short name or its ARN, as in --cluster prod"
    )


def parse_scope(text: str) -> Address:
    """Read what a listing is of: ``CLUSTER[/NAME[:CONTAINER]]``, or an ARN.

    Raises:
        InvalidRequest: the text is neither.
    """
    text = text.strip()
    if text.startswith("arn:"):
        match = _ARN.fullmatch(text)
        if match is None or match["kind"] != "cluster":
            return _parse_arn(text)
    elif "/" in text.rstrip("/") or ":" in text:
        address = parse_address(text)
        if address.cluster is None:
            raise InvalidRequest(
                f"{text!r} has a container and no cluster",
                cure="write CLUSTER[/NAME], as in prod or prod/web",
            )
        return address
    cluster, region = parse_cluster(text.rstrip("/"))
    return Address(cluster=cluster, region=region)


def combine(
    address: Address | str | None = None,
    *,
    cluster: str | None = None,
    service: str | None = None,
    task: str | None = None,
    family: str | None = None,
    container: str | None = None,
    nameless: bool = False,
) -> Address:
    """One address out of an address and the options that say the same in words.

    Args:
        address: text or parsed; None when options alone name the target.
        cluster: short name or ARN.
        service: short name or ARN.
        task: id, prefix of an id, or ARN.
        family: of the task definition, without a revision.
        container: a container's name, or ``*`` for every one.
        nameless: a whole cluster may be meant: nothing need be named.

    Raises:
        InvalidRequest: nothing is named, something is malformed, or two of them contradict.
    """
    base = parse_address(address) if isinstance(address, str) else (address or Address())
    if not isinstance(base, Address):
        raise _malformed(base, "it is not a text")
    given = [
        (kind, value)
        for kind, value in (("service", service), ("task", task), ("family", family))
        if value is not None
    ]
    if len(given) > 1:
        both = " and ".join(f"--{kind}" for kind, _ in given)
        raise InvalidRequest(
            f"{both} cannot be given together", cure="name the target by one of them"
        )
    for kind, value in given:
        base = _same(base, _parse_option(kind, value), f"--{kind} {value}")
    if cluster is not None:
        name, region = parse_cluster(cluster)
        base = _same(base, Address(cluster=name, region=region), f"--cluster {cluster}")
    if container is not None:
        if container != "*" and not (isinstance(container, str) and _NAME.fullmatch(container)):
            raise InvalidRequest(f"--container {container!r} is not the name of a container")
        base = _same(base, Address(container=container), f"--container {container}")
    if not (base.name or nameless):
        raise InvalidRequest("no target is named", cure=f"write {_SYNTAX}, as in prod/web:nginx")
    return base


def _parse_option(kind: str, value: str) -> Address:
    text = value.strip() if isinstance(value, str) else ""
    if text.startswith("arn:") and kind != "family":
        parsed = _parse_arn(text)
        if parsed.kind != kind:
            raise InvalidRequest(f"--{kind} is the ARN of a {parsed.kind}: {text}")
        return parsed
    if kind == "family" and ":" in text:
        raise InvalidRequest(
            f"--family {text!r} names a revision",
            cause="what follows a colon is a container, never a revision",
            cure="give the family alone: tasks of every revision are meant",
        )
    if not _NAME.fullmatch(text):
        raise InvalidRequest(f"--{kind} {value!r} is not a name")
    return Address(name=text, kind=kind)


def _same(base: Address, more: Address, what: str) -> Address:
    """``base`` with the parts that ``more`` adds; what both say must agree."""
    for part in ("cluster", "name", "container", "kind", "arn", "region"):
        old, new = getattr(base, part), getattr(more, part)
        if new is None:
            continue
        if old is not None and old != new:
            raise InvalidRequest(
                f"{str(base)!r} and {what} contradict each other: {part} {old!r} is not {new!r}",
                cure="say it once",
            )
        base = replace(base, **{part: new})
    return base


def _parse_arn(text: str) -> Address:
    match = _ARN.fullmatch(text)
    if match is None:
        raise _malformed(text, "it is not the ARN of a task or service")
    kind, path, container = match["kind"], match["path"].split("/"), match["container"]
    if kind not in ("task", "service"):
        raise _malformed(text, f"it is the ARN of a {kind}, not of a task or service")
    if container == "":
        raise _malformed(text, "nothing follows the last colon")
    parts = [*path, *([container] if container not in (None, "*") else [])]
    # ARNs made before 2018 have no cluster in them: arn:...:task/ID
    if len(path) > 2 or not all(part and _NAME.fullmatch(part) for part in parts):
        raise _malformed(text, f"its end is not {kind}/CLUSTER/NAME[:CONTAINER]")
    arn = text if container is None else text[: -len(container) - 1]
    cluster = path[0] if len(path) > 1 else None
    return Address(cluster, path[-1], container, kind, arn, match["region"])


def _malformed(text: object, why: str) -> InvalidRequest:
    return InvalidRequest(
        f"{text!r} is not an address: {why}", cure=f"write {_SYNTAX}, as in prod/web:nginx"
    )
