"""What a plan's resources are called, and the tag by which they are known again.

Knows names, ARNs and tags. Never knows what exists.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["BUCKET_TAG", "MOST_CHARS", "OWN_TAGS", "TAG", "Names", "ecr_repository"]

OWN_TAGS = "ecs-exec-magic:"
"""Tags that begin so are ours."""

TAG = f"{OWN_TAGS}plan"
"""On everything that a plan makes; its value is the plan's name."""

BUCKET_TAG = f"{OWN_TAGS}making-bucket"
"""On the cluster while its bucket is made: S3 makes a bucket first and tags it afterwards."""

MOST_CHARS = 36
"""Of a plan's name: IAM's 64 less region and ending of the longest name of a role."""

_ECR = re.compile(
    r"(?P<account>\d{12})\.dkr\.ecr(?:-fips)?\.(?P<region>[a-z0-9-]+)\.amazonaws\.com(?:\.cn)?/"
    r"(?P<name>[^:@]+)"
)


@dataclass(frozen=True, slots=True)
class Names:
    """Names in one account and region; roles have the region in theirs, since IAM has none."""

    name: str
    partition: str
    region: str
    account: str

    @property
    def alias(self) -> str:
        """Of the KMS key."""
        return f"alias/ecs-exec-{self.name}"

    @property
    def security_group(self) -> str:
        """Of the security group."""
        return f"ecs-exec-{self.name}"

    @property
    def task_role(self) -> str:
        """Of the role that containers have."""
        return f"{self.name}-{self.region}-task"

    @property
    def execution_role(self) -> str:
        """Of the role that starts containers."""
        return f"{self.name}-{self.region}-execution"

    @property
    def instance_role(self) -> str:
        """Of the role of the EC2 instance, and of the profile that hands it over."""
        return f"{self.name}-{self.region}-instance"

    @property
    def instance(self) -> str:
        """Of the EC2 instance: its tag ``Name``."""
        return f"ecs-exec-{self.name}"

    @property
    def log_group(self) -> str:
        """Of the log group, unless another is named."""
        return f"/aws/ecs/{self.name}"

    @property
    def started_by(self) -> str:
        """What tasks without a service are started by."""
        return f"ecs-exec-magic/{self.name}"

    def role_arn(self, role: str) -> str:
        """The ARN of a role, by its name or its ARN."""
        return role if role.startswith("arn:") else self._global("iam", f"role/{role}")

    def log_group_arn(self, group: str) -> str:
        """The ARN of a log group, without the ``:*`` of its streams."""
        return f"arn:{self.partition}:logs:{self.region}:{self.account}:log-group:{group}"

    def key_arn(self, key_id: str) -> str:
        """The ARN of a KMS key."""
        return f"arn:{self.partition}:kms:{self.region}:{self.account}:key/{key_id}"

    @property
    def cluster_arn(self) -> str:
        """The ARN of the cluster."""
        return f"arn:{self.partition}:ecs:{self.region}:{self.account}:cluster/{self.name}"

    @property
    def instance_arns(self) -> str:
        """The ARNs of the cluster's container instances, with a star."""
        head = f"arn:{self.partition}:ecs:{self.region}:{self.account}"
        return f"{head}:container-instance/{self.name}/*"

    def bucket_arn(self, bucket: str) -> str:
        """The ARN of an S3 bucket."""
        return f"arn:{self.partition}:s3:::{bucket}"

    def tags(self, more: Mapping[str, str]) -> dict[str, str]:
        """The tags of everything that is made."""
        return {**more, TAG: self.name}

    def _global(self, service: str, rest: str) -> str:
        return f"arn:{self.partition}:{service}::{self.account}:{rest}"


def ecr_repository(image: str, partition: str) -> str:
    """The ARN of an image's private repository in ECR; empty for images from elsewhere."""
    found = _ECR.match(image)
    if found is None:
        return ""
    return f"arn:{partition}:ecr:{found['region']}:{found['account']}:repository/{found['name']}"
