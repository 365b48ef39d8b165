"""Loading into and unloading from a shell.

Knows where IPython keeps what an extension adds. Never knows what the magics do.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

    from .workspace import EcsMagics

__all__ = ["load", "unload"]


def load(shell: InteractiveShell) -> None:
    """Add the magics to a shell: ``%load_ext ecs_exec_magic``.

    Starts nothing and connects nowhere; the first command does.

    Raises:
        InvalidRequest: the nearest pyproject.toml sets something that is no setting.
    """
    from .auditing import EcsAudit
    from .background import EcsJobs
    from .checking import EcsCheck
    from .copying import EcsCopy
    from .finding import EcsFind
    from .forwarding import EcsForward
    from .history import EcsHistory
    from .interactive import EcsTerminal
    from .magics import EcsExec
    from .picking import EcsPick
    from .policies import EcsPolicy
    from .provision import EcsProvision
    from .sandbox import EcsSandbox
    from .settings import project_settings
    from .tasks import EcsTasks

    unload(shell)  # whoever loads twice gets one set of magics, not a set and a stale one
    configured = shell.config.get("EcsExec", {})
    settings = {k: v for k, v in project_settings().items() if k not in configured}
    magics = EcsExec(shell, **settings)
    space = magics.workspace
    finding = (EcsFind, EcsTasks, EcsPick)
    running = (EcsJobs, EcsHistory, EcsTerminal, EcsCopy, EcsForward)
    account = (EcsProvision, EcsCheck, EcsPolicy, EcsAudit)
    others = [each(shell, space) for each in (*finding, *running, *account)]
    shell.register_magics(magics, *others, EcsSandbox(shell))


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


def _loaded(shell: InteractiveShell) -> list[EcsMagics]:
    from .workspace import EcsMagics

    # The last first: the practice cluster gives the other magics back what it has taken from them.
    return [each for each in reversed(shell.configurables) if isinstance(each, EcsMagics)]


def _owner(function: object) -> object:
    return getattr(function, "__self__", None)
