"""A plan as something to write down: its requests, with marks for what is not known before.

Knows which resources are declared and which are given. Never knows a language, and calls nothing.

What is written down are the requests that the parts of a plan would send themselves. Only the tag
is missing by which a plan knows again what it has made: what others deploy is not a notebook's to
remove.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .building import parts_of
from .failures import conflicts
from .instances import Instance
from .launch import Service, Tasks
from .names import Names
from .network import Network
from .part import Pause, Site

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .part import Part

__all__ = ["Draft", "draft_of", "drafted", "mark", "pieces", "run_command"]

# Characters that nobody uses stand around a mark, so that no text is taken for one.
_OPEN, _CLOSE = "\ue000", "\ue001"
_MARK = re.compile(f"{_OPEN}([a-z ]+){_CLOSE}")


def mark(name: str) -> str:
    """What stands for a value that is known only once something is deployed."""
    return f"{_OPEN}{name}{_CLOSE}"


def pieces(text: str) -> list[tuple[str, str]]:
    """Text and marks in their order: pairs of ``text`` or ``mark``, and what it is."""
    parts = _MARK.split(text)
    kinds = ("text", "mark")
    return [(kinds[n % 2], part) for n, part in enumerate(parts) if part]


class _DraftSite(Site):
    """Where a plan is written down."""

    def __init__(self, site: Site, tool: str) -> None:
        names = site.names
        symbolic = Names(names.name, names.partition, mark("region"), mark("account"))
        super().__init__(site.api, site.options, symbolic, Pause())
        self.maker = tool
        self.vpc_id = mark("vpc")
        self.subnets = (mark("subnets"),)
        self.public = site.public
        self.key_arn = mark("key") if site.options.kms_key else ""
        self.group_id = mark("group")
        self.definition_arn = mark("definition")
        self.parts = parts_of(self)
        self.task_role_arn = mark("task role")
        has_execution = any(part.kind == "execution role" for part in self.parts)
        self.execution_role_arn = mark("execution role") if has_execution else ""

    @property
    def tags(self) -> dict[str, str]:
        return dict(self.options.tags)


@dataclass(frozen=True)
class Draft:
    """What is written down.

    Attributes:
        site: with marks in its names and ids.
        parts: that are declared, in their order.
        given: what is there already, by mark: it becomes a parameter with this default.
        region: of the plan.
        arm: the instance has an ARM processor.
    """

    site: Site
    parts: tuple[Part, ...]
    given: Mapping[str, Any]
    region: str
    arm: bool = False

    def has(self, kind: str) -> bool:
        """Whether a resource of that kind is declared."""
        return any(part.kind == kind for part in self.parts)


def draft_of(site: Site, tool: str) -> Draft:
    """Write down what a plan that has looked would make.

    Args:
        site: of the plan, looked at.
        tool: that will make it, for descriptions.

    Raises:
        ProvisionError: something that is there is in the way.
    """
    if refused := conflicts([part.step() for part in site.parts]):
        raise refused
    return drafted(site, tool)


def drafted(site: Site, tool: str) -> Draft:
    """The same of a plan that is known to have nothing in its way."""
    draft = _DraftSite(site, tool)
    foreign = {part.kind for part in site.parts if part.there and not part.ours}
    foreign -= {"task definition"}  # another revision harms nobody
    known = {
        "key": ("KMS key", site.key_arn),
        "group": ("security group", site.group_id),
        "task role": ("task role", site.task_role_arn),
        "execution role": ("execution role", site.execution_role_arn),
    }
    given: dict[str, Any] = {
        name: value for name, (kind, value) in known.items() if kind in foreign
    }
    if any(isinstance(part, Network) for part in site.parts):
        given |= {"vpc": site.vpc_id, "subnets": list(site.subnets)}
    arm = any(isinstance(part, Instance) and part.arm for part in site.parts)
    parts = tuple(part for part in draft.parts if part.lasts and part.kind not in foreign)
    return Draft(draft, parts, given, site.names.region, arm)


def run_command(draft: Draft) -> str:
    """The line that runs the tasks of a plan without a service; empty for one with a service.

    Nothing that is declared runs a task once.
    """
    (runs,) = [part for part in draft.site.parts if isinstance(part, (Service, Tasks))]
    if isinstance(runs, Service):
        return ""
    request = runs.request()
    words = ["aws", "ecs", "run-task", "--region", mark("region")]
    for option, name in (
        ("--cluster", "cluster"),
        ("--task-definition", "taskDefinition"),
        ("--launch-type", "launchType"),
        ("--started-by", "startedBy"),
    ):
        words += [option, request[name]]
    words += ["--count", str(draft.site.options.count)]
    words += ["--enable-execute-command", "--enable-ecs-managed-tags"]
    network = request.get("networkConfiguration", {}).get("awsvpcConfiguration")
    if network:
        groups = ",".join(network["securityGroups"])
        inner = f"subnets=[{mark('subnet list')}],securityGroups=[{groups}]"
        inner += f",assignPublicIp={network['assignPublicIp']}"
        words += ["--network-configuration", f"awsvpcConfiguration={{{inner}}}"]
    if request["tags"]:
        words += ["--tags"]
        words += [f"key={each['key']},value={each['value']}" for each in request["tags"]]
    return " ".join(word if _MARK.fullmatch(word) else shlex.quote(word) for word in words)
