"""Calls and roles against the policies that IAM holds."""

from __future__ import annotations

from typing import Any

import pytest

from ecs_exec_magic.sandbox.api import ApiError
from ecs_exec_magic.sandbox.iam import Authorizer, Identities, seed_roles
from ecs_exec_magic.sandbox.iam.identity import SANDBOX_KEY
from ecs_exec_magic.sandbox.iam.starter import EXEC_ACTIONS, EXECUTION_ROLE, TASK_ROLE

from .practice import REGION, MotoAccount, Shop, allow, caller, deny, document

TASK = "0123456789abcdef0123456789abcdef"


class Desk:
    """A cluster with a task in production, and callers."""

    def __init__(self, account: MotoAccount, authorizer: Authorizer, shop: Shop) -> None:
        self.account = account
        self.authorizer = authorizer
        ecs = f"arn:aws:ecs:{REGION}:{account.account_id}:"
        self.cluster, self.task = f"{ecs}cluster/demo", f"{ecs}task/demo/{TASK}"
        shop.tags[self.cluster] = {"team": "web"}
        shop.tags[self.task] = {"environment": "production"}
        self.shop = shop

    async def execute(self, key: str, resource: str = "", container: str = "nginx") -> None:
        context = {
            "ecs:cluster": [self.cluster],
            "ecs:task": [self.task],
            "ecs:container-name": [container],
        }
        await self.authorizer.check(
            caller(key), "ecs:ExecuteCommand", resource or self.cluster, context
        )

    async def refused(self, key: str, **more: Any) -> str:
        with pytest.raises(ApiError) as caught:
            await self.execute(key, **more)
        assert (caught.value.code, caught.value.status) == ("AccessDeniedException", 400)
        return caught.value.message

    async def call(self, key: str, service: str, operation: str, /, **given: Any) -> None:
        await self.authorizer.admit(caller(key), service, operation, given)

    async def denied(self, key: str, service: str, operation: str, /, **given: Any) -> ApiError:
        with pytest.raises(ApiError) as caught:
            await self.call(key, service, operation, **given)
        return caught.value


@pytest.fixture
def desk(account: MotoAccount, authorizer: Authorizer, shop: Shop) -> Desk:
    return Desk(account, authorizer, shop)


# ExecuteCommand


async def test_the_announcements_policy_in_its_right_form(desk: Desk) -> None:
    condition = {
        "StringEquals": {
            "ecs:container-name": "nginx",
            "ecs:ResourceTag/environment": "production",
        }
    }
    key = desk.account.user("dev", allow("ecs:ExecuteCommand", desk.cluster, Condition=condition))
    for resource in (desk.cluster, desk.task):
        await desk.execute(key, resource)
    me = f"arn:aws:iam::{desk.account.account_id}:user/dev"
    for resource in (desk.cluster, desk.task):
        assert await desk.refused(key, resource=resource, container="sidecar") == (
            f"User: {me} is not authorized to perform: ecs:ExecuteCommand on resource: "
            f"{desk.cluster} because no identity-based policy allows the ecs:ExecuteCommand action"
        )
    desk.shop.tags[desk.task] = {"environment": "test"}
    await desk.refused(key)


@pytest.mark.parametrize("prefix", ["aws:ResourceTag", "ecs:ResourceTag"])
async def test_a_policy_on_tasks_by_tag(desk: Desk, prefix: str) -> None:
    condition = {"StringLike": {f"{prefix}/Environment": "prod*"}}
    tasks = desk.task.replace(TASK, "*")
    key = desk.account.user("dev", allow("ecs:ExecuteCommand", tasks, Condition=condition))
    await desk.execute(key)
    desk.shop.tags[desk.task] = {}
    await desk.refused(key)


async def test_a_denial_of_either_resource_denies(desk: Desk) -> None:
    production = {"StringEquals": {"aws:ResourceTag/environment": "production"}}
    key = desk.account.user("dev", allow("ecs:*"), deny("ecs:*", Condition=production))
    message = await desk.refused(key)
    assert message.endswith(" with an explicit deny in an identity-based policy")
    desk.shop.tags[desk.cluster] = {"environment": "production"}
    desk.shop.tags[desk.task] = {"environment": "test"}
    await desk.refused(key)
    merged = {"ecs:cluster": [desk.cluster], "aws:ResourceTag/environment": ["test"]}
    with pytest.raises(ApiError):  # what a handler says of tags does not hide the cluster's own
        await desk.authorizer.check(caller(key), "ecs:ExecuteCommand", desk.task, merged)
    desk.shop.tags[desk.cluster] = {}
    await desk.execute(key)


async def test_cluster_and_task_as_condition_keys(desk: Desk) -> None:
    key = desk.account.user(
        "dev", allow("ecs:ExecuteCommand", Condition={"ArnEquals": {"ecs:cluster": desk.cluster}})
    )
    await desk.execute(key)
    other = desk.account.user(
        "ops",
        allow("ecs:ExecuteCommand", Condition={"ArnLike": {"ecs:task": desk.task + "0"}}),
    )
    await desk.refused(other)


async def test_the_handler_asks_for_execute_command_itself(desk: Desk) -> None:
    key = desk.account.user("dev")
    await desk.call(key, "ecs", "ExecuteCommand", cluster="demo", task=TASK)
    await desk.refused(key)


# who


async def test_without_iam_everybody_may(account: MotoAccount, shop: Shop) -> None:
    authorizer = Authorizer(account, Identities(account), facts=shop)
    desk = Desk(account, authorizer, shop)
    await desk.execute("AKIANOBODY")
    await desk.call("AKIANOBODY", "iam", "DeleteRole", RoleName="x")
    await desk.call("AKIANOBODY", "s3", "CreateBucket", Bucket="b")
    assert await authorizer.role_allows(None, "ssmmessages:OpenDataChannel")
    assert account.calls == []


@pytest.mark.parametrize("enabled", [True, False])
async def test_no_malformed_document_gets_in(desk: Desk, enabled: bool) -> None:
    desk.authorizer.enabled = enabled
    asked = {"RoleName": "r", "PolicyName": "p", "PolicyDocument": '{"Statement": [}'}
    error = await desk.denied(SANDBOX_KEY, "iam", "PutRolePolicy", **asked)
    assert (error.code, error.status) == ("MalformedPolicyDocument", 400)
    assert error.message.startswith("Syntax errors in policy. (line 1, column 16: ")


async def test_the_sandboxs_own_key_may_everything(desk: Desk) -> None:
    await desk.execute(SANDBOX_KEY)
    await desk.call(SANDBOX_KEY, "iam", "CreateUser", UserName="x")


@pytest.mark.parametrize(
    ("service", "operation", "code", "status"),
    [
        ("ecs", "ListClusters", "UnrecognizedClientException", 403),
        ("iam", "ListUsers", "InvalidClientTokenId", 403),
        ("sts", "GetCallerIdentity", "InvalidClientTokenId", 403),
        ("ec2", "DescribeVpcs", "AuthFailure", 401),
    ],
)
async def test_a_key_that_nobody_has(
    desk: Desk, service: str, operation: str, code: str, status: int
) -> None:
    error = await desk.denied("AKIANOBODY", service, operation)
    assert (error.code, error.status) == (code, status)


async def test_an_inactive_key_is_nobodys(desk: Desk, identities: Identities) -> None:
    key = desk.account.user("dev", allow("*"))
    assert (await identities.resolve(key)).name == "dev"
    desk.account.client("iam").update_access_key(UserName="dev", AccessKeyId=key, Status="Inactive")
    with pytest.raises(ApiError) as caught:
        await identities.resolve(key, "s3")
    assert caught.value.code == "InvalidAccessKeyId"


async def test_who_a_key_is(account: MotoAccount) -> None:
    lenient = Identities(account)
    one = await lenient.resolve(account.user("dev"))
    assert (one.arn, one.kind, one.role_arn, one.administrator) == (
        f"arn:aws:iam::{account.account_id}:user/dev", "user", None, False
    )  # fmt: skip
    role = account.role("ops")
    two = await lenient.resolve(account.assume(role, "night"))
    assert two.arn == f"arn:aws:sts::{account.account_id}:assumed-role/ops/night"
    assert (two.kind, two.name, two.role_arn) == ("assumed-role", "ops/night", role)
    three = await lenient.resolve("AKIANOBODY")
    assert three.arn == f"arn:aws:iam::{account.account_id}:user/sandbox"
    assert three.administrator and two.access_key not in repr(two)


async def test_an_assumed_role_has_the_roles_policies(desk: Desk) -> None:
    role = desk.account.role(
        "ops",
        allow("ecs:*", Condition={"ArnLike": {"aws:PrincipalArn": "arn:aws:iam::*:role/ops"}}),
        deny("ecs:DeleteCluster"),
    )
    key = desk.account.assume(role, "night")
    await desk.execute(key)
    error = await desk.denied(key, "ecs", "DeleteCluster", cluster="demo")
    assert error.message.startswith(
        f"User: arn:aws:sts::{desk.account.account_id}:assumed-role/ops/night is not authorized"
    )


# where policies come from


async def test_groups_attached_and_managed_policies(desk: Desk) -> None:
    iam = desk.account.client("iam")
    key = desk.account.user("dev")
    await desk.refused(key)
    iam.create_group(GroupName="ops")
    iam.put_group_policy(
        GroupName="ops", PolicyName="exec", PolicyDocument=document(allow("ecs:ExecuteCommand"))
    )
    iam.add_user_to_group(GroupName="ops", UserName="dev")
    desk.authorizer.changed()
    await desk.execute(key)
    own = iam.create_policy(PolicyName="no", PolicyDocument=document(deny("ecs:Execute*")))
    iam.attach_user_policy(UserName="dev", PolicyArn=own["Policy"]["Arn"])
    desk.authorizer.changed()
    await desk.refused(key)
    await desk.denied(key, "iam", "ListRoles")
    iam.attach_user_policy(UserName="dev", PolicyArn="arn:aws:iam::aws:policy/IAMReadOnlyAccess")
    desk.authorizer.changed()
    await desk.call(key, "iam", "ListRoles")


async def test_a_boundary_limits_a_role(desk: Desk) -> None:
    limit = desk.account.client("iam").create_policy(
        PolicyName="limit", PolicyDocument=document(allow("ecs:List*"))
    )["Policy"]["Arn"]
    role = desk.account.role("ops", allow("*"), PermissionsBoundary=limit)
    key = desk.account.assume(role, "night")
    await desk.call(key, "ecs", "ListClusters")
    error = await desk.denied(key, "ecs", "DeleteCluster", cluster="demo")
    assert error.message.endswith(
        "because no permissions boundary allows the ecs:DeleteCluster action"
    )


async def test_what_is_known_is_kept_until_something_changes(desk: Desk) -> None:
    key = desk.account.user("dev", allow("ecs:*"))
    await desk.execute(key)
    read = desk.account.calls.count("get_account_authorization_details")
    await desk.execute(key)
    desk.authorizer.changed()
    await desk.execute(key)
    assert desk.account.calls.count("get_account_authorization_details") > read
    desk.account.client("iam").delete_user_policy(UserName="dev", PolicyName="inline")
    desk.authorizer.changed()
    await desk.refused(key)


# other calls


async def test_run_task_with_and_without_exec(desk: Desk) -> None:
    key = desk.account.user(
        "dev",
        allow(["ecs:RunTask", "iam:PassRole"]),
        deny("ecs:RunTask", Condition={"Bool": {"ecs:enable-execute-command": "true"}}),
    )
    await desk.call(key, "ecs", "RunTask", taskDefinition="web")
    error = await desk.denied(
        key, "ecs", "RunTask", taskDefinition="web:1", enableExecuteCommand=True
    )
    assert error.message == (
        f"User: arn:aws:iam::{desk.account.account_id}:user/dev is not authorized to perform: "
        f"ecs:RunTask on resource: arn:aws:ecs:{REGION}:{desk.account.account_id}:"
        "task-definition/web:1 with an explicit deny in an identity-based policy"
    )


async def test_a_role_may_be_handed_to_ecs_only_if_allowed(desk: Desk) -> None:
    role = desk.account.role("task")
    desk.shop.roles["web"] = [role]
    to_ecs = {"StringEquals": {"iam:PassedToService": "ecs-tasks.amazonaws.com"}}
    key = desk.account.user("dev", allow("ecs:RunTask"))
    error = await desk.denied(key, "ecs", "RunTask", taskDefinition="web")
    assert (error.code, "iam:PassRole" in error.message) == ("AccessDeniedException", True)
    other = desk.account.user("ops", allow("ecs:RunTask"), allow("iam:PassRole", role,
                                                                Condition=to_ecs))  # fmt: skip
    desk.authorizer.changed()
    await desk.call(other, "ecs", "RunTask", taskDefinition="web")


async def test_start_session_is_denied_by_task(desk: Desk) -> None:
    key = desk.account.user(
        "dev", allow("ssm:*"), deny("ssm:StartSession", desk.task.replace(TASK, "*"))
    )
    error = await desk.denied(key, "ssm", "StartSession", Target=f"ecs:demo_{TASK}_{TASK}-1")
    assert (error.code, desk.task in error.message) == ("AccessDeniedException", True)
    await desk.call(key, "ssm", "DescribeSessions", State="Active")


async def test_a_key_by_its_alias(desk: Desk) -> None:
    kms = desk.account.client("kms")
    arn = kms.create_key()["KeyMetadata"]["Arn"]
    kms.create_alias(AliasName="alias/exec", TargetKeyId=arn)
    key = desk.account.user("dev", allow("kms:GenerateDataKey", arn))
    for name in ("alias/exec", arn, arn.rpartition("/")[2]):
        await desk.call(key, "kms", "GenerateDataKey", KeyId=name)
    error = await desk.denied(key, "kms", "GenerateDataKey", KeyId="alias/other")
    assert error.code == "AccessDeniedException" and "alias/other" in error.message


async def test_each_service_refuses_in_its_own_form(desk: Desk) -> None:
    key = desk.account.user("dev")
    ec2 = await desk.denied(key, "ec2", "DeleteSecurityGroup", GroupId="sg-1")
    assert (ec2.code, ec2.status) == ("UnauthorizedOperation", 403)
    assert ec2.message.startswith("You are not authorized to perform this operation. User: arn:")
    every = await desk.denied(key, "ec2", "DescribeVpcs")
    assert "perform: ec2:DescribeVpcs because no identity-based policy" in every.message
    iam = await desk.denied(key, "iam", "CreateRole", RoleName="r")
    assert (iam.code, iam.status) == ("AccessDenied", 403)
    s3 = await desk.denied(key, "s3", "PutObject", Bucket="b", Key="k")
    assert (s3.code, s3.status) == ("AccessDenied", 403)
    assert 's3:PutObject on resource: "arn:aws:s3:::b/k" because no' in s3.message
    await desk.call(key, "sts", "GetCallerIdentity")


# roles of tasks


async def test_what_a_role_may(desk: Desk) -> None:
    bucket = "arn:aws:s3:::logs"
    role = desk.account.role("task", allow(list(EXEC_ACTIONS[:3])), allow("s3:*", f"{bucket}/a/*"))
    may = desk.authorizer.role_allows
    assert await may(role, EXEC_ACTIONS[0])
    assert not await may(role, EXEC_ACTIONS[3])
    assert await may(role, "s3:PutObject", f"{bucket}/a/x.log")
    assert not await may(role, "s3:PutObject", f"{bucket}/b/x.log")
    assert not await may(None, EXEC_ACTIONS[0])
    assert not await may(role + "x", EXEC_ACTIONS[0])
    assert not await may("task", EXEC_ACTIONS[0])


async def test_a_roles_conditions_see_the_region_of_the_resource(desk: Desk) -> None:
    here = {"StringEquals": {"aws:RequestedRegion": REGION}}
    role = desk.account.role("task", allow("logs:*", Condition=here))
    group = f"arn:aws:logs:{REGION}:1:log-group:x:*"
    assert await desk.authorizer.role_allows(role, "logs:PutLogEvents", group)
    far = group.replace(REGION, "eu-west-1")
    assert not await desk.authorizer.role_allows(role, "logs:PutLogEvents", far)


async def test_the_roles_of_a_new_cluster(desk: Desk) -> None:
    for _ in range(2):
        await seed_roles(desk.account, REGION)
    may = desk.authorizer.role_allows
    task, execution = (
        f"arn:aws:iam::{desk.account.account_id}:role/{name}"
        for name in (TASK_ROLE, EXECUTION_ROLE)
    )
    for action in EXEC_ACTIONS:
        assert await may(task, action) and not await may(execution, action)
    for action in ("logs:CreateLogStream", "logs:PutLogEvents", "logs:CreateLogGroup"):
        assert await may(execution, action, f"arn:aws:logs:{REGION}:1:log-group:/x:*"), action
    assert not await may(task, "ecs:ExecuteCommand")
