"""A file that remembers what a plan has made: a cache, for people and for looking things up.

Knows JSON. Never decides anything: what belongs to a plan is what has its tag.
"""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...errors import InvalidRequest

if TYPE_CHECKING:
    from .steps import Step

__all__ = ["State"]


class State:
    """The state file of one plan.

    Args:
        path: of the file; None keeps nothing.
        name: of the plan.
        region: where it is carried out.

    Raises:
        InvalidRequest: there is something else at the path, which is never overwritten or deleted.
    """

    def __init__(self, path: str | os.PathLike[str] | None, name: str, region: str) -> None:
        self._path = None if path is None else Path(path)
        self._name = name
        self._region = region
        self._resources = self._read() or []

    @property
    def resources(self) -> tuple[tuple[str, str], ...]:
        """Kinds and names of what was made and not removed."""
        return tuple(self._resources)

    def made(self, step: Step) -> None:
        """A resource is about to be made, or is there and ours."""
        if (step.kind, step.name) not in self._resources:
            self._resources.append((step.kind, step.name))
            self._write()

    def end(self) -> None:
        """All is gone: so is the file, if it is still ours."""
        self._resources = []
        if self._path is not None:
            with contextlib.suppress(OSError, InvalidRequest):
                if self._read() is not None:
                    self._path.unlink()

    def _read(self) -> list[tuple[str, str]] | None:
        """What the file says; None when there is none."""
        if self._path is None:
            return None
        try:
            found: Any = json.loads(self._path.read_text("utf-8"))
            whose = (found["plan"], found["region"])
        except FileNotFoundError:
            return None
        except OSError as error:
            raise self._foreign(f"it cannot be read: {error.strerror}") from error
        except (ValueError, KeyError, TypeError):
            raise self._foreign("it is not the state file of a plan") from None
        if whose != (self._name, self._region):
            raise self._foreign(f"it is the state file of {whose[0]} in {whose[1]}")
        try:
            return [(str(each["kind"]), str(each["name"])) for each in found["resources"]]
        except (KeyError, TypeError):
            return []  # ours, and damaged: tags decide in any case

    def _foreign(self, why: str) -> InvalidRequest:
        return InvalidRequest(
            f"{self._path} cannot be the state file of {self._name} in {self._region}",
            cause=f"{why}; nothing was called, and the file is left",
            cure="give --state (state=) the path of a file of its own, or of one that there is not",
        )

    def _write(self) -> None:
        if self._path is None:
            return
        content = {
            "plan": self._name,
            "region": self._region,
            "resources": [{"kind": kind, "name": name} for kind, name in self._resources],
        }
        self._path.parent.mkdir(parents=True, exist_ok=True)
        fresh = self._path.with_name(f"{self._path.name}.{os.getpid()}")
        fresh.write_text(json.dumps(content, indent=2) + "\n", "utf-8")
        fresh.replace(self._path)
