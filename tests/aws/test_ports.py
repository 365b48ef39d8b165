"""Where a container's port answers, for every kind of network."""

from __future__ import annotations

from typing import Any

import pytest

from ecs_exec_magic.aws.ports import container_url
from ecs_exec_magic.aws.targets import resolve
from ecs_exec_magic.errors import InvalidRequest, TargetNotFound

from .fake import ACCOUNT, REGION, FakeAws, Refusal


def bound(host: str, host_port: int = 32768, port: int = 80, protocol: str = "tcp") -> Any:
    return {"bindIP": host, "containerPort": port, "hostPort": host_port, "protocol": protocol}


async def url(aws: FakeAws, port: int = 80, **options: Any) -> str:
    api = aws.api(**options)
    (ref,) = await resolve(api, "prod/web")
    return await container_url(api, ref, port)


async def test_bound_on_loopback() -> None:
    aws = FakeAws()
    aws.task("prod", "web", 1, bindings=[bound("127.0.0.1")])
    assert await url(aws) == "http://127.0.0.1:32768"


@pytest.mark.parametrize("anywhere", ["0.0.0.0", "::", ""])
async def test_bound_everywhere_on_the_host_of_the_endpoint(anywhere: str) -> None:
    aws = FakeAws()
    aws.task("prod", "web", 1, bindings=[bound("10.0.0.1", 99, 81), bound(anywhere)])
    assert await url(aws) == "http://127.0.0.1:32768"
    assert await url(aws, endpoint_url="http://box:4566") == "http://box:32768"


async def test_bound_everywhere_on_an_instance() -> None:
    aws = FakeAws()
    arn = f"arn:aws:ecs:{REGION}:{ACCOUNT}:container-instance/prod/{'0' * 32}"
    aws.task("prod", "web", 1, bindings=[bound("0.0.0.0")], instance=arn)
    with pytest.raises(InvalidRequest) as caught:
        await url(aws)
    assert "10.0.0.5" in caught.value.cause
    assert "forward(80)" in caught.value.cure
    aws.instance_address = "203.0.113.5"
    assert await url(aws) == "http://203.0.113.5:32768"
    aws.always["DescribeInstances"] = Refusal("UnauthorizedOperation", "no", 403)
    with pytest.raises(InvalidRequest) as caught:
        await url(aws)
    assert "DescribeInstances" in caught.value.cause


async def test_public_address_of_the_interface() -> None:
    aws = FakeAws()
    aws.task("prod", "web", 1, eni="eni-1")
    aws.addresses["eni-1"] = "203.0.113.9"
    assert await url(aws) == "http://203.0.113.9:80"
    assert await url(aws, 443) == "https://203.0.113.9:443"
    aws.tasks[0].bindings = [bound("0.0.0.0", 80)]  # as awsvpc tasks show it
    assert await url(aws) == "http://203.0.113.9:80"


async def test_private_only() -> None:
    aws = FakeAws()
    aws.task("prod", "web", 1, eni="eni-1")
    aws.addresses["eni-1"] = ""
    with pytest.raises(InvalidRequest) as caught:
        await url(aws)
    assert "http://10.0.0.9:80" in caught.value.cause
    assert "forward(80)" in caught.value.cure
    aws.always["DescribeNetworkInterfaces"] = Refusal("UnauthorizedOperation", "no", 403)
    with pytest.raises(InvalidRequest):
        await url(aws)


async def test_not_bound() -> None:
    aws = FakeAws()
    aws.task(
        "prod", "web", 1, bindings=[bound("127.0.0.1", 5, 8080), bound("127.0.0.1", 6, 80, "udp")]
    )
    with pytest.raises(InvalidRequest, match="not bound") as caught:
        await url(aws)
    assert "8080" in caught.value.cause


@pytest.mark.parametrize("port", [0, -1, 65536, True, "80", 80.0])
async def test_no_port(port: Any) -> None:
    aws = FakeAws()
    aws.task("prod", "web", 1)
    with pytest.raises(InvalidRequest, match="not a port"):
        await url(aws, port)


async def test_gone() -> None:
    aws = FakeAws()
    aws.task("prod", "web", 1)
    api = aws.api()
    (ref,) = await resolve(api, "prod/web")
    aws.tasks.clear()
    with pytest.raises(TargetNotFound, match="does not run any more"):
        await container_url(api, ref, 80)
