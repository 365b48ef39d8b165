"""The role of the tasks and the policy that lets its agents reach AWS.

Knows how what is missing is found: IAM is asked; where that is denied, documents are compared.
Never changes a policy that it has not made.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from ...errors import AccessDenied
from ..exec_settings import bucket_key_of, by_alias
from ..plan.part import Part, Say, if_there, same_document, tag_list
from ..plan.policies import task_role_policy, trust_policy
from ..plan.roles import role_tags
from ..plan.steps import Step
from ..simulation import Question, Verdict, simulate
from .allowing import allowed, document_of, listed, role_documents
from .place import FOR, Place, short

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..plan.policies import Document

__all__ = ["RolePolicy", "TaskRole", "questions_of", "wanted_policy"]

_MISSING = ("NoSuchEntity", "NoSuchEntityException")
_SHOWN = 4


def wanted_policy(place: Place, bucket_key_arn: str = "") -> Document:
    """What the exec agents of the service need, and no more."""
    settings = place.settings
    document = task_role_policy(
        place.names,
        log_groups=place.session_groups,
        bucket=settings.bucket,
        prefix=settings.prefix,
        key_arn=settings.key_arn,
        bucket_key_arn=bucket_key_arn,
    )
    return by_alias(document, settings.key)


def questions_of(document: Document, region: str) -> list[Question]:
    """What has to be allowed for all of a document to be."""
    return [
        Question(action, resource, {"aws:RequestedRegion": region})
        for statement in document["Statement"]
        for action in listed(statement["Action"])
        for resource in listed(statement["Resource"])
    ]


class TaskRole(Part):
    """A role for tasks that have none, made or given; or the one that they have."""

    kind = "task role"
    site: Place

    def __init__(self, site: Place) -> None:
        super().__init__(site)
        definition = str(site.definition.get("taskRoleArn") or "")
        given = site.asked.task_role or ""
        self._none = not definition
        self._own = short(definition) == site.own_name or (self._none and not given)
        self._role: dict[str, Any] = {}
        arn = definition or (given if given.startswith("arn:") else "")
        site.role_arn = arn or site.names.role_arn(given or site.own_name)

    @property
    def name(self) -> str:
        return short(self.site.role_arn)

    @property
    def replaces(self) -> bool:
        """Whether the task definition has to be given this role."""
        return self._none

    def why(self) -> str:
        return "the task definition has none, and without one no agent reaches AWS"

    async def look(self) -> None:
        call = self.site.api.call("iam", "get_role", _about=self.name, RoleName=self.name)
        try:
            answer = await if_there(call, *_MISSING)
        except AccessDenied:
            if self._none:
                raise
            self.there = True  # it is in use; what it may do is found out, or left open
            return
        if answer is not None:
            self.there, self._role = True, answer["Role"]
            self.site.role_arn = str(self._role["Arn"])
            self.ours = self._own and role_tags(self._role).get(FOR) == self.site.owner

    def differences(self) -> list[str]:
        trust = self._role.get("AssumeRolePolicyDocument")
        if trust is None or "ecs-tasks.amazonaws.com" in json.dumps(trust):
            return []
        return ["it does not trust ecs-tasks.amazonaws.com"]

    def step(self) -> Step:
        place = self.site
        if self._none and not place.asked.task_role and not place.fargate:
            why = "the task definition has none, and a new one would hide the instances' role"
            cure = ("give one that has what they need from it: task_role= (--task-role)",)
            return Step(self.kind, self.name, "conflict", why, cure)
        if not self.there and not self._own:
            why = "there is no such role"
            return Step(self.kind, self.name, "conflict", why, ("give another",))
        step = super().step()
        if step.action == "keep" and not self.ours:
            return Step(self.kind, self.name, "keep", "yours; it is never removed")
        return step

    async def make(self, say: Say) -> None:
        api, place = self.site.api, self.site
        trust = json.dumps(trust_policy())
        if not self.there:
            answer = await api.call(
                "iam",
                "create_role",
                RoleName=self.name,
                AssumeRolePolicyDocument=trust,
                Description=f"Exec in {place.asked.address[:200]}, made by ecs-exec-magic",
                Tags=tag_list({FOR: place.owner}),
            )
            self._role, place.fresh = answer["Role"], True
            self.there = self.ours = True
            place.role_arn = str(self._role["Arn"])
        elif self.differences():
            await api.call(
                "iam", "update_assume_role_policy", RoleName=self.name, PolicyDocument=trust
            )


class RolePolicy(Part):
    """The inline policy, with a name of its own for each service."""

    kind = "role policy"
    site: Place

    def __init__(self, site: Place, role: TaskRole) -> None:
        super().__init__(site)
        self._role = role
        self._own: Document | None = None
        self._bucket_key = ""
        self._lacking: list[str] = []
        self._refused: Verdict | None = None
        self._compared = False

    @property
    def name(self) -> str:
        return self.site.own_name

    @property
    def role(self) -> str:
        """The name of the role that has it."""
        return self._role.name

    @property
    def document(self) -> Document:
        """What it is to say."""
        return wanted_policy(self.site, self._bucket_key)

    def why(self) -> str:
        how = ", as its documents say" if self._compared else ""
        return f"role {self.role} lacks {_listed(self._lacking)}{how}"

    async def look(self) -> None:
        """Also finds out which permissions are lacking; needs the role looked at."""
        api = self.site.api
        self._bucket_key = await bucket_key_of(api, self.site.settings)
        if not self._role.there:
            self._lacking = [each.action for each in questions_of(self.document, "")]
            return
        call = api.call("iam", "get_role_policy", RoleName=self.role, PolicyName=self.name)
        try:
            answer = await if_there(call, *_MISSING)
        except AccessDenied:
            answer = None
        if answer is not None:
            self._own = document_of(answer["PolicyDocument"])
            self.there = self.ours = True
        await self._find_lacking()

    async def _find_lacking(self) -> None:
        place = self.site
        questions = questions_of(self.document, place.names.region)
        try:
            verdicts: Sequence[Verdict] = await simulate(place.api, place.role_arn, questions)
        except AccessDenied:
            self._compared = True
            documents = await role_documents(place.api, self.role)
            self._lacking = [
                each.action for each in questions if not allowed(documents.values(), each)
            ]
            place.warnings.append(
                f"IAM may not be asked what role {self.role} may do "
                "(iam:SimulatePrincipalPolicy), so its policies were compared as they are written: "
                "conditions, boundaries and organisations were not looked at"
            )
            return
        refused = [each for each in verdicts if not each.allowed]
        self._lacking = [each.question.action for each in refused]
        self._refused = next((each for each in refused if _beyond(each)), None)

    def differences(self) -> list[str]:
        if self._own is not None and not same_document(self._own, self.document):
            return ["it says something else than these settings need"]
        return []

    def step(self) -> Step:
        if self._refused is not None:
            action = self._refused.question.action
            why = f"role {self.role} may not {action}: {self._refused.why}"
            cure = ("no policy of the role can change that; have it allowed there",)
            return Step(self.kind, self.name, "conflict", why, cure)
        if self._own is None and not self._lacking:
            why = f"role {self.role} has all permissions already"
            return Step(self.kind, self.name, "keep", why)
        if self._own is None:
            return Step(self.kind, self.name, "create", self.why())
        return super().step()

    async def make(self, say: Say) -> None:
        document = self.document
        await self.site.api.call(
            "iam",
            "put_role_policy",
            RoleName=self.role,
            PolicyName=self.name,
            PolicyDocument=json.dumps(document),
        )
        self._own, self.there, self.ours = document, True, True


def _beyond(verdict: Verdict) -> bool:
    """Whether more permission would not help."""
    if verdict.decision == "explicitDeny":
        return True
    return verdict.denied_by_boundary or verdict.denied_by_organisation


def _listed(actions: Sequence[str]) -> str:
    names = list(dict.fromkeys(actions))
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
