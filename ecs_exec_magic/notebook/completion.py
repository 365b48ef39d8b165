"""Completion of our magics' lines in IPython.

Knows IPython's completer, in its new and its old form. Never knows what is offered.

What is offered always goes on where the cursor is, since IPython cuts lines into tokens of its own,
also at ``:`` and ``=``, and replaces the token.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from IPython.core import completer as ipython

from .cache import Cache
from .caret import ask, magic_line
from .lookups import Lookups
from .offers import filled, offers
from .options import Command

if TYPE_CHECKING:
    from collections.abc import Callable

    from .workspace import Workspace

__all__ = ["Completion"]

_IDENTIFIER = "ecs_exec_magic"
_OLD_HOOK = "complete_command"
_OLD_PATTERN = r"(?s)(?:.*%|\s*)ecs_\w+\s"


class Completion:
    """Completes the lines of a shell's magics while it is installed."""

    def __init__(self, shell: Any, space: Workspace, cache: Cache | None = None) -> None:
        self._shell = shell
        self._space = space
        self._cache = Cache() if cache is None else cache
        self._matcher: Callable[[Any], Any] | None = None

    def install(self) -> None:
        """Begin to complete; starts nothing yet."""
        new: Any = ipython
        completer = self._shell.Completer
        if hasattr(new, "context_matcher"):

            def matcher(context: Any) -> dict[str, Any]:
                found = self.complete(
                    context.full_text, context.cursor_line, context.cursor_position, context.token
                )
                return {
                    "completions": [new.SimpleCompletion(text, type=kind) for text, kind in found],
                    "suppress": bool(found),
                    "ordered": True,
                }

            self._matcher = new.context_matcher(identifier=_IDENTIFIER)(matcher)
            completer.custom_matchers.append(self._matcher)
        elif "magic_arg_matchers" in vars(completer):
            # What these give stands alone; what a hook gives drowns in words of Python.
            self._matcher = self._old_matcher
            completer.magic_arg_matchers.append(self._matcher)
        else:
            self._shell.set_hook(_OLD_HOOK, self._hook, re_key=_OLD_PATTERN)

    def close(self) -> None:
        """Complete no more, and forget what was found; can be installed again."""
        self._cache.forget()
        for name in ("custom_matchers", "magic_arg_matchers"):
            matchers = vars(self._shell.Completer).get(name, [])
            matchers[:] = [each for each in matchers if each is not self._matcher]
        dispatch = self._shell.strdispatchers.get(_OLD_HOOK)
        for key, chain in list(dispatch.regexs.items()) if dispatch is not None else ():
            chain.chain[:] = [each for each in chain.chain if not self._is_mine(each[1])]
            if not chain.chain:
                del dispatch.regexs[key]

    def complete(self, cell: str, row: int, column: int, token: str) -> list[tuple[str, str]]:
        """What may stand in place of the token before the cursor, and of what kind it is.

        Never raises: where one of the things that complete raises, none of them completes.

        Args:
            row, column: where the cursor is, both from 0.
            token: what IPython will replace.
        """
        try:
            return self._found(cell, row, column, token)
        except KeyboardInterrupt:
            return []  # the user does not want to wait for it
        except Exception:
            logging.getLogger(__name__).debug("completion failed", exc_info=True)
            return []

    def _found(self, cell: str, row: int, column: int, token: str) -> list[tuple[str, str]]:
        line = magic_line(cell, row, column, self._is_magic)
        if line is None or not cell.split("\n")[row][:column].endswith(token):
            return []
        command = self._command(line.name, whole_cell=line.whole_cell)
        question = ask(command, line.text, line.cursor) if command else None
        if question is None:
            return []
        question = filled(question, self._space.variables)
        if question is None:
            return []
        lookups = Lookups(self._space, self._cache, question.values)
        return [
            (token + _written(offer.text[len(question.typed) :], question.quote), offer.kind)
            for offer in offers(self._space, lookups, question)
        ]

    def _command(self, name: str, *, whole_cell: bool) -> Command | None:
        magics = self._shell.magics_manager.magics["cell" if whole_cell else "line"]
        command = getattr(magics.get(name), "command", None)
        return command if isinstance(command, Command) else None

    def _is_magic(self, name: str) -> bool:
        """Whether a name alone means our magic, by ``%automagic``."""
        return (
            bool(self._shell.automagic)
            and name not in self._space.variables
            and self._command(name, whole_cell=False) is not None
        )

    # -- before IPython 8.6: one line is all that there is to see ---------------------------------

    def _old_matcher(self, line: str) -> list[str]:
        completer = self._shell.Completer
        column = len(completer.text_until_cursor)
        token = completer.splitter.split_line(line, column)
        return [text for text, _ in self.complete(line, 0, column, token)]

    def _hook(self, shell: Any, event: Any) -> list[str]:
        found = self.complete(event.line, 0, len(event.text_until_cursor), event.symbol)
        return [text for text, _ in found]

    def _is_mine(self, hook: Any) -> bool:
        # What set_hook keeps is our method, bound to the shell once more.
        return getattr(getattr(hook, "__func__", None), "__self__", None) is self


def _written(text: str, quote: str) -> str:
    """Text as it has to be written within that open quote, or without one."""
    if quote == "'":
        return text if "'" not in text else ""
    special = '$`"\\' if quote else " \t\"'\\"
    return "".join(f"\\{char}" if char in special else char for char in text)
