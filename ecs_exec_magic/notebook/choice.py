"""Which container a notebook means: its default, and what one line says otherwise.

Knows how addresses and options combine. Never knows what exists.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..address import combine, parse_address

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from ..address import Address

__all__ = ["Choice"]

_NAMES_ONE = ("target", "service", "task", "family")
_WORDS = ("cluster", "service", "task", "family", "container")


@dataclass(frozen=True, slots=True)
class Choice:
    """A target as it was asked for: an address, options in words, or both.

    It is false when nothing was asked for.
    """

    address: str | None = None
    cluster: str | None = None
    service: str | None = None
    task: str | None = None
    family: str | None = None
    container: str | None = None

    @classmethod
    def from_options(cls, values: Mapping[str, Any]) -> Choice:
        """What a line's options ask for, by their ``dest`` names."""
        return cls(values.get("target") or None, **{word: values.get(word) for word in _WORDS})

    def __bool__(self) -> bool:
        return bool(self.address or self.service or self.task or self.family)

    def __str__(self) -> str:
        words = [f"--{word} {value}" for word, value in self.words().items() if value]
        return " ".join([self.address, *words] if self.address else words)

    def words(self) -> dict[str, str | None]:
        """Everything but the address, as ``client.target`` takes it."""
        return {word: getattr(self, word) for word in _WORDS}

    def query(self) -> Address:
        """All of it in one.

        Raises:
            InvalidRequest: it is malformed, or contradicts itself.
        """
        return combine(self.address, **self.words(), nameless=True)

    def overridden(self, values: Mapping[str, Any]) -> Choice:
        """What a line means when this is the notebook's default.

        A line that names something means only that. With just ``--container`` or ``--cluster`` it
        means the same name in another container or cluster.
        """
        if any(values.get(name) for name in _NAMES_ONE):
            return Choice.from_options(values)
        container, cluster = values.get("container"), values.get("cluster")
        if not self or not (container or cluster):
            return self
        address = self.address
        if address is not None:
            parts = parse_address(address)
            if container:
                parts = dataclasses.replace(parts, container=None)
            if cluster and parts.arn is None:
                parts = dataclasses.replace(parts, cluster=None)
            address = str(parts)
        return dataclasses.replace(
            self,
            address=address,
            container=container or self.container,
            cluster=cluster or self.cluster,
        )
