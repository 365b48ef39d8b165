"""The buttons of the provisioning form, and the question before anything is deleted.

Knows ipywidgets. Never knows plans; what a click does is told to it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import ipywidgets

from ...tables import escaped
from .form_rows import show
from .parts import said
from .plan_view import count_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["Actions"]

_WRAPPING = {"flex_flow": "row wrap", "align_items": "center", "overflow": "visible"}


class Actions(ipywidgets.VBox):
    """Buttons: apply, plan again, clean up; the last one asks.

    Args:
        lock: held while a click is handled, in whichever thread that comes.
        delete: called with whether the bucket is to be emptied.

    Attributes:
        asking: whether the question stands there.
    """

    def __init__(
        self,
        lock: Any,
        *,
        apply: Callable[[], object],
        again: Callable[[], object],
        clean: Callable[[], object],
        delete: Callable[[bool], object],
    ) -> None:
        self._lock = lock
        self.asking = False
        self.apply = self._button("Apply", apply, "primary")
        self.again = self._button("Plan again", again)
        self.clean = self._button("Clean up…", clean)
        self.delete = self._button("Delete", lambda: self._confirmed(delete), "danger")
        self.spare = self._button("Keep everything", self._spare)
        self.empty = ipywidgets.Checkbox(
            description="Delete the objects in the bucket, too",
            indent=False,
            layout=ipywidgets.Layout(width="auto"),
        )
        self.why = ipywidgets.HTML(layout=ipywidgets.Layout(margin="0 0 0 6px"))
        self.question = ipywidgets.HTML()
        self._box = ipywidgets.VBox(
            (
                self.question,
                self.empty,
                ipywidgets.HBox((self.delete, self.spare), layout=ipywidgets.Layout(**_WRAPPING)),
            ),
            layout=ipywidgets.Layout(
                display="none",
                border="1px solid rgba(128,128,128,.4)",
                padding="6px 10px",
                margin="6px 2px",
                overflow="visible",
            ),
        )
        row = ipywidgets.HBox(
            (self.apply, self.again, self.clean, self.why),
            layout=ipywidgets.Layout(margin="8px 0 0", **_WRAPPING),
        )
        super().__init__((row, self._box), layout=ipywidgets.Layout(overflow="visible"))

    def update(self, label: str, *, why: str, apply: bool, again: bool, clean: bool | None) -> None:
        """Show what can be clicked.

        Args:
            label: of the first button.
            why: it cannot be clicked.
            clean: None: there is nothing to clean up.
        """
        if self.apply.description != label:
            self.apply.description = label
        self.apply.disabled = not apply
        self.again.disabled = not again
        self.clean.disabled = not clean
        show(self.clean, clean is not None)
        self.why.value = said(why, small=True)

    def ask(self, name: str, things: Sequence[str], *, has_bucket: bool) -> None:
        """Ask whether these are to be deleted."""
        count = count_of(len(things), "resource")
        self.question.value = (
            f"<div role='alert' style='line-height:1.45'>This deletes <b>{count}</b> of "
            f"<b>{escaped(name)}</b>, for good: "
            f"<span style='overflow-wrap:anywhere'>{escaped(', '.join(things))}</span>.</div>"
        )
        self.delete.description = f"Delete {count}"
        self.empty.value = False
        show(self.empty, has_bucket)
        self._ask(True)
        _focus(self.spare)  # Enter, pressed once too often, deletes nothing

    def dismiss(self) -> None:
        """Take the question back."""
        self._ask(False)

    def _ask(self, asking: bool) -> None:
        self.asking = asking
        show(self._box, asking)

    def _spare(self) -> None:
        self._ask(False)
        _focus(self.clean)

    def _confirmed(self, delete: Callable[[bool], object]) -> None:
        if self.asking:
            self._ask(False)
            delete(bool(self.empty.value))

    def _button(self, label: str, clicked: Callable[[], object], style: str = "") -> Any:
        def handle(_: object) -> None:
            with self._lock:
                clicked()

        button = ipywidgets.Button(
            description=label,
            button_style=style,
            layout=ipywidgets.Layout(width="auto", padding="0 12px"),
        )
        button.on_click(handle)
        return button


def _focus(widget: Any) -> None:
    """Put the keyboard there; ipywidgets 7 cannot."""
    focus = getattr(widget, "focus", None)
    if focus is not None:
        focus()
