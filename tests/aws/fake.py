"""A small AWS in this process: answers boto3 before a request is sent.

Everything above the socket is the real boto3: parameter checks, pages, errors.
"""

from __future__ import annotations

import json
import threading
from collections import deque
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import Any

import boto3
import botocore.loaders

from ecs_exec_magic.aws.api import AwsApi

REGION = "eu-west-1"
ACCOUNT = "123456789012"
NOW = datetime(2026, 3, 1, 12, 0, tzinfo=timezone.utc)


_LOADER = botocore.loaders.create_loader()


class Refusal(Exception):
    """What the fake answers instead of an answer."""

    def __init__(self, code: str, message: str = "", status: int = 400) -> None:
        super().__init__(code)
        self.code, self.message, self.status = code, message, status


def task_id(number: int) -> str:
    return f"{number:06x}" + "0123456789abcdef0123456789"


@dataclass
class FakeTask:
    cluster: str
    family: str
    id: str
    service: str | None = None
    containers: tuple[str, ...] = ("app",)
    status: str = "RUNNING"
    desired: str = "RUNNING"
    exec_enabled: bool = True
    agent: str = "RUNNING"
    agent_reason: str = ""
    agent_started: datetime | None = None
    started: datetime | None = NOW
    stopped_reason: str = ""
    stopped: datetime | None = None
    bindings: list[dict[str, Any]] = field(default_factory=list)
    eni: str = ""
    instance: str = ""
    container_status: dict[str, str] = field(default_factory=dict)

    @property
    def arn(self) -> str:
        return f"arn:aws:ecs:{REGION}:{ACCOUNT}:task/{self.cluster}/{self.id}"

    def answer(self) -> dict[str, Any]:
        agent: dict[str, Any] = {"name": "ExecuteCommandAgent", "lastStatus": self.agent}
        if self.agent_reason:
            agent["reason"] = self.agent_reason
        if self.agent_started:
            agent["lastStartedAt"] = self.agent_started
        answer: dict[str, Any] = {
            "taskArn": self.arn,
            "clusterArn": f"arn:aws:ecs:{REGION}:{ACCOUNT}:cluster/{self.cluster}",
            "taskDefinitionArn": f"arn:aws:ecs:{REGION}:{ACCOUNT}:task-definition/{self.family}:7",
            "group": f"service:{self.service}" if self.service else f"family:{self.family}",
            "lastStatus": self.status,
            "desiredStatus": self.desired,
            "enableExecuteCommand": self.exec_enabled,
            "availabilityZone": f"{REGION}a",
            "launchType": "EC2" if self.instance else "FARGATE",
            "createdAt": NOW - timedelta(hours=1),
            "containers": [
                {
                    "name": name,
                    "lastStatus": self.container_status.get(name, self.status),
                    "runtimeId": f"{self.id}-{index}",
                    "networkBindings": self.bindings,
                    **({"managedAgents": [agent]} if self.exec_enabled and self.agent else {}),
                }
                for index, name in enumerate(self.containers)
            ],
            "tags": [{"key": "environment", "value": "production"}],
        }
        if self.started:
            answer["startedAt"] = self.started
        if self.stopped_reason:
            answer["stoppedReason"] = self.stopped_reason
        if self.stopped:
            answer |= {"stoppedAt": self.stopped, "stopCode": "EssentialContainerExited"}
        if self.instance:
            answer["containerInstanceArn"] = self.instance
        if self.eni:
            answer["attachments"] = [
                {
                    "type": "ElasticNetworkInterface",
                    "details": [
                        {"name": "networkInterfaceId", "value": self.eni},
                        {"name": "privateIPv4Address", "value": "10.0.0.9"},
                    ],
                }
            ]
        return answer


class _Http:
    def __init__(self, status: int) -> None:
        self.status_code = status


class FakeAws:
    """State, what was called, and what shall fail."""

    def __init__(self, page: int = 2) -> None:
        self.page = page
        self.tasks: list[FakeTask] = []
        self.services: dict[tuple[str, str], dict[str, Any]] = {}
        self.clusters: list[str] = ["default"]
        self.addresses: dict[str, str] = {}
        self.instance_address = ""
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.refusals: dict[str, deque[Refusal | None]] = {}
        self.always: dict[str, Refusal] = {}
        self.entered = threading.Event()
        self.gate: threading.Event | None = None
        self.ended: list[str] = []
        self.one_ended = threading.Event()

    # -- arranging -------------------------------------------------------------------------------

    def service(self, cluster: str, name: str, **more: Any) -> None:
        if cluster not in self.clusters:
            self.clusters.append(cluster)
        given = {"desiredCount": 1, "pendingCount": 0, "status": "ACTIVE", "family": name, **more}
        self.services[cluster, name] = given

    def task(self, cluster: str, family: str, number: int | str, **more: Any) -> FakeTask:
        if cluster not in self.clusters:
            self.clusters.append(cluster)
        name = number if isinstance(number, str) else task_id(number)
        task = FakeTask(cluster, family, name, **more)
        self.tasks.append(task)
        if task.service and (cluster, task.service) not in self.services:
            self.service(cluster, task.service, family=family)
        return task

    def refuse(self, operation: str, *refusals: Refusal | None) -> None:
        self.refusals.setdefault(operation, deque()).extend(refusals)

    def api(self, **options: Any) -> AwsApi:
        session = boto3.Session(
            aws_access_key_id="AKIAFAKE", aws_secret_access_key="fake", region_name=REGION
        )
        core: Any = session._session
        core.register_component("data_loader", _LOADER)  # reads the models of services once
        events: Any = session.events  # its stubs know no handlers that answer
        events.register("before-call", self._handle)
        return AwsApi(session, **options)

    def count(self, operation: str) -> int:
        return sum(1 for name, _ in self.calls if name == operation)

    # -- answering -------------------------------------------------------------------------------

    def _handle(self, model: Any, params: dict[str, Any], **_: Any) -> tuple[_Http, dict[str, Any]]:
        body = params["body"]
        asked = json.loads(body) if isinstance(body, (str, bytes)) else dict(body)
        self.calls.append((model.name, asked))
        meta = {"RequestId": f"request-{len(self.calls)}"}
        try:
            queue = self.refusals.get(model.name)
            refusal = queue.popleft() if queue else self.always.get(model.name)
            if refusal is not None:
                raise refusal
            answer = getattr(self, model.name)(asked)
        except Refusal as refusal:
            error = {"Code": refusal.code, "Message": refusal.message}
            meta |= {"HTTPStatusCode": refusal.status}  # type: ignore[dict-item]  # as botocore's
            return _Http(refusal.status), {"Error": error, "ResponseMetadata": meta}
        return _Http(200), {**answer, "ResponseMetadata": meta}

    def _cluster(self, asked: dict[str, Any]) -> str:
        name = str(asked.get("cluster", "default"))
        if name not in self.clusters:
            raise Refusal("ClusterNotFoundException", "Cluster not found.")
        return name

    def _paged(self, asked: dict[str, Any], key: str, items: list[str]) -> dict[str, Any]:
        start = int(asked.get("nextToken", "0"))
        more = {"nextToken": str(start + self.page)} if start + self.page < len(items) else {}
        return {key: items[start : start + self.page], **more}

    def ListClusters(self, asked: dict[str, Any]) -> dict[str, Any]:
        arns = [f"arn:aws:ecs:{REGION}:{ACCOUNT}:cluster/{name}" for name in self.clusters]
        return self._paged(asked, "clusterArns", arns)

    def DescribeClusters(self, asked: dict[str, Any]) -> dict[str, Any]:
        if len(asked["clusters"]) > 100:
            raise Refusal("InvalidParameterException", "Clusters cannot be more than 100.")
        found = [
            {
                "clusterName": name,
                "status": "ACTIVE",
                "runningTasksCount": sum(task.cluster == name for task in self.tasks),
                "pendingTasksCount": 0,
                "activeServicesCount": sum(place == name for place, _ in self.services),
            }
            for name in asked["clusters"]
        ]
        return {"clusters": found, "failures": []}

    def ListServices(self, asked: dict[str, Any]) -> dict[str, Any]:
        cluster = self._cluster(asked)
        arns = [
            f"arn:aws:ecs:{REGION}:{ACCOUNT}:service/{cluster}/{name}"
            for place, name in self.services
            if place == cluster
        ]
        return self._paged(asked, "serviceArns", arns)

    def ListTasks(self, asked: dict[str, Any]) -> dict[str, Any]:
        cluster = self._cluster(asked)
        service, family = asked.get("serviceName"), asked.get("family")
        if service is not None and (cluster, service) not in self.services:
            raise Refusal("ServiceNotFoundException", "Service not found.")
        arns = [
            task.arn
            for task in self.tasks
            if task.cluster == cluster
            and task.desired == asked.get("desiredStatus", "RUNNING")
            and service in (None, task.service)
            and family in (None, task.family)
        ]
        return self._paged(asked, "taskArns", arns)

    def DescribeTasks(self, asked: dict[str, Any]) -> dict[str, Any]:
        cluster = self._cluster(asked)
        if len(asked["tasks"]) > 100:
            raise Refusal("InvalidParameterException", "Tasks cannot be more than 100.")
        for name in asked["tasks"]:
            if len(name.rpartition("/")[2]) not in (32, 36):
                raise Refusal("InvalidParameterException", "taskId length should be one of [32,36]")
        found = [
            task.answer()
            for task in self.tasks
            if task.cluster == cluster and (task.id in asked["tasks"] or task.arn in asked["tasks"])
        ]
        return {"tasks": found, "failures": []}

    def DescribeServices(self, asked: dict[str, Any]) -> dict[str, Any]:
        cluster = self._cluster(asked)
        found = []
        for name in asked["services"]:
            service = self.services.get((cluster, name))
            if service is not None:
                definition = f"arn:aws:ecs:{REGION}:{ACCOUNT}:task-definition/{service['family']}:7"
                found.append({"serviceName": name, **service, "taskDefinition": definition})
        return {"services": found, "failures": []}

    def DescribeNetworkInterfaces(self, asked: dict[str, Any]) -> dict[str, Any]:
        found = []
        for key, eni in asked.items():
            if not key.startswith("NetworkInterfaceId"):
                continue
            if eni not in self.addresses:
                raise Refusal("InvalidNetworkInterfaceID.NotFound", f"{eni} does not exist")
            ip = self.addresses[eni]
            public = {"Association": {"PublicIp": ip}} if ip else {}
            found.append({"NetworkInterfaceId": eni, **public})
        return {"NetworkInterfaces": found}

    def DescribeContainerInstances(self, asked: dict[str, Any]) -> dict[str, Any]:
        return {"containerInstances": [{"ec2InstanceId": "i-0123456789abcdef0"}]}

    def DescribeInstances(self, asked: dict[str, Any]) -> dict[str, Any]:
        instance: dict[str, Any] = {"PrivateIpAddress": "10.0.0.5"}
        if self.instance_address:
            instance["PublicIpAddress"] = self.instance_address
        return {"Reservations": [{"Instances": [instance]}]}

    def GetCallerIdentity(self, asked: dict[str, Any]) -> dict[str, Any]:
        return {"Account": ACCOUNT, "Arn": f"arn:aws:iam::{ACCOUNT}:user/me", "UserId": "AIDA"}

    def ExecuteCommand(self, asked: dict[str, Any]) -> dict[str, Any]:
        self._wait_at_gate()
        number = self.count("ExecuteCommand")
        session = {
            "sessionId": f"ecs-execute-command-{number}",
            "streamUrl": f"wss://ssmmessages.{REGION}.amazonaws.com/v1/data-channel/{number}",
            "tokenValue": "SECRET-TOKEN",
        }
        return {"session": session, "interactive": True}

    def StartSession(self, asked: dict[str, Any]) -> dict[str, Any]:
        return {
            "SessionId": "me-1",
            "StreamUrl": f"wss://ssmmessages.{REGION}.amazonaws.com/v1/data-channel/me-1",
            "TokenValue": "SECRET-TOKEN",
        }

    def ResumeSession(self, asked: dict[str, Any]) -> dict[str, Any]:
        return {"SessionId": asked["SessionId"], "StreamUrl": "wss://new", "TokenValue": "NEXT"}

    def TerminateSession(self, asked: dict[str, Any]) -> dict[str, Any]:
        self.ended.append(asked["SessionId"])
        self.one_ended.set()
        return {"SessionId": asked["SessionId"]}

    def GenerateDataKey(self, asked: dict[str, Any]) -> dict[str, Any]:
        return {"Plaintext": b"k" * asked["NumberOfBytes"], "CiphertextBlob": b"sealed"}

    def _wait_at_gate(self) -> None:
        self.entered.set()
        if self.gate is not None:
            assert self.gate.wait(60)
