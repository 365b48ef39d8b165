"""Whether a command can be run, and the image has what exact output and transcripts need.

Knows programs and what each is for; it looks by a command in the container. Never knows sessions:
how a command is run is given.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from ...errors import AgentNotConnected, EcsExecError
from ...waiting import wait_for
from .agent import LOG_PATH, refs
from .cluster import has_awslogs
from .registry import check, fail, ok, unknown, warn
from .scene import Scene, listed

if TYPE_CHECKING:
    from ...address import ContainerRef
    from ...findings import Finding
    from ...results import CommandResult

__all__ = ["agent_log", "looked_in"]

_EXACT = ("dd", "od", "stty", "tee")
_SUMS = ("md5sum", "sha256sum", "cksum")
_HANDY = ("base64", "setsid", "mkfifo", "tar")
_TRANSCRIPT = ("script", "cat")
_ASK = "command -v " + "; command -v ".join((*_EXACT, *_SUMS, *_HANDY, *_TRANSCRIPT)) + "; true"
_LOG_BYTES = 1024 * 1024
_LOOK = (
    f"[ -e {LOG_PATH} ] || exit 3; tail -c {_LOG_BYTES} {LOG_PATH} 2>/dev/null || cat {LOG_PATH}"
)
_NO_SHELL = "NoShell"
PATIENCE = 20.0
"""Seconds for a command that takes no time, its session included."""

_WRONG = (" ERROR ", " CRITICAL ", "AccessDenied")


async def looked_in(scene: Scene) -> list[ContainerRef]:
    """One container for each image and name: all of a service are alike."""
    chosen: dict[tuple[str, str], ContainerRef] = {}
    windows = {
        str(task["taskArn"])
        for task in await scene.running()
        if str(task.get("platformFamily", "")).lower().startswith("windows")
    }
    for ref in await refs(scene):
        if ref.task_arn in windows:
            continue  # nothing of what is looked for is there, nor needed
        chosen.setdefault((ref.family, ref.container), ref)
    return list(chosen.values())


async def _programs(scene: Scene, ref: ContainerRef) -> set[str] | EcsExecError:
    """Names of the programs that a container has, or why that is not known."""

    async def ask() -> set[str] | EcsExecError:
        assert scene.run is not None
        try:
            result = await wait_for(scene.run(ref, _ASK), PATIENCE)
        except EcsExecError as error:
            return error
        except asyncio.TimeoutError:
            return AgentNotConnected(
                f"{ref} did not answer within {PATIENCE:.0f} s",
                cause="its agent is not connected, or a session waits for its turn",
            )
        # A built-in of the shell is told without a path.
        return {line.strip().rpartition("/")[2] for line in result.stdout.splitlines()}

    return await scene.once(("programs", ref.address), ask)


async def _all(scene: Scene) -> list[tuple[ContainerRef, set[str] | EcsExecError]]:
    if scene.run is None:
        return []
    chosen = await looked_in(scene)
    found = await asyncio.gather(*(_programs(scene, ref) for ref in chosen))
    return list(zip(chosen, found, strict=True))


def _reached(
    found: list[tuple[ContainerRef, set[str] | EcsExecError]],
) -> list[tuple[ContainerRef, set[str] | EcsExecError]]:
    """Those in which a command could be run; agent.connected tells of the others."""
    return [(ref, each) for ref, each in found if not isinstance(each, AgentNotConnected)]


@check("agent.connected", "whether a command can be run", "ecs:ExecuteCommand")
async def connected(scene: Scene) -> Finding | None:
    found = await _all(scene)
    lost = [(ref, each) for ref, each in found if isinstance(each, AgentNotConnected)]
    for ref, error in lost:
        return fail(
            f"no command can be run in {ref}",
            "; ".join(part for part in (error.message, error.cause) if part),
            error.cure or "see the other findings; or replace the task",
            f"aws ecs stop-task --cluster {ref.cluster} --task {ref.task_id}",
        )
    for _, each in found:
        if isinstance(each, EcsExecError) and type(each).__name__ != _NO_SHELL:
            raise each
    return ok(f"a command was run in {listed([str(ref) for ref, _ in found])}") if found else None


@check("image.shell", "whether the image has the tools of exact output", "ecs:ExecuteCommand")
async def shell(scene: Scene) -> Finding | None:
    found = _reached(await _all(scene))
    if not found:
        return None
    lacking: list[str] = []
    for ref, programs in found:
        if isinstance(programs, EcsExecError):
            if type(programs).__name__ == _NO_SHELL:
                return fail(
                    f"there is no shell in {ref.container}",
                    f"looked in {ref.address}; {programs.cause}",
                    "give commands as lists of arguments, without exact output; or take an image "
                    "with a shell, as busybox",
                    f"client.target({ref.address!r}).run(['PROGRAM', 'ARGUMENT'])",
                )
            raise programs
        missing = [each for each in _EXACT if each not in programs]
        if not programs & set(_SUMS):
            missing.append("md5sum, sha256sum or cksum")
        lacking += [f"{each} in {ref.container}" for each in missing]
    if lacking:
        return warn(
            f"the image lacks {listed(lacking)}",
            "commands run, but their output is not proven to be exact, or comes as from a terminal",
            "add coreutils (or busybox) to the image",
        )
    names = listed([ref.container for ref, _ in found])
    return ok(f"the image has a shell and the tools of exact output: {names}")


@check("image.transcript", "whether the image has the tools of transcripts", "ecs:ExecuteCommand")
async def transcript(scene: Scene) -> Finding | None:
    settings = await scene.settings()
    kept = settings.logging == "OVERRIDE"
    if settings.logging == "DEFAULT":
        kept = any(has_awslogs(each) for _, each, _ in await scene.containers())
    if not kept:
        return None
    found = _reached(await _all(scene))
    if not found:
        return None
    lacking = []
    for ref, programs in found:
        if isinstance(programs, EcsExecError):
            if type(programs).__name__ != _NO_SHELL:
                raise programs
            lacking.append(f"{ref.container} (it has no shell)")
        elif missing := [each for each in _TRANSCRIPT if each not in programs]:
            lacking.append(f"{ref.container} ({' and '.join(missing)})")
    if lacking:
        return fail(
            f"sessions are not logged in {listed(lacking)}",
            "the agent writes transcripts with script (util-linux) and cat (coreutils), which the "
            "image lacks",
            "add util-linux and coreutils to the image",
            "RUN apt-get update && apt-get install -y bsdutils coreutils",
        )
    return ok("the image has what the logs of sessions need: script and cat")


# -- the agent's own log -------------------------------------------------------------------------


async def agent_log(scene: Scene) -> CommandResult | None:
    """The agent's log file of the first container that can be looked into.

    None when there is no such container.
    """
    if scene.run is None:
        return None
    run = scene.run

    async def read() -> CommandResult | None:
        found = _reached(await _all(scene))
        return await run(found[0][0], _LOOK) if found else None

    return await scene.once("agent log", read)


@check("agent.log", "what the agent has logged", "ecs:ExecuteCommand")
async def log(scene: Scene) -> Finding | None:
    if not scene.agent_log_wanted:
        return None
    found = await agent_log(scene)
    if found is None:
        return unknown(
            "the agent's log cannot be read: no container takes commands",
            f"{LOG_PATH} is read by a command in the container",
            "see the other findings first",
        )
    if found.exit_code == 3:
        return warn(
            f"there is no {LOG_PATH} in {found.target}",
            "agents write it unless the file system or their own settings forbid it",
            "look for other files below /var/log/amazon/ssm",
            f"%ecs_exec -t {found.target} -- ls -la /var/log/amazon/ssm",
        )
    lines = found.stdout.splitlines()
    wrong = [line for line in lines if any(word in f" {line} " for word in _WRONG)]
    if wrong:
        count = len(wrong)
        return warn(
            f"the agent has logged {count} error{'' if count == 1 else 's'}",
            f"the last one: {wrong[-1].strip()[:400]}",
            "see .agent_log for all of it",
            f"%ecs_exec -t {found.target} -- tail -n 100 {LOG_PATH}",
        )
    return ok(f"the agent has logged no error in {len(lines)} lines", f"{found.target}")
