"""Whether tasks are such that an exec agent can run in them.

Knows what tasks and their definitions say. Never knows roles or networks.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from .registry import check, fail, ok, warn
from .scene import Record, Scene, listed, short

if TYPE_CHECKING:
    from ...findings import Finding

__all__ = ["platform_too_old", "version_of"]

_STARTING = ("PROVISIONING", "PENDING", "ACTIVATING")
_KEYS = ("AWS_ACCESS_KEY_ID", "AWS_ACCESS_KEY", "AWS_SECRET_ACCESS_KEY", "AWS_SECRET_KEY")
_AGENT, _WINDOWS_AGENT = (1, 50, 2), (1, 56, 0)
_DEFINITION = "aws ecs describe-task-definition --task-definition NAME --query taskDefinition"
_NEW_REVISION = "register a new revision of the task definition and deploy it"


@check("task.running", "whether tasks run", "ecs:ListTasks", "ecs:DescribeTasks")
async def running(scene: Scene) -> Finding:
    tasks = await scene.tasks()
    if not tasks:
        last = await scene.last_stopped()
        why = str((last or {}).get("stoppedReason") or "")
        named = f"no task of {scene.where} runs"
        start = f"aws ecs run-task --cluster {scene.place} --task-definition "
        return fail(
            named,
            f"its last task stopped: {why}"
            if why
            else "none is listed, and none has stopped lately",
            "start one, or let the service have some",
            f"{start}{scene.query.name or 'FAMILY'} --enable-execute-command",
        )
    states: dict[str, list[Record]] = {}
    for task in tasks:
        going = task.get("desiredStatus") == "STOPPED" and task.get("lastStatus") == "RUNNING"
        states.setdefault("STOPPING" if going else str(task.get("lastStatus")), []).append(task)
    up = states.pop("RUNNING", [])
    if not states:
        return ok(f"{len(up)} task{'s run' if len(up) != 1 else ' runs'}", listed(_names(up)))
    said = "; ".join(f"{state}: {listed(_names(some))}" for state, some in states.items())
    reasons = [str(t.get("stoppedReason")) for some in states.values() for t in some]
    said = "; ".join([said, *dict.fromkeys(r for r in reasons if r != "None")])
    if up or all(state in _STARTING for state in states):
        return warn(f"{len(up)} of {len(tasks)} tasks run", said, "wait until all of them run")
    return fail("no task runs", said, "name its service, or a task that runs")


def _names(tasks: list[Record]) -> list[str]:
    return [short(each) for each in tasks]


@check("task.exec-enabled", "whether tasks were started with exec", "ecs:DescribeTasks")
async def exec_enabled(scene: Scene) -> Finding | None:
    tasks = await scene.tasks()
    if not tasks:
        return None
    off = [each for each in tasks if not each.get("enableExecuteCommand")]
    if not off:
        return ok("tasks were started with exec on")
    services = {str(each.get("group", "")) for each in off}
    group = next(iter(sorted(services)), "")
    if group.startswith("service:"):
        call = (
            f"aws ecs update-service --cluster {scene.place} --service {group[8:]} "
            "--enable-execute-command --force-new-deployment"
        )
    else:
        family = str(off[0].get("taskDefinitionArn", "")).rpartition("/")[2]
        call = (
            f"aws ecs run-task --cluster {scene.place} --task-definition {family} "
            "--enable-execute-command"
        )
    every = len(off) == len(tasks) > 1
    return fail(
        f"exec is off in {f'all {len(tasks)} tasks' if every else listed(_names(off))}",
        "enableExecuteCommand is false; a running task cannot be changed",
        "replace what runs by tasks with exec on",
        call,
    )


@check("task.platform", "whether the platform knows exec", "ecs:DescribeTasks")
async def platform(scene: Scene) -> Finding | None:
    tasks = [each for each in await scene.tasks() if _is_fargate(each)]
    if not tasks:
        return None
    old = [each for each in tasks if platform_too_old(each)]
    service = str((old or tasks)[0].get("group", "")).removeprefix("service:")
    versions = listed([f"{each.get('platformVersion')}" for each in tasks])
    if not old:
        return ok(f"Fargate's platform version knows exec: {versions}")
    return fail(
        f"the platform version is too old in {listed(_names(old))}",
        f"platform version {versions}; exec needs 1.4.0 on Linux, 1.0.0 on Windows",
        "deploy on platform version LATEST",
        f"aws ecs update-service --cluster {scene.place} --service {service} "
        "--platform-version LATEST --force-new-deployment",
    )


def _is_fargate(task: Record) -> bool:
    return task.get("launchType") == "FARGATE" and bool(task.get("platformVersion"))


def platform_too_old(task: Record) -> bool:
    """Whether Fargate's platform of a task is older than exec."""
    windows = str(task.get("platformFamily", "")).lower().startswith("windows")
    version = version_of(str(task.get("platformVersion", "")))
    return bool(version) and version < ((1, 0, 0) if windows else (1, 4, 0))


def version_of(text: str) -> tuple[int, ...]:
    """``1.4.0`` as numbers; empty for what is none, as ``LATEST``."""
    found = re.match(r"v?(\d+)\.(\d+)(?:\.(\d+))?", text)
    return tuple(int(each or 0) for each in found.groups()) if found else ()


async def instances(scene: Scene) -> list[Record]:
    """The container instances that tasks run on."""
    arns = [str(t["containerInstanceArn"]) for t in await scene.tasks() if _on_instance(t)]
    arns = list(dict.fromkeys(arns))[:100]
    if not arns:
        return []
    answer = await scene.call(
        "ecs", "describe_container_instances", cluster=scene.place, containerInstances=arns
    )
    return list(answer.get("containerInstances", ()))


def _on_instance(task: Record) -> bool:
    return bool(task.get("containerInstanceArn"))


@check(
    "instance.agent-version",
    "whether the ECS agent of the instances knows exec",
    "ecs:DescribeContainerInstances",
)
async def agent_version(scene: Scene) -> Finding | None:
    found = await instances(scene)
    if not found:
        return None
    old, versions = [], []
    for each in found:
        text = str((each.get("versionInfo") or {}).get("agentVersion", ""))
        versions.append(text or "unknown")
        attributes = {a.get("name"): a.get("value") for a in each.get("attributes", ())}
        windows = attributes.get("ecs.os-type") == "windows"
        # Without a number, as of instances that AWS manages, it is as new as AWS makes it.
        if text and version_of(text) < (_WINDOWS_AGENT if windows else _AGENT):
            old.append(str(each.get("ec2InstanceId") or each.get("containerInstanceArn")))
    if old:
        return fail(
            f"the ECS agent is too old on {listed(old)}",
            f"its version is {listed(versions)}; exec needs 1.50.2, on Windows 1.56",
            "update the agent, or use a current ECS-optimized AMI",
            f"aws ecs update-container-agent --cluster {scene.place} --container-instance {old[0]}",
        )
    lost = [each for each in found if each.get("agentConnected") is False]
    if lost:
        name = str(lost[0].get("ec2InstanceId") or lost[0].get("containerInstanceArn"))
        return warn(
            f"the ECS agent of {name} is not connected",
            "agentConnected is false",
            "look at the agent's log on the instance; restart it",
        )
    return ok(f"the ECS agent knows exec: {listed(versions)}")


@check("task.pid-mode", "how containers share process ids", "ecs:DescribeTaskDefinition")
async def pid_mode(scene: Scene) -> Finding | None:
    definitions = await scene.definitions()
    shared = [
        label
        for label, each, _ in definitions
        if each.get("pidMode") == "task" and len(each.get("containerDefinitions", ())) > 1
    ]
    if not definitions:
        return None
    if not shared:
        return ok("containers have process ids of their own")
    return warn(
        f"the containers of {listed(shared)} share process ids: one of them can be entered",
        "pidMode is task, and only one exec agent can run in it",
        f"leave pidMode out; {_NEW_REVISION}",
        _DEFINITION.replace("NAME", _name(definitions[0][1])) + ".pidMode",
    )


def _name(definition: Record) -> str:
    return f"{definition.get('family')}:{definition.get('revision')}"


@check("task.init-process", "whether left processes are reaped", "ecs:DescribeTaskDefinition")
async def init_process(scene: Scene) -> Finding | None:
    containers = await scene.containers()
    without = [
        label
        for label, each, _ in containers
        if not (each.get("linuxParameters") or {}).get("initProcessEnabled")
    ]
    if not containers:
        return None
    if not without:
        return ok("an init process reaps what sessions leave")
    return warn(
        f"no init process in {listed(without)}",
        "initProcessEnabled is not true: what sessions leave stays as zombies",
        f"set linuxParameters.initProcessEnabled; {_NEW_REVISION}",
        _DEFINITION.replace("NAME", without[0].rpartition(" ")[2])
        + ".containerDefinitions[].linuxParameters",
    )


@check("task.root-filesystem", "whether the agent can write", "ecs:DescribeTaskDefinition")
async def root_filesystem(scene: Scene) -> Finding | None:
    containers = await scene.containers()
    locked = [label for label, each, _ in containers if each.get("readonlyRootFilesystem")]
    if not containers:
        return None
    if not locked:
        return ok("the root file system can be written to")
    return fail(
        f"the root file system is read-only in {listed(locked)}",
        "readonlyRootFilesystem is true; the agent must write below /var/lib/amazon and "
        "/var/log/amazon",
        f"leave it out; {_NEW_REVISION}",
        _DEFINITION.replace("NAME", locked[0].rpartition(" ")[2])
        + ".containerDefinitions[].readonlyRootFilesystem",
    )


@check("task.static-keys", "whether keys override the role", "ecs:DescribeTaskDefinition")
async def static_keys(scene: Scene) -> Finding | None:
    containers = await scene.containers()
    if not containers:
        return None
    found, files = [], []
    for label, each, override in containers:
        names = {str(v.get("name")) for part in (each, override) for v in _variables(part)}
        if hit := sorted(names & set(_KEYS)):
            found.append(f"{', '.join(hit)} in {label}")
        if each.get("environmentFiles") or override.get("environmentFiles"):
            files.append(label)
    if found:
        return warn(
            "static AWS keys stand in the container's environment",
            f"{listed(found)}; an agent before 3.1.1260.0 takes them in place of the task role",
            f"take them out and give the task role what they may do; {_NEW_REVISION}",
            _DEFINITION.replace("NAME", found[0].rpartition(" ")[2])
            + ".containerDefinitions[].[environment[].name,secrets[].name]",
        )
    if files:
        return warn(
            f"{listed(files)} reads its environment from files, which are not looked into",
            "environmentFiles may hold static AWS keys",
            "see that AWS_ACCESS_KEY_ID is not in them",
        )
    return ok("no static AWS keys stand in the environment")


def _variables(part: dict[str, Any]) -> list[Record]:
    return [*(part.get("environment") or ()), *(part.get("secrets") or ())]
