"""What is asked for when exec is switched on for a service that is there.

Knows which options go together. Never knows what exists.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

__all__ = ["EnableOptions", "Logging"]

Logging = Literal["none", "default", "override"]

_LOG_GROUP = re.compile(r"[A-Za-z0-9_/.#-]{1,512}")
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_PREFIX = re.compile(r"[\w/!.*'()-]{0,200}", re.ASCII)


@dataclass(frozen=True)
class EnableOptions:
    """What ``client.enable_exec(ADDRESS, **options)`` is asked for; None leaves things as they are.

    Attributes:
        cluster, service: names.
        container: of the address, where it has one.
        logging: of the cluster's exec sessions: off, to the tasks' own log driver, or to a log
            group and a bucket.
        log_group, bucket: names of what there is, with ``override``.
        prefix: of the objects in the bucket.
        encrypt_logs: the log group and the bucket must be encrypted.
        kms_key: id, ARN or alias of a key that there is, for the data channel; empty: none.
        task_role: name or ARN of a role that there is, for a task definition that has none.
    """

    cluster: str
    service: str
    container: str = ""
    logging: Logging | None = None
    log_group: str | None = None
    bucket: str | None = None
    prefix: str | None = None
    encrypt_logs: bool = False
    kms_key: str | None = None
    task_role: str | None = None

    @property
    def address(self) -> str:
        """``CLUSTER/SERVICE``."""
        return f"{self.cluster}/{self.service}"

    @property
    def asks_cluster(self) -> bool:
        """Whether something of the cluster is to be changed."""
        return self.logging is not None or self.kms_key is not None

    def problems(self) -> dict[str, str]:
        """What does not go together, by option, each in a few words; calls nothing."""
        found: dict[str, str] = {}
        if self.logging not in (None, "none", "default", "override"):
            found["logging"] = "none, default or override"
        elif self.logging == "override" and not (self.log_group or self.bucket):
            found["logging"] = "override needs a log group, a bucket, or both"
        elif self.logging != "override":
            for name in ("log_group", "bucket", "prefix", "encrypt_logs"):
                if getattr(self, name):
                    found[name] = "goes with logging override only"
        if self.log_group and not _LOG_GROUP.fullmatch(self.log_group):
            found["log_group"] = "letters, digits and _ - / . # only, at most 512"
        if self.bucket and not _BUCKET.fullmatch(self.bucket):
            found["bucket"] = "3 to 63 lower-case letters, digits, dots and hyphens"
        if self.prefix and not _PREFIX.fullmatch(self.prefix):
            found["prefix"] = "letters, digits and / ! - _ . * ' ( ) only, at most 200"
        for name in ("kms_key", "task_role"):
            value = getattr(self, name)
            if value and any(char.isspace() for char in value):
                found[name] = "a name without blanks"
        return found
