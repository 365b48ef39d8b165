"""The finding that explains why no command can be run, joined to the error that said so.

Knows which checks are cheap and to the point. Never raises anything of its own, nor takes long.
"""

from __future__ import annotations

import asyncio
import logging
import time
import weakref
from typing import TYPE_CHECKING

from ...errors import AgentNotConnected, ExecNotEnabled
from ...waiting import wait_for
from .registry import CHECKS, run_checks
from .scene import scene_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ...address import ContainerRef
    from ...errors import EcsExecError
    from ...findings import Finding
    from ..api import AwsApi

__all__ = ["LIMIT", "explained", "silence_explained"]

logger = logging.getLogger(__name__)

LIMIT = 4.0
"""Seconds that an error may be held back for its explanation."""

_FRESH = 60.0
"""Seconds for which what was found is good for other containers of the same service."""

_OFF = ("service.exec-enabled",)
_OFF_ALONE = ("task.exec-enabled",)  # of a task that no service would replace
_OF_AGENTS = ("task.", "instance.", "role.", "network.", "endpoint.")
_NOT_OF_AGENTS = frozenset(
    (
        *("task.running", "task.exec-enabled", "task.init-process"),
        *("role.key", "role.log-group", "role.bucket"),
    )
)
_OF_SILENCE = ("sessions.in-use",)
_TELLING = ("task.static-keys", "task.pid-mode", "role.channel", "network.egress")
"""Checks of which a warning can be the reason, too."""

_Known = dict[tuple[object, ...], tuple[float, "asyncio.Task[list[Finding]]"]]
_known: weakref.WeakKeyDictionary[AwsApi, _Known] = weakref.WeakKeyDictionary()


async def explained(api: AwsApi, error: EcsExecError, ref: ContainerRef) -> EcsExecError:
    """The same error, with the cause and the cure of the finding that explains it, if one does."""
    if not isinstance(error, (AgentNotConnected, ExecNotEnabled)):
        return error
    if not api.attended or error.findings:
        return error
    off = isinstance(error, ExecNotEnabled)
    alone = _OFF if ref.service else _OFF_ALONE
    ids = alone if off else tuple(each for each in CHECKS if _of_agents(each))
    try:
        found = await wait_for(asyncio.shield(_look(api, ref, ids)), LIMIT)
    except Exception as reason:  # noqa: BLE001 - the error itself must come through in any case
        logger.debug("no explanation: %s", reason)
        return error
    if isinstance(error, ExecNotEnabled):
        _of_service(error, ref, found)
    else:
        _of_agent(error, found)
    return error


async def silence_explained(api: AwsApi, error: AgentNotConnected, ref: ContainerRef) -> None:
    """Put into the error of a silent agent whose sessions are in its way, if any are."""
    if not api.attended:
        return
    try:
        # Never what was found before: sessions come and go.
        found = await wait_for(_run(api, ref, _OF_SILENCE), LIMIT)
    except Exception as reason:  # noqa: BLE001 - the error itself must come through in any case
        logger.debug("no explanation: %s", reason)
        return
    for finding in found:
        if finding.status == "warn":
            error.findings = (finding,)
            error.cause = f"{finding.title} ({finding.evidence})"
            error.cure = _cure(finding)


def _of_agents(id_: str) -> bool:
    return id_.startswith(_OF_AGENTS) and id_ not in _NOT_OF_AGENTS


def _look(api: AwsApi, ref: ContainerRef, ids: Sequence[str]) -> asyncio.Task[list[Finding]]:
    """Run the checks, once for all containers that are alike."""
    loop = asyncio.get_running_loop()
    known = _known.setdefault(api, {})
    key = (loop, ref.cluster, ref.service or ref.task_id, ref.family, ids)
    began, task = known.get(key, (0.0, None))
    if task is None or time.monotonic() - began > _FRESH:
        task = asyncio.ensure_future(_run(api, ref, ids))
        task.add_done_callback(lambda done: done.cancelled() or done.exception())
        known[key] = (time.monotonic(), task)
    return task


async def _run(api: AwsApi, ref: ContainerRef, ids: Sequence[str]) -> list[Finding]:
    scene = await scene_of(api, cluster=ref.cluster, task=ref.task_id, container=ref.container)
    try:
        return await wait_for(run_checks(scene, ids), 2 * LIMIT)
    finally:
        await scene.close()


def _of_service(error: ExecNotEnabled, ref: ContainerRef, found: Sequence[Finding]) -> None:
    """Say whether the service has exec on by now."""
    for finding in found:
        error.findings = (finding,)
        if finding.status == "fail":
            if finding.id in _OFF:  # the other one says no more than the error
                error.cause = _joined(error.cause, finding.title)
            error.cure = _cure(finding)
        elif finding.status == "ok" and ref.service:
            error.cause = _joined(error.cause, "its service has exec on by now")
            error.cure = (
                "replace the task: aws ecs update-service --cluster "
                f"{ref.cluster} --service {ref.service} --force-new-deployment"
            )


def _of_agent(error: AgentNotConnected, found: Sequence[Finding]) -> None:
    """Take the first failure, or a warning that can be the reason."""
    reasons = [each for each in found if each.status == "fail"]
    reasons += [each for each in found if each.status == "warn" and each.id in _TELLING]
    if not reasons:
        return
    first = reasons[0]
    error.findings = tuple(reasons)
    said = f"{first.title} ({first.evidence})" if first.evidence else first.title
    # What AWS says of an agent that is not connected is a list of what it may be.
    likely = error.code in ("TargetNotConnectedException", "TargetNotConnected")
    error.cause = said if likely else _joined(error.cause, said)
    error.cure = _cure(first)
    if len(reasons) > 1:
        error.cure += f"; {len(reasons) - 1} more findings are in .findings"


def _cure(finding: Finding) -> str:
    return f"{finding.cure}: {finding.call}" if finding.call else finding.cure


def _joined(*parts: str) -> str:
    return "; ".join(part for part in parts if part)
