"""What a plan is made from: options checked without any call, and what an account can offer.

Knows the rules that AWS has for names and numbers. Never knows what exists.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from .names import MOST_CHARS, OWN_TAGS

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "FARGATE_SIZES",
    "AccountChoices",
    "LaunchType",
    "Logging",
    "PlanOptions",
    "Subnet",
    "Vpc",
]

LaunchType = Literal["FARGATE", "EC2"]
Logging = Literal["none", "default", "override"]

_NAME = re.compile(r"[A-Za-z0-9_-]{1,255}")
_IMAGE = re.compile(r"[A-Za-z0-9_\-:./#@]{1,255}")
_BUCKET = re.compile(
    r"(?!xn--|sthree-|amzn-s3-demo-)[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](?<!-s3alias)(?<!--ol-s3)"
)
_PREFIX = re.compile(r"[\w/!.*'()-]{0,200}", re.ASCII)
_LOG_GROUP = re.compile(r"[A-Za-z0-9_/.#-]{1,512}")
_INSTANCE_TYPE = re.compile(r"[a-z][a-z0-9-]{0,20}\.[a-z0-9-]{1,20}")
_TAG = re.compile(r"[\w\s.:/=+@-]*")
# What Fargate has: MiB of memory by CPU units. At 8 and 16 vCPUs the steps are 4 and 8 GiB.
FARGATE_SIZES: Mapping[int, tuple[int, ...]] = {
    256: (512, 1024, 2048),
    512: tuple(range(1024, 4096 + 1, 1024)),
    1024: tuple(range(2048, 8192 + 1, 1024)),
    2048: tuple(range(4096, 16384 + 1, 1024)),
    4096: tuple(range(8192, 30720 + 1, 1024)),
    8192: tuple(range(16384, 61440 + 1, 4096)),
    16384: tuple(range(32768, 122880 + 1, 8192)),
}


@dataclass(frozen=True)
class PlanOptions:
    """What ``client.plan(NAME, **options)`` is asked for.

    Attributes:
        name: of cluster, task family and service, so that ``NAME/NAME`` addresses it afterwards;
            names of roles, of the security group and of the key's alias are made of it.
        vpc: id; None: the account's default VPC.
        subnets: ids; empty: up to two of the VPC's that lead to AWS.
        assign_public_ip: whether tasks get a public address; None: where the subnets need it.
        service: keep the tasks running with a service; else they are run once.
        count: tasks.
        command: of the container; empty: the image's own.
        port: that the container answers on and the security group lets in; None for none.
        cpu: CPU units of a task; 1024 are one vCPU.
        memory: of a task, in MiB.
        logging: of exec sessions: off, to the task's own log driver, or to a group and a bucket.
        log_group: name, of what containers print and, unless ``logging`` is ``none``, of sessions;
            None: ``/aws/ecs/NAME``; empty: no group.
        bucket: name, with ``override``; None: none.
        prefix: of the objects in the bucket.
        encrypt_logs: encrypt the log group and the bucket with the key.
        kms_key: for the data channel: ``new``, an id, ARN or alias; None: none.
        execution_role, task_role: names or ARNs of roles there are; None: make them.
        tags: put on everything that is made.
        instance_type: of the one instance that is made with launch type EC2; None: the cluster has
            instances of its own.
    """

    name: str
    vpc: str | None = None
    subnets: tuple[str, ...] = ()
    assign_public_ip: bool | None = None
    launch_type: LaunchType = "FARGATE"
    service: bool = True
    count: int = 1
    image: str = "nginx"
    container: str = "nginx"
    command: tuple[str, ...] = ()
    port: int | None = 80
    cpu: int = 256
    memory: int = 512
    logging: Logging = "override"
    log_group: str | None = None
    bucket: str | None = None
    prefix: str = "exec-output"
    encrypt_logs: bool = False
    kms_key: str | None = None
    execution_role: str | None = None
    task_role: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    instance_type: str | None = "t3.micro"

    @property
    def on_ec2(self) -> bool:
        """Whether tasks run on instances."""
        return self.launch_type == "EC2"

    @property
    def own_instance(self) -> bool:
        """Whether the plan makes the instance that its tasks run on."""
        return self.on_ec2 and self.instance_type is not None

    def problems(self) -> dict[str, str]:
        """What AWS would not take, by field, each in a few words; empty when all is well.

        Calls nothing: a form asks at every key.
        """
        found: dict[str, str] = {}
        for name in ("name", "container"):
            if not _NAME.fullmatch(getattr(self, name)):
                found[name] = "letters, digits, - and _ only, 1 to 255 of them"
        if "name" not in found and len(self.name) > MOST_CHARS:
            found["name"] = f"at most {MOST_CHARS} characters: names of roles are made of it"
        if self.launch_type not in ("FARGATE", "EC2"):
            found["launch_type"] = "FARGATE or EC2"
        if self.on_ec2:
            found.update(self._instance_problems())
        if self.logging not in ("none", "default", "override"):
            found["logging"] = "none, default or override"
        if not _IMAGE.fullmatch(self.image):
            found["image"] = "an image is a name without blanks, as in nginx:1.27"
        if len(set(self.subnets)) > 16:
            found["subnets"] = "at most 16"
        for name in ("vpc", "kms_key", "execution_role", "task_role"):
            value = getattr(self, name)
            if value is not None and (not value or any(char.isspace() for char in value)):
                found[name] = "a name without blanks, or None"
        if not 1 <= self.count <= 5000:
            found["count"] = "from 1 to 5,000"
        elif not self.service and self.count > 10:
            found["count"] = "run-task starts at most 10 at once; use a service for more"
        if self.port is not None and not 1 <= self.port <= 65535:
            found["port"] = "from 1 to 65535"
        found.update(self._size_problems())
        found.update(self._log_problems())
        if self.encrypt_logs and self.kms_key is None:
            found["encrypt_logs"] = "needs a KMS key"
        found.update(self._tag_problems())
        return found

    def _size_problems(self) -> dict[str, str]:
        if self.on_ec2:
            small = self.cpu < 128
            found = {"cpu": "at least 128"} if small else {}
            return found | ({"memory": "at least 6 MiB"} if self.memory < 6 else {})
        memories = FARGATE_SIZES.get(self.cpu)
        if memories is None:
            return {"cpu": f"Fargate has {', '.join(map(str, FARGATE_SIZES))}"}
        if self.memory not in memories:
            some = memories if len(memories) < 5 else (*memories[:2], "…", memories[-1])
            sizes = ", ".join(map(str, some))
            return {"memory": f"with {self.cpu} CPU units Fargate has {sizes} MiB"}
        return {}

    def _instance_problems(self) -> dict[str, str]:
        if self.instance_type is None:
            unused = ("vpc", "subnets", "assign_public_ip")
            return {
                name: "without an instance of its own a plan has no network"
                for name in unused
                if getattr(self, name) not in (None, ())
            }
        if not _INSTANCE_TYPE.fullmatch(self.instance_type):
            return {"instance_type": "as in t3.micro; None for a cluster that has instances"}
        if self.count > 1 and self.port is not None:
            return {
                "count": f"one instance gives port {self.port} to one task; port none lets more"
            }
        return {}

    def _log_problems(self) -> dict[str, str]:
        found = {}
        if self.log_group == "" and self.logging == "override" and not self.bucket:
            found["log_group"] = "logs need a log group, a bucket, or both"
        elif self.log_group == "" and self.logging == "default":
            found["log_group"] = "without one, this kind of logging keeps nothing"
        elif self.log_group and not _LOG_GROUP.fullmatch(self.log_group):
            found["log_group"] = "letters, digits and _ - / . # only, at most 512"
        elif self.log_group and self.log_group.startswith("aws/"):
            found["log_group"] = "names that begin with aws/ are AWS's own"
        if self.logging == "override" and self.bucket:
            if not _PREFIX.fullmatch(self.prefix):
                found["prefix"] = "letters, digits and / ! - _ . * ' ( ) only, at most 200"
            bad = not _BUCKET.fullmatch(self.bucket) or ".." in self.bucket or _ip(self.bucket)
            if bad:
                found["bucket"] = "3 to 63 lower-case letters, digits, dots and hyphens"
        return found

    def _tag_problems(self) -> dict[str, str]:
        for key, value in self.tags.items():
            if not key or len(key) > 128 or len(value) > 256:
                return {"tags": "keys have 1 to 128 characters, values at most 256"}
            if key.lower().startswith("aws:"):
                return {"tags": "keys that begin with aws: are AWS's own"}
            if key.lower().startswith(OWN_TAGS):
                return {"tags": f"keys that begin with {OWN_TAGS} are ours"}
            if not (_TAG.fullmatch(key) and _TAG.fullmatch(value)):
                return {"tags": "letters, digits, blanks and _ . : / = + - @ only"}
        if len(self.tags) > 45:
            return {"tags": "at most 45: AWS takes 50, and some are ours"}
        return {}


def _ip(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


@dataclass(frozen=True, slots=True)
class Subnet:
    """One subnet.

    Attributes:
        public: its default route leads to an internet gateway.
        routed: it has a default route, to whatever gateway.
    """

    subnet_id: str
    zone: str
    name: str = ""
    cidr: str = ""
    public: bool = False
    routed: bool = False


@dataclass(frozen=True, slots=True)
class Vpc:
    """One VPC and its subnets."""

    vpc_id: str
    name: str = ""
    cidr: str = ""
    default: bool = False
    subnets: tuple[Subnet, ...] = ()


@dataclass(frozen=True, slots=True)
class AccountChoices:
    """What an account has that a plan can use.

    Attributes:
        clusters, log_groups, buckets, roles: names.
        keys: aliases, and ids of keys without one; only keys of the account's own.
        denied: why something could not be listed, by attribute.
    """

    region: str
    vpcs: tuple[Vpc, ...] = ()
    clusters: tuple[str, ...] = ()
    log_groups: tuple[str, ...] = ()
    buckets: tuple[str, ...] = ()
    keys: tuple[str, ...] = ()
    roles: tuple[str, ...] = ()
    denied: Mapping[str, str] = field(default_factory=dict)
