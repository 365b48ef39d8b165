"""The rows of the provisioning form: labelled controls, what is said under them, and sections.

Knows ipywidgets. Never knows what the values mean, or AWS.

Labels are the controls' own descriptions, which front ends tie to them for screen readers, and
sections open with buttons: the headers of ipywidgets' Accordion cannot be reached by keyboard.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import ipywidgets

from .parts import in_order, put, said

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

__all__ = ["Field", "Section", "control", "live", "set_value", "show"]

_LABEL = "128px"
_WIDTH = {"width": "auto", "max_width": "560px"}

Option = tuple[str, Any]


def control(kind: str, label: str, **traits: Any) -> Any:
    """A control with its label, as wide as all others.

    Args:
        kind: of ipywidgets, as in ``Dropdown``.
    """
    made = getattr(ipywidgets, kind)(
        description=label,
        style={"description_width": _LABEL},
        layout=ipywidgets.Layout(**_WIDTH),
        **traits,
    )
    if kind == "Textarea":
        made.rows = 3
    return made


class Field(ipywidgets.VBox):
    """A control and the line under it, which says what is wrong, or what there is to know.

    Attributes:
        name: of the field.
        note: what is said while nothing is wrong.
    """

    def __init__(self, name: str, made: Any, changed: Callable[[], object]) -> None:
        self.name = name
        self.note = ""
        self._problem = ""
        self._changed = changed
        self._line = ipywidgets.HTML(
            layout=ipywidgets.Layout(margin=f"-2px 2px 2px calc({_LABEL} + 10px)", display="none")
        )
        self._control: Any = None
        super().__init__(layout=ipywidgets.Layout(overflow="visible"))
        self._take(made)

    @property
    def control(self) -> Any:
        """What is typed into or chosen from at the moment."""
        return self._control

    @property
    def value(self) -> Any:
        """What stands there; of several, a tuple."""
        value = self._control.value
        several = self.name == "subnets"
        if several and isinstance(value, str):
            return tuple(part.strip() for part in value.replace(",", " ").split())
        return value

    def offer(self, options: Sequence[Option], *, several: bool = False) -> None:
        """Let the user choose from these, and keep what is chosen where it is among them."""
        kind = "SelectMultiple" if several else "Dropdown"
        chosen = self.value
        values = [value for _, value in options]
        if several:
            wanted: Any = tuple(value for value in chosen if value in values)
        else:
            wanted = chosen if chosen in values else values[0]
        if type(self._control).__name__ == kind and tuple(self._control.options) == tuple(options):
            return
        traits: dict[str, Any] = {"options": list(options), "value": wanted}
        if several:
            traits["rows"] = max(2, min(5, len(options)))
        self._replace(kind, traits)

    def suggest(self, texts: Iterable[str]) -> None:
        """Suggest these where anything may be typed."""
        options = tuple(texts)
        if tuple(self._control.options) != options:
            self._control.options = options

    def free(self, placeholder: str) -> None:
        """Let the user type, because what there is cannot be listed."""
        if isinstance(self._control, ipywidgets.Text):
            return
        value = self.value
        text = " ".join(value) if isinstance(value, tuple) else value
        self._replace("Text", {"value": text, "placeholder": placeholder})

    def say(self, problem: str) -> None:
        """Say what is wrong; empty: nothing is."""
        self._problem = problem
        text = problem or self.note
        value = said(text, "bad") if problem else said(text, small=True)
        set_value(self._line, live(value))

    @property
    def words(self) -> str:
        """What is said under it."""
        return self._problem or self.note

    def _replace(self, kind: str, traits: dict[str, Any]) -> None:
        old = self._control
        traits["disabled"] = old.disabled
        self._take(control(kind, old.description, **traits))
        old.unobserve_all()
        old.close()

    def _take(self, made: Any) -> None:
        self._control = made
        self.children = (made, self._line)
        in_order(made)
        made.observe(lambda _: self._changed(), "value")


class Section(ipywidgets.VBox):
    """Fields under a heading that folds them.

    Args:
        is_open: whether they are shown at first.
    """

    def __init__(self, title: str, fields: Sequence[Field], *, is_open: bool = False) -> None:
        self.title = title
        self.fields = tuple(fields)
        self._is_open = is_open
        self._summary = ""
        self._head = ipywidgets.Button(
            layout=ipywidgets.Layout(
                width="auto", display="flex", justify_content="flex-start", padding="0 8px"
            )
        )
        self._head.on_click(lambda _: self.unfold(not self._is_open))
        self._body = ipywidgets.VBox(
            self.fields, layout=ipywidgets.Layout(padding="4px 0 6px", overflow="visible")
        )
        super().__init__(
            (self._head, self._body), layout=ipywidgets.Layout(overflow="visible", flex="0 0 auto")
        )
        self._show()

    @property
    def head(self) -> Any:
        """The button that folds it."""
        return self._head

    @property
    def is_open(self) -> bool:
        """Whether its fields are shown."""
        return self._is_open

    def unfold(self, is_open: bool = True) -> None:
        """Show its fields, or fold them."""
        self._is_open = is_open
        self._show()

    def say(self, summary: str) -> None:
        """What stands in its fields, for when they are folded."""
        self._summary = summary
        self._show()

    def _show(self) -> None:
        show(self._body, self._is_open)
        mark = "▾" if self._is_open else "▸"
        text = f"{mark} {self.title}"
        if self._summary and not self._is_open:
            text += f":  {self._summary}"
        if self._head.description != text:
            self._head.description = text
            self._head.tooltip = f"{'Fold' if self._is_open else 'Open'} {self.title}"


def show(widget: Any, there: bool) -> None:
    """Show a widget, or leave no trace of it."""
    display = None if there else "none"
    if widget.layout.display != display:
        widget.layout.display = display


def set_value(widget: Any, value: str) -> None:
    """Replace what stands there, and take no room for nothing."""
    put(widget, value)
    show(widget, bool(value))


def live(markup: str) -> str:
    """Markup that screen readers tell when it changes."""
    return f'<div role="status">{markup}</div>' if markup else ""
