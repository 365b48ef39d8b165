"""What stands in the fields of the provisioning form, and the options of a plan that it means.

Knows how people write numbers, commands and tags. Never knows widgets or what exists.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass, fields
from typing import Any, Literal

from ...client import FARGATE_SIZES, PlanOptions

__all__ = ["LOGS", "Entries", "memories", "summaries"]

Logs = Literal["off", "task", "group", "bucket", "both"]
LaunchType = Literal["FARGATE", "EC2"]
PublicAddress = Literal["auto", "yes", "no"]

LOGS: tuple[tuple[str, Logs], ...] = (
    ("kept in a log group", "group"),
    ("kept in a bucket", "bucket"),
    ("kept in a log group and a bucket", "both"),
    ("sent where the container's logs go", "task"),
    ("not kept", "off"),
)
"""Where exec sessions are logged: AWS's three modes, the last one by its two places."""

_PUBLIC = {"auto": None, "yes": True, "no": False}
_MODES: dict[str, str] = {"off": "none", "task": "default"}


@dataclass(frozen=True)
class Entries:
    """What stands in the fields; texts as they were typed.

    Attributes:
        region: empty: as AWS is configured.
        vpc, log_group, bucket, kms_key, execution_role, task_role: empty: nothing was chosen.
        public_address: whether tasks get one; ``auto``: where their subnets need it.
        command: words as in a shell.
        instance_type: empty: the cluster has instances of its own.
        tags: ``KEY=VALUE``, one a line.
    """

    region: str = ""
    name: str = ""
    vpc: str = ""
    subnets: tuple[str, ...] = ()
    public_address: PublicAddress = "auto"
    image: str = "nginx"
    container: str = "nginx"
    command: str = ""
    port: str = "80"
    cpu: int = 256
    memory: int = 512
    launch_type: LaunchType = "FARGATE"
    instance_type: str = "t3.micro"
    service: bool = True
    count: str = "1"
    logs: Logs = "group"
    log_group: str = ""
    bucket: str = ""
    prefix: str = "exec-output"
    kms_key: str = ""
    encrypt_logs: bool = False
    execution_role: str = ""
    task_role: str = ""
    tags: str = ""

    def applies(self, field: str) -> bool:
        """Whether a field means anything, as the others stand."""
        if field == "log_group":  # what the containers print is kept there, too
            return self.logs != "bucket"
        if field in ("bucket", "prefix"):
            return self.logs in ("bucket", "both")
        if field == "instance_type":
            return self.launch_type == "EC2"
        if field in ("vpc", "subnets", "public_address"):  # else it is that of the instances
            return self.launch_type != "EC2" or bool(self.instance_type.strip())
        if field == "encrypt_logs":
            return self.logs not in ("off", "task") and bool(self.kms_key.strip())
        return True

    def problems(self) -> dict[str, str]:
        """What is wrong, by field, each in a few words; empty when a plan can be made."""
        found = self._read()[1]
        if not self.name.strip():
            found["name"] = "a name is needed"
        return found

    def options(self) -> PlanOptions:
        """The options that the fields mean.

        Raises:
            ValueError: there are :meth:`problems`.
        """
        found = self.problems()
        if found:
            raise ValueError("; ".join(f"{field}: {words}" for field, words in found.items()))
        return self._read()[0]

    def given(self) -> dict[str, Any]:
        """The options that differ from the defaults, for ``client.plan(name, **given)``."""
        return _given(self.options())

    def _read(self) -> tuple[PlanOptions, dict[str, str]]:
        found: dict[str, str] = {}

        def number(field: str, text: str, empty: int | None) -> int | None:
            text = text.strip()
            if not text and field == "port":
                return None
            if text.isascii() and text.isdigit() and len(text) < 10:
                return int(text)
            found[field] = "a whole number"
            return empty

        try:
            command = tuple(shlex.split(self.command))
        except ValueError as error:
            command = ()
            found["command"] = f"{error}".lower().replace("closing quotation", "closing quote")
        tags, wrong = _tags(self.tags)
        if wrong:
            found["tags"] = wrong
        log_group: str | None = self.log_group.strip() or None
        bucket = self.bucket.strip() or None
        if not self.applies("log_group"):
            log_group = ""
        if not self.applies("bucket"):
            bucket = None
        elif bucket is None:
            found["bucket"] = "a name is needed: one that is there, or that is to be made"
        networked = self.applies("vpc")
        instance_type: str | None = PlanOptions("").instance_type
        if self.applies("instance_type"):
            instance_type = self.instance_type.strip() or None
        mode: Any = _MODES.get(self.logs, "override")
        defaults = PlanOptions("")
        port = number("port", self.port, defaults.port)
        count = number("count", self.count, defaults.count)
        options = PlanOptions(
            self.name.strip(),
            vpc=(self.vpc.strip() or None) if networked else None,
            subnets=tuple(each.strip() for each in self.subnets if each.strip() and networked),
            assign_public_ip=_PUBLIC[self.public_address] if networked else None,
            launch_type=self.launch_type,
            instance_type=instance_type,
            service=self.service,
            count=defaults.count if count is None else count,
            image=self.image.strip(),
            container=self.container.strip(),
            command=command,
            port=port,
            cpu=self.cpu,
            memory=self.memory,
            logging=mode,
            log_group=log_group,
            bucket=bucket,
            prefix=self.prefix.strip() if self.applies("prefix") else defaults.prefix,
            encrypt_logs=self.encrypt_logs and self.applies("encrypt_logs"),
            kms_key=self.kms_key.strip() or None,
            execution_role=self.execution_role.strip() or None,
            task_role=self.task_role.strip() or None,
            tags=tags,
        )
        of_plan = {name: words for name, words in options.problems().items() if self.applies(name)}
        return options, {**of_plan, **found}


def memories(cpu: int) -> tuple[int, ...]:
    """What Fargate has of memory for so many CPU units, in MiB."""
    return FARGATE_SIZES.get(cpu, ())


def _tags(text: str) -> tuple[dict[str, str], str]:
    """Tags from lines, and what is wrong with them."""
    tags: dict[str, str] = {}
    for line in filter(None, map(str.strip, text.splitlines())):
        key, equals, value = (part.strip() for part in line.partition("="))
        if not (key and equals):
            return tags, f"KEY=VALUE, one a line: {line[:40]!r} is not"
        if key in tags:
            return tags, f"{key[:40]} stands there twice"
        tags[key] = value
    return tags, ""


def _given(options: PlanOptions) -> dict[str, Any]:
    defaults = PlanOptions(options.name)
    return {
        field.name: getattr(options, field.name)
        for field in fields(options)
        if getattr(options, field.name) != getattr(defaults, field.name)
    }


def summaries(entries: Entries, region: str = "") -> dict[str, str]:
    """What stands in each section, in a few words.

    Args:
        region: that AWS is configured for, where it is known.
    """
    what = [f"{entries.count.strip()} × {entries.image.strip()}"]
    what.append("kept by a service" if entries.service else "run once")
    what += [f"{entries.cpu / 1024:g} vCPU", f"{entries.memory / 1024:g} GiB"]
    if entries.launch_type == "EC2":
        what.append(f"on EC2, {entries.instance_type.strip() or 'instances of its own'}")
    network = (entries.vpc or "default VPC") if entries.applies("vpc") else "its instances' network"
    where = [entries.region or region, network]
    if entries.subnets and entries.applies("subnets"):
        where.append(f"{len(entries.subnets)} subnet{'' if len(entries.subnets) == 1 else 's'}")
    logs = {
        "off": "sessions are not kept",
        "task": "sessions go with the container's logs",
        "group": entries.log_group or f"/aws/ecs/{entries.name.strip() or 'NAME'}",
        "bucket": entries.bucket,
    }
    logs["both"] = f"{logs['group']} and {logs['bucket']}"
    key = entries.kms_key.strip()
    roles = [entries.execution_role or "new", entries.task_role or "new"]
    tags = len([line for line in entries.tags.splitlines() if line.strip()])
    return {
        "what": ", ".join(what),
        "where": ", ".join(filter(None, where)),
        "logging": f"{logs[entries.logs]}, {f'KMS key {key}' if key else 'no KMS key'}",
        "roles": "two new ones" if roles == ["new", "new"] else " and ".join(roles),
        "tags": f"{tags}" if tags else "none",
    }
