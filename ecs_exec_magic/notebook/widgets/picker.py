"""The task picker: type, choose a container, and it is the notebook's target.

Knows controls, and what a choice means for the notebook. Never knows how tasks are listed.
"""

from __future__ import annotations

import contextlib
import threading
import time
from typing import TYPE_CHECKING, Any

import ipywidgets

from ...errors import EcsExecError
from ...views import short_address
from ..listing import Tasks
from .enter import Enter
from .parts import Panel, failure, put, said, workspace_here
from .rows import Rows, labels
from .run_panel import RunPanel
from .work import Beat, Worker

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from ..workspace import Workspace
    from .rows import PickRow

__all__ = ["TaskPicker"]

SHOWN = 200
"""Rows that the list shows; typing brings up the others."""

_EVERY = 5.0
_SHARE = 10.0  # a listing that takes a second is repeated every ten: AWS limits how often one asks
_PATIENCE = 600.0
_SETTLING = 0.4
_FIRST_LOOK = 1.0
_ALL, _NONE = "all services", "without a service"
_NOTHING = ("—", "")
_RECENT = 10
_READ = 400  # of the newest records


class TaskPicker(Panel):
    """A list of containers to choose from; a choice is this notebook's target at once.

    Args:
        workspace: of the notebook's magics; None: of those that are loaded.
        cluster: shown first; empty: the one of the notebook's target or settings, or the first.
        service: shown first; empty: all of them.
        run: with a field for commands.

    Attributes:
        value: addresses of what is chosen.
        panel: the field for commands; None without one.
    """

    def __init__(
        self,
        workspace: Workspace | None = None,
        *,
        cluster: str = "",
        service: str = "",
        run: bool = True,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._space = workspace or workspace_here()
        self._clock = clock
        self._lock = threading.RLock()
        self._unasked = False  # values are being changed without a user; only with the lock
        self._rows = Rows()
        self._shown: tuple[PickRow, ...] = ()
        self._rebuilt = self._took = 0.0
        self._listed = False
        self._clusters: list[str] = []
        self._service = service
        self._note = ""
        self.value: tuple[str, ...] = ()
        self._worker = Worker("ecs-exec-picker")
        self._beat = Beat(
            "ecs-exec-picker-beat",
            lambda: self._worker.ask(self._list_again),
            lambda: max(_EVERY, _SHARE * self._took),
            patience=_PATIENCE,
        )
        self._make_controls(cluster or self._space.cluster or "")
        top = ipywidgets.HBox(
            [self._cluster_menu, self._service_menu, self._filter, self._again],
            layout=ipywidgets.Layout(flex_flow="row wrap", align_items="center", width="100%"),
        )
        foot = ipywidgets.HBox(
            [self._count, self._recent],
            layout=ipywidgets.Layout(
                flex_flow="row wrap", align_items="center", justify_content="space-between"
            ),
        )
        self.panel = RunPanel(self._space) if run else None
        below = [] if self.panel is None else [self.panel]
        super().__init__(
            [top, self._box, foot, self._status, *below],
            layout=ipywidgets.Layout(max_width="1000px", width="100%"),
        )
        self._space.settings.observe(self._target_changed, "target")
        self._space.keep(self)
        self._tell_target()
        self._beat.touch()
        self._worker.ask(self._list_first)

    def _make_controls(self, cluster: str) -> None:
        menu = ipywidgets.Layout(width="230px")
        named = {"description_width": "initial"}
        self._cluster_menu = ipywidgets.Dropdown(
            description="Cluster",
            options=[cluster] if cluster else [],
            value=cluster or None,
            layout=menu,
            style=named,
        )
        self._service_menu = ipywidgets.Dropdown(
            description="Service", options=[_ALL], value=_ALL, layout=menu, style=named
        )
        self._filter = ipywidgets.Text(
            description="Filter",
            placeholder="service, task id, container, zone, tag",
            continuous_update=True,
            layout=ipywidgets.Layout(flex="1 1 260px", width="auto", min_width="220px"),
            style=named,
        )
        self._again = ipywidgets.Button(
            description="Refresh",
            tooltip="List the tasks again",
            layout=ipywidgets.Layout(width="84px"),
        )
        self._box = ipywidgets.SelectMultiple(
            rows=8, layout=ipywidgets.Layout(width="auto", margin="2px")
        )
        self._box.add_class("ecs-list")
        self._recent = ipywidgets.Dropdown(
            description="Recent",
            options=[_NOTHING],
            value="",
            # Hidden, it keeps its place: nothing below moves under the mouse when it comes.
            layout=ipywidgets.Layout(width="320px", visibility="hidden"),
            style=named,
        )
        self._count = ipywidgets.HTML(said("listing…", small=True))
        self._status = ipywidgets.HTML()
        self._cluster_menu.observe(self._by_user(self._cluster_changed), "value")
        self._service_menu.observe(self._by_user(self._narrowed), "value")
        self._filter.observe(self._by_user(self._narrowed), "value")
        Enter(self._filter, self._entered)  # behind the line above: it sees the narrowed list
        self._again.on_click(lambda _: self._refresh())
        self._box.observe(self._by_user(self._chosen), "value")
        self._recent.observe(self._by_user(self._recalled), "value")

    # -- for Python ------------------------------------------------------------------------------

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until nothing is being looked up; return whether that has come."""
        return self._worker.idle(timeout)

    def text(self) -> str:
        self.wait(_FIRST_LOOK)
        with self._lock:
            cluster = self._cluster_menu.value or "?"
            if self._listed:
                lines = [Tasks(self._rows.tasks, cluster, at=self._rows.at).table().text()]
            else:
                lines = [f"the tasks of cluster {cluster} are being listed"]
            return "\n".join([*lines, "", self._target_text()[0]])

    def rest(self) -> None:
        """List no more until somebody uses it."""
        self._beat.rest()

    def close(self) -> None:
        """Take it away, and look at nothing any more."""
        self._beat.close()
        self._worker.close()
        with contextlib.suppress(ValueError):  # it was closed before
            self._space.settings.unobserve(self._target_changed, "target")
        if self.panel is not None:
            self.panel.close()
        super().close()

    # -- looking up, in the worker's thread ------------------------------------------------------

    def _client(self) -> Any:
        space = self._space
        return space.client(space.key({"cluster": None, "bridge": "thread"})).unattended()

    def _list_first(self) -> None:
        try:
            client = self._client()
            names = client.cluster_names()
        except EcsExecError as error:
            if not self._cluster_menu.value:
                self._failed(error)
                return
            names = []  # who may not list clusters may know one
        with self._lock, self._setting():
            now = self._cluster_menu.value
            menu = sorted({*names, *([now] if now else [])})
            self._clusters = menu
            self._cluster_menu.options = menu
            self._cluster_menu.value = now or (menu[0] if menu else None)
        if menu:
            self._list(fresh=True)
        else:
            self._tell_count("there is no cluster in this region")
        self._recall()

    def _list_again(self) -> None:
        self._list(fresh=False)

    def _list(self, *, fresh: bool) -> None:
        cluster = self._cluster_menu.value
        if not cluster:
            return
        began = self._clock()
        try:
            tasks = self._client().tasks(cluster, tags=True)
        except EcsExecError as error:
            self._failed(error)
            return
        self._took = self._clock() - began
        rows = Rows(tasks)
        with self._lock:
            if cluster != self._cluster_menu.value:
                return  # another one was chosen meanwhile, and is next
            self._rows, self._listed = rows, True
            self._fill_services()
            self._show(fresh=fresh)
            if self._note:
                self._note = ""
                self._tell_target()

    def _failed(self, error: EcsExecError) -> None:
        with self._lock:
            self._note = failure(error, self._space.masked)
            self._tell_target()
            if not self._listed:
                self._tell_count("")

    def _recall(self) -> None:
        """Fill the menu of recent targets from the record of runs."""
        journal = self._space.journal()
        records = journal.read()[-_READ:] if journal is not None else []
        asked = [r.address or (r.target.address if r.target else "") for r in reversed(records)]
        self._remember(*(address for address in asked if "," not in address and " " not in address))

    def _look_up(self, address: str) -> None:
        """Make a target of what was used before, if it is still there."""
        try:
            found = self._client().target(address)
        except EcsExecError as error:
            self._failed(error)
            return
        with self._lock:
            self._note = said(found.note, small=True) if getattr(found, "note", "") else ""
            self._pick([address])

    # -- showing ---------------------------------------------------------------------------------

    def _fill_services(self) -> None:
        names = [_NONE if name == "" else name for name in self._rows.services]
        now = self._service or self._service_menu.value
        # The one that is chosen stays, even while nothing of it runs.
        options = [_ALL, *names, *([now] if now not in (*names, _ALL) else [])]
        with self._setting():
            if tuple(options) != tuple(self._service_menu.options):
                self._service_menu.options = options
            self._service_menu.value, self._service = now, ""

    def _show(self, *, fresh: bool) -> None:
        """Show the rows that fit.

        Args:
            fresh: in their own order. Otherwise each row stays at its place: what a front end
                tells of a choice is only a place in the list.
        """
        service = self._service_menu.value
        chosen = None if service == _ALL else "" if service == _NONE else service
        found = self._rows.find(self._filter.value, service=chosen, limit=SHOWN)
        rows = found.rows if fresh else self._in_place(found.rows)
        options = list(zip(labels(rows), (row.address for row in rows), strict=True))
        self._shown = rows
        before = list(self._box.options)
        if options != before:
            if [address for _, address in before] != [row.address for row in rows[: len(before)]]:
                self._rebuilt = self._clock()  # places have another meaning from now on
            there = {row.address for row in rows}
            with self._setting(), self._box.hold_sync():
                self._box.options = options
                self._box.value = [each for each in self.value if each in there]
        self._tell_count(self._counted(found.count))

    def _in_place(self, new: Sequence[PickRow]) -> tuple[PickRow, ...]:
        now = {row.address: row for row in new}
        kept = [
            now.get(row.address) or self._rows.get(row.address) or self._rows.gone(row)
            for row in self._shown
        ]
        for row in kept:
            now.pop(row.address, None)
        return (*kept, *now.values())[:SHOWN] if len(kept) < SHOWN else tuple(kept)

    def _counted(self, count: int) -> str:
        total = len(self._rows)
        what = "container" if total == 1 else "containers"
        parts = [f"{count:,} of {total:,} {what}" if count != total else f"{total:,} {what}"]
        if count > SHOWN:
            parts.append(f"the first {SHOWN} are shown: type to narrow")
        off = sum(not row.ready for row in self._shown)
        if off:
            parts.append(f"{off} not ready")
        parts.append(f"{self._rows.at:%H:%M:%S} UTC" + ("" if self._beat.beating else ", paused"))
        return " · ".join(parts)

    def _tell_count(self, text: str) -> None:
        put(self._count, said(text, small=True))

    def _target_text(self) -> tuple[str, str]:
        space = self._space
        if space.choice:
            return f"{space.choice} is this notebook's target", "good"
        if space.picked:
            text = f"{len(space.picked)} containers are picked; %ecs_exec --all runs in each"
            return text, "good"
        text = "no target yet: choose a container, or several with Ctrl or Shift; in the filter, "
        return f"{text}Enter takes the first", "plain"

    def _tell_target(self, note: str = "") -> None:
        text, tone = self._target_text()
        put(self._status, said(short_address(text), tone) + (note or self._note))

    # -- what the user does ----------------------------------------------------------------------

    @contextlib.contextmanager
    def _setting(self) -> Iterator[None]:
        """Change values without taking it for the user's doing."""
        with self._lock:
            before, self._unasked = self._unasked, True
            try:
                yield
            finally:
                self._unasked = before

    def _by_user(self, act: Callable[[Any], object]) -> Callable[[Any], None]:
        def observed(change: Any) -> None:
            with self._lock:
                if not self._unasked:
                    self._beat.touch()
                    act(change["new"])

        return observed

    def _refresh(self) -> None:
        self._beat.touch()
        self._tell_count("listing…")
        first = not self._clusters
        self._worker.ask(self._list_first if first else lambda: self._list(fresh=True))

    def _cluster_changed(self, _: Any) -> None:
        self._rows, self._listed = Rows(), False
        self._service = _ALL
        self._fill_services()
        self._show(fresh=True)
        self._refresh()

    def _narrowed(self, _: Any) -> None:
        self._show(fresh=True)

    def _chosen(self, addresses: Sequence[str]) -> None:
        if self._clock() - self._rebuilt < _SETTLING:
            # It may have been meant for the list that was there before.
            self._show_choice()
            return
        rows = {row.address: row for row in self._shown}
        chosen = [rows[address] for address in addresses if address in rows]
        ready = [row.address for row in chosen if row.ready]
        off = [row for row in chosen if not row.ready]
        self._note = ""
        if ready:
            self._pick(ready, shown=True)
        if off:
            row = off[0]
            more = f" (and {len(off) - 1} more not ready)" if len(off) > 1 else ""
            note = said(f"{short_address(row.why)}{more}", "wait")
            self._tell_target(note + said(f"→ {short_address(row.cure)}", small=True))

    def _entered(self, _: str) -> None:
        with self._lock:
            ready = next((row for row in self._shown if row.ready), None)
            if ready is not None:
                self._note = ""
                self._pick([ready.address])

    def _recalled(self, address: str) -> None:
        if address:
            self._worker.ask(lambda: self._look_up(address))
            with self._setting():
                self._recent.value = ""

    def _pick(self, addresses: Sequence[str], *, shown: bool = False) -> None:
        self.value = tuple(addresses)
        with self._setting():
            self._space.pick(self.value)
        if self.panel is not None:
            self.panel.show_target()
        self._remember(*addresses)
        if not shown:
            self._show_choice()
        self._tell_target()

    def _show_choice(self) -> None:
        there = {row.address for row in self._shown}
        with self._setting():
            self._box.value = [each for each in self.value if each in there]
            self._box.send_state("index")  # the front end may have another one

    def _remember(self, *addresses: str) -> None:
        with self._lock, self._setting():
            there = [value for _, value in self._recent.options if value]
            names = list(dict.fromkeys([*filter(None, addresses), *there]))[:_RECENT]
            options = [_NOTHING, *((short_address(name), name) for name in names)]
            if len({label for label, _ in options}) < len(options):
                options = [_NOTHING, *((name, name) for name in names)]
            self._recent.options = options
            self._recent.value = ""
            self._recent.layout.visibility = None if names else "hidden"

    def _target_changed(self, _: Any) -> None:
        # Somebody else may have set it, %ecs_target for one.
        with self._lock:
            if not self._unasked:
                self.value = ()
                self._show_choice()
                self._tell_target()
