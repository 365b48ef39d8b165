"""IAM's policy simulator."""

from __future__ import annotations

import json
from typing import Any

import botocore.session
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecs_exec_magic.sandbox.api import ApiError
from ecs_exec_magic.sandbox.iam import Principals, SimulateService
from ecs_exec_magic.sandbox.iam.documents import parse
from ecs_exec_magic.sandbox.iam.identity import SANDBOX_KEY
from ecs_exec_magic.sandbox.iam.simulate import _place

from .practice import MotoAccount, allow, caller, calm, deny, document

ME = caller(SANDBOX_KEY)
CLUSTER = "arn:aws:ecs:us-east-1:123456789012:cluster/demo"


@pytest.fixture
def simulator(account: MotoAccount) -> SimulateService:
    return SimulateService(Principals(account), account.account_id)


_MODEL = botocore.session.Session().get_service_model("iam")


def _holds(value: Any, shape: Any) -> None:
    """The answer is of the model's shape."""
    if shape.type_name == "structure":
        assert set(value) <= set(shape.members), value
        for name, member in value.items():
            _holds(member, shape.members[name])
    elif shape.type_name == "list":
        for one in value:
            _holds(one, shape.member)
    elif shape.type_name == "map":
        for one in value.values():
            _holds(one, shape.value)
    elif shape.type_name == "boolean":
        assert isinstance(value, bool)
    else:
        assert isinstance(value, str)
        assert value in (shape.metadata.get("enum") or [value]) or value == "IAM Policy"


async def principal(simulator: SimulateService, arn: str, *actions: str, **more: Any) -> Any:
    asked = {"PolicySourceArn": arn, "ActionNames": list(actions), **more}
    answer = await simulator.op_simulate_principal_policy(asked, ME)
    _holds(answer, _MODEL.operation_model("SimulatePrincipalPolicy").output_shape)
    return answer


async def custom(simulator: SimulateService, *actions: str, **more: Any) -> Any:
    answer = await simulator.op_simulate_custom_policy({"ActionNames": list(actions), **more}, ME)
    _holds(answer, _MODEL.operation_model("SimulateCustomPolicy").output_shape)
    return answer


async def test_what_the_checker_asks(account: MotoAccount, simulator: SimulateService) -> None:
    role = account.role("task", allow(["ssmmessages:Create*", "s3:PutObject"]), deny("s3:*"))
    actions = ("ssmmessages:CreateControlChannel", "ssmmessages:OpenDataChannel", "s3:PutObject")
    answer = await principal(simulator, role, *actions)
    assert [
        (r["EvalActionName"], r["EvalResourceName"], r["EvalDecision"])
        for r in answer["EvaluationResults"]
    ] == [
        (actions[0], "*", "allowed"),
        (actions[1], "*", "implicitDeny"),
        (actions[2], "*", "explicitDeny"),
    ]
    matched = answer["EvaluationResults"][0]["MatchedStatements"]
    assert matched == [{"SourcePolicyId": "role_task_inline", "SourcePolicyType": "IAM Policy"}]
    assert answer["IsTruncated"] is False and "Marker" not in answer


async def test_each_resource_for_itself(account: MotoAccount, simulator: SimulateService) -> None:
    role = account.role("task", allow("ecs:*", CLUSTER), deny("ecs:*", CLUSTER + "3"))
    one = await principal(simulator, role, "ecs:ExecuteCommand", ResourceArns=[CLUSTER])
    result = one["EvaluationResults"][0]
    assert (result["EvalResourceName"], result["EvalDecision"]) == (CLUSTER, "allowed")
    assert result["ResourceSpecificResults"][0]["EvalResourceDecision"] == "allowed"
    named = [CLUSTER, CLUSTER + "2", CLUSTER + "3"]
    many = await principal(simulator, role, "ecs:ExecuteCommand", ResourceArns=named)
    result = many["EvaluationResults"][0]
    assert result["EvalDecision"] == "explicitDeny"
    assert [r["EvalResourceDecision"] for r in result["ResourceSpecificResults"]] == [
        "allowed",
        "implicitDeny",
        "explicitDeny",
    ]


async def test_context_that_is_missing_and_given(
    account: MotoAccount, simulator: SimulateService
) -> None:
    condition = {"StringEquals": {"ecs:ResourceTag/environment": "production"}}
    key = account.user("dev", allow("ecs:*", Condition=condition))
    assert key
    arn = f"arn:aws:iam::{account.account_id}:user/dev"
    bare = (await principal(simulator, arn, "ecs:X"))["EvaluationResults"][0]
    assert bare["EvalDecision"] == "implicitDeny"
    assert bare["MissingContextValues"] == ["ecs:resourcetag/environment"]
    at = await principal(simulator, arn, "ecs:X", ResourceArns=[CLUSTER])
    specific = at["EvaluationResults"][0]["ResourceSpecificResults"][0]
    assert specific["MissingContextValues"] == ["ecs:resourcetag/environment"]
    entry = {
        "ContextKeyName": "ecs:ResourceTag/environment",
        "ContextKeyValues": ["production"],
        "ContextKeyType": "string",
    }
    full = await principal(simulator, arn, "ecs:X", ContextEntries=[entry])
    assert full["EvaluationResults"][0]["EvalDecision"] == "allowed"
    assert full["EvaluationResults"][0]["MissingContextValues"] == []


async def test_a_users_own_name_is_known(account: MotoAccount, simulator: SimulateService) -> None:
    mine = {"StringEquals": {"aws:username": "dev"}}
    account.user("dev", allow("ecs:*", Condition=mine))
    arn = f"arn:aws:iam::{account.account_id}:user/dev"
    assert (await principal(simulator, arn, "ecs:X"))["EvaluationResults"][0][
        "EvalDecision"
    ] == "allowed"
    role = account.role("task", allow("*"))
    simulator.principals.changed()
    as_role = await principal(simulator, arn, "ecs:X", CallerArn=role)
    assert as_role["EvaluationResults"][0]["EvalDecision"] == "implicitDeny"


async def test_policies_that_are_given(account: MotoAccount, simulator: SimulateService) -> None:
    answer = await custom(simulator, "ecs:X", PolicyInputList=[document(allow("ecs:*"))])
    result = answer["EvaluationResults"][0]
    assert result["EvalDecision"] == "allowed"
    assert result["MatchedStatements"][0]["SourcePolicyId"] == "PolicyInputList.1"
    held = await custom(
        simulator,
        "ecs:X",
        PolicyInputList=[document(allow("ecs:*"))],
        PermissionsBoundaryPolicyInputList=[document(allow("iam:*"))],
    )
    result = held["EvaluationResults"][0]
    assert result["EvalDecision"] == "implicitDeny"
    assert result["PermissionsBoundaryDecisionDetail"] == {"AllowedByPermissionsBoundary": False}
    role = account.role("task")
    more = await principal(simulator, role, "ecs:X", PolicyInputList=[document(allow("ecs:*"))])
    assert more["EvaluationResults"][0]["EvalDecision"] == "allowed"


async def test_a_boundary_stands_with_each_resource(
    account: MotoAccount, simulator: SimulateService
) -> None:
    boundary = account.client("iam").create_policy(
        PolicyName="limit", PolicyDocument=document(allow("ecs:*", CLUSTER))
    )["Policy"]["Arn"]
    role = account.role("held", allow("ecs:*"), PermissionsBoundary=boundary)
    answer = await principal(
        simulator, role, "ecs:X", ResourceArns=[CLUSTER, CLUSTER.replace("demo", "other")]
    )
    inside, outside = answer["EvaluationResults"][0]["ResourceSpecificResults"]
    assert "PermissionsBoundaryDecisionDetail" not in inside
    refused = {"AllowedByPermissionsBoundary": False}
    nothing = await principal(simulator, role, "s3:X")  # nobody allows it, the boundary neither
    assert nothing["EvaluationResults"][0]["PermissionsBoundaryDecisionDetail"] == refused
    assert outside["PermissionsBoundaryDecisionDetail"] == refused


async def test_pages(simulator: SimulateService) -> None:
    actions = [f"ecs:Action{number}" for number in range(5)]
    policies = [document(allow("*"))]
    seen: list[str] = []
    marker: dict[str, str] = {}
    while True:
        page = await custom(simulator, *actions, PolicyInputList=policies, MaxItems=2, **marker)
        seen += [r["EvalActionName"] for r in page["EvaluationResults"]]
        if not page["IsTruncated"]:
            break
        marker = {"Marker": page["Marker"]}
    assert seen == actions


async def test_the_sandboxs_own_user(account: MotoAccount, simulator: SimulateService) -> None:
    arn = f"arn:aws:iam::{account.account_id}:user/sandbox"
    answer = await principal(simulator, arn, "ecs:ExecuteCommand", ResourceArns=[CLUSTER])
    result = answer["EvaluationResults"][0]
    assert result["EvalDecision"] == "allowed"
    assert result["MatchedStatements"][0]["SourcePolicyId"] == "AdministratorAccess"


@pytest.mark.parametrize(
    ("more", "code", "words"),
    [
        ({"PolicySourceArn": "arn:aws:iam::ACCOUNT:role/none"}, "NoSuchEntity",
         "The role with name none cannot be found."),
        ({"PolicySourceArn": "arn:aws:sts::ACCOUNT:assumed-role/a/b"}, "InvalidInput",
         "does not clearly define entity type and name."),
        ({"ActionNames": ["RunTask"]}, "InvalidInput", "RunTask"),
        ({"ActionNames": ["ecs:X", "iam:PassRole", "ecs:Y"]}, "InvalidInput",
         "[ecs:X,ecs:Y] and [iam:PassRole] require different authorization information."),
        ({"Marker": "!"}, "InvalidInput", "Marker"),
        ({"PolicyInputList": ["{"]}, "InvalidInput", "PolicyInputList.1"),
    ],
)  # fmt: skip
async def test_what_the_simulator_refuses(
    account: MotoAccount, simulator: SimulateService, more: dict[str, Any], code: str, words: str
) -> None:
    role = account.role("task")
    asked = {"PolicySourceArn": role, "ActionNames": ["ecs:X"], **more}
    asked["PolicySourceArn"] = asked["PolicySourceArn"].replace("ACCOUNT", account.account_id)
    with pytest.raises(ApiError) as caught:
        await simulator.op_simulate_principal_policy(asked, ME)
    assert caught.value.code == code and words in caught.value.message


@calm
@given(st.text(max_size=30))
def test_no_marker_is_an_accident(marker: str) -> None:
    try:
        assert _place({"Marker": marker}) >= 0
    except ApiError as error:
        assert error.code == "InvalidInput"


def test_every_policy_of_aws_can_be_read() -> None:
    from moto.iam.aws_managed_policies import aws_managed_policies_data

    managed = json.loads(aws_managed_policies_data)
    assert len(managed) > 500
    for name, one in managed.items():
        assert parse(one["Document"], name).statements
