"""The service that exec is switched on for, as it is and as it is to be.

Knows what a service, its task definition and its cluster say. Never changes anything.
"""

from __future__ import annotations

import shlex
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ...errors import EcsExecError, InvalidRequest
from ..absence import cluster_missing
from ..exec_settings import ANY_KEY, ExecSettings, container_groups, key_arn_of, settings_of
from ..plan.cluster import read_cluster
from ..plan.launch import read_service
from ..plan.names import OWN_TAGS, Names
from ..plan.options import PlanOptions
from ..plan.part import Pause, Site, tags_of
from ..targets import find
from ..tasks import INJECTED
from .memory import mark

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..api import AwsApi
    from ..tasks import TaskInfo
    from .options import EnableOptions

__all__ = ["FOR", "Place", "short"]

FOR = f"{OWN_TAGS}exec-for"
"""On a role and a task definition: the service that they were made for."""


def short(arn: str) -> str:
    """What stands behind the last slash of an ARN."""
    return arn.rpartition("/")[2]


class Place(Site):
    """Where exec is switched on, and what the parts of that tell each other.

    Attributes:
        asked: what for.
        cluster, service, definition: as AWS describes them; with tags.
        settings: of exec sessions, as they are to be.
        execution: the same as AWS spells it.
        role_arn: of the role that tasks are to have.
        redeploy: tasks have to be started anew.
        known_revisions: whether task definitions that were looked at are ours.
        warnings: sentences.
    """

    def __init__(self, api: AwsApi, asked: EnableOptions, names: Names, pause: Pause) -> None:
        # What plans are asked for matters to their own parts only.
        super().__init__(api, PlanOptions(asked.service), names, pause)
        self.asked = asked
        self.cluster: dict[str, Any] = {}
        self.service: dict[str, Any] = {}
        self.definition: dict[str, Any] = {}
        self.definition_tags: dict[str, str] = {}
        self.settings = ExecSettings(asked.cluster, "")
        self.execution: dict[str, Any] = {}
        self.role_arn = ""
        self.redeploy = False
        self.warnings: list[str] = []
        self.known_revisions: dict[str, bool] = {}

    # -- names -----------------------------------------------------------------------------------

    @property
    def mark(self) -> str:
        """A short name of the service that no other has, in any cluster or region."""
        return mark(self.names.region, self.asked.address)

    @property
    def own_name(self) -> str:
        """Of the inline policy, and of the role where one is made."""
        return f"ecs-exec-{self.asked.service[:40]}-{self.mark}"

    @property
    def owner(self) -> str:
        """The value of the tag on what is made for the service."""
        return f"{self.asked.address[:240]} {self.mark}"

    @property
    def address(self) -> str:
        """Where commands can be run: with a container where there are several."""
        names = self.containers
        container = self.asked.container or (names[0] if len(names) > 1 else "")
        return f"{self.asked.address}:{container}".rstrip(":")

    # -- what it says ----------------------------------------------------------------------------

    @property
    def service_tags(self) -> dict[str, str]:
        """Of the service."""
        return tags_of(self.service.get("tags"))

    @property
    def cluster_tags(self) -> dict[str, str]:
        """Of the cluster."""
        return tags_of(self.cluster.get("tags"))

    @property
    def current_execution(self) -> dict[str, Any]:
        """What the cluster says of exec sessions now."""
        configuration = self.cluster.get("configuration") or {}
        return dict(configuration.get("executeCommandConfiguration") or {})

    @property
    def containers(self) -> list[str]:
        """Of the task definition, essential ones first; without those that AWS puts in."""
        found = self.definition.get("containerDefinitions") or ()
        kept = [each for each in found if not each["name"].startswith(INJECTED)]
        kept.sort(key=lambda each: not each.get("essential", True))
        return [str(each["name"]) for each in kept]

    @property
    def closed(self) -> list[str]:
        """Containers whose root filesystem nothing can be written to: no agent starts there."""
        found = self.definition.get("containerDefinitions") or ()
        return [str(each["name"]) for each in found if each.get("readonlyRootFilesystem")]

    @property
    def fargate(self) -> bool:
        """Whether its tasks run on Fargate."""
        strategy = self.service.get("capacityProviderStrategy") or ()
        if strategy:
            return all(str(each["capacityProvider"]).startswith("FARGATE") for each in strategy)
        return str(self.service.get("launchType", "FARGATE")) == "FARGATE"

    @property
    def count(self) -> int:
        """How many tasks are to run."""
        return int(self.service.get("desiredCount") or 0)

    @property
    def controller(self) -> str:
        """Who deploys: ``ECS``, ``CODE_DEPLOY`` or ``EXTERNAL``."""
        return str((self.service.get("deploymentController") or {}).get("type") or "ECS")

    # -- looking ---------------------------------------------------------------------------------

    async def read(self, *, gone: bool = False) -> None:
        """Look at the cluster, the service and its task definition.

        Args:
            gone: they need not be there.
        """
        api, asked = self.api, self.asked
        cluster = await read_cluster(api, asked.cluster)
        if cluster is None:
            if gone:
                return
            raise await cluster_missing(api, asked.cluster, named=True)
        self.cluster = cluster
        service = await read_service(api, asked.cluster, asked.service)
        if service is None or service["status"] != "ACTIVE":
            if gone:
                return
            raise await self._no_service()
        self.service = service
        await self.define(str(service["taskDefinition"]))

    async def define(self, arn: str) -> None:
        """Look at a task definition, which is then the service's."""
        answer = await self.api.call(
            "ecs", "describe_task_definition", taskDefinition=arn, include=["TAGS"]
        )
        self.definition = answer["taskDefinition"]
        self.definition_tags = tags_of(answer.get("tags"))

    async def want(self) -> None:
        """Work out what the cluster is to say."""
        asked = self.asked
        wanted = self.current_execution
        if asked.logging is not None:
            wanted["logging"] = asked.logging.upper()
            wanted.pop("logConfiguration", None)
            if asked.logging == "override":
                wanted["logConfiguration"] = self._log_configuration()
        if asked.kms_key is not None:
            wanted.pop("kmsKeyId", None)
            if asked.kms_key:
                arn = await key_arn_of(self.api, asked.kms_key)
                wanted["kmsKeyId"] = asked.kms_key if arn.endswith(ANY_KEY) else arn
        self.execution = wanted
        settings = settings_of(self.cluster, wanted)
        self.settings = replace(settings, key_arn=await key_arn_of(self.api, settings.key))

    def _log_configuration(self) -> dict[str, Any]:
        asked = self.asked
        found: dict[str, Any] = {}
        if asked.log_group:
            found["cloudWatchLogGroupName"] = asked.log_group
            found["cloudWatchEncryptionEnabled"] = asked.encrypt_logs
        if asked.bucket:
            found["s3BucketName"] = asked.bucket
            found["s3EncryptionEnabled"] = asked.encrypt_logs
            if asked.prefix:
                found["s3KeyPrefix"] = asked.prefix
        return found

    @property
    def session_groups(self) -> tuple[str, ...]:
        """The log groups that sessions are to be logged in."""
        if self.settings.logging == "default":
            return container_groups(self.definition, self.names.region)
        return (self.settings.log_group,) if self.settings.log_group else ()

    async def _no_service(self) -> EcsExecError:
        """What is meant instead of a service, or that nothing is."""
        asked = self.asked
        try:
            found = await find(self.api, asked.address, container="*", want="all")
        except EcsExecError as error:
            return error
        task = found.tasks[0]
        if task.service:
            return InvalidRequest(
                f"{asked.address} is a task of service {task.service}",
                cause="exec is switched on for a service, and its tasks are started anew",
                cure=f"give {asked.cluster}/{task.service}",
            )
        line = await _run_task_line(self.api, task)
        return InvalidRequest(
            f"exec cannot be switched on for {asked.address}: it is a task without a service",
            cause="a task has exec from its start, or never; nothing was touched",
            cure=f"start it anew, then stop this one: {line}",
        )


async def _run_task_line(api: AwsApi, task: TaskInfo) -> str:
    """The line of the AWS CLI that starts a task like this one with exec on."""
    answer = await api.call(
        "ecs", "describe_tasks", cluster=task.cluster, tasks=[task.task_arn], include=["TAGS"]
    )
    told: Mapping[str, Any] = (answer.get("tasks") or [{}])[0]
    words = ["aws", "ecs", "run-task", "--region", task.region, "--cluster", task.cluster]
    words += ["--task-definition", f"{task.family}:{task.revision}", "--enable-execute-command"]
    if told.get("capacityProviderName"):
        words += [
            "--capacity-provider-strategy",
            f"capacityProvider={told['capacityProviderName']}",
        ]
    elif told.get("launchType"):
        words += ["--launch-type", str(told["launchType"])]
    if network := await _network(api, told):
        words += ["--network-configuration", network]
    return shlex.join(words)


async def _network(api: AwsApi, told: Mapping[str, Any]) -> str:
    details = {
        each["name"]: each["value"]
        for attachment in told.get("attachments") or ()
        for each in attachment.get("details") or ()
    }
    if not details.get("subnetId"):
        return ""
    groups, public = "GROUP", "DISABLED"
    try:
        answer = await api.call(
            "ec2",
            "describe_network_interfaces",
            NetworkInterfaceIds=[details["networkInterfaceId"]],
        )
        interface = answer["NetworkInterfaces"][0]
        groups = ",".join(each["GroupId"] for each in interface.get("Groups", ())) or groups
        public = "ENABLED" if interface.get("Association") else public
    except (EcsExecError, KeyError, IndexError):
        pass  # whoever may not look there knows the groups
    return (
        f"awsvpcConfiguration={{subnets=[{details['subnetId']}],securityGroups=[{groups}],"
        f"assignPublicIp={public}}}"
    )
