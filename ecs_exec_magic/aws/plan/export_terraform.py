"""A plan as a Terraform configuration, in one file.

Knows the resources that the AWS provider has for what the parts of a plan ask for. Never knows what
is asked for, but from their own requests.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from .cluster import Cluster, Definition
from .export_draft import mark, pieces, run_command
from .export_hcl import Block, Expression, hcl_of, literal
from .instances import Instance, Profile, image_parameter
from .keys import Key
from .launch import Service
from .network import SecurityGroup
from .part import tags_of
from .policies import POLICY_NAME
from .roles import OwnRole
from .storage import CLOSED, Bucket, LogGroup

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .export_draft import Draft
    from .part import Part

__all__ = ["terraform"]

_ROLES = {"task role": "task", "execution role": "execution", "instance role": "instance"}
# What a mark is written as: of what is declared, and of what is given.
_DECLARED = {
    "region": "var.region",
    "account": "data.aws_caller_identity.current.account_id",
    "key": "aws_kms_key.this.arn",
    "group": "aws_security_group.this.id",
    "task role": "aws_iam_role.task.arn",
    "execution role": "aws_iam_role.execution.arn",
    "definition": "aws_ecs_task_definition.this.arn",
    "cluster": "aws_ecs_cluster.this.arn",
    "image": "var.image",
    "count": "var.desired_count",
    "instance profile": "aws_iam_instance_profile.this.name",
    "instance image": "data.aws_ssm_parameter.image.value",
    "instance type": "var.instance_type",
    "subnets": "var.subnet_ids",
    "subnet": "var.subnet_ids[0]",
    "subnet list": 'join(",", var.subnet_ids)',
}
_GIVEN = {
    "vpc": ("vpc_id", "Where it runs."),
    "subnets": ("subnet_ids", "Subnets that lead to AWS."),
    "key": ("kms_key_arn", "ARN of the key that encrypts exec sessions."),
    "group": ("security_group_id", "The security group of tasks."),
    "task role": ("task_role_arn", "ARN of the role that containers have."),
    "execution role": ("execution_role_arn", "ARN of the role that starts containers."),
}
# Where the provider's words are not ECS's own in lower case.
_WORDS = {
    "executeCommandConfiguration": "execute_command_configuration",
    "kmsKeyId": "kms_key_id",
    "logging": "logging",
    "logConfiguration": "log_configuration",
    "cloudWatchLogGroupName": "cloud_watch_log_group_name",
    "cloudWatchEncryptionEnabled": "cloud_watch_encryption_enabled",
    "s3BucketName": "s3_bucket_name",
    "s3EncryptionEnabled": "s3_bucket_encryption_enabled",
    "s3KeyPrefix": "s3_key_prefix",
}


def terraform(draft: Draft) -> str:
    """The configuration as HCL."""
    name = draft.site.options.name
    resources = [block for part in draft.parts for block in _resources(part, draft)]
    outputs = [Block(("output", "address"), _address(draft))]
    if line := run_command(draft):
        runs = {"description": "Runs the tasks: Terraform cannot.", "value": line}
        outputs.append(Block(("output", "run_task"), runs))
    body = hcl_of([_written(each, draft) for each in (*resources, *outputs)])
    data = []
    if _DECLARED["account"] in body:
        data.append(Block(("data", "aws_caller_identity", "current"), {}))
    if draft.has("EC2 instance"):
        parameter = {"name": image_parameter(draft.arm)}
        data.append(Block(("data", "aws_ssm_parameter", "image"), parameter))
    used = set(re.findall(r"\bvar\.(\w+)", body)) | {"region"}
    variables = [each for each in _variables(draft) if each.head[1] in used]
    head = hcl_of([*_settings(), *variables, *data])
    title = f"# Plan {name} of ecs-exec-magic: terraform init, then terraform apply.\n\n"
    return f"{title}{head}\n{body}"


def _settings() -> list[Block]:
    required = {"aws": {"source": "hashicorp/aws", "version": ">= 5.0"}}
    return [
        Block(
            ("terraform",),
            {"version": Block(("required_providers",), required)},
        ),
        Block(("provider", "aws"), {"region": Expression("var.region")}),
    ]


def _variables(draft: Draft) -> list[Block]:
    options = draft.site.options
    found: dict[str, tuple[str, Any]] = {"region": ("Where it is made.", draft.region)}
    for name, value in draft.given.items():
        title, description = _GIVEN[name]
        found[title] = (description, value)
    found["image"] = ("Image of the container.", options.image)
    if draft.has("service"):
        found["desired_count"] = ("Tasks that the service keeps running.", options.count)
    if draft.has("EC2 instance"):
        found["instance_type"] = ("Of the instance that tasks run on.", options.instance_type)
    kinds = {list: "list(string)", int: "number", str: "string"}
    return [
        Block(
            ("variable", title),
            {
                "description": description,
                "type": Expression(kinds[type(value)]),
                "default": value,
            },
        )
        for title, (description, value) in found.items()
    ]


def _address(draft: Draft) -> dict[str, Any]:
    options = draft.site.options
    address = f"{options.name}/{options.name}:{options.container}"
    return {"description": "Where commands can be run.", "value": address}


def _resource(kind: str, label: str, body: dict[str, Any]) -> Block:
    """A resource; what is empty is left out."""
    kept = {name: value for name, value in body.items() if value not in ({}, [], None)}
    return Block(("resource", f"aws_{kind}", label), kept)


def _json(document: Any) -> Any:
    """A document that AWS takes as a text."""
    return ("json", document)


def _resources(part: Part, draft: Draft) -> Iterator[Block]:
    """What a part becomes."""
    tags = dict(part.site.tags)
    if isinstance(part, Key):
        body = {"description": part.request()["Description"], "tags": tags}
        yield _resource("kms_key", "this", {**body, "policy": _json(part.policy())})
        alias = {"name": part.name, "target_key_id": Expression("aws_kms_key.this.key_id")}
        yield _resource("kms_alias", "this", alias)
    elif isinstance(part, Cluster):
        configuration = _blocks("configuration", part.request()["configuration"])
        body = {"name": part.name, "tags": tags, "configuration": configuration}
        yield _resource("ecs_cluster", "this", body)
    elif isinstance(part, LogGroup):
        request = part.request()
        body = {"name": request["logGroupName"], "kms_key_id": request.get("kmsKeyId")}
        # Logs outlive what wrote them, as the bucket does while there is something in it.
        body |= {"skip_destroy": True, "tags": request["tags"]}
        yield _resource("cloudwatch_log_group", "this", body)
    elif isinstance(part, Bucket):
        yield from _bucket(part)
    elif isinstance(part, SecurityGroup):
        yield from _security_group(part)
    elif isinstance(part, OwnRole):
        yield from _role(part)
    elif isinstance(part, Profile):
        own = draft.has("instance role")
        role: Any = Expression("aws_iam_role.instance.name") if own else part.name
        body = {"name": part.name, "role": role, "tags": tags}
        yield _resource("iam_instance_profile", "this", body)
    elif isinstance(part, Instance):
        yield _instance(part, draft)
    elif isinstance(part, Definition):
        yield _definition(part, draft)
    elif isinstance(part, Service):
        yield _service(part, draft)


def _blocks(name: str, value: dict[str, Any]) -> Block:
    """A configuration of ECS as blocks in blocks."""
    body = {}
    for member, each in value.items():
        word = _WORDS[member]
        body[word] = _blocks(word, each) if isinstance(each, dict) else each
    return Block((name,), body)


def _bucket(part: Bucket) -> Iterator[Block]:
    bucket = Expression("aws_s3_bucket.this.id")
    yield _resource("s3_bucket", "this", {"bucket": part.name, "tags": dict(part.site.tags)})
    closed = {
        "block_public_acls": CLOSED["BlockPublicAcls"],
        "ignore_public_acls": CLOSED["IgnorePublicAcls"],
        "block_public_policy": CLOSED["BlockPublicPolicy"],
        "restrict_public_buckets": CLOSED["RestrictPublicBuckets"],
    }
    yield _resource("s3_bucket_public_access_block", "this", {"bucket": bucket, **closed})
    rule = part.encryption()
    default = rule["ApplyServerSideEncryptionByDefault"]
    inner: dict[str, Any] = {"sse_algorithm": default["SSEAlgorithm"]}
    if "KMSMasterKeyID" in default:
        inner["kms_master_key_id"] = default["KMSMasterKeyID"]
    body: dict[str, Any] = {}
    if "BucketKeyEnabled" in rule:
        body["bucket_key_enabled"] = rule["BucketKeyEnabled"]
    body["default"] = Block(("apply_server_side_encryption_by_default",), inner)
    yield _resource(
        "s3_bucket_server_side_encryption_configuration",
        "this",
        {"bucket": bucket, "rule": Block(("rule",), body)},
    )


def _security_group(part: SecurityGroup) -> Iterator[Block]:
    request, rule = part.request(), part.rule()
    body = {
        "name": request["GroupName"],
        "description": request["Description"],
        "vpc_id": request["VpcId"],
        "tags": tags_of(request["TagSpecifications"][0]["Tags"]),
    }
    yield _resource("security_group", "this", body)
    group = Expression("aws_security_group.this.id")
    for each in rule["IpRanges"] if rule is not None else ():
        assert rule is not None
        body = {
            "security_group_id": group,
            "description": each["Description"],
            "ip_protocol": rule["IpProtocol"],
            "from_port": rule["FromPort"],
            "to_port": rule["ToPort"],
            "cidr_ipv4": each["CidrIp"],
        }
        yield _resource("vpc_security_group_ingress_rule", "this", body)
    # AWS lets everything out of a new group; Terraform takes that away.
    out = {"security_group_id": group, "ip_protocol": "-1", "cidr_ipv4": "0.0.0.0/0"}
    yield _resource("vpc_security_group_egress_rule", "this", out)


def _role(part: OwnRole) -> Iterator[Block]:
    request, label = part.request(), _ROLES[part.kind]
    body = {
        "name": request["RoleName"],
        "description": request["Description"],
        "tags": tags_of(request["Tags"]),
        "assume_role_policy": _json(part.trust()),
    }
    yield _resource("iam_role", label, body)
    role = Expression(f"aws_iam_role.{label}.id")
    policy = {"name": POLICY_NAME, "role": role, "policy": _json(part.policy())}
    yield _resource("iam_role_policy", label, policy)


def _instance(part: Instance, draft: Draft) -> Block:
    request = part.request()
    (interface,) = request["NetworkInterfaces"]
    options = request["MetadataOptions"]
    own = draft.has("instance profile")
    needs = [
        *(["aws_ecs_cluster.this"] if draft.has("cluster") else []),
        *(["aws_iam_role_policy.instance"] if draft.has("instance role") else []),
        *_way_out(draft),
    ]
    tags = [tags_of(each["Tags"]) for each in request["TagSpecifications"]]
    metadata = {
        "http_tokens": options["HttpTokens"],
        "http_put_response_hop_limit": options["HttpPutResponseHopLimit"],
    }
    body = {
        "ami": mark("instance image"),
        "instance_type": mark("instance type"),
        "iam_instance_profile": mark("instance profile") if own else part.site.names.instance_role,
        "subnet_id": mark("subnet"),
        "vpc_security_group_ids": interface["Groups"],
        "associate_public_ip_address": interface["AssociatePublicIpAddress"],
        "user_data": request["UserData"],
        "tags": tags[0],
        "volume_tags": tags[1],
        "metadata_options": Block(("metadata_options",), metadata),
        # A newer image is no reason to take the instance away.
        "lifecycle": Block(("lifecycle",), {"ignore_changes": [Expression("ami")]}),
        "depends_on": [Expression(each) for each in needs],
    }
    return _resource("instance", "this", body)


def _definition(part: Definition, draft: Draft) -> Block:
    request = part.request()
    request["containerDefinitions"][0]["image"] = mark("image")
    group = [Expression("aws_cloudwatch_log_group.this")] if draft.has("log group") else []
    body = {
        "family": request["family"],
        "requires_compatibilities": request["requiresCompatibilities"],
        "network_mode": request["networkMode"],
        "cpu": request["cpu"],
        "memory": request["memory"],
        "task_role_arn": request["taskRoleArn"],
        "execution_role_arn": request.get("executionRoleArn"),
        "tags": tags_of(request["tags"]),
        "container_definitions": _json(request["containerDefinitions"]),
        "depends_on": group,
    }
    return _resource("ecs_task_definition", "this", body)


def _service(part: Service, draft: Draft) -> Block:
    request = part.request()
    body = {
        "name": request["serviceName"],
        "cluster": mark("cluster") if draft.has("cluster") else request["cluster"],
        "task_definition": request["taskDefinition"],
        "desired_count": mark("count"),
        "launch_type": request["launchType"],
        "enable_execute_command": request["enableExecuteCommand"],
        "enable_ecs_managed_tags": request["enableECSManagedTags"],
        "propagate_tags": request["propagateTags"],
        "tags": tags_of(request["tags"]),
    }
    bounds = request.get("deploymentConfiguration")
    if bounds:
        body["deployment_maximum_percent"] = bounds["maximumPercent"]
        body["deployment_minimum_healthy_percent"] = bounds["minimumHealthyPercent"]
    network = request.get("networkConfiguration", {}).get("awsvpcConfiguration")
    if network:
        inner = {
            "subnets": network["subnets"],
            "security_groups": network["securityGroups"],
            "assign_public_ip": network["assignPublicIp"] == "ENABLED",
        }
        body["network_configuration"] = Block(("network_configuration",), inner)
    policies = [
        label for kind, label in _ROLES.items() if kind != "instance role" and draft.has(kind)
    ]
    needs = [f"aws_iam_role_policy.{label}" for label in policies]
    needs += ["aws_instance.this"] if draft.has("EC2 instance") else _way_out(draft)
    body["depends_on"] = [Expression(each) for each in needs]
    return _resource("ecs_service", "this", body)


def _way_out(draft: Draft) -> list[str]:
    """What has to be there before something in the security group can reach AWS."""
    own = draft.has("security group")
    return ["aws_vpc_security_group_egress_rule.this"] if own else []


def _written(value: Any, draft: Draft) -> Any:
    """The same with expressions for marks and for documents."""
    if isinstance(value, Block):
        body = {name: _written(each, draft) for name, each in value.body.items()}
        return Block(value.head, body)
    if isinstance(value, tuple) and value[:1] == ("json",):
        inner = hcl_of([Block(("x",), {"x": _written(value[1], draft)})])
        lines = [line.removeprefix("  ") for line in inner.splitlines()[1:-1]]
        text = "\n".join(lines).removeprefix("x = ")
        return Expression(f"jsonencode({text})")
    if isinstance(value, dict):
        return {name: _written(each, draft) for name, each in value.items()}
    if isinstance(value, list):
        if value == [mark("subnets")]:
            return Expression(_expression("subnets", draft))
        return [_written(each, draft) for each in value]
    return _text(value, draft) if isinstance(value, str) else value


def _text(text: str, draft: Draft) -> Any:
    found = pieces(text)
    if not any(kind == "mark" for kind, _ in found):
        return text
    if len(found) == 1:
        return Expression(_expression(found[0][1], draft))
    words = [
        literal(piece) if kind == "text" else f"${{{_expression(piece, draft)}}}"
        for kind, piece in found
    ]
    return Expression(f'"{"".join(words)}"')


def _expression(name: str, draft: Draft) -> str:
    if name in draft.given and name in _GIVEN:
        return f"var.{_GIVEN[name][0]}"
    return _DECLARED[name]
