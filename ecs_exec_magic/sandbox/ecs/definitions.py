"""The operations on task definitions.

Knows revisions, families and their status. Never knows tasks.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from ..api import operation
from .definition_rules import normalise
from .requests import definition_of, invalid, last_part, page, tags_of
from .views import definition_view, tag_list

if TYPE_CHECKING:
    from ..api import Caller
    from ..world import World
    from .definition import TaskDefinition

__all__ = ["DefinitionOperations"]

_UNKNOWN = "Unable to describe task definition."


class DefinitionOperations:
    """Task definitions and families."""

    service = "ecs"

    def __init__(self, world: World) -> None:
        self._world = world

    @operation("RegisterTaskDefinition")
    def op_register(self, given: dict[str, Any], caller: Caller) -> dict[str, Any]:
        """Add a revision to a family."""
        region = self._world.state.region(caller.region)
        tags = tags_of(given.get("tags"))
        document = normalise(given, region.iam("role/"))
        definition = region.add_definition(document, caller.arn, tags)
        return {"taskDefinition": definition_view(definition), "tags": tag_list(tags)}

    @operation("DescribeTaskDefinition")
    def op_describe(self, given: dict[str, Any], caller: Caller) -> dict[str, Any]:
        """Describe a revision, by default the latest active one."""
        region = self._world.state.region(caller.region)
        definition = definition_of(region, given["taskDefinition"], _UNKNOWN)
        answer: dict[str, Any] = {"taskDefinition": definition_view(definition)}
        if "TAGS" in given.get("include", ()):
            answer["tags"] = tag_list(definition.tags)
        return answer

    @operation("DeregisterTaskDefinition")
    def op_deregister(self, given: dict[str, Any], caller: Caller) -> dict[str, Any]:
        """Make a revision INACTIVE; it is still described."""
        name = given["taskDefinition"]
        if ":" not in last_part(name):
            raise invalid("Revision is missing.")
        region = self._world.state.region(caller.region)
        definition = definition_of(region, name, "The specified task definition does not exist.")
        if definition.status == "ACTIVE":
            definition.status, definition.deregistered = "INACTIVE", time.time()
        return {"taskDefinition": definition_view(definition)}

    @operation("DeleteTaskDefinitions")
    def op_delete(self, given: dict[str, Any], caller: Caller) -> dict[str, Any]:
        """Delete revisions that are INACTIVE and that nothing uses."""
        region = self._world.state.region(caller.region)
        names = given["taskDefinitions"]
        if not 1 <= len(names) <= 10:
            raise invalid("taskDefinitions must have 1 to 10 elements.")
        found, failures = [], []
        for name in names:
            family, _, revision = last_part(name).partition(":")
            known = region.families.get(family, [])
            definition = next((d for d in known if str(d.revision) == revision), None)
            if definition is None:
                reason = "The specified task definition does not exist."
            elif definition.status == "ACTIVE":
                reason = (
                    "The specified task definition is still in ACTIVE status. Please deregister "
                    "the target and try again."
                )
            else:
                definition.status = "DELETE_IN_PROGRESS"
                definition.delete_requested = time.time()
                found.append(definition_view(definition))
                if not self._is_used(definition):
                    known.remove(definition)
                continue
            arn = name if name.startswith("arn:") else region.arn("task-definition", name)
            failures.append({"arn": arn, "reason": reason})
        return {"taskDefinitions": found, "failures": failures}

    def _is_used(self, definition: TaskDefinition) -> bool:
        return any(
            task.definition is definition and task.stopped is None
            for cluster in self._world.state.clusters()
            for task in cluster.tasks.values()
        )

    @operation("ListTaskDefinitionFamilies")
    def op_list_families(self, given: dict[str, Any], caller: Caller) -> dict[str, Any]:
        """List families by prefix; one with an active revision is active."""
        prefix, status = given.get("familyPrefix", ""), given.get("status", "ACTIVE")
        names = []
        for family, revisions in self._world.state.region(caller.region).families.items():
            active = any(d.status == "ACTIVE" for d in revisions)
            fits = status == "ALL" or active == (status == "ACTIVE")
            if revisions and fits and family.startswith(prefix):
                names.append(family)
        families, token = page(sorted(names), given)
        return {"families": families, "nextToken": token}

    @operation("ListTaskDefinitions")
    def op_list(self, given: dict[str, Any], caller: Caller) -> dict[str, Any]:
        """List revisions, of one family or of all, in order."""
        families = self._world.state.region(caller.region).families
        wanted, status = given.get("familyPrefix"), given.get("status", "ACTIVE")
        names = [
            definition.arn
            for family in sorted(families)
            if wanted in (None, family)
            for definition in families[family]
            if definition.status == status
        ]
        if given.get("sort") == "DESC":
            names.reverse()
        arns, token = page(names, given)
        return {"taskDefinitionArns": arns, "nextToken": token}
