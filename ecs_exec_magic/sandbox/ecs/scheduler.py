"""Keeps every service at its desired count, and takes deployments to their end.

Knows how many tasks of which deployment there should be. Never knows processes or requests. It
acts only when something changed: nothing here polls.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from .placement import place

if TYPE_CHECKING:
    from ..world import World
    from .deployment import Deployment, Service
    from .model import Cluster, Task

__all__ = ["Scheduler"]

_PATIENCE = 3  # failures in a row before a service is slowed down
_SLOWEST = 300.0  # seconds
_SOUND = 10.0  # seconds after which a task that ends did not fail to start
_GATHER = 0.01  # seconds in which changes are gathered: a thousand tasks change at once
_NO_PLACE = (
    "was unable to place a task because no container instance met all of its requirements. "
    "Reason: {}. For more information, see the Troubleshooting section of the Amazon ECS "
    "Developer Guide."
)
_REASONS = {"": "No Container Instances were found in your cluster"}


def _task_list(tasks: list[Task]) -> str:
    return " ".join(f"(task {t.task_id})" for t in tasks)


class Scheduler:
    """The service scheduler of the account.

    Args:
        world: launches and stops tasks.
    """

    def __init__(self, world: World) -> None:
        self._world = world
        self._due: set[Service] = set()
        self._timers: dict[Service, asyncio.TimerHandle] = {}

    # what others tell

    def wake(self, task: Task) -> None:
        """A task changed: it runs, is to stop, or has stopped."""
        deployment = task.deployment
        if deployment is not None:
            if task.status == "STOPPED":
                deployment.tasks.pop(task.task_id, None)
            self._judge(deployment, task)
            if deployment.service is not None:
                self.changed(deployment.service)
        if task.instance is not None and task.status == "STOPPED":
            self.room(task.cluster)

    @staticmethod
    def _judge(deployment: Deployment, task: Task) -> None:
        if task.stopping is None or task.stopped is not None:
            return
        if task.stop_code == "TaskFailedToStart":
            deployment.failed_tasks += 1
        if task.started is not None and task.stopping - task.started > _SOUND:
            deployment.failures = 0
        elif task.stop_code in ("TaskFailedToStart", "EssentialContainerExited"):
            deployment.failures += 1

    def room(self, cluster: Cluster) -> None:
        """A cluster has more room than before."""
        for service in cluster.services.values():
            if service.primary.launch.launch_type != "FARGATE":
                self.changed(service)

    def changed(self, service: Service) -> None:
        """A service changed: look at it soon, once."""
        if not self._due:
            asyncio.get_running_loop().call_later(_GATHER, self.catch_up)
        self._due.add(service)

    def stop(self) -> None:
        """Do nothing any more."""
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        self._due.clear()

    # what it does

    def catch_up(self) -> None:
        """Act on every change so far; who looks at a service sees it and its events agree."""
        due, self._due = self._due, set()
        for service in due:
            self.reconcile(service)

    def reconcile(self, service: Service, *, again: bool = False) -> None:
        """Start and stop what is missing or too much, as far as can be done now.

        Args:
            again: whether a service whose tasks keep failing has waited long enough.
        """
        if service.status == "INACTIVE":
            return
        if service.status == "DRAINING":
            self._drain(service)
            return
        if service.options.get("schedulingStrategy") == "DAEMON":
            instances = service.cluster.instances.values()
            service.desired = sum(i.status == "ACTIVE" for i in instances)
        service.primary.desired = service.desired
        self._stop_surplus(service)
        self._stop_old(service)
        self._start_missing(service, again)
        self._finish(service)

    def _drain(self, service: Service) -> None:
        for deployment in service.deployments:
            self._stop(service, deployment, deployment.alive())
        if not any(d.tasks for d in service.deployments):
            service.status = "INACTIVE"
            service.deployments = service.deployments[:1]

    def _stop(self, service: Service, deployment: Deployment, tasks: list[Task]) -> None:
        if not tasks:
            return
        for task in tasks:
            self._world.stop_task(
                task,
                f"Scaling activity initiated by (deployment {deployment.id})",
                "ServiceSchedulerInitiated",
            )
        service.tell(f"has stopped {len(tasks)} running tasks: {_task_list(tasks)}.")
        service.steady = False

    def _stop_surplus(self, service: Service) -> None:
        alive = service.primary.alive()
        if len(alive) > service.desired:
            # The youngest go first: those that do not run yet, then the latest to start.
            alive.sort(key=lambda t: (t.status == "RUNNING", -t.created), reverse=True)
            self._stop(service, service.primary, alive[service.desired :])

    def _start_missing(self, service: Service, again: bool) -> None:
        primary = service.primary
        missing = service.desired - len(primary.alive())
        _, most = service.bounds()
        room = most - sum(len(d.alive()) for d in service.deployments)
        count = min(missing, room)
        if count <= 0 or primary.state == "FAILED" or not (again or self._may_try(service)):
            return
        cluster = service.cluster
        started: list[Task] = []
        for _ in range(count):
            instance = None
            if primary.launch.launch_type != "FARGATE":
                daemon = service.options.get("schedulingStrategy") == "DAEMON"
                taken = {t.instance for t in primary.alive()} if daemon else ()
                instance, reason = place(cluster, primary.launch, without=taken)
                if instance is None:
                    self._tell_once(service, _NO_PLACE.format(_REASONS.get(reason, reason)))
                    break
            tags = self._tags(service)
            started.append(
                cluster.region.add_task(
                    cluster, primary.launch, tags=tags, deployment=primary, instance=instance
                )
            )
        if started:
            service.tell(f"has started {len(started)} tasks: {_task_list(started)}.")
            service.steady = False
            for task in started:
                self._world.launch(task)

    @staticmethod
    def _tags(service: Service) -> dict[str, str]:
        tags = {}
        if service.propagate == "SERVICE":
            tags = dict(service.tags)
        elif service.propagate == "TASK_DEFINITION":
            tags = dict(service.primary.launch.definition.tags)
        if service.managed_tags:
            tags["aws:ecs:serviceName"] = service.name
            tags["aws:ecs:clusterName"] = service.cluster.name
        return tags

    @staticmethod
    def _tell_once(service: Service, message: str) -> None:
        if not service.events or not service.events[0]["message"].endswith(message):
            service.tell(message)

    def _may_try(self, service: Service) -> bool:
        """Whether tasks may be started now: a service whose tasks keep failing is slowed down."""
        primary = service.primary
        if service in self._timers:
            return False
        if primary.failures < _PATIENCE:
            return True
        breaker = service.options.get("deploymentConfiguration", {}).get("deploymentCircuitBreaker")
        if breaker and breaker.get("enable") and primary.state == "IN_PROGRESS":
            self._break(service, rollback=bool(breaker.get("rollback")))
            return False
        self._tell_once(
            service,
            "is unable to consistently start tasks successfully. For more information, see the "
            "Troubleshooting section of the Amazon ECS Developer Guide.",
        )
        step = self._world.pace.transition or 0.05
        delay = min(step * 2 ** min(primary.failures - _PATIENCE, 16), _SLOWEST)
        self._timers[service] = asyncio.get_running_loop().call_later(delay, self._retry, service)
        return False

    def _break(self, service: Service, *, rollback: bool) -> None:
        """A deployment has failed for good; go back to the last that was completed, if wanted."""
        failed = service.primary
        failed.state = "FAILED"
        service.tell(f"(deployment {failed.id}) deployment failed: tasks failed to start.")
        if rollback and service.proven is not None:
            deployment = service.deploy(service.proven)
            service.tell(f"rolling back to (deployment {deployment.id}).")
            self.changed(service)

    def _retry(self, service: Service) -> None:
        self._timers.pop(service, None)
        self.reconcile(service, again=True)

    def _stop_old(self, service: Service) -> None:
        """Stop tasks of older deployments, as many as the running ones allow."""
        least, _ = service.bounds()
        for deployment in service.deployments[1:]:
            alive = deployment.alive()
            idle = [t for t in alive if t.status != "RUNNING"]
            running = sum(d.running() for d in service.deployments)
            spare = max(0, running - least)
            self._stop(service, deployment, idle + [t for t in alive if t not in idle][:spare])

    def _finish(self, service: Service) -> None:
        primary = service.primary
        if primary.running() != service.desired or len(primary.alive()) != service.desired:
            return
        done = [d for d in service.deployments[1:] if not d.tasks]
        service.deployments = [d for d in service.deployments if d not in done]
        if len(service.deployments) > 1:
            return
        if primary.state == "IN_PROGRESS":
            primary.state, primary.updated = "COMPLETED", time.time()
            service.proven = primary.launch
            service.tell(f"(deployment {primary.id}) deployment completed.")
        if not service.steady:
            service.steady = True
            service.tell("has reached a steady state.")
