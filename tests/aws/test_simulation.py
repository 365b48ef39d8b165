"""Asking IAM's simulator, in this process and over the practice cluster's socket."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import boto3
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ecs_exec_magic import sandbox
from ecs_exec_magic.aws.api import AwsApi
from ecs_exec_magic.aws.simulation import (
    Question,
    Verdict,
    principal_named,
    principal_of,
    simulate,
)
from ecs_exec_magic.errors import AccessDenied, EcsExecError, InvalidRequest, TargetNotFound

from ..runtimes import WITHOUT_ENGINE
from .fake import ACCOUNT, FakeAws, Refusal

ROLE = f"arn:aws:iam::{ACCOUNT}:role/task"
CLUSTER = f"arn:aws:ecs:eu-west-1:{ACCOUNT}:cluster/prod"


class Iam(FakeAws):
    """Answers each action by its name: ``ecs:Allow...`` is allowed."""

    apart: tuple[str, ...] = ()
    most = 100

    def SimulatePrincipalPolicy(self, asked: dict[str, Any]) -> dict[str, Any]:
        actions = members(asked, "ActionNames")
        if len(actions) > 1 and set(actions) & set(self.apart):
            raise Refusal("InvalidInput", "[...] require different authorization information.")
        start = int(asked.get("Marker", "0"))
        resource = members(asked, "ResourceArns")[0]
        results = [
            {
                "EvalActionName": action,
                "EvalResourceName": resource,
                "EvalDecision": "implicitDeny",
                "ResourceSpecificResults": [
                    {
                        "EvalResourceName": resource,
                        "EvalResourceDecision": "allowed" if "Allow" in action else "implicitDeny",
                    }
                ],
            }
            for action in actions[start : start + self.most]
        ]
        more = start + self.most < len(actions)
        marker = {"Marker": str(start + self.most)} if more else {}
        return {"EvaluationResults": results, "IsTruncated": more, **marker}

    def GetRole(self, asked: dict[str, Any]) -> dict[str, Any]:
        name = asked["RoleName"]
        if name in ("nobody", "dev"):
            raise Refusal("NoSuchEntity", f"The role with name {name} cannot be found.", 404)
        return {"Role": {"Arn": f"arn:aws:iam::{ACCOUNT}:role/teams/a/{name}"}}

    def GetUser(self, asked: dict[str, Any]) -> dict[str, Any]:
        name = asked["UserName"]
        if name in ("nobody", "ops"):
            raise Refusal("NoSuchEntity", f"The user with name {name} cannot be found.", 404)
        return {"User": {"Arn": f"arn:aws:iam::{ACCOUNT}:user/{name}"}}


def members(asked: dict[str, Any], name: str) -> list[str]:
    """A list parameter in the query protocol's spelling."""
    found: list[str] = []
    while f"{name}.member.{len(found) + 1}" in asked:
        found.append(asked[f"{name}.member.{len(found) + 1}"])
    return found


async def test_one_call_for_one_resource_and_context() -> None:
    aws = Iam()
    questions = [
        Question("ecs:AllowOne", CLUSTER),
        Question("ecs:Two"),
        Question("ecs:Three", CLUSTER),
        Question("ecs:AllowFour", CLUSTER, {"ecs:container-name": "app"}),
        Question("ECS:allowone", CLUSTER),
    ]
    verdicts = await simulate(aws.api(), ROLE, questions)
    assert [v.question for v in verdicts] == questions
    assert [v.allowed for v in verdicts] == [True, False, False, True, True]
    asked = [params for name, params in aws.calls if name == "SimulatePrincipalPolicy"]
    assert sorted(members(each, "ActionNames") for each in asked) == [
        ["ecs:AllowFour"],
        ["ecs:AllowOne", "ecs:Three"],
        ["ecs:Two"],
    ]
    assert {each["PolicySourceArn"] for each in asked} == {ROLE}


async def test_context_travels_with_its_types() -> None:
    aws = Iam()
    context: dict[str, str | tuple[str, ...]] = {
        "ecs:container-name": "app",
        "aws:TagKeys": ("a", "b"),
        "aws:SourceIp": "10.0.0.1",
        "aws:SecureTransport": "true",
        "aws:MultiFactorAuthAge": "30",
        "aws:CurrentTime": "2026-03-01T12:00:00Z",
    }
    await simulate(aws.api(), ROLE, [Question("ecs:X", CLUSTER, context)])
    asked = aws.calls[0][1]
    entries = {}
    for number in range(1, len(context) + 1):
        at = f"ContextEntries.member.{number}"
        values = members(asked, f"{at}.ContextKeyValues")
        entries[asked[f"{at}.ContextKeyName"]] = (asked[f"{at}.ContextKeyType"], values)
    assert entries == {
        "ecs:container-name": ("string", ["app"]),
        "aws:TagKeys": ("stringList", ["a", "b"]),
        "aws:SourceIp": ("ip", ["10.0.0.1"]),
        "aws:SecureTransport": ("boolean", ["true"]),
        "aws:MultiFactorAuthAge": ("numeric", ["30"]),
        "aws:CurrentTime": ("date", ["2026-03-01T12:00:00Z"]),
    }


async def test_all_pages_are_read() -> None:
    aws = Iam()
    aws.most = 2
    questions = [Question(f"ecs:Allow{number}") for number in range(5)]
    assert all(await simulate(aws.api(), ROLE, questions))
    assert aws.count("SimulatePrincipalPolicy") == 3


async def test_actions_that_cannot_be_asked_together_are_asked_alone() -> None:
    aws = Iam()
    aws.apart = ("iam:AllowPassRole",)
    questions = [Question("ecs:AllowOne"), Question("iam:AllowPassRole"), Question("ecs:Two")]
    verdicts = await simulate(aws.api(), ROLE, questions)
    assert [bool(verdict) for verdict in verdicts] == [True, True, False]
    aws.always["SimulatePrincipalPolicy"] = Refusal("InvalidInput", "Invalid action name: x")
    with pytest.raises(EcsExecError) as caught:
        await simulate(aws.api(), ROLE, questions)
    assert "Invalid action name" in caught.value.cause


async def test_nothing_is_asked_for_no_questions() -> None:
    aws = Iam()
    assert await simulate(aws.api(), ROLE, []) == ()
    assert aws.calls == []


@pytest.mark.parametrize(
    ("verdict", "why"),
    [
        (Verdict(Question("a:b"), "allowed", ("exec", "more")), "allowed by exec, more"),
        (Verdict(Question("a:b"), "explicitDeny", ("stop",)), "denied explicitly by stop"),
        (Verdict(Question("a:b"), "implicitDeny"), "no policy allows it"),
        (Verdict(Question("a:b"), "implicitDeny", (), ("aws:RequestedRegion",)),
         "no policy allows it; one may if the request has aws:RequestedRegion"),
        (Verdict(Question("a:b"), "implicitDeny", denied_by_boundary=True),
         "the permissions boundary does not allow it"),
        (Verdict(Question("a:b"), "explicitDeny", ("b",), denied_by_boundary=True),
         "the permissions boundary denies it"),
        (Verdict(Question("a:b"), "implicitDeny", ("x",), denied_by_organisation=True),
         "a policy of the organisation (SCP) does not allow it"),
    ],
)  # fmt: skip
def test_reasons_in_words(verdict: Verdict, why: str) -> None:
    assert verdict.why == why
    assert bool(verdict) is verdict.allowed is (verdict.decision == "allowed")


async def test_denials_from_above_are_told() -> None:
    aws = Iam()
    denied: dict[str, Any] = {
        "EvalActionName": "ecs:X",
        "EvalDecision": "implicitDeny",
        "OrganizationsDecisionDetail": {"AllowedByOrganizations": False},
    }
    held = {
        "EvalActionName": "ecs:Y",
        "EvalDecision": "explicitDeny",
        "ResourceSpecificResults": [
            {
                "EvalResourceName": "*",
                "EvalResourceDecision": "explicitDeny",
                "MatchedStatements": [{"SourcePolicyId": "limit"}, {"SourcePolicyId": "limit"}],
                "PermissionsBoundaryDecisionDetail": {"AllowedByPermissionsBoundary": False},
            }
        ],
    }
    aws.SimulatePrincipalPolicy = lambda asked: {  # type: ignore[method-assign]
        "EvaluationResults": [denied, held],
        "IsTruncated": False,
    }
    one, two = await simulate(aws.api(), ROLE, [Question("ecs:X"), Question("ecs:Y")])
    assert (one.denied_by_organisation, one.denied_by_boundary) == (True, False)
    assert (two.denied_by_organisation, two.denied_by_boundary) == (False, True)
    assert two.by == ("limit",)


# -- who is asked about --------------------------------------------------------------------------


@pytest.mark.parametrize("partition", ["aws", "aws-cn", "aws-us-gov"])
async def test_the_entity_behind_a_caller(partition: str) -> None:
    aws, head = Iam(), f"arn:{partition}"
    for arn in (
        f"{head}:iam::{ACCOUNT}:user/a/b",
        f"{head}:iam::{ACCOUNT}:role/r",
        f"{head}:iam::{ACCOUNT}:group/g",
    ):
        assert await principal_of(aws.api(), arn) == arn
    assert aws.calls == []
    session = f"{head}:sts::{ACCOUNT}:assumed-role/ops/me@example.com"
    assert await principal_of(aws.api(), session) == f"arn:aws:iam::{ACCOUNT}:role/teams/a/ops"
    aws.always["GetRole"] = Refusal("AccessDenied", "no", 403)
    assert await principal_of(aws.api(), session) == f"{head}:iam::{ACCOUNT}:role/ops"
    generated = f"{head}:sts::{ACCOUNT}:assumed-role/AWSReservedSSO_Admin_12ab/me"
    with pytest.raises(AccessDenied):
        await principal_of(aws.api(), generated)


@pytest.mark.parametrize(
    ("arn", "words"),
    [
        (f"arn:aws:iam::{ACCOUNT}:root", "root user"),
        (f"arn:aws:sts::{ACCOUNT}:federated-user/ann", "federated user ann"),
        ("arn:aws:s3:::bucket", "is not the ARN of a user or role"),
        ("nonsense", "is not the ARN of a user or role"),
    ],
)
async def test_who_cannot_be_simulated(arn: str, words: str) -> None:
    with pytest.raises(InvalidRequest, match=words) as caught:
        await principal_of(Iam().api(), arn)
    assert caught.value.cure


async def test_principals_by_name() -> None:
    aws = Iam()
    api = aws.api()
    assert await principal_named(api, "me") == f"arn:aws:iam::{ACCOUNT}:user/me"
    assert await principal_named(api, ROLE) == ROLE
    assert await principal_named(api, "role/ops") == f"arn:aws:iam::{ACCOUNT}:role/teams/a/ops"
    assert await principal_named(api, "ops") == f"arn:aws:iam::{ACCOUNT}:role/teams/a/ops"
    assert await principal_named(api, "dev") == f"arn:aws:iam::{ACCOUNT}:user/dev"
    with pytest.raises(TargetNotFound, match="neither a role nor a user"):
        await principal_named(api, "nobody")
    with pytest.raises(InvalidRequest, match="a role and a user both"):
        await principal_named(api, "both")
    with pytest.raises(InvalidRequest):
        await principal_named(api, "policy/x")
    with pytest.raises(TargetNotFound):
        await principal_named(api, "user/nobody")


# -- against the practice cluster ----------------------------------------------------------------


class Practice:
    """A practice cluster's IAM."""

    def __init__(self, running: sandbox.Sandbox) -> None:
        environment = running.environment
        session = boto3.Session(
            environment["AWS_ACCESS_KEY_ID"],
            environment["AWS_SECRET_ACCESS_KEY"],
            region_name=environment["AWS_REGION"],
        )
        self.api = AwsApi(session, endpoint_url=running.url)
        self.iam = session.client("iam", endpoint_url=running.url)
        self.iam.create_role(
            RoleName="asked", Path="/teams/", AssumeRolePolicyDocument=document("sts:AssumeRole")
        )
        self.role = str(self.iam.get_role(RoleName="asked")["Role"]["Arn"])

    def allow(self, action: str, resource: str = "*", **condition: Any) -> None:
        self.iam.put_role_policy(
            RoleName="asked",
            PolicyName="p",
            PolicyDocument=document(action, resource, **condition),
        )


def document(action: str, resource: str = "", **condition: Any) -> str:
    statement: dict[str, Any] = {"Effect": "Allow", "Action": action}
    if resource:
        statement |= {"Resource": resource, "Condition": condition}
    else:
        statement |= {"Principal": {"Service": "ecs-tasks.amazonaws.com"}}
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


@pytest.fixture(scope="module")
def practice() -> Any:
    with sandbox.start(pace="fast", runtime=WITHOUT_ENGINE, seed=False, iam=True) as running:
        yield Practice(running)


async def test_a_condition_is_told_until_its_key_is_given(practice: Practice) -> None:
    practice.allow("ecs:ExecuteCommand", CLUSTER, StringEquals={"ecs:container-name": "app"})
    bare = Question("ecs:ExecuteCommand", CLUSTER)
    right = Question("ecs:ExecuteCommand", CLUSTER, {"ecs:container-name": "app"})
    wrong = Question("ecs:ExecuteCommand", CLUSTER, {"ecs:container-name": "sidecar"})
    other = Question("ecs:ExecuteCommand", CLUSTER + "2", {"ecs:container-name": "app"})
    unknown, yes, no, elsewhere = await simulate(
        practice.api, practice.role, [bare, right, wrong, other]
    )
    assert unknown.decision == "implicitDeny"
    assert unknown.missing_context == ("ecs:container-name",)
    assert yes.by == ("role_asked_p",)
    assert [yes.allowed, no.allowed, elsewhere.allowed] == [True, False, False]
    assert no.missing_context == ()


async def test_passing_roles_beside_other_actions(practice: Practice) -> None:
    practice.allow("iam:*")
    questions = [Question("iam:PassRole"), Question("iam:GetRole"), Question("ecs:RunTask")]
    verdicts = await simulate(practice.api, practice.role, questions)
    assert [each.allowed for each in verdicts] == [True, True, False]


async def test_a_boundary_and_a_principal_that_is_gone(practice: Practice) -> None:
    practice.allow("*")
    limit = practice.iam.create_policy(
        PolicyName="limit", PolicyDocument=document("ssmmessages:*", "*")
    )["Policy"]["Arn"]
    practice.iam.put_role_permissions_boundary(RoleName="asked", PermissionsBoundary=limit)
    questions = [Question("ssmmessages:OpenDataChannel"), Question("kms:Decrypt")]
    inside, outside = await simulate(practice.api, practice.role, questions)
    practice.iam.delete_role_permissions_boundary(RoleName="asked")
    assert inside.allowed and not inside.denied_by_boundary
    assert outside.denied_by_boundary and "permissions boundary" in outside.why
    with pytest.raises(TargetNotFound, match="IAM has no"):
        await simulate(practice.api, practice.role + "x", questions)


async def test_a_role_below_a_path_is_found_again(practice: Practice) -> None:
    account = practice.role.split(":")[4]
    session = f"arn:aws:sts::{account}:assumed-role/asked/me"
    assert await principal_of(practice.api, session) == practice.role
    assert await principal_named(practice.api, "asked") == practice.role


_ACTIONS = ("ecs:ExecuteCommand", "ecs:DescribeTasks", "iam:PassRole", "kms:Decrypt")


@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.lists(
        st.tuples(
            st.sampled_from(_ACTIONS),
            st.sampled_from(["*", CLUSTER, CLUSTER + "2"]),
            st.sampled_from(["", "app", "sidecar"]),
        ),
        max_size=8,
    )
)
def test_together_is_as_one_by_one(practice: Practice, asked: list[tuple[str, str, str]]) -> None:
    practice.allow("ecs:*", CLUSTER, StringEquals={"ecs:container-name": "app"})
    questions = [
        Question(action, resource, {"ecs:container-name": name} if name else {})
        for action, resource, name in asked
    ]

    async def both() -> tuple[tuple[Verdict, ...], list[Verdict]]:
        together = await simulate(practice.api, practice.role, questions)
        alone = [(await simulate(practice.api, practice.role, [each]))[0] for each in questions]
        return together, alone

    together, alone = asyncio.run(both())
    assert list(together) == alone
