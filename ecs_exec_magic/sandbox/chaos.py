"""Faults that strike once, at the moment they are asked for.

Knows what has to be done for each. Never knows who asks, or how the rooms do it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .faults import ACTIONS

if TYPE_CHECKING:
    from collections.abc import Callable

    from .sessions import Gateway

__all__ = ["Chaos"]


class Chaos:
    """Does what :class:`.faults.Faults` cannot do by being looked at.

    Args:
        gateway: the sessions.
        stop_task: begins to stop the task whose id begins so, for a reason, and returns its id;
            None when there is not exactly one.
    """

    def __init__(self, gateway: Gateway, stop_task: Callable[[str, str], str | None]) -> None:
        self._gateway = gateway
        self._stop_task = stop_task

    async def act(self, name: str, value: str) -> str:
        """Do one of :data:`.faults.ACTIONS`; returns what was done, in words.

        Raises:
            ValueError: there is no such action, or nothing to do it to.
        """
        if name == "cut":
            if value not in ("", "close"):
                raise ValueError(f"cut takes close or nothing, not {value}")
            return f"{await self._gateway.cut(value == 'close')} connections cut"
        if name == "kill_agent":
            return f"{self._gateway.kill_agents(value)} sessions lost"
        if name == "kill_task":
            if not value:
                raise ValueError("kill_task takes the id of a task")
            task_id = self._stop_task(value, "Stopped by a practice fault")
            if task_id is None:
                raise ValueError(f"there is not one running task {value}")
            return f"task {task_id} stops"
        raise ValueError(f"there is no fault {name}; at once there are {', '.join(ACTIONS)}")
