"""The cluster's settings of exec sessions, and what they name: a key, a log group, a bucket.

Knows how settings are changed without losing what was before. Never makes what they name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ...errors import EcsExecError
from ..plan.keys import describe
from ..plan.names import OWN_TAGS
from ..plan.part import Part, Say, difference, if_there, tag_list
from ..plan.steps import Step
from ..plan.storage import find_group
from ..tasks import list_services
from .memory import BEFORE, SET, configuration_of, digest, flat, tags_for

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .place import Place

__all__ = [
    "ClusterSettings",
    "NamedBucket",
    "NamedGroup",
    "NamedKey",
    "others_with_exec",
    "restore",
    "users_of",
]

USER = f"{OWN_TAGS}exec-user:"
"""On a cluster: begins the tags of services for which its settings were changed."""

_KEPT = 6  # digests that are remembered


class ClusterSettings(Part):
    """What the cluster says of exec sessions."""

    kind = "cluster"
    site: Place

    @property
    def name(self) -> str:
        return self.site.asked.cluster

    async def look(self) -> None:
        self.there = True
        self.ours = f"{USER}{self.site.mark}" in self.site.cluster_tags

    def differences(self) -> list[str]:
        place = self.site
        there, wanted = _shown(place.current_execution), _shown(place.execution)
        return [
            line
            for name in sorted({*there, *wanted})
            for line in difference(name, there.get(name), wanted.get(name))
        ]

    def step(self) -> Step:
        found = tuple(self.differences())
        if not found:
            why = f"logging of sessions: {self.site.settings.logging}"
            return Step(self.kind, self.name, "keep", why)
        why = "for all of its services; what was before is kept in its tags"
        return Step(self.kind, self.name, "update", why, found)

    async def make(self, say: Say) -> None:
        place, api = self.site, self.site.api
        if not self.differences():
            return
        arn, tags = str(place.cluster["clusterArn"]), place.cluster_tags
        former = place.current_execution
        known = tags.get(SET, "").split()
        remembered = {
            f"{USER}{place.mark}": place.asked.address[:256],
            SET: " ".join([*known[1 - _KEPT :], digest(place.execution)]),
        }
        if digest(former) not in known:
            # Nobody's or somebody else's settings: these are to be put back.
            remembered |= tags_for(former if _shown(former) else {})
            remembered[SET] = digest(place.execution)
            stale = [key for key in tags if key.startswith(BEFORE) and key not in remembered]
            if stale:
                await api.call("ecs", "untag_resource", resourceArn=arn, tagKeys=stale)
        await api.call(
            "ecs", "tag_resource", resourceArn=arn, tags=tag_list(remembered, "key", "value")
        )
        await update(place, place.execution)


async def update(place: Place, execution: Mapping[str, Any]) -> None:
    """Give the cluster these settings, and leave all others."""
    configuration = {**(place.cluster.get("configuration") or {})}
    # Without settings AWS takes no update, and takes these for the same as none.
    configuration["executeCommandConfiguration"] = dict(execution) or {"logging": "DEFAULT"}
    await place.api.call(
        "ecs", "update_cluster", cluster=place.asked.cluster, configuration=configuration
    )


def users_of(place: Place) -> tuple[bool, list[str]]:
    """Whether the settings were changed for this service, and for which others."""
    tags = {key: text for key, text in place.cluster_tags.items() if key.startswith(USER)}
    own = tags.pop(f"{USER}{place.mark}", None)
    return own is not None, sorted(tags.values())


async def others_with_exec(place: Place) -> list[str]:
    """The cluster's other services that are started with exec."""
    cluster = place.asked.cluster
    names = [
        name for name in await list_services(place.api, cluster) if name != place.asked.service
    ]
    found: list[str] = []
    for start in range(0, len(names), 10):  # what DescribeServices takes at once
        answer = await place.api.call(
            "ecs", "describe_services", cluster=cluster, services=names[start : start + 10]
        )
        on = [each for each in answer.get("services", ()) if each.get("enableExecuteCommand")]
        found += [str(each["serviceName"]) for each in on if each.get("status") == "ACTIVE"]
    return found


async def restore(place: Place, say: Say) -> None:
    """Put back what was before, unless others need it or somebody has changed it since."""
    arn, tags = str(place.cluster["clusterArn"]), place.cluster_tags
    _, others = users_of(place)
    forget = [f"{USER}{place.mark}"]
    if not others:
        former = configuration_of(tags)
        if former is not None and digest(place.current_execution) in tags.get(SET, "").split():
            await update(place, former)
        else:
            await say("its settings were changed by somebody else since, and are left")
        forget += [key for key in tags if key.startswith(BEFORE) or key == SET]
    await place.api.call("ecs", "untag_resource", resourceArn=arn, tagKeys=forget)


def _shown(execution: Mapping[str, Any]) -> dict[str, str]:
    """Settings without AWS's defaults."""
    found = {name: text for name, text in flat(execution).items() if text != "false"}
    if found.get("logging") == "DEFAULT":
        found.pop("logging")
    return found


# -- what is named -------------------------------------------------------------------------------


class _Named(Part):
    """Something that must be there, and is never changed."""

    site: Place
    lasts = False

    def __init__(self, site: Place) -> None:
        super().__init__(site)
        self._wrong: tuple[str, ...] = ()

    def differences(self) -> list[str]:
        return list(self._wrong)

    def step(self) -> Step:
        if not self.there:
            why = f"there is no such {self.kind}"
            return Step(self.kind, self.name, "conflict", why, ("name one that there is",))
        if self._wrong:
            return Step(self.kind, self.name, "conflict", "it cannot be used", self._wrong)
        return Step(self.kind, self.name, "keep", "yours; it is never changed")

    async def make(self, say: Say) -> None:
        """Nothing."""


class NamedKey(_Named):
    """The key of the data channel."""

    kind = "KMS key"

    @property
    def name(self) -> str:
        return str(self.site.asked.kms_key)

    async def look(self) -> None:
        key = await describe(self.site.api, self.name)
        if key is None:
            return
        self.there = True
        spec = key.get("KeySpec") or key.get("CustomerMasterKeySpec") or "SYMMETRIC_DEFAULT"
        self._wrong = (
            *difference("its state", key["KeyState"], "Enabled"),
            *difference("its kind", spec, "SYMMETRIC_DEFAULT"),
        )


class NamedGroup(_Named):
    """The log group of sessions."""

    kind = "log group"

    @property
    def name(self) -> str:
        return str(self.site.asked.log_group)

    async def look(self) -> None:
        group = await find_group(self.site.api, self.name)
        self.there = group is not None
        if group is not None and self.site.asked.encrypt_logs and not group.get("kmsKeyId"):
            self._wrong = (
                "it has no KMS key: aws logs associate-kms-key, or leave out encrypt_logs",
            )


class NamedBucket(_Named):
    """The bucket of session logs."""

    kind = "S3 bucket"

    @property
    def name(self) -> str:
        return str(self.site.asked.bucket)

    async def look(self) -> None:
        try:
            call = self.site.api.call("s3", "head_bucket", _about=self.name, Bucket=self.name)
            self.there = await if_there(call, "404", "NoSuchBucket") is not None
        except EcsExecError as error:
            if error.code not in ("403", "301"):
                raise
            # Agents need no right of ours in it; they log to no other region than the cluster's.
            self.there = True
            if error.code == "301":
                self._wrong = ("it is in another region",)
