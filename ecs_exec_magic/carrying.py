"""Plans on their way: what carries one out step by step, and who is told of it.

Knows threads, progress and interrupts. Never knows what a plan is for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .aws.plan.part import Pause, Stopped
from .errors import Interrupted
from .portal import QUEUED_BYTES

if TYPE_CHECKING:
    import os
    from collections.abc import Awaitable, Callable, Coroutine, Mapping

    from .aws.api import AwsApi
    from .aws.plan import Step, StepEvent
    from .aws.plan.building import Tell
    from .portal import Bridge

__all__ = ["Carried"]


class Carried:
    """What all plans have in common: steps that are looked at, and taken one by one."""

    steps: tuple[Step, ...]
    documents: Mapping[str, Mapping[str, Any]]

    def __init__(
        self, api: AwsApi, bridge: Bridge, state: str | os.PathLike[str] | None = None
    ) -> None:
        self._api = api
        self._bridge = bridge
        self._state_path = state

    def _follow(
        self,
        body: Callable[[Pause, Tell], Coroutine[Any, Any, tuple[Step, ...]]],
        progress: Callable[[StepEvent], object] | None,
        what: str,
    ) -> tuple[Step, ...]:
        work = _Work(body)
        last: list[StepEvent] = []

        def show(event: StepEvent) -> None:
            last[:] = [event]
            if progress is not None:
                progress(event)

        try:
            return self._bridge.follow(work, show)
        except Stopped:
            where = ""
            if last:
                done = last[0].index + (last[0].state == "done")
                where = f" after {done} of {last[0].total} steps"
            raise Interrupted(
                f"{what} was stopped{where}; {what.split()[0]} again goes on"
            ) from None


class _Work:
    """The coroutine of a plan, as bridges follow it."""

    def __init__(
        self, body: Callable[[Pause, Tell], Coroutine[Any, Any, tuple[Step, ...]]]
    ) -> None:
        self._body = body
        self._pause: Pause | None = None

    async def start(
        self, emit: Callable[[Any, int], object], gate: Callable[[], Awaitable[None]]
    ) -> tuple[Step, ...]:
        """Run it; each event is heavy enough for the gate to wait until it has been shown."""
        self._pause = Pause()

        async def tell(event: StepEvent) -> None:
            emit(event, QUEUED_BYTES + 1)
            await gate()

        return await self._body(self._pause, tell)

    async def interrupt(self) -> None:
        """Take no more steps."""
        if self._pause is not None:
            self._pause.stop()
