"""Everything the account holds, by region: where things are kept, found and numbered.

Knows ARNs and ids. Never knows requests, sessions or processes.
"""

from __future__ import annotations

import random
import time
import uuid
from typing import TYPE_CHECKING, Any

from ..account import partition
from .definition import TaskDefinition
from .model import Cluster, ContainerState, Task

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .deployment import Deployment, Service
    from .model import Instance, Launch

__all__ = ["Region", "State"]


class Region:
    """What one region holds.

    Attributes:
        families: revisions by family, in order.
        settings: account settings by principal and name.
        requests: what RunTask started by caller and client token, to start it once only.
    """

    def __init__(self, name: str, account_id: str) -> None:
        self.name = name
        self.account_id = account_id
        self.clusters: dict[str, Cluster] = {}
        self.families: dict[str, list[TaskDefinition]] = {}
        self.settings: dict[tuple[str, str], str] = {}
        self.requests: dict[tuple[str, str], tuple[str, list[Task]]] = {}
        self._revisions: dict[str, int] = {}

    def arn(self, kind: str, name: str) -> str:
        """An ARN of this region and account."""
        return f"arn:{partition(self.name)}:ecs:{self.name}:{self.account_id}:{kind}/{name}"

    def iam(self, resource: str) -> str:
        """An ARN of something in this account's IAM."""
        return f"arn:{partition(self.name)}:iam::{self.account_id}:{resource}"

    def add_cluster(self, name: str) -> Cluster:
        """A new cluster in the place of any of this name."""
        cluster = Cluster(name, self.arn("cluster", name), self)
        self.clusters[name] = cluster
        return cluster

    def add_definition(
        self, document: dict[str, Any], registered_by: str, tags: dict[str, str]
    ) -> TaskDefinition:
        """The next revision of the document's family."""
        revisions = self.families.setdefault(document["family"], [])
        revision = self._revisions.get(document["family"], 0) + 1
        self._revisions[document["family"]] = revision
        name = f"{document['family']}:{revision}"
        definition = TaskDefinition(
            self.arn("task-definition", name),
            revision,
            document,
            registered_by=registered_by,
            registered=time.time(),
            tags=tags,
        )
        revisions.append(definition)
        return definition

    def add_task(
        self,
        cluster: Cluster,
        launch: Launch,
        *,
        tags: dict[str, str] | None = None,
        deployment: Deployment | None = None,
        instance: Instance | None = None,
    ) -> Task:
        """A new task, PROVISIONING."""
        task_id = uuid.uuid4().hex
        containers = [
            ContainerState(
                name=each["name"],
                image=each["image"],
                container_id=str(uuid.uuid4()),
                runtime_id=f"{task_id}-{random.randrange(10**8, 4 * 10**9)}",
                essential=each.get("essential", True),
                agent="PENDING" if launch.exec_enabled else None,
            )
            for each in launch.definition.containers
        ]
        task = Task(
            task_id,
            self.arn("task", f"{cluster.name}/{task_id}"),
            cluster,
            launch,
            containers,
            time.time(),
            tags=dict(tags or {}),
            deployment=deployment,
            instance=instance,
        )
        cluster.tasks[task_id] = task
        if deployment is not None:
            deployment.tasks[task_id] = task
        return task


class State:
    """Everything the account holds, by region."""

    def __init__(self, account_id: str) -> None:
        self.account_id = account_id
        self.regions: dict[str, Region] = {}

    def region(self, name: str) -> Region:
        """One region; it begins empty."""
        if name not in self.regions:
            self.regions[name] = Region(name, self.account_id)
        return self.regions[name]

    def clusters(self) -> Iterator[Cluster]:
        """Every cluster of every region."""
        for region in self.regions.values():
            yield from region.clusters.values()

    def find(self, arn: str) -> Cluster | Service | Task | TaskDefinition | Instance | None:
        """What an ARN names."""
        parts = arn.split(":", 5)
        if len(parts) != 6 or parts[2] != "ecs" or parts[4] != self.account_id:
            return None
        region = self.regions.get(parts[3])
        kind, _, rest = parts[5].partition("/")
        if region is None:
            return None
        if kind == "cluster":
            return region.clusters.get(rest)
        if kind == "task-definition":
            family, _, revision = rest.partition(":")
            known = region.families.get(family, [])
            return next((d for d in known if str(d.revision) == revision), None)
        cluster = region.clusters.get(rest.partition("/")[0])
        name = rest.partition("/")[2]
        if cluster is None:
            return None
        if kind == "task":
            return cluster.tasks.get(name)
        if kind == "service":
            return cluster.services.get(name)
        return cluster.instances.get(name) if kind == "container-instance" else None

    async def roles_of(self, name: str, region: str) -> list[str]:
        """The roles of a task definition, by family, ``family:revision`` or ARN."""
        family, _, revision = name.rpartition("/")[2].partition(":")
        known = self.region(region).families.get(family, [])
        fits = [d for d in known if (str(d.revision) == revision if revision else d.is_active)]
        roles = (
            (fits[-1].document.get(r) for r in ("taskRoleArn", "executionRoleArn")) if fits else ()
        )
        return [str(role) for role in roles if role]

    async def tags_of(self, arn: str) -> dict[str, str] | None:
        """The tags of what an ARN names; None when there is no such thing."""
        found = self.find(arn)
        return None if found is None else dict(found.tags)
