"""Whether cluster and service are set up for exec.

Knows their settings, and how far a deployment is. Never knows tasks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...errors import TargetNotFound
from .registry import check, fail, ok, warn
from .scene import Scene, listed

if TYPE_CHECKING:
    from ...findings import Finding

__all__ = ["has_awslogs"]


@check("cluster.active", "whether the cluster is there", "ecs:DescribeClusters")
async def active(scene: Scene) -> Finding:
    try:
        cluster = await scene.cluster()
    except TargetNotFound as error:
        return fail(error.message, error.cause, error.cure, "aws ecs list-clusters")
    if cluster.get("status") == "ACTIVE":
        return ok(f"cluster {scene.place} is active", str(cluster.get("clusterArn", "")))
    return fail(
        f"cluster {scene.place} is {cluster.get('status')}",
        "it was deleted",
        "create it again, or name another",
        f"aws ecs create-cluster --cluster-name {scene.place}",
    )


@check("cluster.logging", "where sessions are logged", "ecs:DescribeClusters")
async def logging(scene: Scene) -> Finding:
    settings = await scene.settings()
    call = (
        f"aws ecs update-cluster --cluster {scene.place} --configuration 'executeCommand"
        "Configuration={logging=OVERRIDE,logConfiguration={cloudWatchLogGroupName=GROUP}}'"
    )
    if settings.logging == "NONE":
        return warn(
            "sessions are not logged",
            f"cluster {scene.place} has logging=NONE",
            "name a log group or bucket, if sessions are to be kept",
            call,
        )
    if settings.logging == "OVERRIDE":
        places = [f"log group {settings.group}"] if settings.group else []
        places += [f"bucket {settings.bucket}"] if settings.bucket else []
        return ok(f"sessions are logged to {' and '.join(places)}", "logging=OVERRIDE")
    without = [label for label, one, _ in await scene.containers() if not has_awslogs(one)]
    if without:
        return warn(
            f"sessions are not logged in {listed(without)}",
            "logging=DEFAULT sends them to the awslogs driver of the container, which has none",
            "give the containers the awslogs driver, or name a log group for all sessions",
            call,
        )
    return ok("sessions are logged where the containers' own output goes", "logging=DEFAULT")


def has_awslogs(container: dict[str, object]) -> bool:
    """Whether a container's output goes to CloudWatch Logs."""
    driver = container.get("logConfiguration")
    return isinstance(driver, dict) and driver.get("logDriver") == "awslogs"


@check("service.exec-enabled", "whether the service starts tasks with exec", "ecs:DescribeServices")
async def exec_enabled(scene: Scene) -> Finding | None:
    services = await scene.services()
    if not services:
        return None
    off = [str(each["serviceName"]) for each in services if not each.get("enableExecuteCommand")]
    if not off:
        names = listed([str(each["serviceName"]) for each in services])
        return ok(f"{names} starts tasks with exec on")
    return fail(
        f"exec is off in service {listed(off)}",
        "enableExecuteCommand is false: tasks that it starts have no exec agent",
        "switch it on, with a new deployment: running tasks cannot be changed",
        f"aws ecs update-service --cluster {scene.place} --service {off[0]} "
        "--enable-execute-command --force-new-deployment",
    )


@check("service.deployment", "whether the service's tasks are up", "ecs:DescribeServices")
async def deployment(scene: Scene) -> Finding | None:
    services = await scene.services()
    if not services:
        return None
    look = f"aws ecs describe-services --cluster {scene.place} --services "
    for each in services:
        name = str(each["serviceName"])
        desired, running = each.get("desiredCount", 0), each.get("runningCount", 0)
        states = [d.get("rolloutState") for d in each.get("deployments", ())]
        event = next((str(e.get("message", "")) for e in each.get("events", ())), "")
        if desired == 0:
            return fail(
                f"service {name} is to have no tasks",
                "its desired count is 0",
                "let it have some",
                f"aws ecs update-service --cluster {scene.place} --service {name} "
                "--desired-count 1",
            )
        if running == 0 or "FAILED" in states:
            failed = "a deployment has failed" if "FAILED" in states else "no task runs"
            return fail(
                f"service {name}: {failed}",
                f"{running} of {desired} tasks run; last event: {event or 'none'}",
                "see what its events say",
                f"{look}{name} --query services[].events[:5]",
            )
        if len(states) > 1 or running < desired:
            return warn(
                f"service {name} is being deployed: {running} of {desired} tasks run",
                f"last event: {event}" if event else "",
                "wait: its tasks are being replaced",
                f"aws ecs wait services-stable --cluster {scene.place} --services {name}",
            )
    return ok("all of the service's tasks run, and no deployment is under way")
