"""May this caller do that? The answer, and the refusal in AWS's words.

Knows how identities, policies, resources and their tags come together. Never knows HTTP, sessions
or what a call does.
"""

from __future__ import annotations

from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from ..api import ApiError
from .documents import check_call
from .needs_ecs import ROLE_READERS
from .patterns import Context, context_of
from .permissions import EITHER, SELF_CHECKED, Facts, NoFacts, needs
from .policies import Verdict, evaluate
from .principals import Entity, Principals
from .requests import Need, Request

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ..api import Caller
    from .identity import AccountLike, Identities, Identity

__all__ = ["Authorizer", "entity_context", "refusal"]

_NONE: Mapping[str, Sequence[str]] = {}
_NO_POLICIES = Entity("", "", "", "", ())
_ALIAS_CALLS = ("kms:CreateAlias", "kms:DeleteAlias", "kms:UpdateAlias")


class Authorizer:
    """Checks calls and roles against IAM.

    Args:
        account: where policies and keys are.
        identities: who a key is.
        enabled: without it everybody may do everything.
        facts: tags and roles of what ECS holds.
    """

    def __init__(
        self,
        account: AccountLike,
        identities: Identities,
        *,
        enabled: bool = False,
        facts: Facts | None = None,
    ) -> None:
        self.enabled = enabled
        self.facts: Facts = facts or NoFacts()
        self.principals = Principals(account)
        self._account = account
        self._identities = identities

    def changed(self) -> None:
        """IAM was written to: the front calls it after every such call."""
        self.principals.changed()

    async def check(
        self,
        caller: Caller,
        action: str,
        resource: str,
        context: Mapping[str, Sequence[str]] = _NONE,
    ) -> None:
        """Refuse what the caller may not do.

        For ecs:ExecuteCommand the cluster and the task are both looked at, whichever is the
        resource, when the context names them (``ecs:cluster``, ``ecs:task``). Tags of resources
        need not be in the context.

        Args:
            caller: who asks.
            action: ``service:Action``.
            resource: an ARN, or ``*``.
            context: condition keys of the request.

        Raises:
            ApiError: access is denied, in the form of the action's service.
        """
        need = Need(action, (resource,), _tuples(context))
        await self._hold(caller, action.partition(":")[0], need)

    async def admit(
        self, caller: Caller, service: str, operation: str, given: Mapping[str, Any]
    ) -> None:
        """Refuse a call that the caller may not make; the front asks before it runs.

        Documents that IAM would not take are refused whether calls are checked or not.

        Args:
            caller: who asks.
            service: as boto3 names it.
            operation: as the API names it.
            given: its parameters, in botocore's shapes.

        Raises:
            ApiError: access is denied, or MalformedPolicyDocument.
        """
        if self.enabled and f"{service}:{operation}" not in SELF_CHECKED:
            await self._admit(caller, service, operation, given)
        check_call(service, operation, given)

    async def _admit(
        self, caller: Caller, service: str, operation: str, given: Mapping[str, Any]
    ) -> None:
        identity = await self._identities.resolve(caller.access_key, service)
        if identity.administrator:
            return
        request = Request(
            service,
            operation,
            given,
            caller.region,
            self._account.account_id,
            identity.entity_arn,
        )
        roles: Sequence[str] = ()
        definition = given.get("taskDefinition")
        if service == "ecs" and operation in ROLE_READERS and isinstance(definition, str):
            roles = await self.facts.roles_of(definition, caller.region)
        for need in needs(request, roles):
            await self._hold(caller, service, need)

    async def role_allows(
        self,
        role_arn: str | None,
        action: str,
        resource: str = "*",
        context: Mapping[str, Sequence[str]] = _NONE,
    ) -> bool:
        """Whether a role's policies allow an action; without a role nothing is allowed."""
        if not self.enabled:
            return True
        entity = await self.principals.entity(role_arn) if role_arn else None
        if entity is None:
            return False
        whole = context_of(context, entity_context(entity, self._account.account_id, resource))
        return evaluate(entity.policies, action, resource, whole, entity.boundary).allowed

    async def _hold(self, caller: Caller, service: str, need: Need) -> None:
        if not self.enabled:
            return
        identity = await self._identities.resolve(caller.access_key, service)
        if identity.administrator:
            return
        entity = await self.principals.entity(identity.entity_arn) or _NO_POLICIES
        base = _caller_context(identity, entity, self._account.account_id, caller.region)
        resources = await self._resources(need, caller.region)
        tags = {arn: await self._tags(arn) for arn in resources}
        verdicts: list[tuple[str, Verdict]] = []
        for arn in resources:
            own = tags[arn]
            others = [tags[other] for other in resources if other != arn]
            shared = others if need.action in EITHER else []
            context = context_of(own, need.context, *shared, base)
            verdicts.append(
                (arn, evaluate(entity.policies, need.action, arn, context, entity.boundary))
            )
        refused = _refused(verdicts, either=need.action in EITHER)
        if refused is not None:
            raise refusal(service, identity.arn, need.action, *refused)

    async def _resources(self, need: Need, region: str) -> list[str]:
        found = list(need.resources)
        if need.action in EITHER:
            named = [*need.context.get("ecs:cluster", ()), *need.context.get("ecs:task", ())]
            found = list(dict.fromkeys([*named, *found]))
        if need.action.startswith("kms:") and need.action not in _ALIAS_CALLS:
            found = [await self._key_arn(arn, region) for arn in found]
        return found

    async def _key_arn(self, arn: str, region: str) -> str:
        """The key behind an alias; the alias itself when there is none."""
        if ":alias/" not in arn:
            return arn
        from botocore.exceptions import ClientError

        try:
            found = await self._account.call("kms", "describe_key", region, KeyId=arn)
        except ClientError:
            return arn
        return str(found["KeyMetadata"]["Arn"])

    async def _tags(self, arn: str) -> dict[str, str]:
        """The tags of a resource of ECS, as condition keys."""
        if ":ecs:" not in arn:
            return {}
        tags = await self.facts.tags_of(arn) or {}
        prefixes = ("aws:ResourceTag/", "ecs:ResourceTag/", "ssm:resourceTag/")
        return {prefix + key: value for prefix in prefixes for key, value in tags.items()}


def _tuples(context: Mapping[str, Sequence[str]]) -> dict[str, tuple[str, ...]]:
    return {k: (v,) if isinstance(v, str) else tuple(v) for k, v in context.items()}


def _refused(verdicts: list[tuple[str, Verdict]], *, either: bool) -> tuple[str, Verdict] | None:
    """The resource that a refusal names, if there is one to be made."""
    for arn, verdict in verdicts:
        if verdict.decision == "explicitDeny":
            return arn, verdict
    refused = [(arn, verdict) for arn, verdict in verdicts if not verdict.allowed]
    if not refused or (either and len(refused) < len(verdicts)):
        return None
    return refused[0]


def entity_context(entity: Entity, account_id: str, resource: str = "*") -> dict[str, str]:
    """The condition keys that a user or role brings with it."""
    now = datetime.now(timezone.utc)
    found = {
        "aws:PrincipalArn": entity.arn,
        "aws:PrincipalAccount": account_id,
        "aws:PrincipalType": "User" if entity.kind == "user" else "AssumedRole",
        "aws:SecureTransport": "true",
        "aws:SourceIp": "127.0.0.1",
        "aws:ViaAWSService": "false",
        "aws:CurrentTime": now.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "aws:EpochTime": str(int(now.timestamp())),
        **{f"aws:PrincipalTag/{key}": value for key, value in entity.tags.items()},
    }
    if entity.unique_id:
        found["aws:userid"] = entity.unique_id
    if entity.kind == "user":
        found["aws:username"] = entity.name
    region = resource.split(":")[3] if resource.count(":") >= 5 else ""
    if region:
        found["aws:RequestedRegion"] = region
    return found


def _caller_context(identity: Identity, entity: Entity, account_id: str, region: str) -> Context:
    known = {"aws:RequestedRegion": region, "aws:PrincipalArn": identity.entity_arn}
    if identity.user_id:
        known["aws:userid"] = identity.user_id
    return context_of(known, entity_context(entity, account_id))


def refusal(service: str, arn: str, action: str, resource: str, verdict: Verdict) -> ApiError:
    """The error for a denied call, in the form and wording of the service that was called."""
    place = "a permissions boundary" if verdict.boundary else "an identity-based policy"
    reason = f"with an explicit deny in {place}"
    if verdict.decision != "explicitDeny":
        kind = "permissions boundary" if verdict.boundary else "identity-based policy"
        reason = f"because no {kind} allows the {action} action"
    shown = f' on resource: "{resource}"' if service == "s3" else f" on resource: {resource}"
    if resource == "*" and service in ("s3", "ec2"):
        shown = ""
    text = f"User: {arn} is not authorized to perform: {action}{shown} {reason}"
    if service == "ec2":
        text = f"You are not authorized to perform this operation. {text}"
        return ApiError("UnauthorizedOperation", text, 403)
    if service in ("iam", "sts", "s3"):
        return ApiError("AccessDenied", text, 403)
    return ApiError("AccessDeniedException", text)
