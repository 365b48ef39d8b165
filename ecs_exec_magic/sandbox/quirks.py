"""Rules of S3, EC2, IAM, STS and Logs that moto leaves out and AWS keeps.

Knows those rules and AWS's words for them. Never knows wire forms; all else is the account's.
"""

from __future__ import annotations

import re
from ipaddress import ip_network
from typing import TYPE_CHECKING, Any

from .account import partition
from .api import ApiError, operation

if TYPE_CHECKING:
    from .account import Account
    from .api import Caller

__all__ = ["rules"]

_SSE_S3 = {"Rules": [{"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}]}

_BUCKET = re.compile(r"(?!xn--|.*\.\.|[\d.]+$)[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")


def rules(account: Account) -> list[Any]:
    """Everything in this module, as services for the Api."""
    return [
        BucketDefaults(account),
        InUse(account),
        GroupRules(account),
        CurrentUser(),
        RolesToAssume(account),
        GroupKeys(account),
    ]


class BucketDefaults:
    """Every bucket is encrypted, with SSE-S3 unless it is told otherwise."""

    service = "s3"

    def __init__(self, account: Account) -> None:
        self._account = account

    @operation("CreateBucket")
    async def op_create_bucket(self, given: dict[str, Any], caller: Caller) -> None:
        """Refuse a name that no new bucket may have."""
        await self._account.run(_close_deleted_objects)
        if not _BUCKET.fullmatch(given["Bucket"]):
            raise ApiError("InvalidBucketName", "The specified bucket is not valid.")

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

    @operation("HeadBucket", "GetBucketLocation", "GetBucketTagging", "ListObjectsV2", "PutObject")
    async def op_of_others(self, given: dict[str, Any], caller: Caller) -> None:
        """Refuse a bucket of another account: none has a policy that would let us in."""

        def foreign() -> bool:
            from moto.s3.models import s3_backends

            owner = s3_backends.bucket_accounts.get(given["Bucket"])
            return owner is not None and owner[1] != caller.account_id

        if await self._account.run(foreign):
            raise ApiError("AccessDenied", "Access Denied", 403)

    @operation("DeleteBucket", after=True)
    async def op_forget_tags(self, given: dict[str, Any], caller: Caller) -> None:
        """Take its tags along: another bucket of that name has none of them."""

        def forget() -> None:
            s3 = self._account.backend("s3", caller.region)
            arn = f"arn:{partition(caller.region)}:s3:::{given['Bucket']}"
            s3.tagger.delete_all_tags_for_resource(arn)

        await self._account.run(forget)


def _close_deleted_objects() -> None:
    """moto never closes the files of objects that are deleted, and warns of that itself."""
    from moto.s3.models import FakeKey

    kind: Any = FakeKey
    kind.__del__ = lambda key: key.dispose()


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


class GroupRules:
    """Security groups are made in VPCs that are there, for addresses and ports that can be."""

    service = "ec2"

    def __init__(self, account: Account) -> None:
        self._account = account

    @operation("CreateSecurityGroup")
    async def op_create_security_group(self, given: dict[str, Any], caller: Caller) -> None:
        """Refuse a VPC that is not there."""
        vpc = given.get("VpcId")

        def known() -> bool:
            return vpc in self._account.backend("ec2", caller.region).vpcs

        if vpc is not None and not await self._account.run(known):
            raise ApiError("InvalidVpcID.NotFound", f"The vpc ID '{vpc}' does not exist")

    @operation("AuthorizeSecurityGroupIngress", "AuthorizeSecurityGroupEgress")
    def op_authorize(self, given: dict[str, Any], caller: Caller) -> None:
        """Refuse addresses and ports that cannot be."""
        for rule in (given, *given.get("IpPermissions", ())):
            ranges = [each.get("CidrIp") for each in rule.get("IpRanges", ())]
            ranges += [each.get("CidrIpv6") for each in rule.get("Ipv6Ranges", ())]
            for cidr in (rule.get("CidrIp"), *ranges):
                if cidr is not None and not _is_network(cidr):
                    raise ApiError("InvalidParameterValue", f"CIDR block {cidr} is malformed")
            if str(rule.get("IpProtocol")) not in ("tcp", "udp", "6", "17"):
                continue
            for port in (rule.get("FromPort"), rule.get("ToPort")):
                if port is not None and not -1 <= port <= 65535:
                    text = f"TCP/UDP port ({port}) out of range"
                    raise ApiError("InvalidParameterValue", text)


def _is_network(cidr: str) -> bool:
    try:
        ip_network(cidr, strict=False)
    except ValueError:
        return False
    return "/" in cidr


class CurrentUser:
    """The sandbox's own user can be asked for, though IAM has no such user."""

    service = "iam"

    @operation("GetUser")
    def op_get_user(self, given: dict[str, Any], caller: Caller) -> dict[str, Any] | None:
        """Tell who calls, when nobody is named."""
        principal = caller.principal
        if "UserName" in given or principal is None:
            return None
        if principal.kind == "assumed-role":
            raise ApiError(
                "ValidationError", "Must specify userName when calling with non-User credentials"
            )
        if principal.name != "sandbox":
            return None
        return {
            "User": {
                "Path": "/",
                "UserName": principal.name,
                "UserId": principal.user_id,
                "Arn": principal.arn,
                "CreateDate": 0,
            }
        }


class RolesToAssume:
    """A role that is not there cannot be assumed."""

    service = "sts"

    def __init__(self, account: Account) -> None:
        self._account = account

    @operation("AssumeRole")
    async def op_assume_role(self, given: dict[str, Any], caller: Caller) -> None:
        """Refuse an unknown role in the words for a forbidden one."""
        arn = given["RoleArn"]

        def known() -> bool:
            iam = self._account.backend("iam", caller.region)
            return any(role.arn == arn for role in iam.roles.values())

        if not await self._account.run(known):
            raise ApiError(
                "AccessDenied",
                f"User: {caller.arn} is not authorized to perform: sts:AssumeRole on resource: "
                f"{arn}",
                403,
            )


class GroupKeys:
    """A log group's key must be there and enabled."""

    service = "logs"

    def __init__(self, account: Account) -> None:
        self._account = account

    @operation("CreateLogGroup", "AssociateKmsKey")
    async def op_with_key(self, given: dict[str, Any], caller: Caller) -> None:
        """Refuse a key that cannot be used."""
        from botocore.exceptions import ClientError

        key, state = given.get("kmsKeyId"), ""
        if key is None:
            return
        try:
            found = await self._account.call("kms", "describe_key", caller.region, KeyId=key)
            state = found["KeyMetadata"]["KeyState"]
        except ClientError:
            pass
        if state != "Enabled":
            name = given.get("logGroupName", "")
            head = f"arn:{partition(caller.region)}:logs"
            arn = f"{head}:{caller.region}:{caller.account_id}:log-group:{name}"
            raise ApiError(
                "InvalidParameterException",
                "The specified KMS Key Id does not exist or is not allowed to be used with "
                f"LogGroup '{arn}'",
            )
