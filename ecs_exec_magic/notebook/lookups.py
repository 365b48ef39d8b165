"""Names to complete with: clusters, services, tasks, profiles and regions, through a cache.

Knows which calls give them. Never knows which of them fit.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from .cache import Cache, Wanted
    from .workspace import Workspace

__all__ = ["Lookups"]

_MOST_TASKS = 500
_MOST_OF_A_NAME = 20


class Lookups:
    """The look-ups of one completion, which all together take no longer than the cache's limit.

    What fails, or takes longer, is empty.

    Args:
        values: of the line, by ``dest``; they say which account and region is asked.
    """

    def __init__(self, space: Workspace, cache: Cache, values: Mapping[str, Any]) -> None:
        self._space = space
        self._cache = cache
        # In a thread of its own nothing can run on the notebook's loop.
        self._key = space.key({**values, "cluster": None}, bridge="thread")
        self._deadline = cache.deadline()

    def clusters(self) -> Wanted:
        """Names of all clusters."""
        return self._of_client(("clusters",), lambda client: client.cluster_names())

    def services(self, cluster: str) -> Wanted:
        """Names of a cluster's services."""
        return self._of_client(("services", cluster), lambda client: client.services(cluster))

    def tasks(self, cluster: str) -> Wanted:
        """Tasks of a cluster; not all of them in a large one."""
        return self._of_client(
            ("tasks", cluster),
            lambda client: client.tasks(cluster, tags=False, limit=_MOST_TASKS),
        )

    def tasks_named(self, cluster: str, name: str) -> Wanted:
        """Tasks of one name."""
        return self._of_client(
            ("named", cluster, name),
            lambda client: client.tasks(f"{cluster}/{name}", tags=False, limit=_MOST_OF_A_NAME),
        )

    def names(self, address: str, directory: str, resolve: Callable[[], Any]) -> Wanted:
        """Names in a directory of a container; those of directories end with a slash.

        Args:
            address: says which container ``resolve`` finds.
        """
        return (
            (self._key, ("names", address, directory)),
            lambda: resolve().listdir(directory or ".", slashes=True),
        )

    def profiles(self) -> Wanted:
        """Profiles of the configuration files."""
        return ("profiles", self._key[-1]), _profiles

    def regions(self) -> Wanted:
        """Regions that have ECS."""
        return "regions", _regions

    def get(self, *wanted: Wanted) -> list[Any]:
        """Look several things up at once."""
        return [found or [] for found in self._cache.get(wanted, self._deadline)]

    def _of_client(self, what: tuple[str, ...], call: Callable[[Any], Any]) -> Wanted:
        space, key = self._space, self._key
        return (key, what), lambda: call(space.client(key).unattended())


# boto3 takes long to import: that happens in the thread, too.


def _profiles() -> list[str]:
    from ..client import profile_names

    return profile_names()


def _regions() -> list[str]:
    from ..client import region_names

    return region_names()
