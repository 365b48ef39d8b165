"""Whether the key that encrypts sessions can be used.

Knows KMS keys and their policies. Never knows IAM's policies.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...errors import AccessDenied, EcsExecError
from .documents import says
from .registry import check, fail, ok, warn

if TYPE_CHECKING:
    from ...findings import Finding
    from .scene import Record, Scene

__all__ = ["key_arn"]

_CURES = {
    "Disabled": ("enable it", "aws kms enable-key --key-id {}"),
    "PendingDeletion": (
        "cancel its deletion, or name another key",
        "aws kms cancel-key-deletion --key-id {}",
    ),
}


async def _key(scene: Scene) -> Record | None:
    """The cluster's key as KMS shows it; None when sessions have no key of the cluster's."""
    name = (await scene.settings()).key
    if not name:
        return None
    return dict((await scene.call("kms", "describe_key", KeyId=name))["KeyMetadata"])


async def key_arn(scene: Scene) -> str | None:
    """ARN of the key; None when there is none, or it cannot be looked up."""
    name = (await scene.settings()).key
    if not name:
        return None
    try:
        key = await _key(scene)
        return str(key["Arn"]) if key else None
    except AccessDenied:
        if "alias/" in name:
            raise
        return name if name.startswith("arn:") else await scene.arn("kms", f"key/{name}")
    except EcsExecError:
        return None  # key.usable tells


@check("key.usable", "whether the session's key can be used", "kms:DescribeKey")
async def usable(scene: Scene) -> Finding | None:
    name = (await scene.settings()).key
    if not name:
        return None
    try:
        key = await _key(scene)
    except EcsExecError as error:
        if error.code not in ("NotFoundException", "InvalidArnException"):
            raise
        return fail(
            f"the cluster's key {name} is not there",
            error.cause,
            "name another key in the cluster's executeCommandConfiguration",
            f"aws ecs describe-clusters --clusters {scene.place} --include CONFIGURATIONS",
        )
    assert key is not None
    state, spec = key.get("KeyState"), key.get("KeySpec", "SYMMETRIC_DEFAULT")
    if state != "Enabled":
        cure, call = _CURES.get(str(state), ("name another key for the cluster", ""))
        return fail(f"the session's key is {state}", str(key["Arn"]), cure, call.format(key["Arn"]))
    if spec != "SYMMETRIC_DEFAULT":
        return fail(
            "the session's key is not a symmetric one",
            f"{key['Arn']} is {spec}; data keys need SYMMETRIC_DEFAULT",
            "name a symmetric key for the cluster",
            "aws kms create-key --key-spec SYMMETRIC_DEFAULT",
        )
    return ok("the session's key is enabled", str(key["Arn"]))


@check("key.policy", "whether the key's policy lets it be used", "kms:GetKeyPolicy")
async def policy(scene: Scene) -> Finding | None:
    from .role import roles

    name = (await scene.settings()).key
    arn = await key_arn(scene)
    if not name or arn is None:
        return None
    try:
        answer = await scene.call("kms", "get_key_policy", KeyId=arn, PolicyName="default")
    except EcsExecError as error:
        if error.code == "NotFoundException":
            return None  # key.usable tells
        raise
    document = answer["Policy"]
    account = arn.split(":")[4]
    root = f"arn:{arn.split(':')[1]}:iam::{account}:root"
    wanted = [(role.arn, "kms:Decrypt") for role in (await roles(scene))[0]]
    wanted.append((await scene.caller(), "kms:GenerateDataKey"))
    get = f"aws kms get-key-policy --key-id {arn} --policy-name default --query Policy"
    perhaps = []
    for principal, action in wanted:
        # IAM's policies count only where the key's lets the account decide.
        said = says(document, action, (principal, root, account))
        if said in ("nothing", "deny"):
            verb = "denies" if said == "deny" else "does not allow"
            return fail(
                f"the key's policy {verb} {action} to {principal.rpartition('/')[2]}",
                f"policy of {arn}",
                f"let {principal} use the key in the key's policy, or let the account's IAM decide "
                f"(principal {root})",
                get,
            )
        if said == "perhaps":
            perhaps.append(f"{action} to {principal.rpartition('/')[2]}")
    if perhaps:
        return warn(
            "the key's policy lets it be used under conditions",
            f"{', '.join(perhaps)}: the statement has a Condition, whose values are not known here",
            "see that the conditions hold",
            get,
        )
    return ok("the key's policy lets it be used")
