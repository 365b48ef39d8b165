"""What calls to SSM, KMS, CloudWatch Logs, IAM, EC2 and STS need.

Knows their service authorization references as far as their calls are served here. Never knows
who calls or what the policies say.
"""

from __future__ import annotations

import base64
import binascii
import re
from typing import TYPE_CHECKING

from .requests import Request, mappings, request_tags, texts

if TYPE_CHECKING:
    from .requests import Keys, Resources

__all__ = ["KEYS", "RESOURCES", "task_of_target"]


def task_of_target(target: str) -> tuple[str, str] | None:
    """Cluster and task id of a target ``ecs:CLUSTER_TASKID_RUNTIMEID``."""
    if not target.startswith("ecs:"):
        return None
    cluster, _, task = target[4:].rpartition("_")[0].rpartition("_")
    return (cluster, task) if cluster and task else None


def ssm_resources(request: Request) -> tuple[str, ...]:
    """The task and the document of StartSession; else the session."""
    given = request.given
    if request.operation == "StartSession":
        target = str(given.get("Target", ""))
        task = task_of_target(target)
        found = [request.arn(f"instance/{target}", "ec2")]
        if task is not None:
            found = [request.arn(f"task/{task[0]}/{task[1]}", "ecs")]
        document = given.get("DocumentName")
        if document:
            arn = request.arn(f"document/{document}")
            if str(document).startswith("AWS-"):
                arn = arn.replace(f":{request.account_id}:", "::")
            found.append(arn)
        return tuple(found)
    if request.operation in ("GetParameter", "GetParameters"):
        names = [*texts(given.get("Name")), *texts(given.get("Names"))]
        arns = [request.arn(f"parameter/{name.lstrip('/')}") for name in names]
        public = f":{request.account_id}:parameter/aws/service/"
        return tuple(arn.replace(public, "::parameter/aws/service/") for arn in arns)
    session = given.get("SessionId")
    return (request.arn(f"session/{session}" if session else "*"),)


def kms_resources(request: Request) -> tuple[str, ...]:
    """Keys and aliases, as they are named."""
    given = request.given
    names = [n for m in ("AliasName", "KeyId", "TargetKeyId") for n in texts(given.get(m))]
    found = [
        name
        if name.startswith("arn:")
        else request.arn(name if name.startswith("alias/") else f"key/{name}")
        for name in names
    ]
    if request.operation == "Decrypt" and not found:
        found += _key_of_blob(request)
    return tuple(found)


def _key_of_blob(request: Request) -> list[str]:
    """The key that a ciphertext was made with: its id is the beginning."""
    blob = request.given.get("CiphertextBlob", b"")
    try:
        head = bytes(blob if isinstance(blob, bytes) else base64.b64decode(blob))[:36].decode()
    except (UnicodeDecodeError, binascii.Error, ValueError, TypeError):
        return []
    whole = re.fullmatch(r"(mrk-)?[0-9a-f-]{32,36}", head)
    return [request.arn(f"key/{head}")] if whole else []


def kms_keys(request: Request) -> dict[str, tuple[str, ...]]:
    """The encryption context, the alias and tags."""
    found: dict[str, tuple[str, ...]] = {}
    for encryption in mappings(request.given.get("EncryptionContext")):
        found = {f"kms:EncryptionContext:{k}": (str(v),) for k, v in encryption.items()}
        found["kms:EncryptionContextKeys"] = tuple(encryption)
    alias = str(request.given.get("KeyId", ""))
    if "alias/" in alias:
        found["kms:RequestAlias"] = ("alias/" + alias.partition("alias/")[2],)
    return {**found, **request_tags(request.given)}


def logs_resources(request: Request) -> tuple[str, ...]:
    """Group and stream, in the form that CloudWatch Logs checks."""
    given = request.given
    if "resourceArn" in given:
        return tuple(texts(given["resourceArn"]))
    identifier = given.get("logGroupIdentifier", "")
    if str(identifier).startswith("arn:"):
        return (f"{str(identifier).removesuffix(':*')}:log-stream:",)
    group = given.get("logGroupName") or identifier or given.get("logGroupNamePrefix", "")
    stream = given.get("logStreamName", "")
    return (request.arn(f"log-group:{group}:log-stream:{stream}"),)


_IAM_MEMBERS = {
    "RoleName": "role",
    "UserName": "user",
    "GroupName": "group",
    "InstanceProfileName": "instance-profile",
    "PolicyName": "policy",
}
_LISTS = {"ListRoles": "role/", "ListUsers": "user/", "ListGroups": "group/"}
_OWN = re.compile(r"(Get|List|Create|Update|Delete|Change).*(User|AccessKeys?|Password)$")


def iam_resources(request: Request) -> tuple[str, ...]:
    """The entity or policy; a user's own when none is named."""
    given = request.given
    if request.operation in _LISTS:
        return (request.global_arn(_LISTS[request.operation]),)
    path = given.get("Path", "/") if request.operation.startswith("Create") else "/"
    for member, kind in _IAM_MEMBERS.items():
        if member in given:
            return (request.global_arn(f"{kind}{path}{given[member]}"),)
    for member in ("PolicyArn", "PolicySourceArn"):
        if member in given:
            return (str(given[member]),)
    return (request.principal,) if _OWN.match(request.operation) and request.principal else ("*",)


def iam_keys(request: Request) -> dict[str, tuple[str, ...]]:
    """The policy that is attached, and tags."""
    given = request.given
    keys = {
        "iam:PolicyARN": texts(given.get("PolicyArn")),
        "iam:PermissionsBoundary": texts(given.get("PermissionsBoundary")),
    }
    return {**{k: tuple(v) for k, v in keys.items() if v}, **request_tags(given)}


_EC2_KINDS = {
    "sg": "security-group",
    "vpc": "vpc",
    "subnet": "subnet",
    "eni": "network-interface",
    "rtb": "route-table",
    "igw": "internet-gateway",
    "vpce": "vpc-endpoint",
    "i": "instance",
    "eipalloc": "elastic-ip",
}
_EC2_NEW = {
    "CreateSecurityGroup": "security-group/*",
    "CreateVpc": "vpc/*",
    "CreateSubnet": "subnet/*",
    "CreateVpcEndpoint": "vpc-endpoint/*",
    "CreateNetworkInterface": "network-interface/*",
    "RunInstances": "instance/*",
}


def ec2_resources(request: Request) -> tuple[str, ...]:
    """What ids name, and what is made."""
    if request.operation.startswith("Describe"):
        return ("*",)
    found = [request.arn(_EC2_NEW[request.operation])] if request.operation in _EC2_NEW else []
    for member, value in request.given.items():
        if member.endswith(("Id", "Ids", "Resources")):
            for name in texts(value):
                kind = _EC2_KINDS.get(name.partition("-")[0])
                if kind and "-" in name:
                    found.append(request.arn(f"{kind}/{name}"))
    return tuple(found)


def sts_resources(request: Request) -> tuple[str, ...]:
    """The role that is assumed."""
    return tuple(texts(request.given.get("RoleArn")))


RESOURCES: dict[str, Resources] = {
    "ssm": ssm_resources,
    "kms": kms_resources,
    "logs": logs_resources,
    "iam": iam_resources,
    "ec2": ec2_resources,
    "sts": sts_resources,
}
KEYS: dict[str, Keys] = {
    "kms": kms_keys,
    "iam": iam_keys,
    "logs": lambda request: request_tags(request.given),
}
