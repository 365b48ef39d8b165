"""The policies that are written: by AWS's own reference, and as IAM reads them."""

from __future__ import annotations

import html
import itertools
import json
import re
from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from policy_sentry.querying.actions import get_action_data

import ecs_exec_magic as ecs
from ecs_exec_magic import sandbox as package
from ecs_exec_magic.aws.enabling.allowing import listed
from ecs_exec_magic.aws.exec_settings import ExecSettings
from ecs_exec_magic.aws.plan.names import Names
from ecs_exec_magic.aws.policies import KINDS, Kind, Subject, draft, questions
from ecs_exec_magic.client import Client
from ecs_exec_magic.errors import AccessDenied, EcsExecError, InvalidRequest, TargetNotFound
from ecs_exec_magic.sandbox.iam.documents import parse
from ecs_exec_magic.sandbox.iam.patterns import context_of
from ecs_exec_magic.sandbox.iam.policies import evaluate

from ..runtimes import WITHOUT_ENGINE
from .account import Account

ACCOUNT = "123456789012"
PLACES = {"aws": "eu-west-1", "aws-cn": "cn-north-1", "aws-us-gov": "us-gov-west-1"}


def subject(partition: str = "aws", **more: Any) -> Subject:
    """A cluster with nothing set, in that partition."""
    region = PLACES[partition]
    arn = f"arn:{partition}:ecs:{region}:{ACCOUNT}:cluster/prod"
    names = Names("prod", partition, region, ACCOUNT)
    keep = {name: more.pop(name) for name in ("tags", "container", "service") if name in more}
    groups = (more["log_group"],) if more.get("log_group") else ()
    bucket_key = more.pop("bucket_key", "")
    made = ExecSettings("prod", arn, **more)
    return Subject(made, names, log_groups=groups, bucket_key_arn=bucket_key, **keep)


def variants() -> Iterator[tuple[Kind, Subject]]:
    """Every kind with every option in every partition."""
    for partition, region in PLACES.items():
        key = f"arn:{partition}:kms:{region}:{ACCOUNT}:key"
        one, any_key = f"{key}/12345678-1234-1234-1234-123456789012", f"{key}/*"
        chosen: list[dict[str, Any]] = [
            {},
            {"logging": "override", "log_group": "/exec/prod"},
            {"logging": "override", "bucket": "logs", "prefix": "exec"},
            {"logging": "override", "bucket": "logs", "log_group": "/a", "bucket_key": one},
            {"key": "alias/k", "key_arn": any_key},
        ]
        limits: list[dict[str, Any]] = [
            {},
            {"tags": {"environment": "production"}},
            {"tags": {"a": "b", "c d": "e/f"}, "container": "app"},
            {"container": "app"},
        ]
        for kind, options in itertools.product(KINDS, chosen):
            for limit in limits if kind == "operator" else limits[:1]:
                for more in ({}, {"key": one, "key_arn": one}) if "key" not in options else ({},):
                    yield kind, subject(partition, **options, **limit, **more)


ALL = list(variants())


# -- the reference -------------------------------------------------------------------------------


@lru_cache
def reference(action: str) -> tuple[list[str], set[str]]:
    """The formats of an action's resources, and its condition keys, as AWS publishes them."""
    service, name = action.split(":")
    found: Any = get_action_data(service, name)
    assert found, f"AWS knows no action {action}"
    rows = [row for row in found[service] if row["action"] == action]
    keys = {key for row in rows for key in row["condition_keys"]}
    return [row["resource_arn_format"] for row in rows], keys


def fits(resource: str, form: str) -> bool:
    """Whether an ARN, wildcards and all, takes in some of a format of the reference."""
    if "*" in (form, resource):
        return form == resource
    return overlap(re.sub(r"\$\{\w+\}", "*", form), resource)


@lru_cache(100_000)
def overlap(one: str, other: str) -> bool:
    """Whether some text fits both of two patterns."""
    if not one or not other:
        return not (one + other).strip("*")
    if one[0] == "*":
        return overlap(one[1:], other) or overlap(one, other[1:])
    if other[0] == "*":
        return overlap(other, one)
    return one[0] == other[0] and overlap(one[1:], other[1:])


def known(key: str, keys: set[str]) -> bool:
    if key.startswith(("aws:ResourceTag/", "ecs:ResourceTag/")):
        return f"{key.partition('/')[0]}/${{TagKey}}" in keys
    return key in keys


@pytest.mark.parametrize("kind", KINDS)
def test_every_document_keeps_to_the_reference(kind: Kind) -> None:
    seen = 0
    for _, place in (each for each in ALL if each[0] == kind):
        document = draft(kind, place).document
        assert parse(document, strict=True).statements  # as IAM itself would take it
        assert json.loads(json.dumps(document)) == document
        assert len(json.dumps(document)) < 6144  # of a managed policy
        for statement in document["Statement"]:
            actions, resources = listed(statement["Action"]), listed(statement["Resource"])
            forms = [form for action in actions for form in reference(action)[0]]
            for resource in resources:
                assert any(fits(resource, form) for form in forms), (actions, resource)
                if resource != "*":
                    assert resource.split(":")[1] == place.names.partition
            for action in actions:
                own, keys = reference(action)
                assert any(fits(each, form) for each in resources for form in own), action
                for block in statement.get("Condition", {}).values():
                    assert all(known(key, keys) for key in block), (action, block)
            wide = "*" in resources and set(forms) != {"*"}
            named = {"ecs:ListTasks", "ecs:ListServices"}  # by the cluster, as a condition
            assert not wide or (set(actions) <= named and "ArnEquals" in statement["Condition"])
            assert not any("*" in action for action in actions)
        seen += 1
    assert seen >= 20


def test_the_reference_would_notice() -> None:
    with pytest.raises(AssertionError):
        reference("ecs:ExecuteCommands")
    assert not fits(
        "arn:aws:ecs:eu-west-1:1:service/prod/web", reference("ecs:ExecuteCommand")[0][0]
    )
    assert not known("ecs:service", reference("ecs:ExecuteCommand")[1])


def test_conditions_stand_in_one_block() -> None:
    place = subject(tags={"environment": "production"}, container="nginx", service="web")
    first = draft("operator", place).document["Statement"][0]
    assert first["Condition"] == {
        "StringEquals": {
            "aws:ResourceTag/environment": "production",
            "ecs:container-name": "nginx",
        }
    }
    assert first["Resource"] == [
        f"arn:aws:ecs:eu-west-1:{ACCOUNT}:cluster/prod",
        f"arn:aws:ecs:eu-west-1:{ACCOUNT}:task/prod/*",
    ]


@pytest.mark.parametrize("kind", ["task-role", "deny-start-session"])
def test_limits_belong_to_operators(kind: Kind) -> None:
    with pytest.raises(InvalidRequest, match="neither tags nor a container"):
        draft(kind, subject(container="app"))
    with pytest.raises(InvalidRequest, match="neither tags nor a container"):
        draft(kind, subject(tags={"a": "b"}))


def test_a_kind_that_there_is_not() -> None:
    with pytest.raises(InvalidRequest) as caught:
        draft("admin", subject())  # type: ignore[arg-type]
    assert "operator, task-role" in caught.value.cure


# -- as IAM reads them ---------------------------------------------------------------------------

_NAMES = st.sampled_from(["prod", "prod2", "test", "app", "side", "staging"])


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    partition=st.sampled_from(sorted(PLACES)),
    cluster=st.sampled_from(["prod", "prod2", "test"]),
    container=st.sampled_from(["app", "side"]),
    environment=st.sampled_from(["production", "test", ""]),
    wanted=st.sampled_from(["production", ""]),
    only=st.sampled_from(["app", ""]),
)
def test_operators_get_in_where_they_may_and_nowhere_else(
    partition: str, cluster: str, container: str, environment: str, wanted: str, only: str
) -> None:
    place = subject(partition, tags={"environment": wanted} if wanted else {}, container=only)
    policy = [parse(draft("operator", place).document)]
    head = f"arn:{partition}:ecs:{PLACES[partition]}:{ACCOUNT}"
    context = context_of(
        {
            "ecs:cluster": f"{head}:cluster/{cluster}",
            "ecs:container-name": container,
            **({"aws:ResourceTag/environment": environment} if environment else {}),
        }
    )
    expected = cluster == "prod" and (wanted in ("", environment)) and only in ("", container)
    for resource in (f"{head}:cluster/{cluster}", f"{head}:task/{cluster}/0123456789"):
        verdict = evaluate(policy, "ecs:ExecuteCommand", resource, context)
        assert verdict.allowed == expected
    tasks = evaluate(policy, "ecs:ListTasks", f"{head}:container-instance/{cluster}/*", context)
    assert tasks.allowed == (cluster == "prod")
    shown = evaluate(policy, "ecs:DescribeTasks", f"{head}:task/{cluster}/0123456789", context)
    assert shown.allowed == (cluster == "prod")
    for action in ("ecs:StopTask", "ecs:RunTask", "ecs:UpdateService", "ssm:StartSession"):
        assert not evaluate(policy, action, f"{head}:task/{cluster}/0123456789", context).allowed


def test_sessions_around_exec_are_denied_whatever_else_is_allowed() -> None:
    for partition, region in PLACES.items():
        everything = {"Effect": "Allow", "Action": "*", "Resource": "*"}
        admin = parse({"Version": "2012-10-17", "Statement": [everything]})
        held = [admin, parse(draft("deny-start-session", subject(partition)).document)]
        head = f"arn:{partition}:ecs:{region}:{ACCOUNT}"
        verdict = evaluate(held, "ssm:StartSession", f"{head}:task/prod/0123", {})
        assert verdict.decision == "explicitDeny"
        assert evaluate(held, "ssm:StartSession", f"{head}:task/test/0123", {}).allowed
        assert evaluate(held, "ecs:ExecuteCommand", f"{head}:task/prod/0123", {}).allowed


@pytest.mark.parametrize("kind", KINDS)
def test_a_document_answers_its_own_questions(kind: Kind) -> None:
    for each, place in ALL:
        if each != kind:
            continue
        policy = [parse(draft(kind, place).document)]
        for question in questions(kind, place):
            context = context_of(question.context, {"kms:ResourceAliases": "alias/k"})
            verdict = evaluate(policy, question.action, question.resource, context)
            assert verdict.allowed == (question.action != "ssm:StartSession"), question
        nothing = [parse(draft(kind, replace(place, settings=other(place))).document)]
        first = questions(kind, place)[0]
        denied = evaluate(nothing, first.action, first.resource, context_of(first.context))
        assert kind == "task-role" or denied.decision == "implicitDeny"


def other(place: Subject) -> ExecSettings:
    return replace(place.settings, cluster_arn=place.settings.cluster_arn + "-other")


# -- in the practice cluster ---------------------------------------------------------------------


class Practice(Account):
    """The seeded cluster in which IAM decides, and people with the policies."""

    def __init__(self, sandbox: package.Sandbox) -> None:
        super().__init__(sandbox)
        self.admin = ecs.connect(session=self.session, endpoint_url=sandbox.url)
        self.count = 0

    def close(self) -> None:
        self.admin.close()
        super().close()

    def user(self, *documents: Any) -> tuple[str, Client]:
        self.count += 1
        name = f"operator-{self.count}"
        iam = self.aws("iam")
        iam.create_user(UserName=name)
        for number, document in enumerate(documents):
            text = document if isinstance(document, str) else document.json(None)
            iam.put_user_policy(UserName=name, PolicyName=f"p{number}", PolicyDocument=text)
        key = iam.create_access_key(UserName=name)["AccessKey"]
        return name, self.client(self._session(key["AccessKeyId"], key["SecretAccessKey"]))


@pytest.fixture(scope="module")
def practice() -> Iterator[Practice]:
    there = Practice(package.start(pace="fast", runtime=WITHOUT_ENGINE, iam=True))
    yield there
    there.close()


def test_an_operator_in_the_practice_cluster(practice: Practice) -> None:
    policy = practice.admin.policy("operator", "demo/web", container="nginx")
    _, client = practice.user(policy, practice.admin.policy("deny-start-session", "demo"))
    target = client.target("demo/web:nginx")
    assert target.run("echo in").stdout == "in\n"
    assert client.tasks("demo") and client.services("demo") and client.clusters()
    with pytest.raises(AccessDenied):
        client.target("demo/web:sidecar").run("true")
    with pytest.raises(AccessDenied):
        client.target("demo/worker").run("true")
    with pytest.raises(EcsExecError):
        target.run("true", method="start-session")


def test_an_operator_of_one_tag(practice: Practice) -> None:
    ecs_api = practice.aws("ecs")
    task = practice.admin.tasks("demo/worker")[0]
    ecs_api.tag_resource(resourceArn=task.task_arn, tags=[{"key": "team", "value": "ops"}])
    policy = practice.admin.policy("operator", "demo/worker", tags={"team": "ops"})
    assert any("1 of 2 running tasks" in remark for remark in policy.remarks)
    _, client = practice.user(policy)
    assert client.target(task.address).run("echo in").ok
    others = [one for one in practice.admin.tasks("demo/worker") if one.task_id != task.task_id]
    with pytest.raises(AccessDenied):
        client.target(others[0].address).run("true")


def test_what_somebody_can_do(practice: Practice) -> None:
    policy = practice.admin.policy("operator", "demo/web", container="nginx")
    name, _ = practice.user(policy)
    found = practice.admin.simulate(name, "demo/web")
    run = {
        (
            each.question.context["ecs:container-name"],
            each.question.resource.split(":")[5][:4],
        ): each
        for each in found
        if each.question.action == "ecs:ExecuteCommand"
    }
    assert {where: each.allowed for where, each in run.items()} == {
        ("nginx", "clus"): True,
        ("nginx", "task"): True,
        ("sidecar", "clus"): False,
        ("sidecar", "task"): False,
    }
    assert not found.ok and not found.around
    assert {each.question.action for each in found.denied} == {"ecs:ExecuteCommand"}
    assert practice.admin.simulate(name, "demo/web:nginx").ok
    text = found.table().text()
    assert f"user/{name} at demo/web: 2 denied" in text
    assert "no policy allows it" in text and f"user_{name}_p0" in text
    assert "denied</span>" in found._repr_mimebundle_()["text/html"]
    everything = {"Effect": "Allow", "Action": "*", "Resource": "*"}
    admin, _ = practice.user(json.dumps({"Version": "2012-10-17", "Statement": [everything]}))
    assert practice.admin.simulate(f"user/{admin}", "demo").around
    _, client = practice.user(
        json.dumps({"Version": "2012-10-17", "Statement": [everything]}),
        practice.admin.policy("deny-start-session", "demo"),
    )
    mine = client.simulate("me", "demo/web", kind="deny-start-session")
    assert not mine.around and "denied explicitly" in mine[0].why
    with pytest.raises(TargetNotFound):
        practice.admin.simulate("nobody-at-all", "demo")
    with pytest.raises(TargetNotFound, match="no cluster"):
        practice.admin.policy("operator", "nowhere")


def test_a_task_role_for_the_clusters_own_settings(practice: Practice) -> None:
    api = practice.aws("ecs")
    kms = practice.aws("kms")
    key = kms.create_key()["KeyMetadata"]
    kms.create_alias(AliasName="alias/exec", TargetKeyId=key["KeyId"])
    log = {"cloudWatchLogGroupName": "/exec/two", "s3BucketName": "b", "s3KeyPrefix": "/p/"}
    execution = {"logging": "OVERRIDE", "kmsKeyId": "alias/exec", "logConfiguration": log}
    api.create_cluster(clusterName="two", configuration={"executeCommandConfiguration": execution})
    text = practice.admin.policy("task-role", "two").json()
    assert ":log-group:/exec/two:*" in text and "arn:aws:s3:::b/p/*" in text
    assert key["Arn"] in text and "alias/exec" not in text
    operator = practice.admin.policy("operator", "two")
    statements = {each["Sid"]: each for each in operator["Statement"]}
    assert statements["SessionKey"]["Resource"] == key["Arn"]
    # Somebody who may not look the alias up: the condition narrows it.
    document = {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Action": "ecs:*", "Resource": "*"}],
    }
    _, client = practice.user(json.dumps(document))
    narrowed = client.policy("task-role", "two")["Statement"][-1]
    assert narrowed["Resource"].endswith(":key/*")
    assert narrowed["Condition"] == {
        "ForAnyValue:StringEquals": {"kms:ResourceAliases": "alias/exec"}
    }


def test_how_a_document_looks(practice: Practice) -> None:
    policy = practice.admin.policy("operator", "demo/web", tags={"a": "<b>"})
    assert json.loads(str(policy)) == dict(policy) == json.loads(policy.json(None))
    assert "\n" not in policy.json(None)
    assert set(policy.notes) <= {each["Sid"] for each in policy["Statement"]}
    shown = policy._repr_mimebundle_()
    assert "RunCommands: " in shown["text/plain"]
    assert "&lt;b&gt;" in shown["text/html"] and "<b>" not in shown["text/html"]
    plain = re.sub(r"<[^>]+>", "", shown["text/html"].partition("<pre")[2].partition("</pre>")[0])
    assert json.loads(html.unescape(plain.partition(">")[2])) == dict(policy)
    assert repr(policy).startswith("<PolicyDocument operator for demo/web, ")
