"""What a plan may be asked for, without any call."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecs_exec_magic.aws.plan.names import MOST_CHARS, Names, ecr_repository
from ecs_exec_magic.aws.plan.options import FARGATE_SIZES, PlanOptions

GOOD = PlanOptions("web")


def test_the_defaults_are_possible() -> None:
    assert GOOD.problems() == {}


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"name": "a b"}, "name"),
        ({"name": "a" * (MOST_CHARS + 1)}, "name"),
        ({"launch_type": "EXTERNAL"}, "launch_type"),
        ({"launch_type": "EC2", "instance_type": "big one"}, "instance_type"),
        ({"launch_type": "EC2", "instance_type": None, "vpc": "vpc-1"}, "vpc"),
        ({"launch_type": "EC2", "count": 2}, "count"),
        ({"launch_type": "EC2", "cpu": 64}, "cpu"),
        ({"launch_type": "EC2", "memory": 5}, "memory"),
        ({"logging": "some"}, "logging"),
        ({"image": ""}, "image"),
        ({"image": "nginx latest"}, "image"),
        ({"count": 0}, "count"),
        ({"count": 11, "service": False}, "count"),
        ({"port": 65536}, "port"),
        ({"cpu": 300}, "cpu"),
        ({"memory": 3072}, "memory"),
        ({"log_group": ""}, "log_group"),
        ({"log_group": "", "logging": "default"}, "log_group"),
        ({"log_group": "a b"}, "log_group"),
        ({"log_group": "aws/x"}, "log_group"),
        ({"bucket": "Upper"}, "bucket"),
        ({"bucket": "ab"}, "bucket"),
        ({"bucket": "a..b"}, "bucket"),
        ({"bucket": "10.0.0.1"}, "bucket"),
        ({"bucket": "xn--abc"}, "bucket"),
        ({"bucket": "abc-s3alias"}, "bucket"),
        ({"bucket": "abc", "prefix": "a b"}, "prefix"),
        ({"encrypt_logs": True}, "encrypt_logs"),
        ({"kms_key": ""}, "kms_key"),
        ({"task_role": "a b"}, "task_role"),
        ({"subnets": tuple(f"s-{n}" for n in range(17))}, "subnets"),
        ({"tags": {"aws:x": "y"}}, "tags"),
        ({"tags": {"ecs-exec-magic:plan": "other"}}, "tags"),
        ({"tags": {"": "y"}}, "tags"),
        ({"tags": {"x": "a,b"}}, "tags"),
        ({"tags": {str(n): "" for n in range(46)}}, "tags"),
    ],
)
def test_what_aws_would_not_take(options: dict[str, Any], field: str) -> None:
    problems = replace(GOOD, **options).problems()
    assert set(problems) == {field}
    assert problems[field]


@pytest.mark.parametrize(
    "options",
    [
        {"log_group": "", "logging": "none"},
        {"log_group": "", "bucket": "logs-4711"},
        {"bucket": "Not a bucket, and not used", "logging": "none"},
        {"port": None},
        {"launch_type": "EC2", "cpu": 300, "memory": 3000},
        {"launch_type": "EC2", "instance_type": None, "count": 2},
        {"launch_type": "EC2", "port": None, "count": 2, "instance_type": "u-6tb1.56xlarge"},
        {"encrypt_logs": True, "kms_key": "new"},
        {"cpu": 16384, "memory": 122880},
        {"image": "123456789012.dkr.ecr.eu-west-1.amazonaws.com/team/app@sha256:0a"},
        {"tags": {"a:b/c": "d = e"}},
    ],
)
def test_what_it_would(options: dict[str, Any]) -> None:
    assert replace(GOOD, **options).problems() == {}


@given(st.sampled_from(sorted(FARGATE_SIZES)), st.integers(1, 130_000))
def test_sizes(cpu: int, memory: int) -> None:
    found = replace(GOOD, cpu=cpu, memory=memory).problems()
    assert bool(found) == (memory not in FARGATE_SIZES[cpu])


@given(st.builds(PlanOptions, st.text(max_size=40)))
def test_nothing_that_is_typed_breaks_the_checks(options: PlanOptions) -> None:
    assert set(options.problems()) <= {"name"}


@given(
    st.from_regex(rf"[A-Za-z0-9_-]{{1,{MOST_CHARS}}}", fullmatch=True),
    st.sampled_from(["us-east-1", "ap-southeast-1", "us-gov-west-1", "cn-northwest-1"]),
)
def test_names_fit(name: str, region: str) -> None:
    names = Names(name, "aws", region, "123456789012")
    assert PlanOptions(name).problems() == {}
    for role in (names.task_role, names.execution_role, names.instance_role):
        assert len(role) <= 64
    assert names.task_role != names.execution_role
    assert not names.alias.startswith("alias/aws/")
    assert not names.security_group.startswith("sg-")


@pytest.mark.parametrize(
    ("image", "arn"),
    [
        ("nginx:1", ""),
        ("public.ecr.aws/nginx/nginx", ""),
        (
            "123456789012.dkr.ecr.eu-west-1.amazonaws.com/team/app:1",
            "arn:aws:ecr:eu-west-1:123456789012:repository/team/app",
        ),
        (
            "123456789012.dkr.ecr.eu-west-1.amazonaws.com/app@sha256:00",
            "arn:aws:ecr:eu-west-1:123456789012:repository/app",
        ),
    ],
)
def test_repositories(image: str, arn: str) -> None:
    assert ecr_repository(image, "aws") == arn
