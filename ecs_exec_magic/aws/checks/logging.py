"""Whether the places that keep the logs of sessions are there, and encrypted as is asked.

Knows log groups and buckets. Never knows who may write to them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...errors import EcsExecError
from .registry import check, fail, ok, warn

if TYPE_CHECKING:
    from ...findings import Finding
    from .scene import Scene

__all__: list[str] = []

_NO_BUCKET = ("404", "NoSuchBucket", "NotFound")
_NO_ENCRYPTION = ("ServerSideEncryptionConfigurationNotFoundError",)


@check("logging.log-group", "whether the log group is there", "logs:DescribeLogGroups")
async def log_group(scene: Scene) -> Finding | None:
    settings = await scene.settings()
    name = settings.group
    if not name:
        return None
    groups = await scene.pages("logs", "describe_log_groups", "logGroups", logGroupNamePrefix=name)
    group = next((each for each in groups if each.get("logGroupName") == name), None)
    if group is None:
        return fail(
            f"there is no log group {name}",
            "the cluster names it, and the agent does not make it",
            "make it",
            f"aws logs create-log-group --log-group-name {name}",
        )
    if settings.group_encrypted and not group.get("kmsKeyId"):
        return fail(
            f"log group {name} is not encrypted, and the cluster wants it to be",
            "cloudWatchEncryptionEnabled is true: sessions do not start",
            "give the log group a KMS key, or set cloudWatchEncryptionEnabled to false",
            f"aws logs associate-kms-key --log-group-name {name} --kms-key-id KEY_ARN",
        )
    kept = group.get("retentionInDays")
    key = " with its own key" if group.get("kmsKeyId") else ""
    return ok(
        f"log group {name} is there, encrypted{key}" if key else f"log group {name} is there",
        f"kept for {kept} days" if kept else "kept for ever",
    )


@check(
    "logging.bucket",
    "whether the bucket is there",
    "s3:ListBucket",
    "s3:GetEncryptionConfiguration",
)
async def bucket(scene: Scene) -> Finding | None:
    settings = await scene.settings()
    name = settings.bucket
    if not name:
        return None
    try:
        head = await scene.call("s3", "head_bucket", Bucket=name)
    except EcsExecError as error:
        if error.code not in _NO_BUCKET:
            raise
        return fail(
            f"there is no bucket {name}",
            "the cluster names it for the logs of sessions",
            "make it, or name another",
            f"aws s3 mb s3://{name} --region {scene.api.region}",
        )
    region = (head.get("ResponseMetadata") or {}).get("HTTPHeaders", {}).get("x-amz-bucket-region")
    if region and region != scene.api.region:
        return warn(
            f"bucket {name} is in {region}, and the cluster in {scene.api.region}",
            "Session Manager wants them in the same region",
            "name a bucket in the cluster's region",
            f"aws ecs describe-clusters --clusters {scene.place} --include CONFIGURATIONS",
        )
    try:
        await scene.call("s3", "get_bucket_encryption", Bucket=name)
    except EcsExecError as error:
        if error.code not in _NO_ENCRYPTION:
            raise
        if settings.bucket_encrypted:
            return fail(
                f"bucket {name} is not encrypted, and the cluster wants it to be",
                "s3EncryptionEnabled is true: sessions do not start",
                "encrypt the bucket, or set s3EncryptionEnabled to false",
                f"aws s3api put-bucket-encryption --bucket {name} "
                "--server-side-encryption-configuration "
                '\'{"Rules":[{"ApplyServerSideEncryptionByDefault":{"SSEAlgorithm":"AES256"}}]}\'',
            )
        return ok(f"bucket {name} is there; it is not encrypted")
    return ok(f"bucket {name} is there, and encrypted")
