"""The operations on tags and on account settings.

Knows which resources carry tags. Never knows what they are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..api import ApiError, operation
from .requests import invalid, page, tags_of
from .views import tag_list

if TYPE_CHECKING:
    from ..api import Caller
    from ..world import World

__all__ = ["SettingOperations", "TagOperations"]

_SETTINGS = {
    "awsvpcTrunking": "disabled",
    "containerInsights": "disabled",
    "containerInstanceLongArnFormat": "enabled",
    "defaultLogDriverMode": "non-blocking",
    "dualStackIPv6": "enabled",
    "fargateFIPSMode": "disabled",
    "fargateTaskRetirementWaitPeriod": "7",
    "guardDutyActivate": "off",
    "serviceLongArnFormat": "enabled",
    "tagResourceAuthorization": "off",
    "taskLongArnFormat": "enabled",
}


class TagOperations:
    """Tags of clusters, services, tasks, task definitions and container instances."""

    service = "ecs"

    def __init__(self, world: World) -> None:
        self._world = world

    def _tags(self, arn: str) -> dict[str, str]:
        """The tags of a resource, to be changed in place."""
        if not arn.startswith("arn:") or len(arn.split(":", 5)) != 6:
            raise invalid("Invalid ARN. Check the ARN and try again.")
        found = self._world.state.find(arn)
        if found is None:
            kind = arn.split(":", 5)[5].partition("/")[0]
            if kind == "cluster":
                raise ApiError("ClusterNotFoundException", "Cluster not found.")
            raise ApiError(
                "ResourceNotFoundException",
                f"The specified {kind.replace('-', ' ')} was not found. Check the ARN and try "
                "again.",
            )
        status = getattr(found, "status", "")
        if status == "INACTIVE":
            raise invalid(
                "The specified resource is inactive. Specify an active one and try again."
            )
        if status == "STOPPED":
            raise invalid("The specified task is stopped. Specify a running task and try again.")
        return found.tags

    @operation("TagResource")
    def op_tag(self, given: dict[str, Any], caller: Caller) -> dict[str, Any]:
        """Add tags, or change their values."""
        tags = self._tags(given["resourceArn"])
        added = tags_of(given["tags"])
        own = {k: v for k, v in tags.items() if not k.startswith("aws:")}
        tags_of(tag_list({**own, **added}))  # the limit counts those that are there
        tags.update(added)
        return {}

    @operation("UntagResource")
    def op_untag(self, given: dict[str, Any], caller: Caller) -> dict[str, Any]:
        """Take tags away."""
        tags = self._tags(given["resourceArn"])
        if any(key.lower().startswith("aws:") for key in given["tagKeys"]):
            raise invalid("Tag keys beginning with aws: are reserved for system use.")
        for key in given["tagKeys"]:
            tags.pop(key, None)
        return {}

    @operation("ListTagsForResource")
    def op_list(self, given: dict[str, Any], caller: Caller) -> dict[str, Any]:
        """List the tags of a resource."""
        return {"tags": tag_list(self._tags(given["resourceArn"]))}


class SettingOperations:
    """Account settings; they are kept and shown, and change nothing else."""

    service = "ecs"

    def __init__(self, world: World) -> None:
        self._world = world

    def _put(self, given: dict[str, Any], caller: Caller, principal: str) -> dict[str, Any]:
        name, value = given["name"], given["value"]
        if name not in _SETTINGS:
            raise invalid(f"The setting {name} is not valid.")
        known = ("enabled", "disabled", "on", "off", "enhanced", "blocking", "non-blocking")
        if value not in known and not (value.isdigit() and _SETTINGS[name].isdigit()):
            raise invalid(f"The value {value} is not valid for the setting {name}.")
        self._world.state.region(caller.region).settings[principal, name] = value
        return {"setting": _setting(name, value, principal)}

    @operation("PutAccountSetting")
    def op_put(self, given: dict[str, Any], caller: Caller) -> dict[str, Any]:
        """Change a setting of the caller, or of a principal."""
        return self._put(given, caller, given.get("principalArn") or caller.arn)

    @operation("PutAccountSettingDefault")
    def op_put_default(self, given: dict[str, Any], caller: Caller) -> dict[str, Any]:
        """Change a setting of everybody who has none."""
        region = self._world.state.region(caller.region)
        return self._put(given, caller, region.iam("root"))

    @operation("ListAccountSettings")
    def op_list(self, given: dict[str, Any], caller: Caller) -> dict[str, Any]:
        """List settings: those that were made, or with effectiveSettings those in force."""
        region = self._world.state.region(caller.region)
        principal = given.get("principalArn") or caller.arn
        made = {n: v for (who, n), v in region.settings.items() if who == principal}
        if given.get("effectiveSettings"):
            root = {n: v for (who, n), v in region.settings.items() if who == region.iam("root")}
            made = {**_SETTINGS, **root, **made}
        names = [
            name
            for name, value in sorted(made.items())
            if given.get("name", name) == name and given.get("value", value) == value
        ]
        chosen, token = page(names, given)
        settings = [_setting(name, made[name], principal) for name in chosen]
        return {"settings": settings, "nextToken": token}

    @operation("DeleteAccountSetting")
    def op_delete(self, given: dict[str, Any], caller: Caller) -> dict[str, Any]:
        """Take a setting back."""
        region = self._world.state.region(caller.region)
        principal, name = given.get("principalArn") or caller.arn, given["name"]
        value = region.settings.pop((principal, name), _SETTINGS.get(name, ""))
        return {"setting": _setting(name, value, principal)}


def _setting(name: str, value: str, principal: str) -> dict[str, Any]:
    return {"name": name, "value": value, "principalArn": principal, "type": "user"}
