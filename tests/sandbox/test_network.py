"""Interfaces of tasks: real ones of EC2."""

from __future__ import annotations

import ipaddress
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest
from botocore.exceptions import ClientError

from ecs_exec_magic.sandbox.account import Account
from ecs_exec_magic.sandbox.api import ApiError
from ecs_exec_magic.sandbox.network import Network

from .conftest import Cluster

REGION = "us-east-1"


@pytest.fixture
async def account() -> AsyncIterator[Account]:
    made = Account()
    yield made
    await made.close()


async def described(account: Account, eni_id: str) -> dict[str, Any]:
    found = await account.call(
        "ec2", "describe_network_interfaces", REGION, NetworkInterfaceIds=[eni_id]
    )
    interface: dict[str, Any] = found["NetworkInterfaces"][0]
    return interface


async def test_an_interface_is_seen_in_ec2(account: Account) -> None:
    network = Network(account)
    subnets, groups = await network.defaults(REGION)
    assert len(subnets) == 6 and len(groups) == 1
    made = await network.attach(REGION, subnets[:2], groups, True)
    seen = await described(account, made.eni_id)
    assert seen["Status"] == "in-use"
    assert seen["Description"].endswith(f":attachment/{made.attachment_id}")
    assert seen["Association"]["PublicIp"] == made.public_address
    assert seen["PrivateIpAddress"] == made.private_address
    assert seen["PrivateDnsName"] == made.private_name
    assert (seen["SubnetId"], seen["AvailabilityZone"]) == (made.subnet_id, made.zone)
    assert (seen["MacAddress"], [g["GroupId"] for g in seen["Groups"]]) == (made.mac, groups)
    found = await account.call("ec2", "describe_subnets", REGION, SubnetIds=[made.subnet_id])
    cidr = ipaddress.ip_network(found["Subnets"][0]["CidrBlock"])
    assert ipaddress.ip_address(made.private_address) in cidr
    await network.detach(REGION, made)
    await network.detach(REGION, made)
    with pytest.raises(ClientError) as caught:
        await described(account, made.eni_id)
    assert caught.value.response["Error"]["Code"] == "InvalidNetworkInterfaceID.NotFound"


async def test_addresses_are_unique_and_subnets_take_turns(account: Account) -> None:
    network = Network(account)
    subnets, _ = await network.defaults(REGION)
    made = [await network.attach(REGION, subnets[:3], [], False) for _ in range(90)]
    assert len({m.private_address for m in made}) == 90
    assert {m.subnet_id for m in made} == set(subnets[:3])
    assert all(m.public_address is None and m.groups for m in made)


async def test_addresses_of_a_small_subnet_run_out_and_come_back(account: Account) -> None:
    network = Network(account)
    vpc = await account.call("ec2", "create_vpc", REGION, CidrBlock="10.1.0.0/16")
    made = await account.call(
        "ec2", "create_subnet", REGION, VpcId=vpc["Vpc"]["VpcId"], CidrBlock="10.1.0.0/28"
    )
    subnet = made["Subnet"]["SubnetId"]
    interfaces = []
    with pytest.raises(ApiError) as caught:
        for _ in range(20):
            interfaces.append(await network.attach(REGION, [subnet], [], False))  # noqa: PERF401
    assert "no free addresses" in caught.value.message and len(interfaces) == 11
    await network.detach(REGION, interfaces[0])
    again = await network.attach(REGION, [subnet], [], False)
    assert again.private_address == interfaces[0].private_address


async def test_what_does_not_fit_is_refused_in_ecs_words(account: Account) -> None:
    network = Network(account)
    subnets, groups = await network.defaults(REGION)

    async def refused(subnets: Sequence[str], groups: Sequence[str]) -> str:
        with pytest.raises(ApiError) as caught:
            await network.attach(REGION, subnets, groups, False)
        assert caught.value.code == "InvalidParameterException"
        with pytest.raises(ApiError) as checked:
            await network.check(REGION, subnets, groups)
        assert checked.value.message == caught.value.message
        return caught.value.message

    assert "subnet ID 'subnet-0' does not exist" in await refused(["subnet-0"], [])
    assert "security group 'sg-0' does not exist" in await refused(subnets, ["sg-0"])
    assert await refused([], []) == "subnets can not be empty."
    assert "at most 16" in await refused(subnets * 3, [])
    assert "at most 5" in await refused(subnets, groups * 6)
    vpc = await account.call("ec2", "create_vpc", REGION, CidrBlock="10.9.0.0/16")
    other = await account.call(
        "ec2", "create_security_group", REGION,
        GroupName="o", Description="o", VpcId=vpc["Vpc"]["VpcId"],
    )  # fmt: skip
    message = await refused(subnets, [other["GroupId"]])
    assert message.endswith("does not appear to belong to the same VPC as the input subnets.")
    found = await account.call("ec2", "describe_network_interfaces", REGION)
    assert found["NetworkInterfaces"] == []


def ec2_of(cluster: Cluster) -> Any:
    import boto3

    return boto3.client(
        "ec2",
        endpoint_url=cluster.sandbox.url,
        region_name=REGION,
        aws_access_key_id="AKIAX",
        aws_secret_access_key="x",
    )


def refused(function: Any, **given: Any) -> tuple[str, str]:
    with pytest.raises(ClientError) as caught:
        function(**given)
    error = caught.value.response["Error"]
    return error["Code"], error["Message"]


def test_rules_of_groups_are_checked(shared: Cluster) -> None:
    ec2 = ec2_of(shared)
    create = ec2.create_security_group
    assert refused(create, GroupName="g", Description="d", VpcId="vpc-0") == (
        "InvalidVpcID.NotFound",
        "The vpc ID 'vpc-0' does not exist",
    )
    group = create(GroupName="rules", Description="d")["GroupId"]
    allow = ec2.authorize_security_group_ingress

    def rule(cidr: str, port: int = 80) -> dict[str, Any]:
        given = {"IpProtocol": "tcp", "FromPort": port, "ToPort": port}
        family = {"Ipv6Ranges": [{"CidrIpv6": cidr}]} if ":" in cidr else None
        return {**given, **(family or {"IpRanges": [{"CidrIp": cidr}]})}

    for cidr in ("banana", "10.0.0.0/99", "10.0.0.0", "::/300"):
        code, message = refused(allow, GroupId=group, IpPermissions=[rule(cidr)])
        assert (code, message) == ("InvalidParameterValue", f"CIDR block {cidr} is malformed")
    flat = {"GroupId": group, "IpProtocol": "tcp", "FromPort": 80, "ToPort": 80}
    assert refused(allow, **flat, CidrIp="banana")[1] == "CIDR block banana is malformed"
    _, message = refused(allow, GroupId=group, IpPermissions=[rule("10.0.0.0/8", 99999)])
    assert message == "TCP/UDP port (99999) out of range"
    allow(GroupId=group, IpPermissions=[rule("10.0.0.0/8"), rule("::/0")])
    found = ec2.describe_security_groups(GroupIds=[group])["SecurityGroups"][0]
    assert [each["CidrIp"] for each in found["IpPermissions"][0]["IpRanges"]] == ["10.0.0.0/8"]
    ec2.delete_security_group(GroupId=group)


def test_what_is_in_use_cannot_be_deleted(own: Cluster) -> None:
    ec2 = ec2_of(own)
    network: Network = own.sandbox._server.network
    vpc = ec2.create_vpc(CidrBlock="10.2.0.0/16")["Vpc"]["VpcId"]
    subnet = ec2.create_subnet(VpcId=vpc, CidrBlock="10.2.0.0/24")["Subnet"]["SubnetId"]
    group = ec2.create_security_group(GroupName="g", Description="d", VpcId=vpc)["GroupId"]
    made = own.sandbox.call(network.attach(REGION, [subnet], [group], True))

    assert refused(ec2.delete_security_group, GroupId=group) == (
        "DependencyViolation",
        f"resource {group} has a dependent object",
    )
    assert refused(ec2.delete_subnet, SubnetId=subnet) == (
        "DependencyViolation",
        f"The subnet '{subnet}' has dependencies and cannot be deleted.",
    )
    code, _ = refused(ec2.delete_network_interface, NetworkInterfaceId=made.eni_id)
    assert code == "InvalidParameterValue"
    own.sandbox.call(network.detach(REGION, made))
    ec2.delete_security_group(GroupId=group)
    ec2.delete_subnet(SubnetId=subnet)
