"""``Terminal``: an interactive session in a cell.

Knows the messages between the kernel and the views in the page. Never knows AWS or control
sequences.

A view says ``hello`` and gets a replay; then every view gets ``output`` as it comes, and says with
``ack`` up to where it has shown it. ``keys``, ``size``, ``close``, ``again`` and ``bye`` say the
rest. Bytes are buffers of these messages; what is shown around the screen is the trait ``status``.
The session begins with the first view: only then its size is known, and a front end that shows no
widgets opens none.
"""

from __future__ import annotations

import atexit
import threading
import weakref
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anywidget
import traitlets
from IPython.display import publish_display_data

from ...address import ContainerRef
from ...errors import EcsExecError, InvalidRequest
from ...results import one_line
from ...views import short_address
from ..keeping import Kept
from ..runs import Order
from .feed import Feed
from .parts import VIEW, in_order, workspace_here
from .session import Place, Session

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..workspace import Workspace

__all__ = ["Terminal"]

_publish: Any = publish_display_data  # untyped

_STATIC = Path(__file__).parent / "static"
_MOST = (1000, 1000)  # columns and rows that a page can ask for
_LAST_WORDS = 3.0

_open: weakref.WeakSet[Terminal] = weakref.WeakSet()


class Terminal(anywidget.AnyWidget):
    """A terminal in a container, in a cell: ``Terminal("prod/web:nginx")``.

    Args:
        target: a Target or an address; None for the target of the notebook.
        script: run by the program in place of being interactive; empty for none.
        shell: the program.
        rows: height of the screen; it can be dragged.

    Raises:
        InvalidRequest: no target is set, or the magics are not loaded and ``target`` is no Target.
    """

    _esm = _STATIC / "terminal.mjs"
    _css = _STATIC / "terminal.css"

    rows = traitlets.Int(24).tag(sync=True)
    owner = traitlets.Unicode("").tag(sync=True)
    status = traitlets.Dict().tag(sync=True)

    def __init__(
        self,
        target: Any = None,
        script: str = "",
        *,
        shell: str = "/bin/sh",
        rows: int = 24,
        values: Mapping[str, Any] | None = None,
        workspace: Workspace | None = None,
    ) -> None:
        if workspace is None and not isinstance(target, ContainerRef):
            workspace = workspace_here()
        given = dict(values or {})
        if target is not None:
            given["target"] = str(target)
        self._place = _place(workspace, target, given, shell, script)
        self._feed = Feed()
        self._session: Session | None = None
        self._mask = workspace.masked if workspace is not None else str
        # Messages come in the thread that runs cells or in a subshell's, output in the session's.
        self._lock = threading.RLock()
        address = str(target) if workspace is None else str(workspace.choice.overridden(given))
        self._status: dict[str, Any] = {
            "state": "new",
            "lines": [],
            "where": short_address(address),
            "address": address,
            "program": one_line(self._mask(script or shell)),
        }
        super().__init__(rows=rows, status=dict(self._status))
        self.on_msg(self._received)
        in_order(self)
        if workspace is not None:
            workspace.keep(self)

    # -- for Python ------------------------------------------------------------------------------

    @property
    def state(self) -> str:
        """``new`` (nobody has looked yet), ``connecting``, ``open``, ``ended``, ``lost``,
        ``failed`` or ``closed``."""
        return str(self._status["state"])

    def text(self) -> str:
        """What it is, for front ends that show no widgets."""
        where = f" in {self._status['where']}" if self._status["where"] else ""
        return (
            f"A terminal{where} ({self._status['program']}). This front end does not show it: "
            "write the commands into a cell that begins with %%ecs_shell."
        )

    def end(self) -> None:
        """End the session for good; what it has shown stays."""
        with self._lock:
            session, self._session = self._session, None
            self._tell(None, "closed", None)
        if session is not None:
            session.close()

    def close(self) -> None:
        """End the session and take the widget away."""
        if self.comm is not None:  # it is not closed yet, and its constructor had not failed
            self.end()
        super().close()

    def _ipython_display_(self, **_: Any) -> None:
        view = {"version_major": 2, "version_minor": 0, "model_id": self.model_id}
        _publish({"text/plain": self.text(), VIEW: view})

    # -- messages of the views -------------------------------------------------------------------

    def _received(self, _: Any, content: Any, buffers: Any) -> None:
        handler = self._handlers.get(str(content.get("kind")))
        if handler is not None:
            with self._lock:
                handler(self, content, buffers)

    def _hello(self, content: Mapping[str, Any], _: Any) -> None:
        view, position = str(content.get("view")), content.get("from")
        if position is None:
            self.owner = view
            self._resized(content)
        if self.state == "new":
            self._begin(content)
        replay = self._feed.replay(position)
        self.send(
            {"kind": "replay", "view": view, "at": replay.at, "clear": replay.clear},
            [replay.before, replay.data],
        )
        if replay.redraw and self._session is not None:
            self._session.redraw()

    def _ack(self, content: Mapping[str, Any], _: Any) -> None:
        freed = self._feed.shown(int(content["at"]))
        if freed and self._session is not None:
            self._session.taken(freed)

    def _keys(self, content: Mapping[str, Any], buffers: Any) -> None:
        if self._session is not None:
            for each in buffers:
                self._session.write(bytes(each))

    def _size(self, content: Mapping[str, Any], _: Any) -> None:
        self.owner = str(content.get("view"))
        self._resized(content)

    def _bye(self, content: Mapping[str, Any], _: Any) -> None:
        if self.owner == content.get("view"):
            self.owner = ""

    def _close(self, content: Mapping[str, Any], _: Any) -> None:
        if self._session is not None:
            self._session.close()

    def _again(self, content: Mapping[str, Any], _: Any) -> None:
        if self.state in ("ended", "lost", "failed"):
            at, data = self._feed.begin(b"\r\n" if self._feed.end else b"")
            self.send({"kind": "output", "at": at}, [data])
            self._begin(content)

    _handlers = {  # noqa: RUF012 - never changed
        "hello": _hello,
        "ack": _ack,
        "keys": _keys,
        "size": _size,
        "bye": _bye,
        "close": _close,
        "again": _again,
    }

    def _resized(self, content: Mapping[str, Any]) -> None:
        if self._session is not None:
            self._session.resize(*_size_of(content))

    # -- the session -----------------------------------------------------------------------------

    def _begin(self, content: Mapping[str, Any]) -> None:
        def show(data: bytes) -> None:
            with self._lock:
                at = self._feed.put(data)
                self.send({"kind": "output", "at": at}, [data])

        def tell(state: str, said: EcsExecError | str | None) -> None:
            with self._lock:
                self._tell(session, state, said)

        def found(target: Any) -> None:
            with self._lock:
                address = str(target)
                self._status.update(address=address, where=short_address(address))

        session = self._session = Session(self._place, show, tell, found)
        self._tell(session, "connecting", None)
        if not _open:
            atexit.register(_end_all)
        _open.add(self)
        session.start(*_size_of(content))

    def _tell(self, session: Session | None, state: str, said: EcsExecError | str | None) -> None:
        if session is not self._session and session is not None:
            return  # of one that was given up
        told = [str(said)] if said else []
        if isinstance(said, EcsExecError):
            told += [said.cause] if said.cause else []
            told += [f"→ {said.cure}"] if said.cure else []
        self._status.update(state=state, lines=[self._mask(line) for line in told])
        self.status = dict(self._status)


def _place(
    workspace: Workspace | None, target: Any, values: Mapping[str, Any], shell: str, script: str
) -> Place:
    def resolve() -> Any:
        return target

    if not isinstance(target, ContainerRef) and workspace is not None:
        resolve = workspace.resolver(values, bridge="thread")
    if not shell.strip():
        raise InvalidRequest("shell= names no program")

    def keep() -> Kept | None:
        if workspace is None:
            return None
        return Kept(workspace, Order(script or shell, shell, values, {}), kind="terminal")

    return Place(resolve, keep, shell, script)


def _size_of(content: Mapping[str, Any]) -> tuple[int, int]:
    columns, rows = int(content.get("columns", 80)), int(content.get("rows", 24))
    return min(max(columns, 1), _MOST[0]), min(max(rows, 1), _MOST[1])


def _end_all() -> None:
    """The process ends: AWS hears of it, and the record, too."""
    sessions = [each._session for each in list(_open) if each._session is not None]
    for session in sessions:
        session.close()
    for session in sessions:
        session.join(_LAST_WORDS)
