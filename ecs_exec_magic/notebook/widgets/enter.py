"""The Enter key of a text field, and the text on which it was pressed.

Knows in which order a front end tells of the two. Never knows what the text is for.

ipywidgets sends a field's text at most once at a time and keeps what is typed meanwhile until the
kernel has answered; the message of the Enter key, or of a button, does not wait for that. So the
key may come first, and the text that the kernel has may be without its end, or the one of before:
`rm -rf /tmp/x` may still be `rm -rf /t`.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["Enter"]

WAIT = 0.6
"""Seconds that a text may come behind its key: more than twice the way to a far front end."""


class Enter:
    """Calls something with the text of a field on which Enter was pressed.

    A text that comes behind the key is the whole one: what was sent before the key came before it,
    and what is kept back is sent as one. If none comes, the kernel has the whole one already.

    Args:
        field: a Text or Combobox.
        act: called with the text; in a thread of its own when none came behind the key.
    """

    def __init__(self, field: Any, act: Callable[[str], object]) -> None:
        self._field = field
        self._act = act
        self._lock = threading.Lock()
        self._pressed: threading.Timer | None = None
        field.on_msg(self._message)
        field.observe(lambda _: self._fire(), "value")

    def _message(self, _: Any, content: Mapping[str, Any], buffers: Any) -> None:
        if content.get("event") == "submit":
            self.press()

    def press(self) -> None:
        """Do as if Enter was pressed: for a button beside the field."""
        timer = threading.Timer(WAIT, self._fire)
        timer.daemon = True
        with self._lock:
            if self._pressed is not None:
                return
            self._pressed = timer
        timer.start()

    def _fire(self) -> None:
        with self._lock:
            timer, self._pressed = self._pressed, None
        if timer is not None:
            timer.cancel()
            self._act(self._field.value)
