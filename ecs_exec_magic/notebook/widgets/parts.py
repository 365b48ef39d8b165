"""What the widgets have in common: their frame, their text, and bits of markup.

Knows ipywidgets. Never knows tasks or AWS.

Only controls that ipywidgets 7 has are used, so that Colab and Databricks show them.
"""

from __future__ import annotations

import html
from typing import TYPE_CHECKING, Any

import ipywidgets
from IPython.core.getipython import get_ipython
from IPython.display import publish_display_data

from ...errors import InvalidRequest
from ...tables import escaped

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ...errors import EcsExecError
    from ..workspace import Workspace

__all__ = ["Panel", "copy_line", "failure", "in_order", "put", "said", "workspace_here"]

VIEW = "application/vnd.jupyter.widget-view+json"

_publish: Any = publish_display_data  # untyped

# Mid-tones, which stand out from white and from black alike.
# What they colour is a mark: a sentence in them would be hard to read.
_TONES = {"good": ("✓", "#2e9e5b"), "wait": ("○", "#d98a00"), "bad": ("✗", "#d64545")}


_STYLE = """
.ecs-list select, .ecs-code input, .ecs-output pre, .ecs-line code {
  font-family: var(--jp-code-font-family, ui-monospace, monospace);
  font-size: var(--jp-code-font-size, 13px);
}
.ecs-list select { line-height: 1.5; }
.ecs-panel .widget-html-content { line-height: 1.45; }
.ecs-output {
  padding: 2px 10px; margin: 2px 0; max-height: 26em; overflow: auto;
  border-left: 3px solid rgba(128,128,128,.35);
}
.ecs-output pre { margin: 0; line-height: 1.35; white-space: pre-wrap; overflow-wrap: anywhere; }
.ecs-stderr { background: rgba(214,69,69,.14); }
.ecs-whole { display: block; }
.ecs-line { display: flex; align-items: baseline; gap: 8px; flex-wrap: wrap; padding: 4px 0; }
.ecs-line code { user-select: all; white-space: pre-wrap; overflow-wrap: anywhere; }
.ecs-line button { font: inherit; font-size: 85%; line-height: 1.6; padding: 0 8px; cursor: pointer;
  color: inherit; background: transparent; border: 1px solid rgba(128,128,128,.6);
  border-radius: 3px; }
"""


class Panel(ipywidgets.VBox):
    """A widget that is text as well, for front ends that show no widgets."""

    def __init__(self, children: Sequence[Any], **more: Any) -> None:
        super().__init__([_style(), *children], **more)
        self.add_class("ecs-panel")
        in_order(self)

    def text(self) -> str:
        """What it shows, as text."""
        raise NotImplementedError

    def _ipython_display_(self, **_: Any) -> None:
        view = {"version_major": 2, "version_minor": 0, "model_id": self.model_id}
        _publish({"text/plain": self.text(), VIEW: view})


def in_order(widget: Any) -> None:
    """Have what the page sends of a widget, and of all in it, handled in the order of sending.

    Since ipykernel 7.4 a widget's messages go to the thread that has last told the page of that
    widget (``ipykernel.comm.comm.BaseComm._reply_subshell_for``): a field's text waits for the cell
    that runs, while the click on the button beside it is handled in a subshell, without the text.
    Here all go where the page has sent them: they keep their order, and wait for no cell.
    """
    if widget.comm is not None:
        widget.comm._reply_subshell_for = _as_sent
    for child in getattr(widget, "children", ()):
        in_order(child)


def _as_sent(data: object, subshell: str | None) -> str | None:
    return subshell


def said(text: str, tone: str = "plain", *, small: bool = False) -> str:
    """A sentence as markup.

    Args:
        tone: ``plain``, or ``good``, ``wait`` or ``bad``, each of which has a mark of its own.
        small: it stands back.
    """
    if not text:
        return ""
    style = "line-height:1.45" + (";opacity:.75;font-size:90%" if small else "")
    mark, colour = _TONES.get(tone, ("", ""))
    before = f'<b style="color:{colour}">{mark}</b> ' if mark else ""
    return f'<div style="{style}">{before}{escaped(text)}</div>'


def failure(error: EcsExecError, masked: Callable[[str], str]) -> str:
    """An error with its cause and cure, as markup.

    Args:
        masked: takes secrets out of a text.
    """
    cure = f"→ {error.cure}" if error.cure else ""
    return said(masked(str(error)), "bad") + "".join(
        said(masked(text), small=True) for text in (error.cause, cure)
    )


_COPY = (
    "const code=this.parentNode.querySelector('code');"
    "const done=()=>{this.textContent='Copied'};"
    # A page that did not come over HTTPS has no clipboard but the old command.
    "const old=()=>{getSelection().selectAllChildren(code);document.execCommand('copy')&&done()};"
    "navigator.clipboard?navigator.clipboard.writeText(code.textContent).then(done,old):old()"
)


def copy_line(line: str, note: str = "") -> str:
    """A line of a notebook to be copied, as markup.

    Where a front end allows no script in markup, one click on the line selects all of it.
    """
    # Neither `escaped` nor `clean`: the line is to be copied as it is.
    code = f"<code>{html.escape(line)}</code>"
    button = f'<button type="button" onclick="{html.escape(_COPY)}">Copy</button>'
    remark = f'<span style="opacity:.75;font-size:90%">{escaped(note)}</span>' if note else ""
    return f'<div class="ecs-line">{code}{button}{remark}</div>'


def put(place: Any, markup: str) -> None:
    """Show markup in an HTML widget; what is the same is not sent again, and stays as it is."""
    if place.value != markup:
        place.value = markup


def _style() -> Any:
    """What inline styles cannot say, as a widget to put among the others."""
    return ipywidgets.HTML(f"<style>{_STYLE}</style>", layout=ipywidgets.Layout(display="none"))


def workspace_here() -> Workspace:
    """What the magics of this notebook share.

    Raises:
        InvalidRequest: they are not loaded.
    """
    shell: Any = get_ipython()
    magics = shell and shell.magics_manager.registry.get("EcsExec")
    if not magics:
        raise InvalidRequest(
            "the magics of this notebook are not loaded", cure="run %load_ext ecs_exec_magic first"
        )
    workspace: Workspace = magics.workspace
    return workspace
