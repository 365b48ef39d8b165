"""The public parameters of SSM that name the images of container instances.

Knows their names. Never knows parameters of an account's own: there are none.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from .account import partition
from .api import ApiError, operation

if TYPE_CHECKING:
    from .api import Caller

__all__ = ["PublicParameters"]

_IMAGE = re.compile(
    r"/aws/service/ecs/optimized-ami/amazon-linux-(2|2023)(/arm64)?/recommended/image_id"
)


class PublicParameters:
    """Today's ECS-optimised images."""

    service = "ssm"

    @operation("GetParameter")
    def op_get_parameter(self, given: dict[str, Any], caller: Caller) -> dict[str, Any]:
        """One of them."""
        found = self._find(given["Name"], caller)
        if found is None:
            raise ApiError("ParameterNotFound", "")
        return {"Parameter": found}

    @operation("GetParameters")
    def op_get_parameters(self, given: dict[str, Any], caller: Caller) -> dict[str, Any]:
        """Several; those that are not there are named."""
        found = {name: self._find(name, caller) for name in given["Names"]}
        return {
            "Parameters": [each for each in found.values() if each],
            "InvalidParameters": [name for name, each in found.items() if not each],
        }

    @staticmethod
    def _find(name: str, caller: Caller) -> dict[str, Any] | None:
        image = _IMAGE.fullmatch(name)
        if image is None:
            return None
        return {
            "Name": name,
            "Type": "String",
            "Value": f"ami-0{image[1]:0>4}{'a' if image[2] else '8'}6400ec50000"[:21],
            "Version": 1,
            "LastModifiedDate": 0,
            "ARN": f"arn:{partition(caller.region)}:ssm:{caller.region}::parameter{name}",
            "DataType": "text",
        }
