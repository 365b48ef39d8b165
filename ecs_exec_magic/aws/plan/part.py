"""What all resources of a plan have in common: how each is looked at, judged and made.

Knows steps, tags and waits. Never knows any one resource.
"""

from __future__ import annotations

import asyncio
import json
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from ...errors import EcsExecError
from .names import TAG
from .steps import Step

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from ..api import AwsApi
    from .names import Names
    from .options import PlanOptions

__all__ = [
    "NEW",
    "Part",
    "Pause",
    "Say",
    "Site",
    "Stopped",
    "beats",
    "difference",
    "if_there",
    "patiently",
    "same_document",
    "tag_list",
    "tags_of",
]

T = TypeVar("T")

Say: TypeAlias = Callable[[str], Awaitable[None]]
"""Tells what is waited for."""

NEW = "new"
"""The word that asks for a key to be made."""

_PATIENCE = 90.0  # seconds that IAM and KMS may take until every service knows what was made


class Stopped(Exception):
    """The user wants no more steps to be taken."""


class Pause:
    """Waits that end when the user wants no more; belongs to one event loop."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def stop(self) -> None:
        """End the wait that there is, and all to come."""
        self._event.set()

    def check(self) -> None:
        """Raise Stopped when no more is wanted."""
        if self._event.is_set():
            raise Stopped

    async def sleep(self, seconds: float) -> None:
        """Wait so long.

        Raises:
            Stopped: no more is wanted.
        """
        self.check()
        waiting = asyncio.ensure_future(self._event.wait())
        try:
            await asyncio.wait({waiting}, timeout=seconds)
        finally:
            waiting.cancel()
        self.check()


def beats(limit: float, first: float = 0.1, most: float = 3.0) -> Iterator[float]:
    """Seconds to wait between looks, growing, for so many seconds in all."""
    total, step = 0.0, first
    while total < limit:
        yield step
        total += step
        step = min(step * 1.4, most)


class Site:
    """Where a plan is carried out, and what its parts tell each other.

    Attributes:
        options: what was asked for.
        names: what things are called here.
        pause: for waits.
        parts: in the order in which they are made.
        fresh: roles or a key were made a moment ago, which not every service may know yet.
        maker: of descriptions.
    """

    maker = "ecs-exec-magic"

    def __init__(self, api: AwsApi, options: PlanOptions, names: Names, pause: Pause) -> None:
        self.api = api
        self.options = options
        self.names = names
        self.pause = pause
        self.parts: list[Part] = []
        self.fresh = False
        self.vpc_id = ""
        self.subnets: tuple[str, ...] = ()
        self.public = False
        self.key_arn = ""
        self.group_id = ""
        self.task_role_arn = ""
        self.execution_role_arn = ""
        self.definition_arn = ""
        self.instance_role_id = ""

    @property
    def tags(self) -> dict[str, str]:
        """The tags of everything that is made."""
        return self.names.tags(self.options.tags)

    @property
    def log_group(self) -> str:
        """Where containers, and sessions unless they are not logged, write to; empty for none."""
        chosen = self.options.log_group
        return self.names.log_group if chosen is None else chosen

    @property
    def session_group(self) -> str:
        """The log group of sessions; empty for none."""
        return "" if self.options.logging == "none" else self.log_group

    @property
    def bucket(self) -> str:
        """The bucket of session logs; empty for none."""
        return (self.options.bucket or "") if self.options.logging == "override" else ""

    @property
    def wanted_key_arn(self) -> str:
        """The key's ARN, or what stands for it while there is none."""
        if self.options.kms_key is None:
            return ""
        return self.key_arn or self.names.key_arn("(the new key)")

    def owns(self, tags: Mapping[str, str]) -> bool:
        """Whether these are the tags of something that this plan has made."""
        return tags.get(TAG) == self.options.name


class Part(ABC):
    """One resource of a plan.

    It is looked at, judged without any call, and then made, or brought to what is wanted.

    Attributes:
        kind: in the words of steps.
        lasts: it is a thing of the account, and not something to wait for.
        ours: it is there, and this plan has made it.
        there: it is there.
    """

    kind = ""
    lasts = True

    def __init__(self, site: Site) -> None:
        self.site = site
        self.there = False
        self.ours = False

    @property
    @abstractmethod
    def name(self) -> str:
        """Of the resource."""

    @abstractmethod
    async def look(self) -> None:
        """Learn what there is; changes nothing in the account."""

    @abstractmethod
    def differences(self) -> list[str]:
        """How what is there differs from what is wanted, a line each."""

    @abstractmethod
    async def make(self, say: Say) -> None:
        """Make it, or change what is there and ours; harmless when it is as wanted."""

    def why(self) -> str:
        """What it is for, in a few words."""
        return ""

    def step(self) -> Step:
        """What has to happen to it."""
        if not self.there:
            return Step(self.kind, self.name, "create", self.why())
        found = tuple(self.differences())
        if not found:
            why = "made by this plan" if self.ours else "is there, as wanted; never removed"
            return Step(self.kind, self.name, "keep", why)
        if self.ours:
            return Step(self.kind, self.name, "update", "made by this plan", found)
        why = "is there with other settings, and was not made by this plan"
        return Step(self.kind, self.name, "conflict", why, found)


# -- small things --------------------------------------------------------------------------------


async def if_there(call: Awaitable[T], *codes: str) -> T | None:
    """What a call answers; None when it fails with one of these codes."""
    try:
        return await call
    except EcsExecError as error:
        if error.code in codes:
            return None
        raise


async def patiently(
    site: Site, attempt: Callable[[], Awaitable[T]], words: Iterable[str], say: Say
) -> T:
    """Try again for a while where what was made a moment ago is not yet known everywhere.

    Args:
        words: errors in whose texts one of them is, in lower case, are tried again.
    """
    for seconds in beats(_PATIENCE if site.fresh else 0.0, first=1.0):
        try:
            return await attempt()
        except EcsExecError as error:
            text = f"{error} {error.cause}".lower()
            if not any(word in text for word in words):
                raise
            await say(f"AWS does not yet know what was just made: {error}")
        await site.pause.sleep(seconds)
    return await attempt()


def difference(what: str, found: object, wanted: object) -> list[str]:
    """One line when the two differ, none when they are the same."""
    if found == wanted:
        return []
    return [f"{what} is {_shown(found)}; wanted: {_shown(wanted)}"]


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    if value is None or value in ("", (), []):
        return "none"
    if isinstance(value, (list, tuple)):
        return ", ".join(map(str, value))
    return str(value)


def same_document(one: object, other: object) -> bool:
    """Whether two policies say the same, however they are written down."""
    return _canonical(one) == _canonical(other)


def _canonical(document: object) -> object:
    return json.loads(document) if isinstance(document, str) else document


def tags_of(tags: Iterable[Mapping[str, Any]] | None) -> dict[str, str]:
    """Tags as a mapping, however a service spells them."""
    found = {}
    for tag in tags or ():
        spelled = {key.lower().removeprefix("tag"): value for key, value in tag.items()}
        found[str(spelled.get("key", ""))] = str(spelled.get("value", ""))
    return found


def tag_list(tags: Mapping[str, str], key: str = "Key", value: str = "Value") -> list[Any]:
    """Tags as a list, in a service's spelling."""
    return [{key: name, value: text} for name, text in tags.items()]
