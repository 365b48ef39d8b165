"""What the widgets have in common: their frame, their text, and bits of markup.

Knows ipywidgets. Never knows tasks or AWS.

Only controls that ipywidgets 7 has are used, so that Colab and Databricks show them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import ipywidgets
from IPython.core.getipython import get_ipython
from IPython.display import publish_display_data

from ...errors import InvalidRequest
from ..tables import escaped

if TYPE_CHECKING:
    from ..workspace import Workspace

__all__ = ["Panel", "said", "workspace_here"]

VIEW = "application/vnd.jupyter.widget-view+json"

_publish: Any = publish_display_data  # untyped

# Mid-tones, which stand out from white and from black alike.
_TONES = {"good": "#2e9e5b", "wait": "#d98a00", "bad": "#d64545", "plain": "inherit"}


class Panel(ipywidgets.VBox):
    """A widget that is text as well, for front ends that show no widgets."""

    def text(self) -> str:
        """What it shows, as text."""
        raise NotImplementedError

    def _ipython_display_(self, **_: Any) -> None:
        view = {"version_major": 2, "version_minor": 0, "model_id": self.model_id}
        _publish({"text/plain": self.text(), VIEW: view})


def said(text: str, tone: str = "plain", *, small: bool = False) -> str:
    """A sentence as markup.

    Args:
        tone: ``good``, ``wait``, ``bad`` or ``plain``.
        small: it stands back.
    """
    style = f"color:{_TONES[tone]};line-height:1.45"
    if small:
        style += ";opacity:.75;font-size:90%"
    return f'<div style="{style}">{escaped(text)}</div>' if text else ""


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
