"""What requests to Amazon S3 need, by method, path and query.

Knows the actions of S3. Never knows who calls or what the policies say.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .principals import partition_of
from .requests import Need

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["s3_need"]

_BUCKET = {"GET": "s3:ListBucket", "HEAD": "s3:ListBucket", "PUT": "s3:CreateBucket",
              "DELETE": "s3:DeleteBucket", "POST": "s3:DeleteObject"}  # fmt: skip
_OBJECT = {"GET": "s3:GetObject", "HEAD": "s3:GetObject", "PUT": "s3:PutObject",
              "DELETE": "s3:DeleteObject", "POST": "s3:PutObject"}  # fmt: skip
_SETTINGS = {
    "acl": "BucketAcl",
    "cors": "BucketCORS",
    "encryption": "EncryptionConfiguration",
    "lifecycle": "LifecycleConfiguration",
    "location": "BucketLocation",
    "logging": "BucketLogging",
    "notification": "BucketNotification",
    "object-lock": "BucketObjectLockConfiguration",
    "ownershipControls": "BucketOwnershipControls",
    "policy": "BucketPolicy",
    "policyStatus": "BucketPolicyStatus",
    "publicAccessBlock": "BucketPublicAccessBlock",
    "replication": "ReplicationConfiguration",
    "requestPayment": "BucketRequestPayment",
    "tagging": "BucketTagging",
    "versioning": "BucketVersioning",
    "website": "BucketWebsite",
}
_DELETED = frozenset({"policy", "website", "ownershipControls"})


def s3_need(method: str, bucket: str, key: str, query: Mapping[str, str], region: str) -> Need:
    """What a request to S3 needs.

    Args:
        method: HTTP's, in capitals.
        bucket: empty when all buckets are listed.
        key: of the object, decoded; empty for the bucket itself.
        query: the fields of the URL's query.
        region: of the signature.
    """
    if not bucket:
        return Need("s3:ListAllMyBuckets")
    arn = f"arn:{partition_of(region)}:s3:::{bucket}"
    if key:
        return Need(_s3_object(method, query), (f"{arn}/{key}",))
    for name, setting in _SETTINGS.items():
        if name in query:
            verb = "Get" if method in ("GET", "HEAD") else "Put"
            if method == "DELETE" and name in _DELETED:
                verb = "Delete"
            return Need(f"s3:{verb}{setting}", (arn,))
    if method == "POST":
        return Need("s3:DeleteObject", (f"{arn}/*",))
    if method == "GET" and "uploads" in query:
        return Need("s3:ListBucketMultipartUploads", (arn,))
    if method == "GET" and "versions" in query:
        return Need("s3:ListBucketVersions", (arn,))
    names = {"s3:prefix": "prefix", "s3:delimiter": "delimiter", "s3:max-keys": "max-keys"}
    listed = {k: (query[v],) for k, v in names.items() if v in query}
    action = _BUCKET.get(method, "s3:ListBucket")
    return Need(action, (arn,), listed if action == "s3:ListBucket" else {})


def _s3_object(method: str, query: Mapping[str, str]) -> str:
    verb = "Get" if method in ("GET", "HEAD") else "Put"
    if "tagging" in query:
        return f"s3:{'Delete' if method == 'DELETE' else verb}ObjectTagging"
    if "acl" in query:
        return f"s3:{verb}ObjectAcl"
    if "uploadId" in query and method == "DELETE":
        return "s3:AbortMultipartUpload"
    if "uploadId" in query and method == "GET":
        return "s3:ListMultipartUploadParts"
    action = _OBJECT.get(method, "s3:GetObject")
    if "versionId" in query and method != "PUT":
        return f"{action}Version"
    return action
