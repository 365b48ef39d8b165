"""Where logs go: a log group and a bucket.

Knows CloudWatch Logs and S3. Never knows what is logged.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

from ...errors import AccessDenied, EcsExecError
from .part import Part, Say, difference, if_there, patiently, tag_list, tags_of
from .steps import Step

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..api import AwsApi
    from .part import Site

__all__ = [
    "CLOSED",
    "Bucket",
    "LogGroup",
    "bucket_region",
    "bucket_tags",
    "find_group",
    "group_tags",
    "is_filled",
]

CLOSED = {
    "BlockPublicAcls": True,
    "IgnorePublicAcls": True,
    "BlockPublicPolicy": True,
    "RestrictPublicBuckets": True,
}


# -- CloudWatch Logs -----------------------------------------------------------------------------


async def find_group(api: AwsApi, name: str) -> dict[str, Any] | None:
    """A log group by its whole name."""
    found = await api.pages(
        "logs", "describe_log_groups", "logGroups", _about=name, logGroupNamePrefix=name
    )
    return next((each for each in found if each["logGroupName"] == name), None)


async def group_tags(api: AwsApi, group: dict[str, Any]) -> dict[str, str]:
    """The tags of a log group."""
    arn = str(group["arn"]).removesuffix(":*")
    answer = await api.call("logs", "list_tags_for_resource", resourceArn=arn)
    return dict(answer.get("tags", {}))


class LogGroup(Part):
    """The group of what containers print and of exec sessions."""

    kind = "log group"

    def __init__(self, site: Site) -> None:
        super().__init__(site)
        self._key_arn = ""

    @property
    def name(self) -> str:
        return self.site.log_group

    def why(self) -> str:
        holds = "what containers print"
        if self.site.session_group:
            holds += " and exec sessions"
        return f"keeps {holds}" + (", encrypted" if self.site.options.encrypt_logs else "")

    async def look(self) -> None:
        group = await find_group(self.site.api, self.name)
        if group is None:
            return
        self.there, self._key_arn = True, group.get("kmsKeyId", "")
        self.ours = self.site.owns(await group_tags(self.site.api, group))

    @property
    def _wanted(self) -> str:
        return self.site.wanted_key_arn if self.site.options.encrypt_logs else ""

    def differences(self) -> list[str]:
        if not self.ours and not self._wanted:
            return []  # encrypted with a key of its own is not less than what is wanted
        return difference("its key", self._key_arn, self._wanted)

    def request(self) -> dict[str, Any]:
        """What a new group is made with."""
        encrypted = {"kmsKeyId": self._wanted} if self._wanted else {}
        return {"logGroupName": self.name, "tags": self.site.tags, **encrypted}

    async def make(self, say: Say) -> None:
        site, api, key = self.site, self.site.api, self._wanted
        if not self.there:

            async def create() -> None:
                call = api.call("logs", "create_log_group", **self.request())
                await if_there(call, "ResourceAlreadyExistsException")

            await patiently(site, create, ("kms key",), say)
        elif self._key_arn != key:
            if key:
                await patiently(
                    site,
                    lambda: api.call(
                        "logs", "associate_kms_key", logGroupName=self.name, kmsKeyId=key
                    ),
                    ("kms key",),
                    say,
                )
            else:
                await api.call("logs", "disassociate_kms_key", logGroupName=self.name)
        self.there, self.ours, self._key_arn = True, True, key


# -- S3 ------------------------------------------------------------------------------------------


async def bucket_tags(api: AwsApi, name: str) -> dict[str, str]:
    """The tags of a bucket."""
    call = api.call("s3", "get_bucket_tagging", _about=name, Bucket=name)
    answer = await if_there(call, "NoSuchTagSet")
    return tags_of(answer["TagSet"]) if answer else {}


async def bucket_region(api: AwsApi, name: str, owner: str = "") -> str:
    """The region of a bucket; empty where S3 does not say.

    Args:
        owner: the account that it must belong to.
    """
    more: dict[str, Any] = {"ExpectedBucketOwner": owner} if owner else {}
    answer = await api.call("s3", "head_bucket", _about=name, Bucket=name, **more)
    headers = answer["ResponseMetadata"].get("HTTPHeaders", {})
    return str(answer.get("BucketRegion") or headers.get("x-amz-bucket-region", ""))


async def is_filled(api: AwsApi, name: str) -> bool:
    """Whether a bucket has objects, or older versions of such, in it."""
    answer = await api.call("s3", "list_object_versions", _about=name, Bucket=name, MaxKeys=1)
    return bool(answer.get("Versions") or answer.get("DeleteMarkers"))


_REFUSALS = (
    "BucketAlreadyExists",
    "IllegalLocationConstraintException",
    "InvalidBucketName",
    "InvalidLocationConstraint",
    "TooManyBuckets",
)
"""With these S3 has made no bucket. BucketAlreadyOwnedByYou is none: it may be the answer to a call
that was repeated because the first answer got lost."""


class Bucket(Part):
    """The bucket of session logs; not public, and encrypted as all buckets are, or with the key.

    Args:
        intended: tells which bucket the plan's cluster says is being made.
        intend: has the cluster say so, or no more.
    """

    kind = "S3 bucket"

    def __init__(self, site: Site, intended: Callable[[], str], intend: Any) -> None:
        super().__init__(site)
        self._intended = intended
        self._intend = intend
        self._taken = ""
        self._tags: dict[str, str] = {}
        self._filled = False
        self._region = ""
        self._blocked = False
        self._encryption: tuple[str, str] = ("", "")

    @property
    def name(self) -> str:
        return self.site.bucket

    def why(self) -> str:
        how = "encrypted with the key" if self.site.options.encrypt_logs else "encrypted"
        return f"keeps exec sessions, {how}, closed to the public"

    async def look(self) -> None:
        api, name = self.site.api, self.name
        try:
            self._region = await bucket_region(api, name, self.site.names.account)
        except EcsExecError as error:
            if error.code in ("404", "NoSuchBucket"):
                return
            if error.code not in ("403", "AccessDenied", "301", "400"):
                raise
            self._taken = "another account has a bucket of that name, or s3:ListBucket is missing"
            return
        self.there = True
        self._tags, self._blocked, self._encryption = await asyncio.gather(
            bucket_tags(api, name), self._is_blocked(), self._encrypted()
        )
        if not self._tags:
            self._filled = True  # unless it may be looked into, and is not
            with contextlib.suppress(AccessDenied):
                self._filled = await is_filled(api, name)

    async def _is_blocked(self) -> bool:
        answer = await if_there(
            self.site.api.call("s3", "get_public_access_block", Bucket=self.name),
            "NoSuchPublicAccessBlockConfiguration",
        )
        return answer is not None and all(answer["PublicAccessBlockConfiguration"].values())

    async def _encrypted(self) -> tuple[str, str]:
        answer = await if_there(
            self.site.api.call("s3", "get_bucket_encryption", Bucket=self.name),
            "ServerSideEncryptionConfigurationNotFoundError",
        )
        for rule in answer["ServerSideEncryptionConfiguration"]["Rules"] if answer else ():
            default = rule.get("ApplyServerSideEncryptionByDefault", {})
            return str(default.get("SSEAlgorithm", "")), str(default.get("KMSMasterKeyID", ""))
        return "", ""

    def _judge(self) -> None:
        """Whose it is; one that the cluster says was being made has no tags and no objects yet."""
        blank = not self._tags and not self._filled
        self.ours = self.site.owns(self._tags) or (blank and self._intended() == self.name)

    def step(self) -> Step:
        if self._taken:
            cure = "choose another name: all accounts share them"
            return Step(self.kind, self.name, "conflict", self._taken, (cure,))
        if self.there:
            self._judge()
        step = super().step()
        if step.action == "update" and self._region not in ("", self.site.names.region):
            return Step(step.kind, step.name, "conflict", "is in another region", step.difference)
        return step

    def differences(self) -> list[str]:
        found = difference(
            "its region", self._region or self.site.names.region, self.site.names.region
        )
        if not self._blocked:
            found.append("public access to it is not blocked")
        if self.site.options.encrypt_logs:
            wanted = ("aws:kms", self.site.wanted_key_arn)
            found += difference("its encryption", " ".join(self._encryption), " ".join(wanted))
        elif not self._encryption[0]:
            found.append("it is not encrypted")
        if self.ours and not self.site.owns(self._tags):
            found.append("its tags are missing")
        return found

    async def make(self, say: Say) -> None:
        site, api, name = self.site, self.site.api, self.name
        if not self.there:
            await self._intend(name)
            place = site.names.region
            # us-east-1 is the one region that must not be named.
            where: dict[str, Any] = (
                {}
                if place == "us-east-1"
                else {"CreateBucketConfiguration": {"LocationConstraint": place}}
            )
            try:
                await api.call("s3", "create_bucket", _about=name, Bucket=name, **where)
            except EcsExecError as error:
                if isinstance(error, AccessDenied) or error.code in _REFUSALS:
                    with contextlib.suppress(EcsExecError):
                        await self._intend("")
                raise
            self.there = self.ours = True
        if not site.owns(self._tags):
            await api.call(
                "s3", "put_bucket_tagging", Bucket=name, Tagging={"TagSet": tag_list(site.tags)}
            )
            self._tags = site.tags
        if self._intended() == name:
            await self._intend("")
        if not self._blocked:
            await api.call(
                "s3",
                "put_public_access_block",
                Bucket=name,
                PublicAccessBlockConfiguration=CLOSED,
            )
            self._blocked = True
        by_key = site.options.encrypt_logs and self._encryption != ("aws:kms", site.key_arn)
        # Buckets of today are encrypted from the start, but that costs nothing to say again.
        if by_key or not self._encryption[0]:
            await self._encrypt(self.encryption())

    def encryption(self) -> dict[str, Any]:
        """How it encrypts what says nothing else."""
        if not self.site.options.encrypt_logs:
            return {"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}
        return {
            "ApplyServerSideEncryptionByDefault": {
                "SSEAlgorithm": "aws:kms",
                "KMSMasterKeyID": self.site.key_arn,
            },
            "BucketKeyEnabled": True,
        }

    async def _encrypt(self, rule: dict[str, Any]) -> None:
        await self.site.api.call(
            "s3",
            "put_bucket_encryption",
            Bucket=self.name,
            ServerSideEncryptionConfiguration={"Rules": [rule]},
        )
        default = rule["ApplyServerSideEncryptionByDefault"]
        self._encryption = (default["SSEAlgorithm"], default.get("KMSMasterKeyID", ""))
