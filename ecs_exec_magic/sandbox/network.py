"""The network interfaces of tasks: real ones of the account's EC2.

Knows subnets, security groups, addresses and ECS's words about them. Never knows tasks.
"""

from __future__ import annotations

import ipaddress
import itertools
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .protocols import ApiError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .account import Account

__all__ = ["Interface", "Network"]

_MOST_SUBNETS = 16
_MOST_GROUPS = 5
_PUBLIC = ipaddress.ip_network("198.18.0.0/15")
"""Public addresses come from here: a range that is nobody's on the internet."""


@dataclass(frozen=True, slots=True)
class Interface:
    """A network interface of a task.

    Attributes:
        eni_id: of the interface in EC2.
        attachment_id: of its attachment in ECS.
        subnet_id: where it is.
        zone: the availability zone of the subnet.
        private_address: its address.
        private_name: the name of this address.
        mac: its hardware address.
        public_address: the public address, if it has one.
        groups: ids of its security groups.
    """

    eni_id: str
    attachment_id: str
    subnet_id: str
    zone: str
    private_address: str
    private_name: str
    mac: str
    public_address: str | None
    groups: tuple[str, ...]


def _invalid(text: str) -> ApiError:
    return ApiError("InvalidParameterException", text)


class Network:
    """Gives tasks their interfaces.

    Args:
        account: whose EC2 keeps them.
    """

    def __init__(self, account: Account) -> None:
        self._account = account
        self._turn = itertools.count()
        self._public = itertools.cycle(range(1, _PUBLIC.num_addresses - 1))

    async def attach(
        self, region: str, subnets: Sequence[str], groups: Sequence[str], public: bool
    ) -> Interface:
        """Make an interface in one of the subnets, each in its turn, and attach it.

        Args:
            region: where.
            subnets: ids to choose from.
            groups: ids of security groups; the VPC's default one when there are none.
            public: whether it gets a public address.

        Raises:
            ApiError: InvalidParameterException for subnets or groups that do not fit.
        """
        await self._account.prepare(region)
        turn = next(self._turn)

        def work() -> Interface:
            ec2 = self._account.backend("ec2", region)
            found = _checked(ec2, subnets, groups)
            return self._make(ec2, found[turn % len(found)], groups, public)

        return await self._account.run(work)

    async def check(self, region: str, subnets: Sequence[str], groups: Sequence[str]) -> None:
        """Refuse subnets and groups as :meth:`attach` does, and make nothing."""
        await self._account.prepare(region)
        await self._account.run(
            lambda: _checked(self._account.backend("ec2", region), subnets, groups)
        )

    async def detach(self, region: str, interface: Interface) -> None:
        """Delete an interface; harmless when it is gone."""

        def work() -> None:
            ec2 = self._account.backend("ec2", region)
            found = ec2.enis.get(interface.eni_id)
            if found is not None:
                found.delete()

        await self._account.run(work)

    async def defaults(self, region: str) -> tuple[list[str], list[str]]:
        """The default VPC's subnets and its default security group."""
        await self._account.prepare(region)

        def work() -> tuple[list[str], list[str]]:
            ec2 = self._account.backend("ec2", region)
            vpc = ec2.get_default_vpc()
            if vpc is None:
                return [], []
            subnets = ec2.describe_subnets(filters={"vpc-id": vpc.id, "default-for-az": "true"})
            found = sorted(subnets, key=lambda s: str(s.availability_zone))
            return [s.id for s in found], [ec2.get_default_security_group(vpc.id).id]

        return await self._account.run(work)

    def _make(self, ec2: Any, subnet: Any, groups: Sequence[str], public: bool) -> Interface:
        attachment = str(uuid.uuid4())
        try:
            address = subnet.get_available_subnet_ip(None)
        except (StopIteration, RuntimeError):
            raise _invalid(f"The subnet '{subnet.id}' has no free addresses left.") from None
        made = ec2.create_network_interface(
            subnet,
            address,
            group_ids=list(groups),
            description=(
                f"arn:{ec2.partition}:ecs:{ec2.region_name}:{ec2.account_id}:attachment/{attachment}"
            ),
        )
        made.status = "in-use"
        made.requester_managed = True
        if public:
            made.public_ip_auto_assign = True
            made.public_ip = str(_PUBLIC[next(self._public)])
        domain = "ec2" if ec2.region_name == "us-east-1" else f"{ec2.region_name}.compute"
        name = f"ip-{address.replace('.', '-')}.{domain}.internal"
        made.private_dns_name = name
        for one in made.private_ip_addresses:
            one["PrivateDnsName"] = name
        return Interface(
            eni_id=made.id,
            attachment_id=attachment,
            subnet_id=subnet.id,
            zone=str(subnet.availability_zone),
            private_address=address,
            private_name=name,
            mac=made.mac_address,
            public_address=made.public_ip if public else None,
            groups=tuple(group.id for group in made.group_set),
        )


def _checked(ec2: Any, subnets: Sequence[str], groups: Sequence[str]) -> list[Any]:
    """The subnets, once they and the groups are known to fit together."""
    if not subnets:
        raise _invalid("subnets can not be empty.")
    if len(subnets) > _MOST_SUBNETS:
        raise _invalid(f"subnets can have at most {_MOST_SUBNETS} items.")
    if len(groups) > _MOST_GROUPS:
        raise _invalid(f"securityGroups can have at most {_MOST_GROUPS} items.")
    known = {s.id: s for s in ec2.describe_subnets()}
    for name in subnets:
        if name not in known:
            raise _invalid(
                f"Error retrieving subnet information for [{name}]: The subnet ID '{name}' does "
                "not exist (ErrorCode: InvalidSubnetID.NotFound)"
            )
    found = [known[name] for name in subnets]
    if len({s.vpc_id for s in found}) > 1:
        raise _invalid("The subnets provided must all belong to the same VPC.")
    for name in groups:
        group = ec2.get_security_group_from_id(name)
        if group is None:
            raise _invalid(
                f"Error retrieving security group information for [{name}]: The security group "
                f"'{name}' does not exist (ErrorCode: InvalidGroup.NotFound)"
            )
        if group.vpc_id != found[0].vpc_id:
            raise _invalid(
                f"Security Group {name} does not appear to belong to the same VPC as the input "
                "subnets."
            )
    return found
