"""Plans written down: valid in every combination, and the same as what a plan itself would do."""

from __future__ import annotations

import base64
import json
import re
import shlex
from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
import yaml
from cfnlint.api import ManualArgs, lint
from hypothesis import given
from hypothesis import strategies as st

import ecs_exec_magic as ecs
from ecs_exec_magic.aws.plan.export_cloudformation import cloudformation
from ecs_exec_magic.aws.plan.export_hcl import literal
from ecs_exec_magic.aws.plan.export_terraform import terraform
from ecs_exec_magic.aws.plan.export_yaml import yaml_of
from ecs_exec_magic.aws.plan.names import TAG

from .conftest import World
from .exports import (
    combinations,
    draft,
    hcl_document,
    hcl_resources,
    hcl_text,
    pairwise,
    read_hcl,
    read_template,
    resolved,
)

SERVICES = ("ec2", "ecs", "iam", "kms", "logs", "s3", "ssm", "sts")


# -- in every combination ------------------------------------------------------------------------


@pytest.mark.timeout(600)
def test_cloudformation_would_take_it() -> None:
    for options, foreign in pairwise():
        found = lint(
            cloudformation(draft(options, foreign)), config=ManualArgs(regions=["eu-west-1"])
        )
        assert found == [], (options, foreign)


def test_the_linter_would_notice() -> None:
    (options, foreign), *_ = combinations()
    text = cloudformation(draft(options, foreign)).replace("NetworkMode:", "NetworkMod:")
    assert lint(text, config=ManualArgs(regions=["eu-west-1"]))


@pytest.mark.timeout(300)
def test_terraform_would_read_it() -> None:
    for options, foreign in pairwise():
        found = read_hcl(terraform(draft(options, foreign)))
        assert {"terraform", "provider", "variable", "resource", "output"} <= set(found)


def test_everything_that_is_referred_to_is_there() -> None:
    for options, foreign in combinations():
        text = terraform(draft(options, foreign))
        bare = re.sub(r'^#.*$|^\w+ ("\w+" )+', "", text, flags=re.MULTILINE)
        declared = {
            f"{'data.' if kind == 'data' else ''}{type_}.{label}"
            for kind, type_, label in re.findall(r'^(resource|data) "(\w+)" "(\w+)"', text, re.M)
        }
        named = set(re.findall(r"(?<![\w.])((?:data\.)?aws_\w+\.\w+)", bare))
        assert named <= declared, (options, foreign)
        variables = set(re.findall(r'^variable "(\w+)"', text, re.M))
        assert set(re.findall(r"\bvar\.(\w+)", bare)) == variables, (options, foreign)
        # All that depends on something, depends on something of which there is one only.
        assert len(re.findall(r"^(?:resource|data) ", text, re.M)) == len(declared)


def test_nothing_starts_before_it_has_a_way_out() -> None:
    """Terraform takes away what AWS lets out of a new security group."""
    for options, foreign in combinations():
        text = terraform(draft(options, foreign))
        blocks = dict(re.findall(r'^resource "(aws_\w+)" "this" \{\n(.*?)^\}', text, re.M | re.S))
        if "aws_security_group" not in blocks:
            continue
        runs = blocks.get("aws_instance") or blocks.get("aws_ecs_service", "")
        if runs:
            needs = re.findall(r"^  depends_on += (\[.*?^  \]|.*)$", runs, re.M | re.S)
            assert "aws_vpc_security_group_egress_rule.this" in needs[0], (options, foreign)


def test_what_is_somebody_elses_is_named_and_not_declared() -> None:
    for options, foreign in combinations():
        template = cloudformation(draft(options, foreign))
        kinds = {
            "cluster": "Type: AWS::ECS::Cluster",
            "log group": "Type: AWS::Logs::LogGroup",
            "S3 bucket": "Type: AWS::S3::Bucket",
            "security group": "Type: AWS::EC2::SecurityGroup\n    Prop",
            "service": "Type: AWS::ECS::Service",
            "instance role": "InstanceRole:",
        }
        for kind, text in kinds.items():
            if kind in foreign:
                assert text not in template
        assert ("Type: AWS::KMS::Key" in template) == (options.kms_key == "new")


def test_it_is_always_the_same() -> None:
    for options, foreign in pairwise():
        for write in (cloudformation, terraform):
            assert write(draft(options, foreign)) == write(draft(options, foreign))


def test_logs_and_their_key_stay_behind_a_stack() -> None:
    for options, foreign in combinations():
        resources = cloudformation(draft(options, foreign)).partition("\nResources:")[2]
        blocks = re.split(r"^  (?=\w)", resources, flags=re.M)
        kept = {each.partition(":")[0] for each in blocks if "DeletionPolicy: Retain" in each}
        there = {each.partition(":")[0] for each in blocks}
        wanted = {"LogGroup", "Bucket", *(["Key"] if options.encrypt_logs else [])}
        assert kept == wanted & there


# -- the languages -------------------------------------------------------------------------------

WORDS = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)


@given(
    st.recursive(
        WORDS | st.integers() | st.booleans(),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(WORDS, inner, max_size=4),
        max_leaves=12,
    ).filter(lambda value: isinstance(value, (dict, list)) and value)
)
def test_what_is_written_as_yaml_is_what_is_read(value: Any) -> None:
    assert yaml.safe_load(yaml_of(value)) == value


@given(WORDS)
def test_any_text_is_a_literal_of_terraform(text: str) -> None:
    inside = literal(text)
    assert not re.search(r'(?<!\\)(?:\\\\)*"', inside)
    assert not re.search(r"\\(?![nrt\"\\u])", inside.replace("\\\\", ""))
    assert hcl_text(f'"{inside}"', {}) == text


# -- the same as the plan itself ------------------------------------------------------------------


class Calls:
    """What a client asks AWS for, by operation, without the tag by which a plan knows its own."""

    def __init__(self, client: Any) -> None:
        self._found: dict[str, list[dict[str, Any]]] = defaultdict(list)
        for service in SERVICES:
            events = client._api.client(service).meta.events
            events.register("before-parameter-build", self._note)

    def _note(self, params: Any, model: Any, **_: Any) -> None:
        self._found[model.name].append(_without_own_tag(json.loads(json.dumps(params))))

    def one(self, operation: str) -> dict[str, Any]:
        (found,) = self._found[operation]
        return found

    def by(self, operation: str, name: str) -> dict[str, dict[str, Any]]:
        return {each[name]: each for each in self._found[operation]}


def _without_own_tag(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _without_own_tag(each) for k, each in value.items() if k != TAG}
    if isinstance(value, list):
        return [_without_own_tag(each) for each in value if not _is_own_tag(each)]
    return (
        value.replace("made by ecs-exec-magic", "made by CloudFormation")
        if isinstance(value, str)
        else value
    )


def _is_own_tag(value: Any) -> bool:
    return isinstance(value, dict) and TAG in (
        value.get("Key"),
        value.get("key"),
        value.get("TagKey"),
    )


def camel(value: Any) -> Any:
    """CloudFormation's properties in the words of ECS's API."""
    if isinstance(value, dict):
        return {
            name[:1].lower() + name[1:]: each if name == "Options" else camel(each)
            for name, each in value.items()
        }
    return [camel(each) for each in value] if isinstance(value, list) else value


def as_mapping(tags: Any) -> dict[str, str]:
    return {each["Key"]: each["Value"] for each in tags}


OPTIONS: dict[str, dict[str, Any]] = {
    "fargate": {"kms_key": "new", "bucket": "exported-sessions", "encrypt_logs": True},
    "ec2": {
        "launch_type": "EC2",
        "instance_type": "t4g.small",
        "command": ("sh", "-c", "echo ${A}; sleep 999"),
    },
    "tasks": {"service": False, "log_group": "", "logging": "none", "port": None},
}


@pytest.fixture(params=list(OPTIONS))
def exported(world: World, request: pytest.FixtureRequest) -> Iterator[tuple[Any, Calls, str, str]]:
    """A plan that is written down, then applied: its calls, and both texts."""
    name, before = f"export-{request.param}", world.listing()
    client = world.client()
    options = {**OPTIONS[request.param], "tags": {"team": "ops"}}
    plan = client.plan(name, **options)
    template, configuration = plan.cloudformation(), plan.terraform()
    assert world.listing() == before  # nothing was made
    calls = Calls(client)
    plan.apply()
    # What a plan has made is still the stack's to make.
    assert plan.cloudformation() == template
    assert plan.terraform() == configuration
    yield plan, calls, template, configuration
    client.plan(name, look=False).destroy(empty_bucket=True)
    assert world.listing() == before


def known_values(world: World, plan: Any, template: Mapping[str, Any]) -> dict[str, Any]:
    """What the references in a template mean once the plan is applied."""
    name, region = plan.options.name, world.region
    account = world.aws("sts").get_caller_identity()["Account"]
    role = f"arn:aws:iam::{account}:role/{name}-{region}"
    known: dict[str, Any] = {
        "AWS::Region": region,
        "AWS::AccountId": account,
        "TaskRole.Arn": f"{role}-task",
        "ExecutionRole.Arn": f"{role}-execution",
        "InstanceRole": f"{name}-{region}-instance",
        "InstanceProfile": f"{name}-{region}-instance",
        "Cluster": name,
    }
    definition = world.aws("ecs").describe_task_definition(taskDefinition=name)
    known["TaskDefinition"] = definition["taskDefinition"]["taskDefinitionArn"]
    groups = world.aws("ec2").describe_security_groups(
        Filters=[{"Name": "group-name", "Values": [f"ecs-exec-{name}"]}]
    )["SecurityGroups"]
    known["SecurityGroup.GroupId"] = groups[0]["GroupId"]
    if plan.options.kms_key:
        key = world.aws("kms").describe_key(KeyId=f"alias/ecs-exec-{name}")["KeyMetadata"]
        known |= {"Key": key["KeyId"], "Key.Arn": key["Arn"]}
    for title, parameter in template["Parameters"].items():
        default = parameter["Default"]
        known[title] = default.split(",") if parameter["Type"].startswith("List") else default
    if "InstanceImage" in known:
        found = world.aws("ssm").get_parameter(Name=known["InstanceImage"])
        known["InstanceImage"] = found["Parameter"]["Value"]
    return known


def test_a_template_says_what_the_plan_does(
    world: World, exported: tuple[Any, Calls, str, str]
) -> None:
    plan, calls, text, _ = exported
    template = read_template(text)
    known = known_values(world, plan, template)
    found = {
        name: resolved(each["Properties"], known) for name, each in template["Resources"].items()
    }
    assert camel(found.pop("Cluster")) == calls.one("CreateCluster")
    assert camel(found.pop("TaskDefinition")) == calls.one("RegisterTaskDefinition")
    if plan.options.service:
        assert camel(found.pop("Service")) == calls.one("CreateService")
    for title, kind in (
        ("TaskRole", "task"),
        ("ExecutionRole", "execution"),
        ("InstanceRole", "instance"),
    ):
        if title not in found:
            continue
        role, name = found.pop(title), f"{plan.options.name}-{world.region}-{kind}"
        asked = calls.by("CreateRole", "RoleName")[name]
        (policy,) = role.pop("Policies")
        assert json.loads(asked.pop("AssumeRolePolicyDocument")) == role.pop(
            "AssumeRolePolicyDocument"
        )
        assert role == asked
        put = calls.by("PutRolePolicy", "RoleName")[name]
        assert policy["PolicyName"] == put["PolicyName"]
        assert policy["PolicyDocument"] == json.loads(put["PolicyDocument"])
    group, asked = found.pop("SecurityGroup"), calls.one("CreateSecurityGroup")
    assert (group["GroupName"], group["GroupDescription"], group["VpcId"]) == (
        asked["GroupName"],
        asked["Description"],
        asked["VpcId"],
    )
    assert group["Tags"] == asked["TagSpecifications"][0]["Tags"]
    if plan.options.port is not None:
        (rule,) = calls.one("AuthorizeSecurityGroupIngress")["IpPermissions"]
        assert group["SecurityGroupIngress"] == [{**rule, **each} for each in rule.pop("IpRanges")]
    if "LogGroup" in found:
        logs, asked = found.pop("LogGroup"), calls.one("CreateLogGroup")
        assert (logs["LogGroupName"], logs.get("KmsKeyId")) == (
            asked["logGroupName"],
            asked.get("kmsKeyId"),
        )
        assert as_mapping(logs["Tags"]) == asked["tags"]
    if "Key" in found:
        key, asked = found.pop("Key"), calls.one("CreateKey")
        assert key["KeyPolicy"] == json.loads(asked["Policy"])
        assert key["Description"] == asked["Description"]
        assert as_mapping(key["Tags"]) == {e["TagKey"]: e["TagValue"] for e in asked["Tags"]}
        assert found.pop("KeyAlias") == calls.one("CreateAlias")
    if "Bucket" in found:
        bucket = found.pop("Bucket")
        assert bucket["BucketName"] == calls.one("CreateBucket")["Bucket"]
        closed = calls.one("PutPublicAccessBlock")["PublicAccessBlockConfiguration"]
        assert bucket["PublicAccessBlockConfiguration"] == closed
        assert bucket["Tags"] == calls.one("PutBucketTagging")["Tagging"]["TagSet"]
        (rule,) = bucket["BucketEncryption"]["ServerSideEncryptionConfiguration"]
        (asked,) = calls.one("PutBucketEncryption")["ServerSideEncryptionConfiguration"]["Rules"]
        asked["ServerSideEncryptionByDefault"] = asked.pop("ApplyServerSideEncryptionByDefault")
        assert rule == asked
    if "Instance" in found:
        profile, asked = found.pop("InstanceProfile"), calls.one("AddRoleToInstanceProfile")
        assert profile["InstanceProfileName"] == asked["InstanceProfileName"]
        assert profile["Roles"] == [asked["RoleName"]]
        instance, asked = found.pop("Instance"), calls.one("RunInstances")
        (wanted,), (interface,) = asked["NetworkInterfaces"], instance["NetworkInterfaces"]
        interface["Groups"] = interface.pop("GroupSet")
        interface["DeviceIndex"] = int(interface["DeviceIndex"])
        assert interface == wanted
        for name in ("ImageId", "InstanceType", "UserData", "MetadataOptions"):
            assert instance[name] == asked[name]
        assert instance["IamInstanceProfile"] == asked["IamInstanceProfile"]["Name"]
        assert instance["Tags"] == asked["TagSpecifications"][0]["Tags"]
    assert found == {}  # nothing was forgotten here
    outputs = resolved(template["Outputs"], known)
    assert outputs["Address"]["Value"] == plan.address
    if not plan.options.service:
        _same_run(shlex.split(outputs["RunTask"]["Value"]), calls.one("RunTask"))


def _same_run(words: list[str], asked: dict[str, Any]) -> None:
    assert words[:3] == ["aws", "ecs", "run-task"]
    given = {word: words[n + 1] for n, word in enumerate(words[:-1])}
    assert given["--cluster"] == asked["cluster"]
    assert given["--task-definition"] == asked["taskDefinition"]
    assert given["--launch-type"] == asked["launchType"]
    assert given["--started-by"] == asked["startedBy"]
    assert int(given["--count"]) == asked["count"]
    assert "--enable-execute-command" in words
    network = asked["networkConfiguration"]["awsvpcConfiguration"]
    assert f"subnets=[{','.join(network['subnets'])}]" in given["--network-configuration"]
    assert f"securityGroups=[{network['securityGroups'][0]}]" in given["--network-configuration"]
    assert given["--tags"] == "key=team,value=ops"


def test_a_configuration_says_what_the_template_says(
    world: World, exported: tuple[Any, Calls, str, str]
) -> None:
    """What the template says is held to the plan's calls above."""
    plan, _, template_text, text = exported
    template = read_template(template_text)
    values = known_values(world, plan, template)
    known = {
        "var.region": values["AWS::Region"],
        "data.aws_caller_identity.current.account_id": values["AWS::AccountId"],
        "aws_kms_key.this.arn": values.get("Key.Arn", ""),
        "var.image": values["Image"],
        "aws_iam_role.task.arn": values["TaskRole.Arn"],
        "aws_iam_role.execution.arn": values["ExecutionRole.Arn"],
        "aws_iam_instance_profile.this.name": values["InstanceProfile"],
    }
    properties = {
        name: resolved(each["Properties"], values) for name, each in template["Resources"].items()
    }
    found = hcl_resources(text)

    def said(address: str, name: str) -> Any:
        value = found[address].get(name)
        return hcl_text(value, known) if isinstance(value, str) else value

    for title, label in (
        ("TaskRole", "task"),
        ("ExecutionRole", "execution"),
        ("InstanceRole", "instance"),
    ):
        assert (f"aws_iam_role.{label}" in found) == (title in properties)
        if title not in properties:
            continue
        role = properties[title]
        assert said(f"aws_iam_role.{label}", "name") == role["RoleName"]
        trust = hcl_document(found[f"aws_iam_role.{label}"]["assume_role_policy"], known)
        assert trust == role["AssumeRolePolicyDocument"]
        policy = hcl_document(found[f"aws_iam_role_policy.{label}"]["policy"], known)
        assert policy == role["Policies"][0]["PolicyDocument"]
    if "Key" in properties:
        assert (
            hcl_document(found["aws_kms_key.this"]["policy"], known)
            == properties["Key"]["KeyPolicy"]
        )
    definition = properties["TaskDefinition"]
    for ours, theirs in (
        ("family", "Family"),
        ("network_mode", "NetworkMode"),
        ("cpu", "Cpu"),
        ("memory", "Memory"),
        ("task_role_arn", "TaskRoleArn"),
        ("execution_role_arn", "ExecutionRoleArn"),
    ):
        assert said("aws_ecs_task_definition.this", ours) == definition.get(theirs)
    containers = hcl_document(found["aws_ecs_task_definition.this"]["container_definitions"], known)
    assert containers == camel(definition["ContainerDefinitions"])
    if "Service" in properties:
        service = properties["Service"]
        body = found["aws_ecs_service.this"]
        assert said("aws_ecs_service.this", "launch_type") == service["LaunchType"]
        assert body["enable_execute_command"] is True
        deployment = service.get("DeploymentConfiguration", {})
        assert body.get("deployment_maximum_percent") == deployment.get("MaximumPercent")
    if "Instance" in properties:
        instance = properties["Instance"]
        script = base64.b64decode(instance["UserData"]).decode()
        assert said("aws_instance.this", "user_data") == script
        assert said("aws_instance.this", "iam_instance_profile") == instance["IamInstanceProfile"]
        assert said("data.aws_ssm_parameter.image", "name").endswith(
            template["Parameters"]["InstanceImage"]["Default"]
        )
    for address, body in found.items():
        if isinstance(body.get("tags"), dict):
            tags = {k: hcl_text(v, known) for k, v in body["tags"].items() if k[:2] != "__"}
            assert tags.get("team") == "ops", address


def test_what_is_in_the_way_is_told_and_nothing_is_written(world: World) -> None:
    world.aws("ecs").create_cluster(clusterName="export-taken")
    before = world.listing()
    plan = world.client().plan("export-taken", look=False)
    for export in (plan.cloudformation, plan.terraform):
        with pytest.raises(ecs.ProvisionError, match="nothing was touched: cluster export-taken"):
            export()
    assert world.listing() == before
    world.aws("ecs").delete_cluster(cluster="export-taken")


def test_what_is_there_is_named(world: World) -> None:
    logs = world.aws("logs")
    logs.create_log_group(logGroupName="/their/logs")
    key = world.aws("kms").create_key()["KeyMetadata"]
    plan = world.client().plan("export-there", log_group="/their/logs", kms_key=key["KeyId"])
    template = read_template(plan.cloudformation())
    assert "LogGroup" not in template["Resources"]
    assert template["Parameters"]["KmsKeyArn"]["Default"] == key["Arn"]
    assert "/their/logs" in json.dumps(template["Resources"]["TaskRole"])
    logs.delete_log_group(logGroupName="/their/logs")
    world.aws("kms").schedule_key_deletion(KeyId=key["KeyId"])
