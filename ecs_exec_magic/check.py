"""The Python API of checks: everything that commands need, looked at in one go.

Knows how to say in blocking calls what :mod:`.aws.checks` does, and how a check runs a command in
a container. Never knows notebooks.

::

    findings = ecs.connect().check("prod/web:nginx")
    findings.worst, findings.failed
    findings.find("role.channel").cure
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

from .aws.checks import run_checks, scene_of
from .aws.checks.image import agent_log
from .errors import EcsExecError, Interrupted
from .findings import Finding, Findings
from .runner import Job, Request

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Sequence

    from .address import ContainerRef
    from .aws.api import AwsApi
    from .aws.checks import Scene
    from .portal import Bridge
    from .results import CommandResult

__all__ = ["FIXED", "Finding", "Findings", "check", "fixable", "fixes"]

IN_CONTAINER = 60.0
"""Seconds that a command may take by which a check looks into a container."""

FIXED = frozenset(
    {
        "role.channel",
        "role.key",
        "role.log-group",
        "role.bucket",
        "service.exec-enabled",
        "task.exec-enabled",
    }
)
"""Checks whose failure ``client.enable_exec`` cures without taking anything from others."""


def fixable(findings: Findings) -> tuple[Finding, ...]:
    """Those that ``client.enable_exec`` cures, for the services that were looked at."""
    return tuple(each for each in findings.failed if each.id in FIXED and findings.services)


def fixes(client: Any, findings: Findings) -> Iterator[tuple[str, Any]]:
    """Services, each with what ``client.enable_exec`` would do where that changes something.

    Each is planned when it is its turn: what was done for one service may be enough for the next.
    """
    if not fixable(findings):
        return
    for service in findings.services:
        plan = client.enable_exec(service)
        if any(step.action in ("create", "update") for step in plan.steps):
            yield service, plan


def check(
    api: AwsApi,
    bridge: Bridge,
    address: str | None,
    words: dict[str, Any],
    *,
    inside: bool,
    log: bool,
    progress: Callable[[str, int, int], object] | None,
) -> Findings:
    """Run all checks; see :meth:`Client.check`."""
    work = _Work(api, address, words, inside=inside, log=log)

    def show(item: tuple[str, int, int]) -> None:
        if progress is not None:
            progress(*item)

    found = bridge.follow(work, show)
    if work.interrupted:
        raise Interrupted("the check was interrupted")
    assert found is not None
    return found


class _Work:
    """All checks of one address, as bridges follow them."""

    def __init__(
        self, api: AwsApi, address: str | None, words: dict[str, Any], *, inside: bool, log: bool
    ) -> None:
        self._api = api
        self._address = address
        self._words = words
        self._inside = inside
        self._log = log
        self._running: Any = None
        self.interrupted = False

    async def start(
        self,
        emit: Callable[[Any, int], object],
        gate: Callable[[], Awaitable[None]],
    ) -> Findings | None:
        """Look at everything; None after an interrupt."""
        self._running = asyncio.ensure_future(self._all(emit))
        try:
            found: Findings = await self._running
        except asyncio.CancelledError:
            if self.interrupted:
                return None
            self._running.cancel()
            raise
        return found

    async def interrupt(self) -> None:
        """Look at nothing more."""
        self.interrupted = True
        if self._running is not None:
            self._running.cancel()

    async def _all(self, emit: Callable[[Any, int], object]) -> Findings:
        run = self._run if self._inside or self._log else None
        scene = await scene_of(self._api, self._address, **self._words, run=run)
        scene.agent_log_wanted = self._log
        try:
            found = await run_checks(scene, tell=lambda *said: emit(said, 0))
            log = None
            if self._log:
                with contextlib.suppress(EcsExecError):  # agent.log tells
                    log = await agent_log(scene)
            log = log if log is not None and log.ok else None
            return Findings(found, scene.where, log, await _services(scene))
        finally:
            await scene.close()

    async def _run(self, ref: ContainerRef, command: str | Sequence[str]) -> CommandResult:
        return await Job(self._api, ref, Request(command, timeout=IN_CONTAINER)).run()


async def _services(scene: Scene) -> list[str]:
    """Addresses of the services, as far as they may be seen."""
    try:
        return [f"{scene.place}/{each['serviceName']}" for each in await scene.services_seen()]
    except EcsExecError:
        return []
