"""Plans that are written down for another tool: shown in colours, or put into a file.

Knows files and languages. Never knows what is written.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..errors import InvalidRequest

__all__ = ["ExportView", "write_export"]


class ExportView:
    """A plan written down: a text, and coloured where there is a front end for it.

    Args:
        text: of the file.
        language: as Pygments, which comes with IPython, calls it.
    """

    def __init__(self, text: str, language: str) -> None:
        self._text = text
        self._language = language

    def __str__(self) -> str:
        return self._text

    __repr__ = __str__

    def html(self) -> str:
        """The same as one HTML element, in colours that can be read on light and dark pages."""
        from pygments import highlight
        from pygments.formatters import HtmlFormatter
        from pygments.lexers import get_lexer_by_name

        formatter = HtmlFormatter(nowrap=True, noclasses=True, style="solarized-light")
        inner = highlight(self._text, get_lexer_by_name(self._language), formatter)
        return f'<pre style="margin:0;overflow-x:auto">{inner}</pre>'

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        return {"text/plain": self._text, "text/html": self.html()}


def write_export(text: str, path: str, name: str, *, replace: bool) -> None:
    """Put it into a file; what is no export of this plan is replaced only when that is asked for.

    Args:
        name: of the plan.

    Raises:
        InvalidRequest: something else is there, or it cannot be written.
    """
    file = Path(path).expanduser()
    first = text.partition("\n")[0]
    try:
        own = not file.exists() or file.read_text("utf-8", "replace").startswith(first)
        if not (own or replace):
            raise InvalidRequest(
                f"{path} is there, and is no such export of plan {name}",
                cure="name another file, or add --yes to replace it",
            )
        file.write_text(text, "utf-8")
    except OSError as error:
        raise InvalidRequest(
            f"{path} cannot be written", cause=str(error), cure="name another file"
        ) from error
