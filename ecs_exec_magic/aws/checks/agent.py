"""Whether the exec agents run, what they have logged, and how many sessions they have.

Knows agents and their sessions. Never knows why an agent cannot reach AWS.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...address import ContainerRef
from ..slots import SESSIONS_PER_CONTAINER
from .registry import check, fail, ok, warn
from .scene import Record, Scene, listed, short

if TYPE_CHECKING:
    from ...findings import Finding

__all__ = ["LOG_PATH", "refs"]

LOG_PATH = "/var/log/amazon/ssm/amazon-ssm-agent.log"
_QUOTA = "ECS Exec sessions"
_USED = 0.8  # of the quota, above which it is told


async def agents(scene: Scene) -> list[tuple[Record, Record, Record]]:
    """Task, container and exec agent of all that is meant and runs; an empty agent: none."""
    found: list[tuple[Record, Record, Record]] = []
    for task in await scene.running():
        for container in task.get("containers", ()):
            if scene.is_meant(str(container.get("name"))):
                named = (
                    each
                    for each in container.get("managedAgents") or ()
                    if each.get("name") == "ExecuteCommandAgent"
                )
                found.append((task, container, next(named, {})))
    return found


async def refs(scene: Scene) -> list[ContainerRef]:
    """The containers that take commands."""
    return [
        ContainerRef(
            cluster=str(task["clusterArn"]).rpartition("/")[2],
            service=_service(task),
            family=str(task["taskDefinitionArn"]).rpartition("/")[2].partition(":")[0],
            task_id=str(task["taskArn"]).rpartition("/")[2],
            task_arn=str(task["taskArn"]),
            container=str(container["name"]),
            runtime_id=str(container.get("runtimeId", "")),
            region=scene.api.region,
        )
        for task, container, agent in await agents(scene)
        if agent.get("lastStatus") == "RUNNING" and container.get("lastStatus") == "RUNNING"
    ]


def _service(task: Record) -> str | None:
    group = str(task.get("group", ""))
    return group[8:] if group.startswith("service:") else None


@check("agent.running", "whether the exec agents run", "ecs:DescribeTasks")
async def running(scene: Scene) -> Finding | None:
    found = [each for each in await agents(scene) if each[0].get("enableExecuteCommand")]
    if not found:
        return None
    wrong: dict[str, list[str]] = {}
    first: Record = {}
    for task, container, agent in found:
        state = str(agent.get("lastStatus") or "missing")
        if state != "RUNNING":
            reason = f" ({agent['reason']})" if agent.get("reason") else ""
            said = f"{container['name']} in {short(task)}{reason}"
            wrong.setdefault(state, []).append(said)
            first = first or task
    if not wrong:
        count = len(found)
        return ok(f"{count} exec agent{'s run' if count != 1 else ' runs'}")
    evidence = "; ".join(f"{state}: {listed(names)}" for state, names in wrong.items())
    bad = sum(map(len, wrong.values()))
    if set(wrong) == {"PENDING"}:
        return warn(
            f"{bad} of {len(found)} exec agents are starting", evidence, "wait some seconds"
        )
    task_id = str(first["taskArn"]).rpartition("/")[2]
    return fail(
        f"{bad} of {len(found)} exec agents do not run",
        evidence,
        "replace the task; if it comes to the same, see the other findings, and whether memory is "
        "left for the agent",
        f"aws ecs stop-task --cluster {scene.place} --task {task_id}",
    )


@check("sessions.in-use", "how many sessions are open", "ssm:DescribeSessions")
async def in_use(scene: Scene) -> Finding | None:
    containers = await refs(scene)
    if not containers:
        return None
    open_ = await _open(scene)
    targets = {each.session_target: each for each in containers}
    counts: dict[str, list[Record]] = {}
    for session in open_:
        if session.get("Target") in targets:
            counts.setdefault(str(session["Target"]), []).append(session)
    full = {t: some for t, some in counts.items() if len(some) >= SESSIONS_PER_CONTAINER}
    total = sum(map(len, counts.values()))
    if not full:
        return ok(f"{total} session{'' if total == 1 else 's'} open, and each container takes more")
    target, sessions = next(iter(full.items()))
    owners = listed([str(each.get("Owner", "")).rpartition("/")[2] for each in sessions])
    return warn(
        f"{len(sessions)} sessions are open in {targets[target]}: no more may fit",
        f"an agent takes two at once by default; they are of {owners}",
        "end those that nobody needs",
        f"aws ssm terminate-session --session-id {sessions[-1].get('SessionId')}",
    )


async def _open(scene: Scene) -> list[Record]:
    return await scene.pages("ssm", "describe_sessions", "Sessions", State="Active")


@check(
    "sessions.quota",
    "the quota of sessions",
    "servicequotas:ListServiceQuotas",
    "ssm:DescribeSessions",
)
async def quota(scene: Scene) -> Finding | None:
    quotas = await scene.pages("service-quotas", "list_service_quotas", "Quotas", ServiceCode="ecs")
    found = [each for each in quotas if _QUOTA.lower() in str(each.get("QuotaName", "")).lower()]
    if not found:
        return ok("Service Quotas lists no quota of ECS Exec sessions")
    limit = int(found[0].get("Value", 0))
    prefix = f"ecs:{scene.place}_"
    sessions = [
        each for each in await _open(scene) if str(each.get("Target", "")).startswith(prefix)
    ]
    said = f"{len(sessions)} of {limit} sessions are open in {scene.place}"
    if len(sessions) < limit * _USED:
        return ok(said, f"quota {found[0].get('QuotaCode', '')}")
    return warn(
        f"the quota of sessions is nearly reached: {said}",
        f"quota {found[0].get('QuotaCode', '')}, {found[0].get('QuotaName')}",
        "end sessions, or have the quota raised",
        "aws service-quotas request-service-quota-increase --service-code ecs --quota-code "
        f"{found[0].get('QuotaCode', 'CODE')} --desired-value {limit * 2}",
    )
