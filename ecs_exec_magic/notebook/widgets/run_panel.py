"""The run panel: one command at a time in the notebook's target, with its output below.

Knows controls and one job. Never knows how commands run, nor how a target is chosen.
"""

from __future__ import annotations

import contextlib
import html
import threading
from typing import TYPE_CHECKING, Any

import ipywidgets

from ...cleaning import without_colours
from ...errors import EcsExecError
from ...masking import MARK, Masker
from ...results import CommandResult
from ...views import short_address
from ..display import Screen
from ..runs import Order, Runs
from .enter import Enter
from .parts import Panel, copy_line, failure, put, said, workspace_here
from .repeat import exec_line, lasting_address
from .work import Worker

if TYPE_CHECKING:
    from ..display import Fold
    from ..jobs import BackgroundJob
    from ..workspace import Workspace

__all__ = ["RunPanel"]

SHOWN_CHARS = 32 * 1024
"""Characters of each stream shown as they come; all of them go to the front end at each change."""

_EVERY = 0.5
_READ = 400  # of the newest records
_REMEMBERED = 30
_RECALL = 0.3  # seconds to wait for them before the panel is shown; later ones come with a run
_NAMED = {"description_width": "initial"}


class RunPanel(Panel):
    """A field for a command, and what it says.

    The command runs in the background, as with ``--bg``: cells can run meanwhile, ``%ecs_jobs``
    lists it, and the record of runs keeps it.

    Args:
        workspace: of the notebook's magics; None: of those that are loaded.

    Attributes:
        result: of the last command that has ended: a CommandResult, a FleetResult, or None.
        line: the cell that does the same as the last command.
    """

    def __init__(self, workspace: Workspace | None = None) -> None:
        self._space = workspace or workspace_here()
        self._runs = Runs(self._space)
        self._lock = threading.RLock()
        self._busy = self._stopping = self._closed = False
        self._job: BackgroundJob | None = None
        self._pieces: list[str] = []
        self._at_line_start = True
        self.result: Any = None
        self.line = ""
        self._field = ipywidgets.Combobox(
            description="Command",
            placeholder="as in: tail -n 50 /var/log/app.log",
            # Leaving the field, for the button, sends all of it. What is typed until then is in
            # the page alone, and any other change of this control would wipe it out.
            continuous_update=False,
            ensure_option=False,
            layout=ipywidgets.Layout(flex="1 1 auto", width="auto"),
            style=_NAMED,
        )
        self._field.add_class("ecs-code")
        self._button = ipywidgets.Button(layout=ipywidgets.Layout(width="110px"))
        self._output, self._outcome, self._repeat = (ipywidgets.HTML() for _ in range(3))
        row = ipywidgets.HBox(
            [self._field, self._button],
            layout=ipywidgets.Layout(align_items="center", width="100%"),
        )
        super().__init__(
            [row, self._outcome, self._output, self._repeat],
            layout=ipywidgets.Layout(max_width="1000px", width="100%"),
        )
        self._worker = Worker("ecs-exec-panel")
        self._memory = Worker("ecs-exec-panel-memory")
        self._known: tuple[str, ...] = ()  # commands to offer, the newest first
        self._button.on_click(self._clicked)
        self._enter = Enter(self._field, self.run)
        self._space.settings.observe(self._target_changed, "target")
        self._space.keep(self)
        self._show_button()
        self._memory.ask(self._recall)
        self._memory.idle(_RECALL)
        self._offer()

    # -- for Python ------------------------------------------------------------------------------

    def run(self, command: str) -> None:
        """Run a command, as if it had been typed; does nothing while another one runs."""
        self._field.value = command
        with self._lock:
            if self._busy or self._closed or not command.strip():
                return
            self._busy, self._stopping = True, False
            self._pieces, self._at_line_start = [], True
            order = self._order(command.strip())
            self._put(self._outcome, said("starting…", small=True))
            self._put(self._output, "")
            self._put(self._repeat, "")
            self._show_button()
            self._remember(self._space.masked(order.command))
            self._offer()  # the one moment at which the page has sent what is in the field
        self._worker.ask(lambda: self._work(order))

    def stop(self) -> None:
        """End the command that runs: SIGTERM, and after 3 s the end of its session."""
        with self._lock:
            self._stopping, job = True, self._job
            self._show_button()
        if job is not None:
            job.cancel()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until nothing runs; return whether that has come."""
        return self._worker.idle(timeout)

    def text(self) -> str:
        where = str(self._space.choice) or "no target yet"
        return f"a field for a command in {where}; %ecs_exec COMMAND does the same"

    def close(self) -> None:
        """Take it away; a command that runs goes on, and %ecs_jobs has it."""
        self._closed = True
        self._worker.close()
        self._memory.close()
        with contextlib.suppress(ValueError):  # it was closed before
            self._space.settings.unobserve(self._target_changed, "target")
        super().close()

    # -- what the user does ----------------------------------------------------------------------

    def _clicked(self, _: Any) -> None:
        if self._busy:
            self.stop()
        else:
            self._enter.press()

    def _target_changed(self, _: Any) -> None:
        self._show_button()

    def show_target(self) -> None:
        """What is picked has changed."""
        self._show_button()

    # -- running, in the worker's thread ---------------------------------------------------------

    def _order(self, command: str) -> Order:
        many = bool(self._space.picked)
        # The button has said in how many: that is the confirmation.
        values = {"all": many, "yes": many, "bridge": "thread"}
        return Order(command, None, values, {}, raises=False, quiet=True)

    def _work(self, order: Order) -> None:
        address = str(self._space.choice)
        try:
            job = self._runs.start(order)
        except EcsExecError as error:
            self._put(self._outcome, failure(error, self._space.masked))
            self._ended()
            return
        with self._lock:
            self._job = job
            stopping = self._stopping
        if stopping:
            job.cancel()
        self._put(self._outcome, said(f"● running in {short_address(job.where)}", small=True))
        try:
            if order.many:
                self._watch_many(job)
            else:
                self._watch_one(job)
            self._show_end(job, order, address)
        finally:
            self._ended()

    def _watch_one(self, job: BackgroundJob) -> None:
        space = self._space
        screen = Screen(
            limit=SHOWN_CHARS,
            lines=space.settings.fold_lines,
            masker=Masker if space.settings.mask else None,
            on_fold=self._folded,
            write=self._written,
        )
        job.follow(screen.output, screen.tick)
        screen.close()

    def _watch_many(self, job: BackgroundJob) -> None:
        shown = -1
        while not job.wait(_EVERY):
            so_far = job.so_far()
            if len(so_far) != shown:
                shown = len(so_far)
                self._put(self._output, so_far._html())

    def _written(self, name: str, text: str) -> None:
        text = without_colours(text)
        if name != "stderr":
            self._pieces.append(html.escape(text))
        elif self._at_line_start and text.endswith("\n"):
            whole = html.escape(text[:-1])  # a block ends its line by itself
            self._pieces.append(f'<span class="ecs-stderr ecs-whole" title="stderr">{whole}</span>')
        else:
            part = html.escape(text)
            self._pieces.append(f'<span class="ecs-stderr" title="stderr">{part}</span>')
        self._at_line_start = text.endswith("\n")
        self._show_output()

    def _folded(self, fold: Fold) -> None:
        self._pieces.append(f'<span style="opacity:.7">… {html.escape(str(fold))} …</span>\n')
        self._show_output()

    def _show_output(self) -> None:
        text = "".join(self._pieces)
        self._put(self._output, f'<div class="ecs-output" tabindex="0"><pre>{text}</pre></div>')

    def _show_end(self, job: BackgroundJob, order: Order, address: str) -> None:
        result, error = job.so_far(), job.exception()
        self.result = result
        if error is not None and not (isinstance(result, CommandResult) and result.timed_out):
            wrong = error if isinstance(error, EcsExecError) else EcsExecError(str(error))
            self._put(self._outcome, failure(wrong, self._space.masked))
        elif order.many:
            self._put(self._outcome, "")
            self._put(self._output, result._html())
        else:
            self._put(self._outcome, result._repr_mimebundle_()["text/html"])
        self._show_line(order, address, result)

    def _show_line(self, order: Order, address: str, result: Any) -> None:
        outcomes = result.results.values() if order.many else [result]
        targets = [each.target for each in outcomes if each is not None and each.target]
        lasting = lasting_address(targets) if targets else ""
        self.line = exec_line(order.command, lasting or address, many=order.many)
        note = ""
        if order.many and lasting:
            note = "in every running container of that name"
        elif order.many:
            note = "in what is picked then"
        elif lasting and lasting != address:
            note = "in the task that has run longest then"
        self._put(self._repeat, copy_line(self._space.masked(self.line), note))

    def _ended(self) -> None:
        with self._lock:
            self._busy, self._stopping, self._job = False, False, None
            self._show_button()

    # -- showing ---------------------------------------------------------------------------------

    def _show_button(self) -> None:
        with self._lock:
            picked = len(self._space.picked)
            if self._stopping and self._busy:
                text, tip, tone = "Stopping…", "It is being ended", "warning"
            elif self._busy:
                text, tip, tone = "Stop", "End the command", "danger"
            else:
                text = f"Run in {picked}" if picked else "Run"
                where = f"{picked} containers" if picked else str(self._space.choice)
                tip, tone = f"Run the command in {where or 'the target'}", "primary"
            self._button.description, self._button.tooltip = text, tip
            self._button.button_style = tone
            self._button.icon = "stop" if self._busy else "play"
            self._button.disabled = self._busy and self._stopping

    def _put(self, place: Any, markup: str) -> None:
        if not self._closed:
            put(place, markup)

    # -- commands of before ----------------------------------------------------------------------

    def _recall(self) -> None:
        journal = self._space.journal()
        records = journal.read()[-_READ:] if journal is not None else []
        self._remember(
            *(
                record.command
                for record in reversed(records)
                if record.kind in ("exec", "fleet") and isinstance(record.command, str)
            )
        )

    def _remember(self, *commands: str) -> None:
        """Have these offered before the others, the newest first."""
        fit = [each for each in commands if "\n" not in each and MARK not in each]
        with self._lock:
            self._known = tuple(dict.fromkeys([*fit, *self._known]))[:_REMEMBERED]

    def _offer(self) -> None:
        with self._lock:
            if self._field.options != self._known:
                self._field.options = self._known
