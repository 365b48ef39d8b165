"""Task definitions: what one revision is.

Knows the fields that other rooms ask for. Never knows how a definition is checked.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

__all__ = ["TaskDefinition"]


@dataclass(eq=False, slots=True)
class TaskDefinition:
    """One revision of a family.

    Attributes:
        document: what was registered, in ECS's own words, with ECS's defaults filled in.
    """

    arn: str
    revision: int
    document: dict[str, Any]
    registered_by: str
    registered: float
    tags: dict[str, str] = field(default_factory=dict)
    status: str = "ACTIVE"
    deregistered: float | None = None
    delete_requested: float | None = None

    @property
    def family(self) -> str:
        """The family's name."""
        return str(self.document["family"])

    @property
    def is_active(self) -> bool:
        """Whether tasks may be started from it."""
        return self.status == "ACTIVE"

    @property
    def containers(self) -> list[dict[str, Any]]:
        """Its container definitions."""
        found: list[dict[str, Any]] = self.document["containerDefinitions"]
        return found

    @property
    def network_mode(self) -> str:
        """How its tasks are connected: ``awsvpc``, ``bridge``, ``host`` or ``none``."""
        return str(self.document.get("networkMode", "bridge"))

    def container(self, name: str) -> dict[str, Any]:
        """The definition of one container."""
        return next(c for c in self.containers if c["name"] == name)
