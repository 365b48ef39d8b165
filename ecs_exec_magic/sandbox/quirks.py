"""What moto leaves out of S3 and EC2 and AWS does. Knows those rules only, never wire forms."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .api import ApiError, operation

if TYPE_CHECKING:
    from .account import Account
    from .api import Caller

__all__ = ["BucketDefaults", "InUse"]

_SSE_S3 = {"Rules": [{"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}]}


class BucketDefaults:
    """Every bucket is encrypted, with SSE-S3 unless it is told otherwise."""

    service = "s3"

    def __init__(self, account: Account) -> None:
        self._account = account

    @operation("CreateBucket", "DeleteBucketEncryption", after=True)
    async def op_encrypt(self, given: dict[str, Any], caller: Caller) -> None:
        """Set the default encryption of a bucket."""
        await self._account.call(
            "s3",
            "put_bucket_encryption",
            caller.region,
            Bucket=given["Bucket"],
            ServerSideEncryptionConfiguration=_SSE_S3,
        )


class InUse:
    """What a network interface still uses cannot be deleted, nor the interface of a task."""

    service = "ec2"

    def __init__(self, account: Account) -> None:
        self._account = account

    @operation("DeleteSecurityGroup")
    async def op_delete_security_group(self, given: dict[str, Any], caller: Caller) -> None:
        """Refuse while an interface is in the group."""

        def users() -> str:
            ec2 = self._account.backend("ec2", caller.region)
            names = {given.get("GroupId"), given.get("GroupName")} - {None}
            for interface in ec2.enis.values():
                for group in interface.group_set:
                    if group.id in names or group.name in names:
                        return str(group.id)
            return ""

        if found := await self._account.run(users):
            raise ApiError("DependencyViolation", f"resource {found} has a dependent object")

    @operation("DeleteSubnet")
    async def op_delete_subnet(self, given: dict[str, Any], caller: Caller) -> None:
        """Refuse while an interface is in the subnet."""
        subnet = given.get("SubnetId")

        def used() -> bool:
            ec2 = self._account.backend("ec2", caller.region)
            return any(interface.subnet_id == subnet for interface in ec2.enis.values())

        if await self._account.run(used):
            raise ApiError(
                "DependencyViolation",
                f"The subnet '{subnet}' has dependencies and cannot be deleted.",
            )

    @operation("DeleteNetworkInterface")
    async def op_delete_network_interface(self, given: dict[str, Any], caller: Caller) -> None:
        """Refuse while the interface is attached."""
        name = given.get("NetworkInterfaceId")

        def attached() -> bool:
            ec2 = self._account.backend("ec2", caller.region)
            return name in ec2.enis and ec2.enis[name].status == "in-use"

        if await self._account.run(attached):
            raise ApiError(
                "InvalidParameterValue", f"Network interface '{name}' is currently in use."
            )
