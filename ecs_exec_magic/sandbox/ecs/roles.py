"""Whether ECS may take on the roles of a task.

Knows trust policies. Never knows what a role allows: that is the authoriser's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..api import ApiError

if TYPE_CHECKING:
    from ..world import World
    from .model import Launch

__all__ = ["check_roles", "trusts"]

_PRINCIPAL = "ecs-tasks.amazonaws.com"
_ACTIONS = ("*", "sts:*", "sts:assumerole")


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def trusts(document: Any) -> bool:
    """Whether a trust policy lets the tasks of ECS assume its role."""
    if not isinstance(document, dict):
        return False
    for statement in _list(document.get("Statement", [])):
        if not isinstance(statement, dict) or statement.get("Effect") != "Allow":
            continue
        principal = statement.get("Principal")
        services = principal.get("Service", []) if isinstance(principal, dict) else principal
        actions = [str(action).lower() for action in _list(statement.get("Action", []))]
        named = _PRINCIPAL in _list(services) or services == "*"
        if named and any(action in _ACTIONS for action in actions):
            return True
    return False


async def check_roles(world: World, region: str, launch: Launch) -> None:
    """Refuse roles that are not there or do not trust ECS; only where IAM is enforced.

    Raises:
        ApiError: ClientException, in ECS's words.
    """
    if not world.authorizer.enabled:
        return
    from botocore.exceptions import ClientError

    for arn in (launch.role_arn, launch.execution_role_arn):
        if arn is None:
            continue
        try:
            name = arn.rpartition("/")[2]
            answer = await world.account.call("iam", "get_role", region, RoleName=name)
            document = answer["Role"]["AssumeRolePolicyDocument"]
        except ClientError:
            document = None
        if not trusts(document):
            raise ApiError(
                "ClientException",
                f"ECS was unable to assume the role '{arn}' that was provided for this task. "
                "Please verify that the role being passed has the proper trust relationship and "
                "permissions and that your IAM user has permissions to pass this role.",
            )
