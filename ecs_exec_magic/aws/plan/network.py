"""Where tasks run: a VPC and subnets from which AWS can be reached.

Knows routes and endpoints. Never knows tasks.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from .options import Subnet, Vpc
from .part import Part, Say, tag_list, tags_of
from .steps import Step

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from ..api import AwsApi
    from .part import Site

__all__ = ["Network", "SecurityGroup", "read_vpcs"]

_MOST = 2  # subnets that are chosen where none are named
_ANYWHERE = "0.0.0.0/0"
# Gateways behind which there may be the internet; a default route to one is as good as can be seen.
_GATEWAYS = ("NatGatewayId", "TransitGatewayId", "InstanceId", "NetworkInterfaceId", "GatewayId")


async def read_vpcs(api: AwsApi, vpc_id: str | None = None) -> tuple[Vpc, ...]:
    """The VPCs of the region with their subnets, the default one first; or only one of them."""
    only: dict[str, Any] = {}
    if vpc_id is not None:
        only["Filters"] = [{"Name": "vpc-id", "Values": [vpc_id]}]
    vpcs, subnets, tables = await asyncio.gather(
        api.pages("ec2", "describe_vpcs", "Vpcs", **only),
        api.pages("ec2", "describe_subnets", "Subnets", **only),
        api.pages("ec2", "describe_route_tables", "RouteTables", **only),
    )
    routes = _Routes(tables)
    found = [_vpc(vpc, subnets, routes) for vpc in vpcs]
    return tuple(sorted(found, key=lambda vpc: (not vpc.default, vpc.name, vpc.vpc_id)))


def _vpc(vpc: Mapping[str, Any], subnets: Iterable[Mapping[str, Any]], routes: _Routes) -> Vpc:
    own = [
        Subnet(
            subnet_id=each["SubnetId"],
            zone=each.get("AvailabilityZone", ""),
            name=tags_of(each.get("Tags")).get("Name", ""),
            cidr=each.get("CidrBlock", ""),
            public=routes.public(vpc["VpcId"], each["SubnetId"]),
            routed=bool(routes.gateway(vpc["VpcId"], each["SubnetId"])),
        )
        for each in subnets
        if each.get("VpcId") == vpc["VpcId"]
    ]
    return Vpc(
        vpc_id=vpc["VpcId"],
        name=tags_of(vpc.get("Tags")).get("Name", ""),
        cidr=vpc.get("CidrBlock", ""),
        default=bool(vpc.get("IsDefault")),
        subnets=tuple(sorted(own, key=lambda each: (each.zone, each.subnet_id))),
    )


class _Routes:
    """Default routes by subnet; one without a table of its own has the VPC's main one."""

    def __init__(self, tables: Iterable[Mapping[str, Any]]) -> None:
        self._by_subnet: dict[str, str] = {}
        self._main: dict[str, str] = {}
        for table in tables:
            gateway = _default_gateway(table.get("Routes", ()))
            for link in table.get("Associations", ()):
                if link.get("SubnetId"):
                    self._by_subnet[link["SubnetId"]] = gateway
                elif link.get("Main"):
                    self._main[table.get("VpcId", "")] = gateway

    def gateway(self, vpc_id: str, subnet_id: str) -> str:
        """Where the default route leads; empty when there is none."""
        return self._by_subnet.get(subnet_id, self._main.get(vpc_id, ""))

    def public(self, vpc_id: str, subnet_id: str) -> bool:
        return self.gateway(vpc_id, subnet_id).startswith("igw-")


def _default_gateway(routes: Iterable[Mapping[str, Any]]) -> str:
    for route in routes:
        if route.get("DestinationCidrBlock") == _ANYWHERE and route.get("State") != "blackhole":
            return next((str(route[name]) for name in _GATEWAYS if route.get(name)), "")
    return ""


class Network(Part):
    """VPC and subnets: chosen, never made."""

    kind = "network"

    def __init__(self, site: Site) -> None:
        super().__init__(site)
        self._problem: tuple[str, str] | None = None
        self._why = ""

    @property
    def name(self) -> str:
        return self.site.vpc_id or self.site.options.vpc or "default VPC"

    async def look(self) -> None:
        options, site = self.site.options, self.site
        vpcs = await read_vpcs(site.api, options.vpc)
        if options.subnets and options.vpc is None:
            named = set(options.subnets)
            chosen = [vpc for vpc in vpcs if named & {each.subnet_id for each in vpc.subnets}]
        else:
            chosen = [vpc for vpc in vpcs if options.vpc or vpc.default]
        if not chosen:
            what = f"there is no VPC {options.vpc}" if options.vpc else "there is no default VPC"
            if options.subnets and options.vpc is None:
                what = f"there is no subnet {options.subnets[0]}"
            cure = ", ".join(vpc.vpc_id for vpc in vpcs) or "aws ec2 create-default-vpc makes one"
            self._problem = (what, f"name another: {cure}")
            return
        vpc = chosen[0]
        site.vpc_id = vpc.vpc_id
        endpoints = await self._endpoints(vpc)
        self._choose(vpc, endpoints)

    async def _endpoints(self, vpc: Vpc) -> set[str]:
        """Services with an endpoint in the VPC; asked only where a subnet has no way out."""
        named = self.site.options.subnets
        wanted = [each for each in vpc.subnets if not named or each.subnet_id in named]
        if all(each.routed for each in wanted) or (not named and any(e.routed for e in wanted)):
            return set()
        found = await self.site.api.pages(
            "ec2",
            "describe_vpc_endpoints",
            "VpcEndpoints",
            Filters=[{"Name": "vpc-id", "Values": [vpc.vpc_id]}],
        )
        return {str(each.get("ServiceName", "")).rpartition(".")[2] for each in found}

    def _choose(self, vpc: Vpc, endpoints: set[str]) -> None:
        """Take the subnets that are named, or the best; note what is wrong with them."""
        options, site = self.site.options, self.site
        known = {each.subnet_id: each for each in vpc.subnets}
        missing = [each for each in options.subnets if each not in known]
        if missing:
            self._problem = (
                f"{vpc.vpc_id} has no subnet {', '.join(missing)}",
                f"its subnets: {', '.join(known)}",
            )
            return
        inside = "ssmmessages" in endpoints
        subnets = [known[each] for each in options.subnets] or _best(vpc.subnets, inside)
        if not subnets or not all(each.routed or inside for each in subnets):
            lost = [each.subnet_id for each in subnets if not each.routed] or [vpc.vpc_id]
            agent = "ecs, ecs-agent, ecs-telemetry and " if options.on_ec2 else ""
            cure = (
                "give it a default route to an internet or NAT gateway, or endpoints for "
                f"{agent}ssmmessages, and for ecr.api, ecr.dkr and logs as they are needed"
            )
            self._problem = f"from {', '.join(lost)} there is no route to AWS", cure
            return
        need_address = any(each.public for each in subnets) and not inside
        public = need_address if options.assign_public_ip is None else options.assign_public_ip
        if need_address and not public:
            what = "instances" if options.on_ec2 else "tasks"
            self._problem = (
                f"{what} in public subnets reach AWS only with a public address",
                "let them have one (assign_public_ip), or choose private subnets",
            )
            return
        site.subnets, site.public = tuple(each.subnet_id for each in subnets), public
        where = "with public addresses" if public else "without public addresses"
        self._why = f"{', '.join(site.subnets)}, {where}"

    def differences(self) -> list[str]:
        return list(self._problem or ())

    def step(self) -> Step:
        if self._problem is not None:
            return Step(self.kind, self.name, "conflict", self._problem[0], (self._problem[1],))
        return Step(self.kind, self.name, "keep", self._why)

    async def make(self, say: Say) -> None:
        """Nothing: it is there."""


def _best(subnets: Sequence[Subnet], endpoints: bool) -> list[Subnet]:
    """Up to two subnets that lead to AWS, in different zones, public ones first."""
    usable = [each for each in subnets if each.routed or endpoints]
    usable.sort(key=lambda each: (not each.public, not each.routed, each.zone))
    by_zone: dict[str, Subnet] = {}
    for each in usable:
        if not by_zone or each.public == next(iter(by_zone.values())).public:
            by_zone.setdefault(each.zone, each)
    return list(by_zone.values())[:_MOST]


class SecurityGroup(Part):
    """Lets the container's port in, from anywhere, and everything out."""

    kind = "security group"

    @property
    def name(self) -> str:
        return self.site.names.security_group

    def why(self) -> str:
        port = self.site.options.port
        return f"lets TCP {port} in from anywhere" if port else "lets nothing in"

    async def look(self) -> None:
        vpc_id, self._open = self.site.vpc_id, False
        if not vpc_id:
            return
        filters = {"group-name": self.name, "vpc-id": vpc_id}
        found = await self.site.api.pages(
            "ec2",
            "describe_security_groups",
            "SecurityGroups",
            Filters=[{"Name": name, "Values": [value]} for name, value in filters.items()],
        )
        if found:
            group = found[0]
            self.there, self.site.group_id = True, group["GroupId"]
            self.ours = self.site.owns(tags_of(group.get("Tags")))
            self._open = any(map(self._lets_in, group.get("IpPermissions", ())))

    def _lets_in(self, rule: Mapping[str, Any]) -> bool:
        port = self.site.options.port
        if not any(each.get("CidrIp") == _ANYWHERE for each in rule.get("IpRanges", ())):
            return False
        if str(rule.get("IpProtocol")) == "-1":
            return True
        first, last = rule.get("FromPort", -1), rule.get("ToPort", -1)
        return rule.get("IpProtocol") == "tcp" and port is not None and first <= port <= last

    def differences(self) -> list[str]:
        port = self.site.options.port
        if port is None or self._open:
            return []
        return [f"TCP {port} is not let in from {_ANYWHERE}"]

    def request(self) -> dict[str, Any]:
        """What a new group is made with."""
        site = self.site
        return {
            "GroupName": self.name,
            "Description": f"Tasks of {site.options.name}, made by {site.maker}",
            "VpcId": site.vpc_id,
            "TagSpecifications": [
                {"ResourceType": "security-group", "Tags": tag_list(site.tags)},
            ],
        }

    def rule(self) -> dict[str, Any] | None:
        """What it lets in; None for nothing."""
        port = self.site.options.port
        if port is None:
            return None
        return {
            "IpProtocol": "tcp",
            "FromPort": port,
            "ToPort": port,
            "IpRanges": [{"CidrIp": _ANYWHERE, "Description": "the container's port"}],
        }

    async def make(self, say: Say) -> None:
        site, api = self.site, self.site.api
        if not self.there:
            answer = await api.call("ec2", "create_security_group", **self.request())
            self.there, self.ours, site.group_id = True, True, answer["GroupId"]
        if self.differences():
            await api.call(
                "ec2",
                "authorize_security_group_ingress",
                GroupId=site.group_id,
                IpPermissions=[self.rule()],
            )
            self._open = True
