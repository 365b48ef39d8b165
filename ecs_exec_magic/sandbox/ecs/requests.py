"""What requests have in common: identifiers, pages, tags.

Knows the forms in which callers name things, and AWS's words for wrong ones. Never knows what an
operation does.
"""

from __future__ import annotations

import base64
import re
from typing import TYPE_CHECKING, Any

from ..api import ApiError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from .definition import TaskDefinition
    from .deployment import Service
    from .model import Cluster, Task
    from .state import Region

__all__ = [
    "check_name",
    "definition_of",
    "find_cluster",
    "find_service",
    "find_task",
    "invalid",
    "last_part",
    "page",
    "tags_of",
]

_NAME = re.compile(r"[a-zA-Z0-9_-]{1,255}")
_TAG = re.compile(r"[\w\s.:/=+\-@]*")
_MAX_TAGS = 50


def invalid(message: str) -> ApiError:
    """The error of a parameter that does not fit."""
    return ApiError("InvalidParameterException", message)


def last_part(name: str) -> str:
    """The last element of an ARN, or the name itself."""
    return name.rpartition("/")[2]


def check_name(name: str, what: str) -> str:
    """Hold a name to ECS's rule and return it.

    Raises:
        ApiError: InvalidParameterException.
    """
    if not _NAME.fullmatch(name):
        raise invalid(
            f"{what} contains invalid characters."
            if 0 < len(name) <= 255
            else f"{what} must be between 1 and 255 characters long."
        )
    return name


def page(
    items: Sequence[str], given: Mapping[str, Any], default: int = 100
) -> tuple[list[str], str | None]:
    """One page of a list and the token of the next.

    A token names the last element that was given out, so pages neither skip nor repeat what stays
    while other elements come and go.

    Raises:
        ApiError: InvalidParameterException for a token that was not given out.
    """
    size = given.get("maxResults") or default
    if not 1 <= size <= 100:
        raise invalid("maxResults must be between 1 and 100.")
    start = 0
    if given.get("nextToken"):
        try:
            text = base64.b64decode(given["nextToken"], validate=True).decode()
            number, _, after = text.partition(" ")
            start = int(number)
        except ValueError:
            raise invalid("Invalid token.") from None
        if start < 1:
            raise invalid("Invalid token.")
        if after in items:
            start = items.index(after) + 1
    chosen = list(items[start : start + size])
    end = start + len(chosen)
    if not chosen or end >= len(items):
        return chosen, None
    return chosen, base64.b64encode(f"{end} {chosen[-1]}".encode()).decode()


def tags_of(given: Sequence[Mapping[str, str]] | None) -> dict[str, str]:
    """Tags as a mapping.

    Raises:
        ApiError: InvalidParameterException when they break the rules of tags.
    """
    tags: dict[str, str] = {}
    for tag in given or ():
        key, value = tag.get("key", ""), tag.get("value", "")
        if not 1 <= len(key) <= 128 or not _TAG.fullmatch(key):
            raise invalid(f"The tag key {key!r} is not valid. Tag keys have 1 to 128 characters.")
        if len(value) > 256 or not _TAG.fullmatch(value):
            raise invalid(f"The value of tag {key!r} is not valid.")
        if key.lower().startswith("aws:"):
            raise invalid("Tag keys beginning with aws: are reserved for system use.")
        if key in tags:
            raise invalid(f"Duplicate tag keys found: {key}. Tag keys must be unique.")
        tags[key] = value
    if len(tags) > _MAX_TAGS:
        raise invalid(f"Tags can have a maximum of {_MAX_TAGS} entries.")
    return tags


def find_cluster(region: Region, name: str | None) -> Cluster:
    """A cluster by name or ARN; the default one when none is named.

    Raises:
        ApiError: ClusterNotFoundException.
    """
    cluster = region.clusters.get(last_part(name or "default"))
    if cluster is None or (name and name.startswith("arn:") and name != cluster.arn):
        raise ApiError("ClusterNotFoundException", "Cluster not found.")
    if cluster.status == "INACTIVE":
        raise ApiError("ClusterNotFoundException", "The referenced cluster was inactive.")
    cluster.prune()
    return cluster


def _held(cluster: Cluster, name: str) -> str:
    """The last part of an identifier, which must not name another cluster."""
    parts = name.split("/")
    if name.startswith("arn:") and len(parts) == 3 and parts[1] != cluster.name:
        raise invalid(
            f"Invalid identifier: Identifier is for cluster {parts[1]}. Your cluster is "
            f"{cluster.name}"
        )
    return parts[-1]


def find_task(cluster: Cluster, name: str, what: str = "taskId") -> Task | None:
    """A task by id or ARN.

    Raises:
        ApiError: InvalidParameterException when it is neither, or names another cluster.
    """
    task_id = _held(cluster, name)
    if len(task_id) not in (32, 36):
        raise invalid(f"{what} length should be one of [32,36]")
    return cluster.tasks.get(task_id)


def find_service(cluster: Cluster, name: str) -> Service:
    """A service by name or ARN.

    Raises:
        ApiError: ServiceNotFoundException.
    """
    service = cluster.services.get(_held(cluster, name))
    if service is None:
        raise ApiError("ServiceNotFoundException", "Service not found.")
    return service


def definition_of(region: Region, name: str, missing: str) -> TaskDefinition:
    """A task definition by family, ``family:revision`` or ARN; the latest active one by default.

    Raises:
        ApiError: ClientException with the text ``missing``.
    """
    family, _, revision = last_part(name).partition(":")
    known = region.families.get(family, [])
    if revision:
        known = [d for d in known if str(d.revision) == revision]
    else:
        known = [d for d in known if d.status == "ACTIVE"]
    if not known:
        raise ApiError("ClientException", missing)
    return known[-1]
