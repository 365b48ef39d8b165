"""What calls to Amazon S3 need; many of its actions have other names than its operations.

Knows the actions of S3. Never knows who calls or what the policies say.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import unquote

from .principals import partition_of
from .requests import Need, texts

if TYPE_CHECKING:
    from .requests import Request

__all__ = ["needs"]

_ACTIONS = {
    "ListBuckets": "ListAllMyBuckets",
    "HeadBucket": "ListBucket",
    "ListObjects": "ListBucket",
    "ListObjectsV2": "ListBucket",
    "ListObjectVersions": "ListBucketVersions",
    "ListMultipartUploads": "ListBucketMultipartUploads",
    "ListParts": "ListMultipartUploadParts",
    "HeadObject": "GetObject",
    "CopyObject": "PutObject",
    "CreateMultipartUpload": "PutObject",
    "UploadPart": "PutObject",
    "UploadPartCopy": "PutObject",
    "CompleteMultipartUpload": "PutObject",
    "DeleteObjects": "DeleteObject",
    "GetBucketCors": "GetBucketCORS",
    "PutBucketCors": "PutBucketCORS",
    "DeleteBucketCors": "PutBucketCORS",
    "GetBucketEncryption": "GetEncryptionConfiguration",
    "PutBucketEncryption": "PutEncryptionConfiguration",
    "DeleteBucketEncryption": "PutEncryptionConfiguration",
    "GetBucketLifecycle": "GetLifecycleConfiguration",
    "GetBucketLifecycleConfiguration": "GetLifecycleConfiguration",
    "PutBucketLifecycle": "PutLifecycleConfiguration",
    "PutBucketLifecycleConfiguration": "PutLifecycleConfiguration",
    "DeleteBucketLifecycle": "PutLifecycleConfiguration",
    "GetBucketNotificationConfiguration": "GetBucketNotification",
    "PutBucketNotificationConfiguration": "PutBucketNotification",
    "GetBucketReplication": "GetReplicationConfiguration",
    "PutBucketReplication": "PutReplicationConfiguration",
    "DeleteBucketReplication": "PutReplicationConfiguration",
    "GetObjectLockConfiguration": "GetBucketObjectLockConfiguration",
    "PutObjectLockConfiguration": "PutBucketObjectLockConfiguration",
    "GetPublicAccessBlock": "GetBucketPublicAccessBlock",
    "PutPublicAccessBlock": "PutBucketPublicAccessBlock",
    "DeletePublicAccessBlock": "PutBucketPublicAccessBlock",
    "DeleteBucketTagging": "PutBucketTagging",
}
"""Operations whose action has another name."""

_VERSIONED = ("GetObject", "DeleteObject")
_KEYS = {
    "Prefix": "s3:prefix",
    "Delimiter": "s3:delimiter",
    "MaxKeys": "s3:max-keys",
    "VersionId": "s3:VersionId",
    "ACL": "s3:x-amz-acl",
    "ServerSideEncryption": "s3:x-amz-server-side-encryption",
    "SSEKMSKeyId": "s3:x-amz-server-side-encryption-aws-kms-key-id",
}


def needs(request: Request) -> list[Need]:
    """Everything a call needs; the source of a copy must be readable too."""
    given = request.given
    action = _ACTIONS.get(request.operation, request.operation)
    if action in _VERSIONED and given.get("VersionId"):
        action += "Version"
    head = f"arn:{partition_of(request.region)}:s3:::"
    resource = "*"
    if given.get("Bucket"):
        resource = f"{head}{given['Bucket']}"
        key = "*" if request.operation == "DeleteObjects" else given.get("Key")
        resource += f"/{key}" if key else ""
    keys = {name: (str(given[m]),) for m, name in _KEYS.items() if given.get(m) is not None}
    found = [Need(f"s3:{action}", (resource,), keys)]
    for source in texts(given.get("CopySource")):
        path = unquote(source).removeprefix("/").partition("?")[0]
        found.append(Need("s3:GetObject", (head + path,)))
    return found
