"""A practice cluster that logs its sessions, and users of it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest

import ecs_exec_magic as ecs
from ecs_exec_magic import sandbox as package
from ecs_exec_magic.aws.audit import trail
from ecs_exec_magic.client import Client
from ecs_exec_magic.journal import Journal
from ecs_exec_magic.sandbox import Sandbox

from ..runtimes import WITHOUT_ENGINE

GROUP = "/aws/ecs/exec"
BUCKET = "exec-logs"
BOTH = {"cloudWatchLogGroupName": GROUP, "s3BucketName": BUCKET, "s3KeyPrefix": "out/"}


class Site:
    """A practice cluster, and who uses it."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.sandbox = sandbox
        self._key = sandbox.environment["AWS_ACCESS_KEY_ID"]
        self.client = self.connected(self._key)

    def aws(self, service: str) -> Any:
        return boto3.client(
            service,
            endpoint_url=self.sandbox.url,
            region_name="us-east-1",
            aws_access_key_id=self._key,
            aws_secret_access_key="secret",
        )

    def connected(self, key: str, secret: str = "secret", token: str | None = None) -> Client:
        session = boto3.Session(key, secret, token, region_name="us-east-1")
        return ecs.connect(endpoint_url=self.sandbox.url, session=session)

    def log(self, logging: str, **where: Any) -> None:
        """Let cluster demo log sessions so."""
        execution: dict[str, Any] = {"logging": logging}
        if where:
            execution["logConfiguration"] = where
        self.aws("ecs").update_cluster(
            cluster="demo", configuration={"executeCommandConfiguration": execution}
        )

    def user(self, name: str, *statements: dict[str, Any]) -> Client:
        """Another user, with a policy if statements are given."""
        iam = self.aws("iam")
        iam.create_user(UserName=name)
        if statements:
            document = json.dumps({"Version": "2012-10-17", "Statement": list(statements)})
            iam.put_user_policy(UserName=name, PolicyName="own", PolicyDocument=document)
        key = iam.create_access_key(UserName=name)["AccessKey"]
        return self.connected(key["AccessKeyId"], key["SecretAccessKey"])

    def role(self, name: str, session: str) -> Client:
        """A role that somebody has taken."""
        trust = {"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "sts:AssumeRole"}
        document = json.dumps({"Version": "2012-10-17", "Statement": [trust]})
        made = self.aws("iam").create_role(RoleName=name, AssumeRolePolicyDocument=document)
        given = self.aws("sts").assume_role(RoleArn=made["Role"]["Arn"], RoleSessionName=session)
        key = given["Credentials"]
        return self.connected(key["AccessKeyId"], key["SecretAccessKey"], key["SessionToken"])

    def settled(self) -> None:
        """All sessions are over, and their logs are written."""
        assert self.sandbox.wait_idle()

    def forget(self) -> None:
        """CloudTrail has never heard of anything."""
        self.sandbox._server.trail._events.clear()


def site_of(sandbox: Sandbox) -> Site:
    site = Site(sandbox)
    site.aws("logs").create_log_group(logGroupName=GROUP)
    site.aws("s3").create_bucket(Bucket=BUCKET)
    site.log("OVERRIDE", **BOTH)
    return site


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The practice cluster at its fast pace takes look-ups at any rate."""
    monkeypatch.setattr(trail, "INTERVAL", 0.0)


@pytest.fixture(scope="module")
def _site() -> Iterator[Site]:
    with package.start(pace="fast", runtime=WITHOUT_ENGINE) as sandbox:
        yield site_of(sandbox)


@pytest.fixture
def site(_site: Site) -> Iterator[Site]:
    """One for all tests of a module; each begins with an empty CloudTrail and empty places."""
    _site.settled()
    _site.forget()
    logs, s3 = _site.aws("logs"), _site.aws("s3")
    for group in (GROUP, "/aws/ecs/web", "/aws/ecs/worker"):
        pages = logs.get_paginator("describe_log_streams").paginate(logGroupName=group)
        names = [stream["logStreamName"] for page in pages for stream in page["logStreams"]]
        for name in names:
            if name.startswith("ecs-execute"):
                logs.delete_log_stream(logGroupName=group, logStreamName=name)
    for each in s3.list_objects_v2(Bucket=BUCKET).get("Contents", ()):
        s3.delete_object(Bucket=BUCKET, Key=each["Key"])
    _site.log("OVERRIDE", **BOTH)
    yield _site
    _site.sandbox.faults.clear()
    _site.sandbox._server.trail._delay = 0.0


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(tmp_path / "record")


def recorded(journal: Journal, target: Any, command: Any) -> Any:
    """Run a command as a notebook does, with a record of it."""
    entry = journal.begin("exec", command, target=target.ref if hasattr(target, "ref") else target)
    result = target.run(command)
    entry.finish(result)
    return result
