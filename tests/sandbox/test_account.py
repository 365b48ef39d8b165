"""The account in this process: calls, several accounts, and what is left after."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator
from typing import Any

import pytest
from botocore.exceptions import ClientError

from ecs_exec_magic.sandbox.account import OWN_KEY, Account, Unserved

REGION = "us-east-1"


@pytest.fixture
async def account() -> AsyncIterator[Account]:
    made = Account()
    yield made
    await made.close()


async def test_calls_raise_what_boto3_raises(account: Account) -> None:
    await account.call("logs", "create_log_group", REGION, logGroupName="g")
    with pytest.raises(ClientError) as caught:
        await account.call("logs", "create_log_group", REGION, logGroupName="g")
    assert caught.value.response["Error"]["Code"] == "ResourceAlreadyExistsException"
    found = await account.call("logs", "describe_log_groups", "eu-west-1")
    assert found["logGroups"] == []


async def test_the_users_own_settings_do_not_matter(
    account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_PROFILE", "no-such-profile")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_USE_FIPS_ENDPOINT", "true")
    me = await account.call("sts", "get_caller_identity", "us-west-2")
    assert me["Account"] == account.account_id


async def test_accounts_do_not_see_each_other(account: Account) -> None:
    other = Account()
    assert int(other.account_id) == int(account.account_id) + 1
    try:
        await other.call("s3", "create_bucket", REGION, Bucket="account-test")
        body = b"x" * (17 << 20)  # large enough to be in a file
        await other.call("s3", "put_object", REGION, Bucket="account-test", Key="k", Body=body)
        assert (await account.call("s3", "list_buckets", REGION))["Buckets"] == []
        with pytest.raises(ClientError) as caught:
            await account.call("s3", "create_bucket", REGION, Bucket="account-test")
        assert caught.value.response["Error"]["Code"] == "BucketAlreadyExists"
        key = await other.call("kms", "create_key", REGION)
        assert f":{other.account_id}:" in key["KeyMetadata"]["Arn"]
        await account.call("s3", "create_bucket", REGION, Bucket="account-kept")
        await account.call("s3", "put_object", REGION, Bucket="account-kept", Key="k", Body=b"1")
    finally:
        await other.close()
    await account.call("s3", "create_bucket", REGION, Bucket="account-test")
    kept = await account.call("s3", "get_object", REGION, Bucket="account-kept", Key="k")
    assert kept["Body"].read() == b"1"
    again = Account()
    try:
        assert again.account_id == other.account_id
        assert (await again.call("kms", "list_keys", REGION))["Keys"] == []
    finally:
        await again.close()


async def test_known_keys(account: Account) -> None:
    assert account.known_key("AKIANOBODY") is None and account.known_key(OWN_KEY) is None
    await account.call("iam", "create_user", REGION, UserName="dev")
    made = await account.call("iam", "create_access_key", REGION, UserName="dev")
    key = made["AccessKey"]["AccessKeyId"]
    found = account.known_key(key)
    assert found is not None and (found.kind, found.name, found.active) == ("user", "dev", True)
    assert found.arn == f"arn:aws:iam::{account.account_id}:user/dev"
    await account.call(
        "iam", "update_access_key", REGION, UserName="dev", AccessKeyId=key, Status="Inactive"
    )
    found = account.known_key(key)
    assert found is not None and not found.active
    role = await account.call(
        "iam", "create_role", REGION, RoleName="r", AssumeRolePolicyDocument="{}"
    )
    arn = role["Role"]["Arn"]
    session = await account.call("sts", "assume_role", REGION, RoleArn=arn, RoleSessionName="night")
    found = account.known_key(session["Credentials"]["AccessKeyId"])
    assert found is not None
    assert (found.kind, found.name, found.role_arn) == ("assumed-role", "r/night", arn)


async def test_prepare_is_done_once(account: Account) -> None:
    await asyncio.gather(*(account.prepare(REGION) for _ in range(5)))
    found = await account.call("ec2", "describe_internet_gateways", REGION)
    assert len(found["InternetGateways"]) == 1


async def test_what_is_deleted_is_not_kept(
    account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ecs_exec_magic.sandbox.account._TIDY_AFTER", 10)
    for _ in range(25):
        await account.call("logs", "create_log_group", REGION, logGroupName="g")
        await account.call("logs", "delete_log_group", REGION, logGroupName="g")
    from moto.logs.models import LogGroup

    tracked: Any = LogGroup
    assert len(tracked.instances_tracked) < 10
    await account.call("logs", "create_log_group", REGION, logGroupName="g")
    assert (await account.call("logs", "describe_log_groups", REGION))["logGroups"]


async def test_unserved(account: Account) -> None:
    for service, target in (("iam", "/?Action=SimulateCustomPolicy"), ("nothing", "/")):
        with pytest.raises(Unserved):
            await account.relay(service, REGION, "POST", target, {}, b"")
    for region in ("mars-1", "cn-north-1", "us-gov-west-1"):
        await account.relay("sts", region, "POST", "/?Action=GetCallerIdentity", {}, b"")


_LAST_ONE = """
import asyncio
from ecs_exec_magic.sandbox.account import Account

async def refuses(call):
    try:
        await call
    except RuntimeError:
        return
    raise AssertionError("a closed account answered")

async def main():
    first, second = Account(), Account()
    thread = first._worker.thread
    assert second._worker.thread is thread
    first.warm()
    await asyncio.gather(first.prepare("us-east-1"), second.prepare("us-east-1"))
    await first.close()
    await first.close()
    assert thread.is_alive()
    await refuses(first.prepare("eu-west-1"))
    await second.close()
    await refuses(second.call("sts", "get_caller_identity", "us-east-1"))
    await asyncio.to_thread(thread.join, 30)
    assert not thread.is_alive()

asyncio.run(main())
"""


def test_the_thread_ends_with_the_last_account() -> None:
    # In a process of its own: in this one other tests' accounts may be open.
    ended = subprocess.run(
        [sys.executable, "-c", _LAST_ONE], capture_output=True, text=True, check=False, timeout=50
    )
    assert (ended.returncode, ended.stderr) == (0, "")


def test_an_end_while_moto_loads_is_quiet() -> None:
    code = (
        "import asyncio\n"
        "from ecs_exec_magic.sandbox.account import Account\n"
        "async def main():\n"
        "    account = Account()\n"
        "    account.warm()\n"
        "    await account.close()\n"
        "asyncio.run(main())\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code], check=True, timeout=50, capture_output=True, text=True
    )
    assert ended.stderr == ""


def test_importing_the_sandbox_does_not_import_moto() -> None:
    code = (
        "import sys\n"
        "import ecs_exec_magic.sandbox, ecs_exec_magic.sandbox.server\n"
        "assert not {'moto', 'boto3', 'botocore', 'docker'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=50)
