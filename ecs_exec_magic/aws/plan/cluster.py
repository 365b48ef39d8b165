"""The cluster and the task definition.

Knows ECS's documents for both. Never knows tasks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .names import BUCKET_TAG
from .part import Part, Say, difference, if_there, patiently, tag_list, tags_of
from .steps import Step

if TYPE_CHECKING:
    from ..api import AwsApi
    from .part import Site

__all__ = ["Cluster", "Definition", "read_cluster"]


async def read_cluster(api: AwsApi, name: str) -> dict[str, Any] | None:
    """An active cluster with tags and configuration; None when there is none."""
    include = ["CONFIGURATIONS", "TAGS"]
    answer = await api.call(
        "ecs", "describe_clusters", _about=name, clusters=[name], include=include
    )
    found = [each for each in answer.get("clusters", ()) if each.get("status") != "INACTIVE"]
    return found[0] if found else None


class Cluster(Part):
    """The cluster, with what it says about exec sessions."""

    kind = "cluster"

    def __init__(self, site: Site) -> None:
        super().__init__(site)
        self._execution: dict[str, Any] = {}
        self._tags: dict[str, str] = {}
        self._arn = ""

    @property
    def name(self) -> str:
        return self.site.options.name

    def why(self) -> str:
        return f"logging of sessions: {self.site.options.logging}"

    def _wanted(self) -> dict[str, Any]:
        """What the cluster is to say about exec sessions."""
        site, options = self.site, self.site.options
        wanted: dict[str, Any] = {"logging": options.logging.upper()}
        if options.kms_key is not None:
            wanted["kmsKeyId"] = site.wanted_key_arn
        if options.logging == "override":
            log: dict[str, Any] = {}
            if site.session_group:
                log["cloudWatchLogGroupName"] = site.session_group
                log["cloudWatchEncryptionEnabled"] = options.encrypt_logs
            if site.bucket:
                log["s3BucketName"] = site.bucket
                log["s3EncryptionEnabled"] = options.encrypt_logs
                if options.prefix:
                    log["s3KeyPrefix"] = options.prefix
            wanted["logConfiguration"] = log
        return wanted

    async def look(self) -> None:
        found = await read_cluster(self.site.api, self.name)
        if found is None:
            return
        self.there, self._arn = True, found["clusterArn"]
        self._tags = tags_of(found.get("tags"))
        self.ours = self.site.owns(self._tags)
        configuration = found.get("configuration") or {}
        self._execution = configuration.get("executeCommandConfiguration") or {}

    def differences(self) -> list[str]:
        there, wanted = _flat(self._execution), _flat(self._wanted())
        return [
            line
            for name in sorted({*there, *wanted})
            for line in difference(name, there.get(name), wanted.get(name))
        ]

    def request(self) -> dict[str, Any]:
        """What a new cluster is made with."""
        return {
            "clusterName": self.name,
            "configuration": {"executeCommandConfiguration": self._wanted()},
            "tags": tag_list(self.site.tags, "key", "value"),
        }

    async def make(self, say: Say) -> None:
        api, configuration = self.site.api, {"executeCommandConfiguration": self._wanted()}
        if not self.there:
            answer = await api.call("ecs", "create_cluster", **self.request())
            self._arn = answer["cluster"]["clusterArn"]
            self.there = self.ours = True
            self._tags = self.site.tags
        elif self.differences():
            await api.call("ecs", "update_cluster", cluster=self.name, configuration=configuration)
        self._execution = self._wanted()

    # -- what it knows of a bucket ---------------------------------------------------------------

    def intended_bucket(self) -> str:
        """The bucket that was being made when the plan was last stopped; empty for none."""
        return self._tags.get(BUCKET_TAG, "") if self.ours else ""

    async def intend_bucket(self, name: str) -> None:
        """Remember that a bucket is being made, or with an empty name forget it again.

        A cluster that is not ours is left alone: there a bucket whose making is stopped between
        two calls stays behind without tags.
        """
        if not self.ours:
            return
        api = self.site.api
        if name:
            tags = tag_list({BUCKET_TAG: name}, "key", "value")
            await api.call("ecs", "tag_resource", resourceArn=self._arn, tags=tags)
            self._tags = {**self._tags, BUCKET_TAG: name}
        else:
            await api.call("ecs", "untag_resource", resourceArn=self._arn, tagKeys=[BUCKET_TAG])
            self._tags = {key: value for key, value in self._tags.items() if key != BUCKET_TAG}


def _flat(execution: dict[str, Any]) -> dict[str, Any]:
    """A configuration of exec sessions as one level; what is off, or AWS's default, is left out."""
    found = {**execution, **execution.get("logConfiguration", {})}
    found.pop("logConfiguration", None)
    if found.get("logging") == "DEFAULT":
        found.pop("logging")
    return {name: value for name, value in found.items() if value not in (False, "", None)}


class Definition(Part):
    """The task definition; what is wanted otherwise becomes a new revision."""

    kind = "task definition"

    def __init__(self, site: Site) -> None:
        super().__init__(site)
        self._found: dict[str, Any] = {}

    @property
    def name(self) -> str:
        return self.site.options.name

    def why(self) -> str:
        options = self.site.options
        return f"{options.image}, {options.cpu} CPU units, {options.memory} MiB"

    def document(self) -> dict[str, Any]:
        """What is registered, without tags."""
        site, options = self.site, self.site.options
        container: dict[str, Any] = {
            "name": options.container,
            "image": options.image,
            "essential": True,
            # So that what the agent starts is reaped.
            "linuxParameters": {"initProcessEnabled": True},
        }
        if options.command:
            container["command"] = list(options.command)
        if options.port is not None:
            mapping: dict[str, Any] = {"containerPort": options.port, "protocol": "tcp"}
            if options.on_ec2:  # the same port of the instance, so that it is known
                mapping["hostPort"] = options.port
            container["portMappings"] = [mapping]
        if site.log_group:
            container["logConfiguration"] = {
                "logDriver": "awslogs",
                "options": {
                    "awslogs-group": site.log_group,
                    "awslogs-region": site.names.region,
                    "awslogs-stream-prefix": "container-stdout",
                },
            }
        document = {
            "family": self.name,
            "requiresCompatibilities": [options.launch_type],
            # On EC2 a network interface of a task's own gets no public address: it would need a
            # NAT gateway or endpoints to reach AWS. With a bridge tasks use the instance's.
            "networkMode": "bridge" if options.on_ec2 else "awsvpc",
            "cpu": str(options.cpu),
            "memory": str(options.memory),
            "taskRoleArn": site.task_role_arn,
            "containerDefinitions": [container],
        }
        if site.execution_role_arn:
            document["executionRoleArn"] = site.execution_role_arn
        return document

    def request(self) -> dict[str, Any]:
        """The same with its tags."""
        return {**self.document(), "tags": tag_list(self.site.tags, "key", "value")}

    async def look(self) -> None:
        call = self.site.api.call(
            "ecs", "describe_task_definition", taskDefinition=self.name, include=["TAGS"]
        )
        # The code that ECS has for a family without an active revision.
        answer = await if_there(call, "ClientException")
        if answer is not None:
            self.there, self._found = True, answer["taskDefinition"]
            self.ours = self.site.owns(tags_of(answer.get("tags")))
            self.site.definition_arn = self._found["taskDefinitionArn"]

    def step(self) -> Step:
        step = super().step()
        if step.action == "update":
            return Step(step.kind, step.name, "update", "a new revision", step.difference)
        return step

    def differences(self) -> list[str]:
        there, wanted = _essence(self._found), _essence(self.document())
        return [
            line for name in wanted for line in difference(name, there.get(name), wanted.get(name))
        ]

    async def make(self, say: Say) -> None:
        if self.there and not self.differences():
            return
        site = self.site
        request = self.request()
        answer = await patiently(
            site,
            lambda: site.api.call("ecs", "register_task_definition", **request),
            ("role",),
            say,
        )
        self._found = answer["taskDefinition"]
        self.there = self.ours = True
        site.definition_arn = self._found["taskDefinitionArn"]


def _essence(document: dict[str, Any]) -> dict[str, Any]:
    """What matters of a task definition, in words that can be compared and shown."""
    containers = document.get("containerDefinitions") or [{}]
    first = containers[0]
    logs = first.get("logConfiguration") or {}
    ports = [each.get("containerPort") for each in first.get("portMappings") or ()]
    options = logs.get("options") or {}
    return {
        "network mode": document.get("networkMode"),
        "launch types": sorted(document.get("requiresCompatibilities") or ()),
        "cpu": document.get("cpu"),
        "memory": document.get("memory"),
        "task role": document.get("taskRoleArn"),
        "execution role": document.get("executionRoleArn"),
        "containers": [each.get("name") for each in containers],
        "image": first.get("image"),
        "command": list(first.get("command") or ()),
        "ports": ports,
        "init process": bool((first.get("linuxParameters") or {}).get("initProcessEnabled")),
        "log group": options.get("awslogs-group"),
        "log region": options.get("awslogs-region"),
    }
