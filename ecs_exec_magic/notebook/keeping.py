"""What a line leaves in the record of runs.

Knows the journal, and what the notebook says of itself. Never knows screens or how commands run.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..errors import EcsExecError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..journal import Entry
    from .runs import Order
    from .workspace import Workspace

__all__ = ["Kept"]

_IDENTITY_WAIT = 2.0
"""Seconds that the end of a foreground run may wait for the user's identity, the first time."""


class Kept:
    """The record of one line: of its run, or of its runs in several containers.

    Attributes:
        notices: what went wrong with recording, to be told to the user.
    """

    def __init__(self, workspace: Workspace, order: Order, *, kind: str = "") -> None:
        self.notices: list[str] = []
        self._workspace = workspace
        self._order = order
        self._kind = kind or ("exec" if order.shell is None else "shell")
        self._journal = workspace.journal()
        self._entries: dict[str, Entry] = {}
        self._target: Any = None
        self._client: Any = None
        if not order.many:
            self._begin("")

    def found(self, target: Any) -> None:
        """The container was found."""
        self._target = target

    def found_many(self, targets: Sequence[Any]) -> None:
        """The containers were found: each has a run of its own."""
        for target in targets:
            self._begin(target.address, target)

    def ended(self, address: str, outcome: Any, *, wait: float = _IDENTITY_WAIT) -> None:
        """The run in one of several containers has ended with a result or an error."""
        failed = isinstance(outcome, EcsExecError)
        self._finish(address, None if failed else outcome, outcome if failed else None, wait)

    def finish(
        self, result: Any, error: BaseException | None, *, wait: float = _IDENTITY_WAIT
    ) -> None:
        """The line is done; ``wait`` is for the user's identity, in seconds."""
        if self._order.many:
            if not self._entries and error is not None:
                self._begin("")  # it did not come to a container
            for address in list(self._entries):
                self._finish(address, None, error, wait)
        else:
            self._finish("", result, error, wait)

    def _begin(self, address: str, target: Any = None) -> None:
        if self._journal is None:
            return
        order, space = self._order, self._workspace
        first = next(iter(self._entries.values()), None)
        entry = self._journal.begin(
            "fleet" if order.many and target is None else self._kind,
            order.command,
            target=getattr(target, "ref", target),
            address=str(space.choice.overridden(order.values)),
            interpreter=order.shell or "",
            identity=self._identity(0.0),
            notebook=space.notebook,
            group=first.id if first is not None else "",
        )
        self._entries[address] = entry
        if entry.notice:
            self.notices.append(entry.notice)

    def _finish(self, address: str, result: Any, error: BaseException | None, wait: float) -> None:
        entry = self._entries.get(address)
        if entry is None:
            return
        target = None if self._target is None else getattr(self._target, "ref", self._target)
        notice = entry.finish(result, error, target=target, identity=self._identity(wait))
        if notice:
            self.notices.append(notice)

    def _identity(self, wait: float) -> str:
        try:
            if self._client is None:
                self._client = self._workspace.client_of(self._order.values)
            return str(self._client.caller(wait))
        except EcsExecError:
            return ""  # no region or profile: the run itself says so
