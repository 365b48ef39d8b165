"""The ECS control plane of the practice cluster.

Knows how its operations fit together. Never knows frames or processes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..sessions import Gateway
    from ..world import World

__all__ = ["operations"]


def operations(world: World, gateway: Gateway, stream_url: Callable[[str], str]) -> list[Any]:
    """Every operation of ECS, for :class:`~ecs_exec_magic.sandbox.api.Api`.

    Args:
        world: what there is.
        gateway: opens sessions.
        stream_url: makes the stream URL of a session id.
    """
    from .clusters import ClusterOperations
    from .definitions import DefinitionOperations
    from .execute import ExecuteOperations
    from .instances import InstanceOperations
    from .services import ServiceOperations
    from .tagging import SettingOperations, TagOperations
    from .tasks import TaskOperations

    return [
        ClusterOperations(world),
        DefinitionOperations(world),
        TaskOperations(world),
        ServiceOperations(world),
        InstanceOperations(world),
        TagOperations(world),
        SettingOperations(world),
        ExecuteOperations(world, gateway, stream_url),
    ]
