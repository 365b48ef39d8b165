"""What a cluster says about exec sessions: where they are logged, and with which key they travel.

Knows ``executeCommandConfiguration``. Never knows tasks, nor who may do what.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from ..errors import AccessDenied, EcsExecError
from .absence import cluster_missing
from .plan.cluster import read_cluster
from .plan.part import tags_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .api import AwsApi

__all__ = [
    "ANY_KEY",
    "ExecSettings",
    "bucket_key_of",
    "by_alias",
    "container_groups",
    "key_arn_of",
    "read_settings",
    "settings_of",
]

ANY_KEY = ":key/*"
"""The end of the ARN that stands for a key whose alias may not be looked up."""


@dataclass(frozen=True)
class ExecSettings:
    """The settings of one cluster.

    Attributes:
        cluster: its name.
        cluster_arn: its ARN.
        logging: ``none``, ``default`` or ``override``.
        log_group, bucket, prefix: where sessions are logged, with ``override``; else empty.
        group_encrypted, bucket_encrypted: whether these must be.
        key: of the data channel, as the cluster names it; empty for none.
        key_arn: the same as an ARN; with a ``*`` when an alias cannot be looked up.
        tags: of the cluster.
    """

    cluster: str
    cluster_arn: str
    logging: str = "default"
    log_group: str = ""
    bucket: str = ""
    prefix: str = ""
    group_encrypted: bool = False
    bucket_encrypted: bool = False
    key: str = ""
    key_arn: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)


def settings_of(
    cluster: Mapping[str, Any], execution: Mapping[str, Any] | None = None
) -> ExecSettings:
    """The settings in an answer of DescribeClusters; the key's ARN is still to be looked up.

    Args:
        execution: in place of the cluster's own configuration.
    """
    if execution is None:
        configuration = cluster.get("configuration") or {}
        execution = configuration.get("executeCommandConfiguration") or {}
    logging = str(execution.get("logging") or "DEFAULT").lower()
    log = (execution.get("logConfiguration") or {}) if logging == "override" else {}
    return ExecSettings(
        cluster=str(cluster.get("clusterName") or cluster["clusterArn"].rpartition("/")[2]),
        cluster_arn=str(cluster["clusterArn"]),
        logging=logging,
        log_group=str(log.get("cloudWatchLogGroupName") or ""),
        bucket=str(log.get("s3BucketName") or ""),
        prefix=str(log.get("s3KeyPrefix") or ""),
        group_encrypted=bool(log.get("cloudWatchEncryptionEnabled")),
        bucket_encrypted=bool(log.get("s3EncryptionEnabled")),
        key=str(execution.get("kmsKeyId") or ""),
        tags=tags_of(cluster.get("tags")),
    )


async def read_settings(api: AwsApi, cluster: str) -> ExecSettings:
    """What a cluster says now.

    Raises:
        TargetNotFound: there is no such cluster; the error lists what there is.
    """
    found = await read_cluster(api, cluster)
    if found is None:
        raise await cluster_missing(api, cluster, named=True)
    settings = settings_of(found)
    return replace(settings, key_arn=await key_arn_of(api, settings.key))


async def key_arn_of(api: AwsApi, key: str) -> str:
    """The ARN of a key by its id, ARN or alias; empty for none.

    An alias that may not be looked up becomes every key of the account and region, which a
    condition on ``kms:ResourceAliases`` has to narrow.
    """
    if not key or ":key/" in key:
        return key
    try:
        answer = await api.call("kms", "describe_key", _about=key, KeyId=key)
        return str(answer["KeyMetadata"]["Arn"])
    except AccessDenied:
        pass
    except EcsExecError as error:
        if error.code != "NotFoundException":
            raise
    account, region = await api.account_region()
    name = "*" if "alias/" in key else key
    return f"arn:{api.partition}:kms:{region}:{account}:key/{name}"


def by_alias(document: dict[str, Any], key: str) -> dict[str, Any]:
    """A policy in which every key of the account is narrowed to the one that an alias leads to."""
    for statement in document["Statement"]:
        if str(statement["Resource"]).endswith(ANY_KEY):
            alias = "alias/" + key.partition("alias/")[2]
            condition = {"ForAnyValue:StringEquals": {"kms:ResourceAliases": alias}}
            statement["Condition"] = condition
    return document


async def bucket_key_of(api: AwsApi, settings: ExecSettings) -> str:
    """The ARN of the key that the bucket encrypts with, when it must be encrypted; else empty.

    A bucket that may not be looked at is taken to use the key of the sessions.
    """
    if not (settings.bucket and settings.bucket_encrypted):
        return ""
    try:
        answer = await api.call("s3", "get_bucket_encryption", Bucket=settings.bucket)
    except EcsExecError:
        return settings.key_arn
    for rule in (answer.get("ServerSideEncryptionConfiguration") or {}).get("Rules") or ():
        default = rule.get("ApplyServerSideEncryptionByDefault") or {}
        if str(default.get("SSEAlgorithm", "")).startswith("aws:kms"):
            return await key_arn_of(api, str(default.get("KMSMasterKeyID") or ""))
    return ""


def container_groups(definition: Mapping[str, Any], region: str) -> tuple[str, ...]:
    """The log groups of a task definition's containers, where ``default`` logging writes."""
    found = []
    for container in definition.get("containerDefinitions") or ():
        log = container.get("logConfiguration") or {}
        options = log.get("options") or {}
        if log.get("logDriver") == "awslogs" and options.get("awslogs-region", region) == region:
            found.append(str(options.get("awslogs-group") or ""))
    return tuple(dict.fromkeys(name for name in found if name))
