"""Whether the exec agent has a way to AWS.

Knows what has to be open for it, from the subnet to the gateway. Never knows endpoints' settings.
"""

from __future__ import annotations

import json
import shlex
from typing import TYPE_CHECKING

from .places import HTTPS, default_route, endpoints, filters, groups, lets, reaches, sites
from .registry import check, fail, ok, warn
from .scene import Record, Scene, listed

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ...findings import Finding

__all__ = ["CHANNEL", "needed"]

CHANNEL = "ssmmessages"
_PLACES = ("ec2:DescribeSubnets", "ec2:DescribeNetworkInterfaces")
_EPHEMERAL = 49152  # a port that answers come to
_TCP = ("-1", "6", "tcp")
_ENDPOINT = (
    "aws ec2 create-vpc-endpoint --vpc-id {} --vpc-endpoint-type Interface --service-name "
    "com.amazonaws.{}.{} --subnet-ids {} --private-dns-enabled"
)


async def needed(scene: Scene) -> list[str]:
    """Services that the agent must reach; the channel first."""
    settings = await scene.settings()
    more = (("kms", settings.key), ("logs", settings.group), ("s3", settings.bucket))
    return [CHANNEL, *(name for name, wanted in more if wanted)]


@check("network.owner", "whose the VPC is", *_PLACES)
async def owner(scene: Scene) -> Finding | None:
    places = await sites(scene)
    if not places:
        return None
    account = str((await scene.api.identity())["Account"])
    shared = [each for each in places if each.owner and each.owner != account]
    if not shared:
        return ok(f"the VPC is the account's own: {listed([each.vpc for each in places])}")
    return warn(
        f"the VPC is shared by account {shared[0].owner}",
        f"{listed([each.subnet for each in shared])}: routes and endpoints of its owner may not be "
        "seen from here, so that findings about them can be wrong",
        "have the owner of the VPC look at them",
        f"aws ec2 describe-vpc-endpoints --filters Name=vpc-id,Values={shared[0].vpc}",
    )


@check(
    "network.route",
    "whether there is a route to AWS",
    *_PLACES,
    "ec2:DescribeRouteTables",
    "ec2:DescribeVpcEndpoints",
)
async def route(scene: Scene) -> Finding | None:
    places = await sites(scene)
    ways = []
    for site in places:
        target, state = await default_route(scene, site)
        if CHANNEL in await endpoints(scene, site.vpc):
            ways.append(f"{site.subnet}: endpoint")
            continue
        if target and state == "active":
            ways.append(f"{site.subnet}: {target}")
            continue
        dead = (
            f"its default route to {target} is a {state}" if target else "it has no default route"
        )
        return fail(
            f"there is no route to AWS from {site.subnet}",
            f"{dead}, and {site.vpc} has no endpoint for {CHANNEL}; in it is {site.users}",
            "give it a default route to a NAT gateway, or endpoints for what is needed",
            _ENDPOINT.format(site.vpc, scene.api.region, CHANNEL, site.subnet),
        )
    return ok("there is a route to AWS from every subnet", listed(ways)) if places else None


@check("network.public-address", "whether addresses suit the route", *_PLACES)
async def public_address(scene: Scene) -> Finding | None:
    places = await sites(scene)
    for site in places:
        target, _ = await default_route(scene, site)
        inside = CHANNEL in await endpoints(scene, site.vpc)
        if target.startswith("igw-") and not site.public and not inside:
            return fail(
                f"{site.users} in {site.subnet} has no public address",
                f"the subnet's way out is an internet gateway ({target}), which needs one",
                "let tasks have public addresses, or put them into a subnet with a NAT gateway",
                await _with_address(scene, site.service),
            )
    return ok("addresses suit the routes") if places else None


async def _with_address(scene: Scene, name: str) -> str:
    """What gives a service's tasks public addresses, all else as it is; empty without a service."""
    for service in await scene.services_seen():
        own = (service.get("networkConfiguration") or {}).get("awsvpcConfiguration")
        if own and service.get("serviceName") == name:
            wanted = {"awsvpcConfiguration": {**own, "assignPublicIp": "ENABLED"}}
            document = shlex.quote(json.dumps(wanted, separators=(",", ":")))
            return (
                f"aws ecs update-service --cluster {scene.place} --service {name} "
                f"--network-configuration {document}"
            )
    return ""


@check(
    "network.egress",
    "whether security groups let it out",
    "ec2:DescribeSecurityGroups",
    "ec2:DescribeVpcs",
)
async def egress(scene: Scene) -> Finding | None:
    places = await sites(scene)
    perhaps: list[str] = []
    for site in places:
        found = await groups(scene, site.groups)
        rules = [rule for each in found for rule in each.get("IpPermissionsEgress", ())]
        endpoint = (await endpoints(scene, site.vpc)).get(CHANNEL)
        others = [str(each.get("GroupId")) for each in (endpoint or {}).get("Groups", ())]
        cidrs = [await _vpc_cidr(scene, site.vpc), site.cidr] if endpoint else []
        said = lets(rules, cidrs, others)
        if said == "no":
            return fail(
                f"security group {listed(site.groups)} lets no HTTPS out",
                f"no rule for TCP {HTTPS}; it is the group of {site.users}",
                f"let TCP {HTTPS} out",
                f"aws ec2 authorize-security-group-egress --group-id {site.groups[0]} "
                f"--ip-permissions IpProtocol=tcp,FromPort={HTTPS},ToPort={HTTPS},"
                "IpRanges='[{CidrIp=0.0.0.0/0}]'",
            )
        if said == "perhaps":
            perhaps += site.groups
    if perhaps:
        return warn(
            f"security group {listed(perhaps)} lets HTTPS out to some networks only",
            f"whether {CHANNEL} is among them is not known here",
            "see that the addresses of the endpoint are",
            f"aws ec2 describe-security-groups --group-ids {perhaps[0]} --query "
            "SecurityGroups[].IpPermissionsEgress",
        )
    return ok("security groups let HTTPS out") if places else None


async def _vpc_cidr(scene: Scene, vpc: str) -> str:
    found = await scene.pages("ec2", "describe_vpcs", "Vpcs", Filters=filters(vpc_id=vpc))
    return str(found[0].get("CidrBlock", "")) if found else ""


@check("network.acl", "whether network ACLs let it through", "ec2:DescribeNetworkAcls")
async def acl(scene: Scene) -> Finding | None:
    places = await sites(scene)
    for site in places:
        found = await scene.pages(
            "ec2", "describe_network_acls", "NetworkAcls", Filters=filters(vpc_id=site.vpc)
        )
        for each in found:
            links = [link.get("SubnetId") for link in each.get("Associations", ())]
            if site.subnet not in links:
                continue
            entries = each.get("Entries", ())
            for outwards, port in ((True, HTTPS), (False, _EPHEMERAL)):
                if not _passes(entries, outwards, port):
                    what = f"HTTPS out of {site.subnet}"
                    if not outwards:
                        what = f"answers (TCP {_EPHEMERAL}) into {site.subnet}"
                    return fail(
                        f"network ACL {each['NetworkAclId']} lets no {what}",
                        f"{'egress' if outwards else 'ingress'} rules of the subnet of "
                        f"{site.users}",
                        "allow TCP 443 out, and TCP 1024 to 65535 in",
                    )
    return ok("network ACLs let HTTPS and its answers through") if places else None


def _passes(entries: Iterable[Record], outwards: bool, port: int) -> bool:
    """What the first rule says that is for everybody, or that lets somebody through."""
    for rule in sorted(entries, key=lambda each: each.get("RuleNumber", 0)):
        if bool(rule.get("Egress")) != outwards or str(rule.get("Protocol")) not in _TCP:
            continue
        ports = rule.get("PortRange") or {}
        if str(rule.get("Protocol")) != "-1" and not (
            ports.get("From", 0) <= port <= ports.get("To", 65535)
        ):
            continue
        if rule.get("RuleAction") == "allow":
            return True
        if rule.get("CidrBlock") == "0.0.0.0/0":
            return False
    return False


@check("network.dns", "whether names are resolved", "ec2:DescribeVpcAttribute")
async def dns(scene: Scene) -> Finding | None:
    places = await sites(scene)
    for vpc in dict.fromkeys(each.vpc for each in places):
        answer = await scene.call(
            "ec2", "describe_vpc_attribute", VpcId=vpc, Attribute="enableDnsSupport"
        )
        if not (answer.get("EnableDnsSupport") or {}).get("Value"):
            return fail(
                f"{vpc} resolves no names",
                "enableDnsSupport is false",
                "switch it on, unless the VPC has a DNS server of its own",
                f"aws ec2 modify-vpc-attribute --vpc-id {vpc} --enable-dns-support",
            )
    return ok("the VPC resolves names") if places else None


@check(
    "network.endpoints",
    "whether all that is needed has an endpoint",
    *_PLACES,
    "ec2:DescribeRouteTables",
    "ec2:DescribeVpcEndpoints",
)
async def all_endpoints(scene: Scene) -> Finding | None:
    places = await sites(scene)
    wanted = await needed(scene)
    for site in places:
        there = await endpoints(scene, site.vpc)
        missing = [each for each in wanted if each not in there]
        if CHANNEL not in there or not missing or await reaches(scene, site):
            continue
        return fail(
            f"from {site.subnet} there is no way to {listed(missing)}",
            f"{site.vpc} has an endpoint for {CHANNEL} and none for these, which the cluster's "
            "settings need; there is no route to the internet",
            f"make endpoints for {listed(missing)}",
            _ENDPOINT.format(site.vpc, scene.api.region, missing[0], site.subnet),
        )
    if not places:
        return None
    vpcs = dict.fromkeys(each.vpc for each in places)
    named = [name for vpc in vpcs for name in await endpoints(scene, vpc) if name in wanted]
    said = (
        f"endpoints: {listed(named)}" if named else "no endpoints; AWS is reached by the internet"
    )
    return ok(f"{listed(wanted)} can be reached", said)
