"""A plan as a CloudFormation template.

Knows the properties that CloudFormation has for what the parts of a plan ask for. Never knows what
is asked for, but from their own requests.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from .cluster import Cluster, Definition
from .export_draft import mark, pieces, run_command
from .export_yaml import Function, yaml_of
from .instances import Instance, Profile, image_parameter
from .keys import Key
from .launch import Service
from .network import SecurityGroup
from .part import tag_list, tags_of
from .policies import POLICY_NAME
from .roles import OwnRole
from .storage import CLOSED, Bucket, LogGroup

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .export_draft import Draft
    from .part import Part

__all__ = ["cloudformation", "template_of"]

_ROLES = {
    "task role": "TaskRole",
    "execution role": "ExecutionRole",
    "instance role": "InstanceRole",
}
# What a mark is written as: of what is declared, and of what is given.
_DECLARED = {
    "region": Function("Ref", "AWS::Region"),
    "account": Function("Ref", "AWS::AccountId"),
    "key": Function("GetAtt", "Key.Arn"),
    "group": Function("GetAtt", "SecurityGroup.GroupId"),
    "task role": Function("GetAtt", "TaskRole.Arn"),
    "execution role": Function("GetAtt", "ExecutionRole.Arn"),
    "definition": Function("Ref", "TaskDefinition"),
    "cluster": Function("Ref", "Cluster"),
    "image": Function("Ref", "Image"),
    "count": Function("Ref", "DesiredCount"),
    "instance profile": Function("Ref", "InstanceProfile"),
    "instance image": Function("Ref", "InstanceImage"),
    "instance type": Function("Ref", "InstanceType"),
    "subnets": Function("Ref", "SubnetIds"),
    "subnet": Function("Select", [0, Function("Ref", "SubnetIds")]),
    "subnet list": Function("Join", [",", Function("Ref", "SubnetIds")]),
}
_GIVEN = {
    "vpc": ("VpcId", "AWS::EC2::VPC::Id", "Where it runs."),
    "subnets": ("SubnetIds", "List<AWS::EC2::Subnet::Id>", "Subnets that lead to AWS."),
    "key": ("KmsKeyArn", "String", "ARN of the key that encrypts exec sessions."),
    "group": ("SecurityGroupId", "AWS::EC2::SecurityGroup::Id", "The security group of tasks."),
    "task role": ("TaskRoleArn", "String", "ARN of the role that containers have."),
    "execution role": ("ExecutionRoleArn", "String", "ARN of the role that starts containers."),
}
_AS_THEY_ARE = ("options",)  # members whose keys are not the API's words
_RETAINED = {"DeletionPolicy": "Retain", "UpdateReplacePolicy": "Retain"}


def cloudformation(draft: Draft) -> str:
    """The template as YAML."""
    name = draft.site.options.name
    head = (
        f"# Plan {name} of ecs-exec-magic. Deploy it with\n"
        f"#   aws cloudformation deploy --stack-name {name} --template-file FILE \\\n"
        "#     --capabilities CAPABILITY_NAMED_IAM\n"
    )
    return head + yaml_of(template_of(draft))


def template_of(draft: Draft) -> dict[str, Any]:
    """The template as a document, in which functions stand where the deployment knows more."""
    options = draft.site.options
    resources: dict[str, Any] = {}
    for part in draft.parts:
        resources.update(_resources(part, draft))
    outputs = {
        "Address": {
            "Description": "Where commands can be run.",
            "Value": f"{options.name}/{options.name}:{options.container}",
        }
    }
    if line := run_command(draft):
        outputs["RunTask"] = {"Description": "Runs the tasks: a stack cannot.", "Value": line}
    document = {
        "AWSTemplateFormatVersion": "2010-09-09",
        "Description": f"Amazon ECS Exec into {options.name}/{options.name}.",
        "Parameters": _parameters(draft),
        "Resources": resources,
        "Outputs": outputs,
    }
    found: dict[str, Any] = _written(document, draft)
    used = set(_references(found))
    found["Parameters"] = {name: each for name, each in found["Parameters"].items() if name in used}
    return found


def _references(value: Any) -> Iterator[str]:
    """What parameters and resources are referred to."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        for each in value:
            yield from _references(each)
    elif isinstance(value, Function):
        if value.name == "Ref":
            yield value.value
        if value.name == "Sub":
            text = value.value if isinstance(value.value, str) else value.value[0]
            yield from re.findall(r"\$\{(\w+)\}", text)
        yield from _references(value.value)


def _parameters(draft: Draft) -> dict[str, Any]:
    options = draft.site.options
    found: dict[str, Any] = {}
    for name, value in draft.given.items():
        title, kind, description = _GIVEN[name]
        default = ",".join(value) if isinstance(value, list) else value
        found[title] = {"Type": kind, "Description": description, "Default": default}
    found["Image"] = {
        "Type": "String",
        "Description": "Image of the container.",
        "Default": options.image,
    }
    if draft.has("service"):
        found["DesiredCount"] = {
            "Type": "Number",
            "Description": "Tasks that the service keeps running.",
            "Default": options.count,
            "MinValue": 0,
        }
    if draft.has("EC2 instance"):
        found["InstanceType"] = {
            "Type": "String",
            "Description": "Type of the instance that tasks run on.",
            "Default": options.instance_type,
        }
        found["InstanceImage"] = {
            "Type": "AWS::SSM::Parameter::Value<AWS::EC2::Image::Id>",
            "Description": "The ECS-optimised image, for processors of this type.",
            "Default": image_parameter(draft.arm),
        }
    return found


def _resources(part: Part, draft: Draft) -> dict[str, Any]:
    """What a part becomes, by logical id."""
    if isinstance(part, Key):
        return _key(part)
    if isinstance(part, Cluster):
        return {"Cluster": _of("AWS::ECS::Cluster", _pascal(part.request()))}
    if isinstance(part, LogGroup):
        request = part.request()
        request["tags"] = tag_list(request["tags"])
        return {"LogGroup": _of("AWS::Logs::LogGroup", _pascal(request), is_kept=True)}
    if isinstance(part, Bucket):
        return {"Bucket": _bucket(part)}
    if isinstance(part, SecurityGroup):
        return {"SecurityGroup": _security_group(part)}
    if isinstance(part, OwnRole):
        return {_ROLES[part.kind]: _role(part)}
    if isinstance(part, Profile):
        role = Function("Ref", "InstanceRole") if draft.has("instance role") else part.name
        properties = {"InstanceProfileName": part.name, "Roles": [role]}
        return {"InstanceProfile": _of("AWS::IAM::InstanceProfile", properties)}
    if isinstance(part, Instance):
        return {"Instance": _instance(part, draft)}
    if isinstance(part, Definition):
        request = part.request()
        request["containerDefinitions"][0]["image"] = mark("image")
        group = ["LogGroup"] if draft.has("log group") else []
        return {"TaskDefinition": _of("AWS::ECS::TaskDefinition", _pascal(request), group)}
    if isinstance(part, Service):
        request = {**part.request(), "desiredCount": mark("count")}
        if draft.has("cluster"):
            request["cluster"] = mark("cluster")
        instance = ["Instance"] if draft.has("EC2 instance") else []
        return {"Service": _of("AWS::ECS::Service", _pascal(request), instance)}
    return {}


def _of(
    kind: str, properties: dict[str, Any], needs: list[str] | None = None, *, is_kept: bool = False
) -> dict[str, Any]:
    after: dict[str, Any] = {"DependsOn": needs} if needs else {}
    if not properties.get("Tags", True):
        properties = {name: value for name, value in properties.items() if name != "Tags"}
    kept = _RETAINED if is_kept else {}
    return {"Type": kind, **kept, **after, "Properties": properties}


def _key(part: Key) -> dict[str, Any]:
    request = part.request()
    properties = {
        "Description": request["Description"],
        "KeyPolicy": part.policy(),
        "Tags": tag_list(tags_of(request["Tags"])),
    }
    # Logs that stay need the key that they are encrypted with.
    is_kept = part.site.options.encrypt_logs
    alias = {"AliasName": part.name, "TargetKeyId": Function("Ref", "Key")}
    return {
        "Key": _of("AWS::KMS::Key", properties, is_kept=is_kept),
        "KeyAlias": _of("AWS::KMS::Alias", alias),
    }


def _bucket(part: Bucket) -> dict[str, Any]:
    rule = part.encryption()
    rule["ServerSideEncryptionByDefault"] = rule.pop("ApplyServerSideEncryptionByDefault")
    properties = {
        "BucketName": part.name,
        "BucketEncryption": {"ServerSideEncryptionConfiguration": [rule]},
        "PublicAccessBlockConfiguration": dict(CLOSED),
        "Tags": tag_list(part.site.tags),
    }
    return _of("AWS::S3::Bucket", properties, is_kept=True)


def _security_group(part: SecurityGroup) -> dict[str, Any]:
    request, rule = part.request(), part.rule()
    properties: dict[str, Any] = {
        "GroupName": request["GroupName"],
        "GroupDescription": request["Description"],
        "VpcId": request["VpcId"],
    }
    if rule is not None:
        ranges = rule.pop("IpRanges")
        properties["SecurityGroupIngress"] = [{**rule, **each} for each in ranges]
    properties["Tags"] = request["TagSpecifications"][0]["Tags"]
    return _of("AWS::EC2::SecurityGroup", properties)


def _role(part: OwnRole) -> dict[str, Any]:
    request = part.request()
    properties = {
        "RoleName": request["RoleName"],
        "Description": request["Description"],
        "AssumeRolePolicyDocument": part.trust(),
        "Policies": [{"PolicyName": POLICY_NAME, "PolicyDocument": part.policy()}],
        "Tags": request["Tags"],
    }
    return _of("AWS::IAM::Role", properties)


def _instance(part: Instance, draft: Draft) -> dict[str, Any]:
    request = part.request()
    (interface,) = request["NetworkInterfaces"]
    profile = (
        mark("instance profile") if draft.has("instance profile") else part.site.names.instance_role
    )
    properties = {
        "ImageId": mark("instance image"),
        "InstanceType": mark("instance type"),
        "IamInstanceProfile": profile,
        "UserData": Function("Base64", request["UserData"]),
        "MetadataOptions": request["MetadataOptions"],
        "NetworkInterfaces": [
            {
                "DeviceIndex": str(interface["DeviceIndex"]),
                "SubnetId": mark("subnet"),
                "GroupSet": interface["Groups"],
                "AssociatePublicIpAddress": interface["AssociatePublicIpAddress"],
                "DeleteOnTermination": interface["DeleteOnTermination"],
            }
        ],
        "PropagateTagsToVolumeOnCreation": True,
        "Tags": request["TagSpecifications"][0]["Tags"],
    }
    # It joins when it boots: until then there must be a cluster.
    return _of("AWS::EC2::Instance", properties, ["Cluster"] if draft.has("cluster") else None)


def _pascal(value: Any) -> Any:
    """ECS's members in CloudFormation's spelling: the same words, with a capital."""
    if isinstance(value, dict):
        return {
            name[:1].upper() + name[1:]: each if name in _AS_THEY_ARE else _pascal(each)
            for name, each in value.items()
        }
    return [_pascal(each) for each in value] if isinstance(value, list) else value


def _written(value: Any, draft: Draft) -> Any:
    """The same with CloudFormation's functions for marks."""
    if isinstance(value, dict):
        return {name: _written(each, draft) for name, each in value.items()}
    if isinstance(value, list):
        if value == [mark("subnets")]:
            return _function("subnets", draft)
        return [_written(each, draft) for each in value]
    if isinstance(value, Function):
        return Function(value.name, _written(value.value, draft))
    return _text(value, draft) if isinstance(value, str) else value


def _text(text: str, draft: Draft) -> Any:
    found = pieces(text)
    if not any(kind == "mark" for kind, _ in found):
        return text
    if len(found) == 1:
        return _function(found[0][1], draft)
    words, more = [], {}
    for kind, piece in found:
        if kind == "text":
            words.append(piece.replace("${", "${!"))
            continue
        function = _function(piece, draft)
        if function.name in ("Ref", "GetAtt"):
            words.append(f"${{{function.value}}}")
        else:
            name = piece.title().replace(" ", "")
            more[name] = function
            words.append(f"${{{name}}}")
    whole = "".join(words)
    return Function("Sub", [whole, more] if more else whole)


def _function(name: str, draft: Draft) -> Function:
    if name in draft.given and name in _GIVEN:
        return Function("Ref", _GIVEN[name][0])
    return _DECLARED[name]
