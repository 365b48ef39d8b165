"""Whether the one who calls may run commands, and should be able to go around ECS.

Knows the operator's permissions and the conditions that they are given under. Never knows roles of
tasks.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from ...errors import AccessDenied, TargetNotFound
from ..simulation import Question
from .registry import check, fail, ok, warn
from .scene import Record, Scene, listed, short

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ...findings import Finding
    from ..simulation import Verdict

__all__ = ["granted", "request_context"]

_SIMULATE = "iam:SimulatePrincipalPolicy"
_MOST = 5  # tasks that are asked about: those of a service differ in their tags at most


def request_context(scene: Scene) -> dict[str, str | tuple[str, ...]]:
    """Condition keys that every request from here has."""
    return {"aws:RequestedRegion": scene.api.region, "aws:SecureTransport": "true"}


def granted(
    principal: str, policy: str, actions: Sequence[str], *resources: str, effect: str = "Allow"
) -> str:
    """The command that gives a user or role an inline policy; empty for roles that AWS keeps."""
    kind, _, path = principal.rpartition(":")[2].partition("/")
    name = path.rpartition("/")[2]
    if kind not in ("user", "role", "group") or name.startswith("AWSReservedSSO_"):
        return ""
    statement = {"Effect": effect, "Action": list(actions), "Resource": list(resources)}
    document = json.dumps(
        {"Version": "2012-10-17", "Statement": [statement]}, separators=(",", ":")
    )
    return (
        f"aws iam put-{kind}-policy --{kind}-name {name} --policy-name {policy} "
        f"--policy-document '{document}'"
    )


async def _tasks(scene: Scene) -> list[tuple[str, str, dict[str, str]]]:
    """Tasks to ask about: label, ARN and tags; one that stands for all where none runs."""
    cluster = await scene.arn("ecs", f"cluster/{scene.place}")
    try:
        tasks = await scene.running()
    except AccessDenied:
        tasks = []  # caller.describe-tasks tells
    # Tasks with the same tags are alike to policies: IAM's simulator takes few calls.
    alike = {repr(sorted(_tags(each).items())): each for each in reversed(tasks)}
    found = [
        (short(each), str(each["taskArn"]), _tags(each)) for each in tasks if each in alike.values()
    ][:_MOST]
    name = cluster.replace(":cluster/", ":task/")
    return found or [("any task", f"{name}/{'0' * 32}", dict[str, str]())]


def _tags(thing: Record) -> dict[str, str]:
    return {each.get("key", ""): each.get("value", "") for each in thing.get("tags") or ()}


async def _containers(scene: Scene) -> list[str]:
    try:
        names = [
            str(each.get("name"))
            for task in await scene.running()
            for each in task.get("containers", ())
            if scene.is_meant(str(each.get("name")))
        ]
    except AccessDenied:
        names = []
    return list(dict.fromkeys(names)) or [scene.wanted or "app"]


def _tag_keys(tags: dict[str, str]) -> dict[str, str | tuple[str, ...]]:
    keys: dict[str, str | tuple[str, ...]] = {}
    for name, value in tags.items():
        keys[f"aws:ResourceTag/{name}"] = keys[f"ecs:ResourceTag/{name}"] = value
    return keys


@check(
    "caller.execute-command",
    "whether the caller may run commands",
    _SIMULATE,
    "sts:GetCallerIdentity",
)
async def execute_command(scene: Scene) -> Finding:
    caller = await scene.caller()
    cluster = await scene.arn("ecs", f"cluster/{scene.place}")
    try:
        cluster_tags = _tags(await scene.cluster())
    except (AccessDenied, TargetNotFound):
        cluster_tags = {}  # cluster.active tells; few policies ask for tags
    questions: list[Question] = []
    labels: list[str] = []
    for label, task, tags in await _tasks(scene):
        for container in await _containers(scene):
            context = {
                **request_context(scene),
                "ecs:cluster": cluster,
                "ecs:task": task,
                "ecs:container-name": container,
            }
            # A tag that the resource lacks is looked for on the other one.
            on_cluster = {**context, **_tag_keys({**tags, **cluster_tags})}
            on_task = {**context, **_tag_keys({**cluster_tags, **tags})}
            questions += [
                Question("ecs:ExecuteCommand", cluster, on_cluster),
                Question("ecs:ExecuteCommand", task, on_task),
            ]
            labels.append(f"{container} in {label}")
    verdicts = await scene.verdicts(caller, questions)
    pairs = list(zip(labels, verdicts[::2], verdicts[1::2], strict=True))
    refused = [
        (label, next((v for v in two if v.decision == "explicitDeny"), two[0]))
        for label, *two in pairs
        if not any(two) or any(v.decision == "explicitDeny" for v in two)
    ]
    cure = f"allow ecs:ExecuteCommand to {caller} on {cluster} and on its tasks"
    tasks = f"{cluster.replace(':cluster/', ':task/')}/*"
    call = granted(caller, "ecs-exec-operator", ["ecs:ExecuteCommand"], cluster, tasks)
    if refused:
        label, verdict = refused[0]
        where = "" if len(refused) == len(pairs) else f" in {listed([each for each, _ in refused])}"
        return fail(
            f"the caller may not run commands{where}", f"{caller}: {verdict.why}", cure, call
        )
    half = [one if not one else other for _, one, other in pairs if not (one and other)]
    if half:
        what = "cluster" if ":cluster/" in half[0].question.resource else "task"
        return warn(
            f"the caller may run commands by the policy of one resource, and not on the {what}",
            f"{caller}: {half[0].why}; AWS's reference asks for both cluster and task",
            cure,
            call,
        )
    return ok("the caller may run commands", f"{caller}: {verdicts[0].why}")


async def _simple(scene: Scene, action: str, resource: str, context: Record) -> Verdict:
    question = Question(action, resource, {**request_context(scene), **context})
    (verdict,) = await scene.verdicts(await scene.caller(), [question])
    return verdict


@check("caller.describe-tasks", "whether the caller may look at tasks", _SIMULATE)
async def describe_tasks(scene: Scene) -> Finding:
    _, task, tags = (await _tasks(scene))[0]
    cluster = await scene.arn("ecs", f"cluster/{scene.place}")
    context = {"ecs:cluster": cluster, **_tag_keys(tags)}
    verdict = await _simple(scene, "ecs:DescribeTasks", task, context)
    if verdict:
        return ok("the caller may look at tasks")
    return fail(
        "the caller may not look at tasks, and so not find a container",
        verdict.why,
        f"allow ecs:DescribeTasks on {task.rpartition('/')[0]}/*",
        granted(
            await scene.caller(),
            "ecs-exec-tasks",
            ["ecs:DescribeTasks"],
            f"{task.rpartition('/')[0]}/*",
        ),
    )


@check("caller.data-key", "whether the caller may use the session's key", _SIMULATE)
async def data_key(scene: Scene) -> Finding | None:
    from .key import key_arn

    if (key := await key_arn(scene)) is None:
        return None
    keys = ("aws:ssm:SessionId", "aws:ssm:TargetId")
    context = {"kms:EncryptionContextKeys": keys, "kms:CallerAccount": key.split(":")[4]}
    verdict = await _simple(scene, "kms:GenerateDataKey", key, context)
    if verdict:
        return ok("the caller may use the session's key", verdict.why)
    return fail(
        "the caller may not use the key that encrypts sessions",
        f"kms:GenerateDataKey on {key}: {verdict.why}",
        f"allow kms:GenerateDataKey to {await scene.caller()} on {key}",
        granted(await scene.caller(), "ecs-exec-key", ["kms:GenerateDataKey"], key),
    )


@check("caller.start-session", "whether the caller can go around ECS", _SIMULATE)
async def start_session(scene: Scene) -> Finding:
    _, task, tags = (await _tasks(scene))[0]
    context = {**_tag_keys(tags), **{f"ssm:resourceTag/{k}": v for k, v in tags.items()}}
    verdict = await _simple(scene, "ssm:StartSession", task, context)
    if not verdict:
        return ok("sessions that ECS does not log are not allowed", verdict.why)
    resource = task.partition("/")[0]
    return warn(
        "the caller can start sessions past ECS, which are not logged",
        f"ssm:StartSession on tasks: {verdict.why}",
        f"deny ssm:StartSession on {resource}/*, unless method='start-session' is wanted",
        granted(
            await scene.caller(),
            "ecs-exec-no-sessions",
            ["ssm:StartSession"],
            f"{resource}/*",
            effect="Deny",
        ),
    )


@check("caller.resume-session", "whether the caller may resume and end sessions", _SIMULATE)
async def resume_session(scene: Scene) -> Finding:
    session = await scene.arn("ssm", "session/ecs-execute-command-00000000000000000")
    caller = await scene.caller()
    actions = ("ssm:ResumeSession", "ssm:TerminateSession")
    asked = [Question(action, session, request_context(scene)) for action in actions]
    verdicts: Sequence[Verdict] = await scene.verdicts(caller, asked)
    refused = [each for each in verdicts if not each]
    if not refused:
        return ok("the caller may resume and end sessions")
    names = " and ".join(each.question.action for each in refused)
    sessions = f"{session.rpartition('/')[0]}/ecs-execute-command-*"
    return warn(
        f"the caller lacks {names}: a connection that breaks is lost, or its session stays open",
        f"{caller}: {refused[0].why}",
        f"allow {names} on {sessions}",
        granted(caller, "ecs-exec-sessions", [each.question.action for each in refused], sessions),
    )
