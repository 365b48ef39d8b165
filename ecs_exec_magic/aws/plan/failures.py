"""What stopped a step, as the one error that plans raise.

Knows codes and cures. Never knows how a step is taken.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...errors import EcsExecError, ProvisionError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .steps import Step

__all__ = ["conflicts", "not_empty", "step_failed"]

_CURES = {
    "BucketAlreadyExists": "choose another name: all accounts share the names of buckets",
    "BucketAlreadyOwnedByYou": "it was made in this moment; apply again",
    "OperationAborted": "S3 is still deleting a bucket of this name: wait some minutes",
    "TooManyBuckets": "delete buckets, or have the quota raised: aws service-quotas "
    "list-service-quotas --service-code s3",
    "LimitExceeded": "delete what is not used, or have the quota raised",
    "LimitExceededException": "delete what is not used, or have the quota raised",
    "ResourceLimitExceeded": "delete what is not used, or have the quota raised",
    "SecurityGroupLimitExceeded": "delete security groups, or have the quota of the VPC raised",
    "InstanceLimitExceeded": "terminate instances that are not used, or have the quota raised",
    "VcpuLimitExceeded": "terminate instances that are not used, or have the quota of vCPUs raised",
    "InsufficientInstanceCapacity": "try again later, or name subnets in another zone, or another "
    "instance type",
    "Unsupported": "this zone does not have this instance type: name subnets in another zone",
    "ParameterNotFound": "the region has no such ECS-optimised image: choose another instance type",
    "DependencyViolation": "something else still uses it: take it out there first",
    "ClusterContainsTasksException": "tasks that this plan did not start run in the cluster: stop "
    "them first",
    "ClusterContainsServicesException": "services that this plan did not make are in the cluster: "
    "delete them first",
    "ClusterContainsContainerInstancesException": "deregister the cluster's instances first",
    "DeleteConflict": "take the role out of what else uses it first",
    "BucketNotEmpty": "something was written to it in this moment: destroy again",
}
_TOLD = 4  # resources whose differences an error tells
_WORDS = {"create": "made", "update": "changed", "keep": "looked at", "delete": "removed"}


def step_failed(step: Step, error: EcsExecError, *, done: int, verb: str) -> ProvisionError:
    """The error of a step.

    Args:
        done: steps that were taken before it, and stay.
        verb: what is to be repeated once the cause is gone: ``apply`` or ``destroy``.
    """
    again = f"then {verb} again" + (f": the {done} steps before it are done" if done > 1 else "")
    cure = _CURES.get(error.code) or error.cure
    said = str(error)
    cause = f"{said}; {error.cause}" if error.cause and error.cause != said else said
    failed = ProvisionError(
        f"{step.kind} {step.name} could not be {_WORDS.get(step.action, 'made')}",
        cause=cause,
        cure=f"{cure}; {again}" if cure else again,
        step=step,
    )
    failed.code, failed.request_id = error.code, error.request_id
    return failed


def conflicts(steps: Sequence[Step]) -> ProvisionError | None:
    """The error of a plan that cannot be applied; None when it can."""
    found = [step for step in steps if step.action == "conflict"]
    if not found:
        return None
    first = found[0]
    more = f" and {len(found) - 1} more" if len(found) > 1 else ""
    causes = ["; ".join([step.why, *step.difference]) for step in found[:_TOLD]]
    if more:
        named = zip(found, causes, strict=False)
        causes = [f"{step.kind} {step.name}: {cause}" for step, cause in named]
    if len(found) > _TOLD:
        causes.append(f"and {len(found) - _TOLD} more")
    return ProvisionError(
        f"nothing was touched: {first.kind} {first.name}{more} cannot be used",
        cause=". ".join(causes),
        cure="choose another name, or settings that fit",
        step=first,
        steps=tuple(steps),
    )


def not_empty(step: Step) -> ProvisionError:
    """The error of a bucket that nobody has allowed to empty."""
    error = ProvisionError(
        f"nothing was removed: {step.kind} {step.name} has objects in it",
        cause="they are the logs of sessions, or somebody else's, and cannot be brought back",
        cure="save what you need, then destroy with empty_bucket=True",
        step=step,
    )
    error.code = "BucketNotEmpty"
    return error
