"""What a plan says of itself: its policies, and what costs money.

Knows options and policies. Never knows what exists.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .part import NEW, Site
from .policies import ec2_principal, instance_role_policy, key_policy, trust_policy
from .roles import execution_policy, task_policy

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .options import PlanOptions

__all__ = ["costs_of", "documents_of"]


def documents_of(site: Site) -> Mapping[str, Mapping[str, Any]]:
    """The policies by title: of roles that are made, and what roles that are given must allow."""
    options = site.options
    found: dict[str, Mapping[str, Any]] = {"trust of both roles": trust_policy()}
    found["task role"] = task_policy(site)
    execution = execution_policy(site)
    if execution is not None:
        found["execution role"] = execution
    if options.own_instance:
        found["trust of the instance role"] = trust_policy(ec2_principal(site.names))
        found["instance role"] = instance_role_policy(site.names)
    if options.kms_key == NEW:
        group = site.log_group if options.encrypt_logs else ""
        found["KMS key"] = key_policy(site.names, log_group=group)
    return found


def costs_of(options: PlanOptions) -> tuple[str, ...]:
    """What costs money, a sentence each; prices are in AWS's lists, and change."""
    tasks = f"{options.count} task{'' if options.count == 1 else 's'}"
    each = f"{options.cpu / 1024:g} vCPU and {options.memory / 1024:g} GiB each"
    found = [f"{tasks} on Fargate, {each}: by the second, for as long as they run."]
    if options.own_instance:
        what = f"One EC2 instance, {options.instance_type}, and its volume"
        found = [f"{what}: by the second, for as long as it runs, whether tasks do or not."]
    elif options.on_ec2:
        found = ["Nothing for the tasks themselves: they run on instances that there are."]
    networked = options.own_instance or not options.on_ec2
    if networked and options.assign_public_ip is not False:
        what = "the instance" if options.on_ec2 else "each task"
        found.append(f"A public IPv4 address for {what} in a public subnet: by the hour.")
    if options.log_group != "":
        found.append("CloudWatch Logs: by the gigabyte that comes in, and that is kept.")
    if options.logging == "override" and options.bucket:
        found.append("S3: by the request and by the gigabyte that is kept.")
    if options.kms_key == NEW:
        found.append(
            "The KMS key: by the month, until its deletion is scheduled, and by the request."
        )
    return tuple(found)
