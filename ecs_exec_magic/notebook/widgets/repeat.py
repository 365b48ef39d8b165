"""The line that does again what was done by clicking.

Knows how ``%ecs_exec`` reads a line. Never knows widgets.
"""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ...address import ContainerRef

__all__ = ["exec_line", "lasting_address"]

# IPython takes such a line for a question about its last word, before any magic sees it.
_QUESTION = re.compile(r"\?\s*$")


def exec_line(command: str, address: str, *, many: bool = False) -> str:
    """A cell that runs a command in a container, or in all that an address means.

    Args:
        command: one line of it.
        address: empty for the target that the notebook has at that time.
    """
    options = [f"-t {shlex.quote(address)}"] if address else []
    options += ["--all"] if many else []
    command = command.strip()
    if _QUESTION.search(command) or command.endswith("\\"):
        return " ".join(["%%ecs_shell", *options]) + f"\n{command}"
    return " ".join(["%ecs_exec", *options, "--", command])


def lasting_address(targets: Sequence[ContainerRef]) -> str:
    """What still names containers when their tasks have been replaced, if they have such a name.

    Returns:
        ``CLUSTER/SERVICE:CONTAINER``; for a task on its own its address; empty for containers that
        no one name means.
    """
    names = {
        f"{each.cluster}/{each.service}:{each.container}" if each.service else each.address
        for each in targets
    }
    return names.pop() if len(names) == 1 else ""
