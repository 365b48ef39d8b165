"""The roles of a plan: what containers may do, what starts them, and what their instance may do.

Knows IAM. Never knows what the policies say.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from .names import ecr_repository
from .part import Part, Say, if_there, same_document, tag_list, tags_of
from .policies import (
    POLICY_NAME,
    Document,
    ec2_principal,
    execution_role_policy,
    instance_role_policy,
    task_role_policy,
    trust_policy,
)
from .steps import Step

if TYPE_CHECKING:
    from .part import Site

__all__ = ["GivenRole", "OwnRole", "execution_policy", "role_tags", "task_policy"]

_PURPOSES = {
    "task role": "lets the exec agent in the containers reach AWS",
    "execution role": "lets ECS write logs and pull the image",
    "instance role": "lets the instance join the cluster",
}
_MISSING = ("NoSuchEntity", "NoSuchEntityException")


def task_policy(site: Site) -> Document:
    """What the plan's task role may do."""
    return task_role_policy(
        site.names,
        log_group=site.session_group,
        bucket=site.bucket,
        prefix=site.options.prefix,
        key_arn=site.wanted_key_arn,
        bucket_key=site.options.encrypt_logs,
    )


def execution_policy(site: Site) -> Document | None:
    """What the plan's execution role may do; None when ECS needs none."""
    repository = ecr_repository(site.options.image, site.names.partition)
    return execution_role_policy(site.names, log_group=site.log_group, repository_arn=repository)


def role_tags(role: dict[str, Any]) -> dict[str, str]:
    """The tags in the answer of GetRole."""
    return tags_of(role.get("Tags"))


class _Role(Part):
    """One of them."""

    def __init__(self, site: Site, kind: str) -> None:
        super().__init__(site)
        self.kind = kind
        self._role: dict[str, Any] = {}

    def why(self) -> str:
        return _PURPOSES[self.kind]

    async def look(self) -> None:
        name = self.name.rpartition("/")[2]
        call = self.site.api.call("iam", "get_role", _about=name, RoleName=name)
        answer = await if_there(call, *_MISSING)
        if answer is not None:
            self.there, self._role = True, answer["Role"]
            self._tell(str(self._role["Arn"]))

    def _tell(self, arn: str) -> None:
        if self.kind == "task role":
            self.site.task_role_arn = arn
        elif self.kind == "execution role":
            self.site.execution_role_arn = arn

    def _trusted(self) -> list[str]:
        trust = self._role.get("AssumeRolePolicyDocument")
        text = trust if isinstance(trust, str) else json.dumps(trust)
        if self.kind == "instance role":
            return [] if ec2_principal(self.site.names) in text else ["it does not trust EC2"]
        return [] if "ecs-tasks.amazonaws.com" in text else ["it does not trust ECS tasks"]


class GivenRole(_Role):
    """A role that the user names; what it may do is the user's affair."""

    @property
    def name(self) -> str:
        options = self.site.options
        given = options.task_role if self.kind == "task role" else options.execution_role
        return str(given)

    def differences(self) -> list[str]:
        return self._trusted()

    def step(self) -> Step:
        if not self.there:
            cure = ("name another, or none to have one made",)
            return Step(self.kind, self.name, "conflict", "there is no such role", cure)
        step = super().step()
        if step.action == "keep":
            why = "yours: it must allow what the document of this name says"
            return Step(self.kind, self.name, "keep", why)
        return step

    async def make(self, say: Say) -> None:
        """Nothing: it is there."""


class OwnRole(_Role):
    """A role with one inline policy."""

    def __init__(self, site: Site, kind: str) -> None:
        super().__init__(site, kind)
        self._policy: Any = None
        self._tell(site.names.role_arn(self.name))

    @property
    def name(self) -> str:
        return str(getattr(self.site.names, self.kind.replace(" ", "_")))

    def policy(self) -> Document:
        """What it may do."""
        site = self.site
        if self.kind == "instance role":
            return instance_role_policy(site.names)
        policy = task_policy(site) if self.kind == "task role" else execution_policy(site)
        assert policy is not None, "a role that needs nothing is not made"
        return policy

    def trust(self) -> Document:
        """What may take it on."""
        if self.kind == "instance role":
            return trust_policy(ec2_principal(self.site.names))
        return trust_policy()

    def request(self) -> dict[str, Any]:
        """What a new role is made with, but its policies."""
        site = self.site
        return {
            "RoleName": self.name,
            "Description": f"{self.kind.capitalize()} of {site.options.name}, made by {site.maker}",
            "Tags": tag_list(site.tags),
        }

    async def look(self) -> None:
        await super().look()
        if self.there:
            self.ours = self.site.owns(role_tags(self._role))
            call = self.site.api.call(
                "iam", "get_role_policy", RoleName=self.name, PolicyName=POLICY_NAME
            )
            answer = await if_there(call, *_MISSING)
            self._policy = answer and answer["PolicyDocument"]
            self._note()

    def _note(self) -> None:
        if self.kind == "instance role":
            self.site.instance_role_id = str(self._role.get("RoleId", ""))

    def differences(self) -> list[str]:
        found = []
        if self._policy is None:
            found.append(f"it has no policy {POLICY_NAME}")
        elif not same_document(self._policy, self.policy()):
            found.append(f"its policy {POLICY_NAME} says something else")
        return self._trusted() + found

    async def make(self, say: Say) -> None:
        api, site = self.site.api, self.site
        trust = json.dumps(self.trust())
        if not self.there:
            answer = await api.call(
                "iam", "create_role", AssumeRolePolicyDocument=trust, **self.request()
            )
            self.there, self.ours, self._role = True, True, answer["Role"]
            self._tell(str(self._role["Arn"]))
            self._note()
            site.fresh = True
        elif self._trusted():
            await api.call(
                "iam", "update_assume_role_policy", RoleName=self.name, PolicyDocument=trust
            )
            site.fresh = True
        wanted = self.policy()
        if self._policy is None or not same_document(self._policy, wanted):
            await api.call(
                "iam",
                "put_role_policy",
                RoleName=self.name,
                PolicyName=POLICY_NAME,
                PolicyDocument=json.dumps(wanted),
            )
            self._policy, site.fresh = wanted, True
