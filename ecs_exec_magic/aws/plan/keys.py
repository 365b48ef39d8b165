"""The key of the data channel, and of logs that are encrypted with it.

Knows KMS: keys, aliases and their tags. Never knows what is encrypted.
"""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

from ...errors import AccessDenied
from .part import NEW, Part, Say, difference, if_there, tag_list, tags_of
from .policies import Document, key_policy, logs_principal
from .steps import Step

if TYPE_CHECKING:
    from ..api import AwsApi
    from .part import Site

__all__ = ["Key", "describe", "key_tags", "loose_keys"]

_MISSING = ("NotFoundException",)


async def describe(api: AwsApi, key: str) -> dict[str, Any] | None:
    """The metadata of a key by its id, ARN or alias; None when there is none."""
    answer = await if_there(api.call("kms", "describe_key", _about=key, KeyId=key), *_MISSING)
    return answer and answer["KeyMetadata"]


async def key_tags(api: AwsApi, key_id: str) -> dict[str, str]:
    """The tags of a key; no key has more than fit into one answer."""
    answer = await api.call("kms", "list_resource_tags", KeyId=key_id)
    return tags_of(answer.get("Tags"))


async def loose_keys(site: Site) -> list[dict[str, Any]]:
    """Keys of this plan that no alias leads to: it was stopped between the two.

    Keys whose tags may not be read cannot be ours: whoever made one could read its own.
    """
    api = site.api
    keys, aliases = await asyncio.gather(
        api.pages("kms", "list_keys", "Keys"), api.pages("kms", "list_aliases", "Aliases")
    )
    named = {each.get("TargetKeyId") for each in aliases}

    async def own(key_id: str) -> dict[str, Any] | None:
        try:
            tags = await key_tags(api, key_id)
        except AccessDenied:
            return None
        if not site.owns(tags):
            return None
        found = await describe(api, key_id)
        return found if found and found["KeyState"] in ("Enabled", "Disabled") else None

    ids = [each["KeyId"] for each in keys if each["KeyId"] not in named]
    return [each for each in await asyncio.gather(*map(own, ids)) if each]


class Key(Part):
    """A KMS key with an alias, or one that there is."""

    kind = "KMS key"

    def __init__(self, site: Site) -> None:
        super().__init__(site)
        self._key: dict[str, Any] | None = None
        self._aliased = False
        self._lets_logs = True

    @property
    def name(self) -> str:
        return self.site.names.alias if self._new else str(self.site.options.kms_key)

    @property
    def _new(self) -> bool:
        return self.site.options.kms_key == NEW

    @property
    def _log_group(self) -> str:
        """The group that the key encrypts; empty for none."""
        return self.site.log_group if self.site.options.encrypt_logs else ""

    def why(self) -> str:
        more = ", and of the logs" if self.site.options.encrypt_logs else ""
        return f"encrypts the data channel of sessions{more}"

    async def look(self) -> None:
        api = self.site.api
        self._key = await describe(api, self.name)
        if self._new and (self._key is None or await self._is_going()):
            # Its alias will lead to another one.
            loose = await loose_keys(self.site)
            self._key = loose[0] if loose else None
        else:
            self._aliased = self._new
        if self._key is None:
            return
        key_id = self._key["KeyId"]
        if self._new:
            self.ours = self.site.owns(await key_tags(api, key_id))
            if self.ours and self._log_group:
                answer = await api.call("kms", "get_key_policy", KeyId=key_id, PolicyName="default")
                self._lets_logs = logs_principal(self.site.names) in answer["Policy"]
        self.there = not self.ours or self._aliased
        self.site.key_arn = self._key["Arn"]

    async def _is_going(self) -> bool:
        """Whether the key that the alias leads to is ours, and will be deleted."""
        assert self._key is not None
        if self._key["KeyState"] != "PendingDeletion":
            return False
        return self.site.owns(await key_tags(self.site.api, self._key["KeyId"]))

    def differences(self) -> list[str]:
        assert self._key is not None
        found = difference("its state", self._key["KeyState"], "Enabled")
        found += difference(
            "its use", self._key.get("KeyUsage", "ENCRYPT_DECRYPT"), "ENCRYPT_DECRYPT"
        )
        spec = self._key.get("KeySpec") or self._key.get("CustomerMasterKeySpec")
        found += difference("its kind", spec or "SYMMETRIC_DEFAULT", "SYMMETRIC_DEFAULT")
        if not self._lets_logs:
            found.append("its policy does not let CloudWatch Logs encrypt the log group")
        return found

    def step(self) -> Step:
        step = super().step()
        if step.action == "create" and not self._new:
            why = "there is no such key in this region and account"
            return Step(self.kind, self.name, "conflict", why, ("give another, or new",))
        return step

    def policy(self) -> Document:
        """Who may use it."""
        return key_policy(self.site.names, log_group=self._log_group)

    def request(self) -> dict[str, Any]:
        """What a new key is made with, but its policy."""
        site = self.site
        return {
            "Description": f"Exec sessions of {site.options.name}, made by {site.maker}",
            "Tags": tag_list(site.tags, "TagKey", "TagValue"),
        }

    async def make(self, say: Say) -> None:
        site, api = self.site, self.site.api
        policy = json.dumps(self.policy())
        if self._key is None:
            answer = await api.call("kms", "create_key", Policy=policy, **self.request())
            self._key, self._lets_logs, site.fresh = answer["KeyMetadata"], True, True
        elif not self._lets_logs:
            await api.call(
                "kms",
                "put_key_policy",
                KeyId=self._key["KeyId"],
                PolicyName="default",
                Policy=policy,
            )
            site.fresh = True
        if self._key["KeyState"] == "Disabled":
            await api.call("kms", "enable_key", KeyId=self._key["KeyId"])
            self._key, site.fresh = {**self._key, "KeyState": "Enabled"}, True
        site.key_arn = self._key["Arn"]
        if not (self.there or self._aliased):
            moved = await describe(api, self.name)
            operation = "update_alias" if moved else "create_alias"
            await api.call("kms", operation, AliasName=self.name, TargetKeyId=self._key["KeyId"])
        self.there = self.ours = self._aliased = True
