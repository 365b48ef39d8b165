"""Where containers are in the network: subnets, security groups, routes and endpoints.

Knows how EC2 describes them. Never judges them.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .scene import Record, Scene, short
from .task import instances

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["HTTPS", "Site", "default_route", "endpoints", "lets", "reaches", "sites"]

HTTPS = 443
_ANYWHERE = ("0.0.0.0/0", "::/0")
_GATEWAYS = (
    "NatGatewayId",
    "TransitGatewayId",
    "EgressOnlyInternetGatewayId",
    "VpcPeeringConnectionId",
    "InstanceId",
    "NetworkInterfaceId",
    "GatewayId",
)


@dataclass(frozen=True)
class Site:
    """A subnet in which containers run, or would.

    Attributes:
        users: what is there, in words.
        service: name of the service; empty for none.
        groups: ids of security groups.
        public: whether it has a public address.
        owner: account that owns the subnet.
    """

    users: str
    service: str
    vpc: str
    subnet: str
    cidr: str
    owner: str
    groups: tuple[str, ...]
    public: bool


def filters(**wanted: str | Sequence[str]) -> list[dict[str, Any]]:
    """EC2's filters."""
    return [
        {"Name": name.replace("_", "-"), "Values": [v] if isinstance(v, str) else list(v)}
        for name, v in wanted.items()
    ]


async def sites(scene: Scene) -> list[Site]:
    """All subnets and groups: of every interface, of instances, and of services' own settings."""
    return await scene.once("sites", lambda: _sites(scene))


async def _sites(scene: Scene) -> list[Site]:
    found: dict[tuple[str, tuple[str, ...], bool], tuple[str, str]] = {}

    def add(
        users: str, subnet: str, groups: Iterable[str], public: bool, service: str = ""
    ) -> None:
        if subnet:
            found.setdefault((subnet, tuple(sorted(groups)), public), (users, service))

    for task, eni in await _interfaces(scene):
        groups = [group["GroupId"] for group in eni.get("Groups", ())]
        public = bool((eni.get("Association") or {}).get("PublicIp") or eni.get("Ipv6Addresses"))
        group = str(task.get("group", ""))
        service_name = group[8:] if group.startswith("service:") else ""
        add(short(task), str(eni.get("SubnetId", "")), groups, public, service_name)
    for instance in await _ec2_instances(scene):
        groups = [group["GroupId"] for group in instance.get("SecurityGroups", ())]
        public = bool(instance.get("PublicIpAddress"))
        add(f"instance {instance['InstanceId']}", str(instance.get("SubnetId", "")), groups, public)
    for service in await scene.services_seen():
        network = (service.get("networkConfiguration") or {}).get("awsvpcConfiguration") or {}
        for subnet in network.get("subnets", ()):
            public = network.get("assignPublicIp") == "ENABLED"
            groups = network.get("securityGroups", ())
            name = str(service["serviceName"])
            add(f"service {name}", subnet, groups, public, name)
    if not found:
        return []
    ids = sorted({subnet for subnet, _, _ in found})
    described = await scene.pages(
        "ec2", "describe_subnets", "Subnets", Filters=filters(subnet_id=ids)
    )
    subnets = {each["SubnetId"]: each for each in described}
    made = []
    for (subnet, groups_, public), (users, of_service) in found.items():
        there = subnets.get(subnet)
        if there is None:
            continue
        vpc = str(there["VpcId"])
        made.append(
            Site(
                users,
                of_service,
                vpc,
                subnet,
                str(there.get("CidrBlock", "")),
                str(there.get("OwnerId", "")),
                groups_ or await _default_group(scene, vpc),
                public,
            )
        )
    return made


async def _interfaces(scene: Scene) -> list[tuple[Record, Record]]:
    """Every network interface of every task: the first attachment may be something else."""
    owners: dict[str, Record] = {}
    for task in await scene.running():
        for attachment in task.get("attachments", ()):
            if attachment.get("type") in ("ElasticNetworkInterface", "eni"):
                details = {d.get("name"): d.get("value") for d in attachment.get("details", ())}
                if eni := details.get("networkInterfaceId"):
                    owners[eni] = task
    if not owners:
        return []
    found = await scene.pages(
        "ec2",
        "describe_network_interfaces",
        "NetworkInterfaces",
        Filters=filters(network_interface_id=sorted(owners)),
    )
    return [(owners[each["NetworkInterfaceId"]], each) for each in found]


async def _ec2_instances(scene: Scene) -> list[Record]:
    """The instances below tasks that share their network."""
    shared = {
        str(each["containerInstanceArn"])
        for each in await scene.running()
        if each.get("containerInstanceArn") and not each.get("attachments")
    }
    if not shared:
        return []
    ids = sorted(
        str(each.get("ec2InstanceId"))
        for each in await instances(scene)
        if each.get("containerInstanceArn") in shared
        and str(each.get("ec2InstanceId", "")).startswith("i-")
    )
    if not ids:
        return []
    found = await scene.pages(
        "ec2", "describe_instances", "Reservations", Filters=filters(instance_id=ids)
    )
    return [instance for each in found for instance in each.get("Instances", ())]


async def _default_group(scene: Scene, vpc: str) -> tuple[str, ...]:
    found = await scene.pages(
        "ec2",
        "describe_security_groups",
        "SecurityGroups",
        Filters=filters(vpc_id=vpc, group_name="default"),
    )
    return tuple(str(each["GroupId"]) for each in found)


async def groups(scene: Scene, ids: Iterable[str]) -> list[Record]:
    """Security groups."""
    ids = sorted(set(ids))
    if not ids:
        return []
    return await scene.pages(
        "ec2", "describe_security_groups", "SecurityGroups", Filters=filters(group_id=ids)
    )


# -- routes and endpoints ------------------------------------------------------------------------


async def default_route(scene: Scene, site: Site) -> tuple[str, str]:
    """Where a subnet's default route leads, and its state; both empty when there is none."""
    tables = await scene.pages(
        "ec2", "describe_route_tables", "RouteTables", Filters=filters(vpc_id=site.vpc)
    )
    chosen: Record = {}
    for table in tables:
        for link in table.get("Associations", ()):
            if link.get("SubnetId") == site.subnet:
                return _default(table)
            if link.get("Main"):
                chosen = table
    return _default(chosen)


def _default(table: Record) -> tuple[str, str]:
    found = ("", "")
    for route in table.get("Routes", ()):
        to = route.get("DestinationCidrBlock") or route.get("DestinationIpv6CidrBlock")
        if to in _ANYWHERE:
            target = next((str(route[name]) for name in _GATEWAYS if route.get(name)), "")
            state = str(route.get("State", "active"))
            if state == "active":
                return target, state
            found = target or "a target that is gone", state
    return found


async def endpoints(scene: Scene, vpc: str) -> dict[str, Record]:
    """The endpoints of a VPC by service, as in ``ssmmessages``."""
    found = await scene.pages(
        "ec2", "describe_vpc_endpoints", "VpcEndpoints", Filters=filters(vpc_id=vpc)
    )
    by_service: dict[str, Record] = {}
    for each in found:
        name = str(each.get("ServiceName", "")).rpartition(".")[2]
        # S3 can have two: the gateway needs no name of its own, and lets everybody in.
        if name not in by_service or each.get("VpcEndpointType") == "Gateway":
            by_service[name] = each
    return by_service


async def reaches(scene: Scene, site: Site) -> bool:
    """Whether there is a way out of a subnet to AWS's public endpoints."""
    target, state = await default_route(scene, site)
    if not target or state != "active":
        return False
    return site.public or not target.startswith("igw-")


# -- rules ---------------------------------------------------------------------------------------


def lets(rules: Iterable[Record], cidrs: Iterable[str] = (), group_ids: Iterable[str] = ()) -> str:
    """Whether rules of a security group let HTTPS through: ``yes``, ``no`` or ``perhaps``.

    Args:
        cidrs: networks at the other end; one of them is enough. None: anywhere.
        group_ids: security groups at the other end.
    """
    wanted, others = list(cidrs), set(group_ids)
    some = False
    for rule in rules:
        if not _is_https(rule):
            continue
        ranges = [str(each.get("CidrIp")) for each in rule.get("IpRanges", ())]
        ranges += [str(each.get("CidrIpv6")) for each in rule.get("Ipv6Ranges", ())]
        named = {str(each.get("GroupId")) for each in rule.get("UserIdGroupPairs", ())}
        if any(each in _ANYWHERE for each in ranges) or named & others:
            return "yes"
        if any(_holds(outer, inner) for outer in ranges for inner in wanted):
            return "yes"
        some = some or bool(ranges or rule.get("PrefixListIds"))
    return "perhaps" if some else "no"


def _is_https(rule: Record) -> bool:
    protocol = str(rule.get("IpProtocol"))
    if protocol == "-1":
        return True
    first, last = rule.get("FromPort", -1), rule.get("ToPort", -1)
    return protocol in ("tcp", "6") and first <= HTTPS <= last


def _holds(outer: str, inner: str) -> bool:
    """Whether a network lies within another."""
    try:
        big, small = ipaddress.ip_network(outer, False), ipaddress.ip_network(inner, False)
    except ValueError:
        return False
    return big.version == small.version and small.subnet_of(big)  # type: ignore[arg-type]
