"""The caller's identity, as STS tells it. Knows no state; the rest of STS is moto's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .account import OWN_ID
from .api import operation

if TYPE_CHECKING:
    from .api import Caller

__all__ = ["StsService"]


class StsService:
    """Who am I; answered here so that it needs no more than the signature."""

    service = "sts"

    @operation("GetCallerIdentity")
    def op_get_caller_identity(self, given: dict[str, Any], caller: Caller) -> dict[str, Any]:
        """Tell the caller's identity."""
        user_id = caller.principal.user_id if caller.principal is not None else OWN_ID
        return {"UserId": user_id, "Account": caller.account_id, "Arn": caller.arn}
