"""Whether the endpoints of a VPC take what the exec agent sends.

Knows interface endpoints. Never knows routes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..plan.policies import CHANNEL as ACTIONS
from .documents import says
from .network import CHANNEL, needed
from .places import HTTPS, Site, endpoints, groups, lets, reaches, sites
from .registry import check, fail, ok, warn
from .role import roles
from .scene import Record, Scene, listed

if TYPE_CHECKING:
    from ...findings import Finding

__all__ = ["USES"]

_NEEDS = ("ec2:DescribeVpcEndpoints", "ec2:DescribeSubnets")
_LOOK = "aws ec2 describe-vpc-endpoints --vpc-endpoint-ids "
_CHANGE = "aws ec2 modify-vpc-endpoint --vpc-endpoint-id "

USES = {
    CHANNEL: ACTIONS,
    "kms": ("kms:Decrypt",),
    "logs": ("logs:DescribeLogGroups", "logs:CreateLogStream", "logs:PutLogEvents"),
    "s3": ("s3:PutObject",),
}
"""What the agent does at each endpoint."""


async def _used(scene: Scene) -> list[tuple[Site, str, Record]]:
    """The endpoints through which the agent's traffic goes: a subnet, the service, the endpoint."""
    found: dict[str, tuple[Site, str, Record]] = {}
    wanted = await needed(scene)
    for site in await sites(scene):
        there = await endpoints(scene, site.vpc)
        for name in wanted:
            if name in there:
                found[f"{site.subnet} {site.groups} {name}"] = (site, name, there[name])
    return list(found.values())


@check("endpoint.state", "whether endpoints are up", *_NEEDS)
async def state(scene: Scene) -> Finding | None:
    used = await _used(scene)
    for _, name, each in used:
        if str(each.get("State", "available")).lower() != "available":
            return fail(
                f"the endpoint for {name} is {each.get('State')}",
                f"{each['VpcEndpointId']} in {each.get('VpcId')}",
                "have its owner accept it, or make it again",
                f"{_LOOK}{each['VpcEndpointId']}",
            )
    return ok(f"endpoints are available: {listed([name for _, name, _ in used])}") if used else None


@check("endpoint.private-dns", "whether names lead to the endpoints", *_NEEDS)
async def private_dns(scene: Scene) -> Finding | None:
    used = [each for each in await _used(scene) if each[2].get("VpcEndpointType") == "Interface"]
    for site, name, each in used:
        if each.get("PrivateDnsEnabled"):
            continue
        title = f"the endpoint for {name} has no private DNS"
        evidence = f"{each['VpcEndpointId']}: the agent does not find it, and goes to the internet"
        cure = "switch private DNS on"
        call = f"{_CHANGE}{each['VpcEndpointId']} --private-dns-enabled"
        if await reaches(scene, site):
            return warn(title, evidence, cure, call)
        return fail(title, f"{evidence}, to which there is no way", cure, call)
    for vpc in dict.fromkeys(site.vpc for site, _, _ in used):
        answer = await scene.call(
            "ec2", "describe_vpc_attribute", VpcId=vpc, Attribute="enableDnsHostnames"
        )
        if not (answer.get("EnableDnsHostnames") or {}).get("Value"):
            return fail(
                f"{vpc} has no DNS host names, which private DNS needs",
                "enableDnsHostnames is false",
                "switch it on",
                f"aws ec2 modify-vpc-attribute --vpc-id {vpc} --enable-dns-hostnames",
            )
    return ok("names lead to the endpoints") if used else None


@check(
    "endpoint.security-group",
    "whether endpoints let tasks in",
    *_NEEDS,
    "ec2:DescribeSecurityGroups",
)
async def security_group(scene: Scene) -> Finding | None:
    used = [each for each in await _used(scene) if each[2].get("VpcEndpointType") == "Interface"]
    perhaps = []
    for site, name, each in used:
        ids = [str(group.get("GroupId")) for group in each.get("Groups", ())]
        rules = [r for group in await groups(scene, ids) for r in group.get("IpPermissions", ())]
        said = lets(rules, [site.cidr], site.groups)
        if said == "no":
            return fail(
                f"the endpoint for {name} lets {site.users} not in",
                f"security group {listed(ids)} of {each['VpcEndpointId']} has no rule for TCP "
                f"{HTTPS} from {listed(site.groups)} or {site.cidr}",
                f"let TCP {HTTPS} in from the tasks' security group",
                f"aws ec2 authorize-security-group-ingress --group-id {ids[0] if ids else 'GROUP'} "
                f"--protocol tcp --port {HTTPS} --source-group {(*site.groups, 'GROUP')[0]}",
            )
        if said == "perhaps":
            perhaps += ids
    if perhaps:
        return warn(
            f"security group {listed(perhaps)} of an endpoint lets in some networks only",
            "it does not let in the whole subnet of the tasks",
            f"let TCP {HTTPS} in from the tasks' security group",
            f"aws ec2 describe-security-groups --group-ids {perhaps[0]}",
        )
    return ok("endpoints let the tasks in") if used else None


@check("endpoint.policy", "whether endpoints' policies let the agent through", *_NEEDS)
async def policy(scene: Scene) -> Finding | None:
    used = await _used(scene)
    if not used:
        return None
    perhaps = []
    names = [role.arn for role in (await roles(scene))[0]]
    account = str((await scene.api.identity())["Account"])
    root = f"arn:{scene.api.partition}:iam::{account}:root"
    for _, name, each in used:
        if not (document := each.get("PolicyDocument")):
            continue
        for role in names:
            answers = {
                action: says(document, action, (role, root, account)) for action in USES[name]
            }
            refused = [action for action, said in answers.items() if said in ("nothing", "deny")]
            if refused:
                return fail(
                    f"the policy of the endpoint for {name} does not let the agent through",
                    f"{each['VpcEndpointId']}: {listed(refused)} for {role.rpartition('/')[2]}",
                    f"allow {listed(refused)} in the endpoint's policy",
                    f"{_LOOK}{each['VpcEndpointId']} --query VpcEndpoints[].PolicyDocument",
                )
            perhaps += [name for said in answers.values() if said == "perhaps"]
    if perhaps:
        return warn(
            f"the policy of the endpoint for {listed(perhaps)} lets the agent through under "
            "conditions",
            "its statements have a Condition, whose values are not known here",
            "see that the conditions hold",
            f"{_LOOK}{used[0][2]['VpcEndpointId']} --query VpcEndpoints[].PolicyDocument",
        )
    return ok("endpoints' policies let the agent through")
