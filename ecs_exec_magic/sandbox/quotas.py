"""Service Quotas of the practice cluster: those of ECS that concern sessions.

Knows the quota's words and value. Never counts anything.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .account import partition
from .api import ApiError, Caller, operation

if TYPE_CHECKING:
    from .faults import Faults

__all__ = ["SESSIONS", "QuotaService"]

SESSIONS = "L-EXECSESSIONS"
"""Code of the quota; AWS's own is not known for certain."""


class QuotaService:
    """ListServiceQuotas and GetServiceQuota.

    Args:
        faults: may set the value of the sessions' quota.
    """

    service = "servicequotas"

    def __init__(self, faults: Faults) -> None:
        self._faults = faults

    @operation("ListServiceQuotas")
    def op_list_service_quotas(self, given: dict[str, Any], caller: Caller) -> dict[str, Any]:
        """All quotas of a service."""
        quotas = [self._sessions(caller)] if given["ServiceCode"] == "ecs" else []
        return {"Quotas": quotas}

    @operation("GetServiceQuota")
    def op_get_service_quota(self, given: dict[str, Any], caller: Caller) -> dict[str, Any]:
        """One quota by its code."""
        if (given["ServiceCode"], given["QuotaCode"]) != ("ecs", SESSIONS):
            raise ApiError("NoSuchResourceException", "There is no such quota.")
        return {"Quota": self._sessions(caller)}

    def _sessions(self, caller: Caller) -> dict[str, Any]:
        arn = f"arn:{partition(caller.region)}:servicequotas:{caller.region}:{caller.account_id}"
        return {
            "ServiceCode": "ecs",
            "ServiceName": "Amazon Elastic Container Service (Amazon ECS)",
            "QuotaArn": f"{arn}:ecs/{SESSIONS}",
            "QuotaCode": SESSIONS,
            "QuotaName": "ECS Exec sessions",
            "Value": float(self._faults.session_quota or 1000),
            "Unit": "None",
            "Adjustable": True,
            "GlobalQuota": False,
        }
