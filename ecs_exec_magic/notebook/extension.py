"""Loading into and unloading from a shell.

Knows where IPython keeps what an extension adds. Never knows what the magics do.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

    from .magics import EcsExec
    from .sandbox import EcsSandbox

__all__ = ["load", "unload"]


def load(shell: InteractiveShell) -> None:
    """Add the magics to a shell: ``%load_ext ecs_exec_magic``.

    Starts nothing and connects nowhere; the first command does.
    """
    from .magics import EcsExec
    from .sandbox import EcsSandbox

    unload(shell)  # whoever loads twice gets one set of magics, not a set and a stale one
    shell.register_magics(EcsExec(shell), EcsSandbox(shell))


def unload(shell: InteractiveShell) -> None:
    """Take out of a shell all that :func:`load` has put in; does nothing when it has not."""
    for magics in _loaded(shell):
        magics.close()
        # Magics add themselves to what %config shows, and IPython never takes them out again.
        configurables: list[Any] = shell.configurables
        configurables[:] = [each for each in configurables if each is not magics]
        manager: Any = shell.magics_manager
        for table in manager.magics.values():
            for name in [name for name, fn in table.items() if _owner(fn) is magics]:
                del table[name]
        if manager.registry.get(type(magics).__name__) is magics:
            del manager.registry[type(magics).__name__]


def _loaded(shell: InteractiveShell) -> list[EcsExec | EcsSandbox]:
    from .magics import EcsExec
    from .sandbox import EcsSandbox

    there = [each for each in shell.configurables if isinstance(each, (EcsExec, EcsSandbox))]
    # The practice cluster first: it gives the other magics back what it has taken from them.
    return sorted(there, key=lambda each: isinstance(each, EcsExec))


def _owner(function: object) -> object:
    return getattr(function, "__self__", None)
