"""What the magics of one notebook share: settings, clients, variables, and the default target.

Knows how a line's options combine with them to one client and one container. Never knows what is
run there.
"""

from __future__ import annotations

import os
import sys
import weakref
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

from IPython.core.magic import Magics
from IPython.utils.text import DollarFormatter

from ..errors import InvalidRequest
from ..journal import Journal
from ..masking import Masker, mask
from .choice import Choice
from .display import Screen
from .jobs import Jobs
from .progress import InPlace, Progress, StatusLine, show_fold
from .settings import CLIENT

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from .settings import Settings

__all__ = ["EcsMagics", "Workspace"]

Key = tuple[Any, ...]


class EcsMagics(Magics):
    """Base of all our magics; the extension finds by it what it has to take out again."""

    def close(self) -> None:
        """Let go of everything; the magics stay usable."""


class Workspace:
    """One notebook, as its magics see it.

    Attributes:
        settings: what ``%config EcsExec`` shows.
        choice: the default target, as it was asked for.
        picked: addresses of several containers that were picked in place of one target.
        jobs: what runs in the background.
    """

    def __init__(self, shell: Any, settings: Settings) -> None:
        self.shell = shell
        self.settings = settings
        self.choice = Choice()
        self.picked: tuple[str, ...] = ()
        self._panels: weakref.WeakSet[Any] = weakref.WeakSet()
        self._pinned: tuple[Key, Any] | None = None
        self._clients: dict[Key, Any] = {}
        self._home = _working_directory()  # where a cell changes to later moves no record
        self._journal: Journal | None = None
        self.jobs = Jobs(self)

    def close(self) -> None:
        """End what runs in the background, and let go of clients and targets."""
        for panel in list(self._panels):
            getattr(panel, "end", panel.close)()
        self.jobs.close()
        clients, self._clients, self._pinned = self._clients, {}, None
        for client in clients.values():
            close = getattr(client, "close", None)
            if close is not None:
                close()

    def keep(self, panel: Any) -> None:
        """Close a widget when the magics are unloaded, if it is still there.

        One that has an ``end`` stays in the page, and does nothing any more.
        """
        self._panels.add(panel)

    # -- the notebook ----------------------------------------------------------------------------

    @property
    def variables(self) -> dict[str, Any]:
        """The notebook's own."""
        variables: dict[str, Any] = self.shell.user_ns
        return variables

    @property
    def headless(self) -> bool:
        """Whether nobody is there to answer: papermill, nbclient, nbconvert, or a script."""
        if os.environ.get("ECS_EXEC_NONINTERACTIVE", "") not in ("", "0"):
            return True
        kernel = getattr(self.shell, "kernel", None)
        if kernel is None:
            return not (_terminal(self.shell) and sys.stdin is not None and sys.stdin.isatty())
        return not getattr(kernel, "_allow_stdin", False)

    @property
    def in_kernel(self) -> bool:
        """Whether a front end shows displays and replaces them in place."""
        return getattr(self.shell, "kernel", None) is not None

    @property
    def moment(self) -> object:
        """The same for all that happens in one cell."""
        return getattr(self.shell, "execution_count", None)

    def screen(self) -> Screen:
        """A screen for one command's output, as the settings want it."""
        masker = Masker if self.settings.mask else None
        if not self.in_kernel:  # a terminal scrolls by itself
            return Screen(masker=masker)
        return Screen(lines=self.settings.fold_lines, masker=masker, on_fold=show_fold)

    def progress(self, screen: Screen, note: Callable[[], str]) -> Progress | None:
        """What tells of a run that takes long; None where nobody looks."""
        if self.headless:
            return None
        place: InPlace | StatusLine
        if self.in_kernel:
            place = InPlace(self.shell.display_pub)
        elif sys.stderr.isatty():
            place = StatusLine(screen)
        else:
            return None
        return Progress(screen, place, after=self.settings.progress_after, note=note)

    def masked(self, text: str) -> str:
        """A text for showing, without what looks like a secret."""
        return mask(text).text if self.settings.mask else text

    def show(self, bundle: dict[str, str]) -> None:
        """Show a view before its line is done: a question follows that is about it."""
        if self.in_kernel:
            bundle = {kind: self.masked(text) for kind, text in bundle.items()}
            InPlace(self.shell.display_pub).show(bundle["text/plain"], bundle["text/html"])
        else:
            sys.stdout.write(self.masked(bundle["text/plain"]) + "\n")

    def agreed(self, what: str) -> bool:
        """Whether somebody who is asked says yes."""
        try:
            answer = input(f"{what}? [y/N] ")
        except EOFError:
            answer = ""
        return answer.strip().lower() in ("y", "yes")

    @property
    def notebook(self) -> str:
        """The notebook's file name, where the front end tells it; else empty."""
        told = (
            self.variables.get("__vsc_ipynb_file__"),  # VS Code
            self.variables.get("PAPERMILL_INPUT_PATH"),
            os.environ.get("JPY_SESSION_NAME"),  # jupyter_server
        )
        return next((PurePath(name).name for name in told if name and isinstance(name, str)), "")

    def journal(self) -> Journal | None:
        """The record of this directory's runs; None where the user wants none."""
        if not self.settings.history:
            return None
        directory = self._home / Path(self.settings.history).expanduser()
        now, masked = self._journal, self.settings.mask
        if now is None or (now.directory, now.mask) != (directory, masked):
            self._journal = Journal(directory, masked)
        return self._journal

    def names(self, local_ns: Mapping[str, Any] | None) -> dict[str, Any]:
        """Variables that a line can speak of: the notebook's, and those of the calling function."""
        return {**self.variables, **(local_ns or {})}

    def expander(self, local_ns: Mapping[str, Any] | None) -> Callable[[str], str]:
        """IPython's ``var_expand``, but without this package's variables, and loud on failure."""

        def expand(text: str) -> str:
            return DollarFormatter().vformat(text, (), self.names(local_ns))

        return expand

    # -- where to run ----------------------------------------------------------------------------

    def key(self, values: Mapping[str, Any], bridge: str | None = None) -> Key:
        """What makes one client differ from another.

        Args:
            bridge: in place of the settings'; ``thread`` for what is not called in the thread of
                the cells. The values may have it too.
        """
        given = tuple(values.get(name) or getattr(self.settings, name) for name in CLIENT)
        # New keys in the environment mean a new client: pasting them into a cell is how people
        # go on when the old ones have expired. Only a hash is kept.
        environment = hash(tuple(sorted(kv for kv in os.environ.items() if kv[0][:4] == "AWS_")))
        bridge = bridge or values.get("bridge") or self.settings.bridge
        return (*given, bridge, environment)

    def client(self, key: Key) -> Any:
        """The client of these settings, made at first use."""
        if key not in self._clients:
            import ecs_exec_magic

            region, profile, endpoint_url, cluster, bridge, _ = key
            client = ecs_exec_magic.connect(
                region=region,
                profile=profile,
                endpoint_url=endpoint_url,
                cluster=cluster,
                bridge=bridge,
            )
            # Completion makes clients too, in a thread: the first one stays.
            return self._clients.setdefault(key, client)
        return self._clients[key]

    @property
    def cluster(self) -> str | None:
        """The cluster that this notebook works in: its target's, or that of the settings."""
        own = self.choice.query().cluster if self.choice else None
        return own or self.settings.cluster or ("default" if self.choice else None)

    def set_choice(self, choice: Choice, pinned: tuple[Key, Any] | None = None) -> None:
        """Make something the default target; ``pinned`` is what it was found to be."""
        self.choice, self._pinned, self.picked = choice, pinned, ()

    def pick(self, addresses: Sequence[str]) -> None:
        """Make one container the default target, or several the ones that ``--all`` means."""
        self.settings.target = addresses[0] if len(addresses) == 1 else ""
        self.picked = tuple(addresses) if len(addresses) > 1 else ()

    def client_of(self, values: Mapping[str, Any]) -> Any:
        """The client that a line with these options uses."""
        return self.client(self.key({**values, "cluster": None}))

    def resolve(self, values: Mapping[str, Any]) -> Any:
        """The container that a line with these options runs in."""
        return self.resolver(values)()

    def resolver(self, values: Mapping[str, Any], bridge: str | None = None) -> Callable[[], Any]:
        """:meth:`resolve` for another thread, later: with the choice and settings of now."""
        choice = self.choice.overridden(values)
        self._require(choice)
        # With a name of its own the line's cluster is part of the choice, not of the client.
        key = self.key({**values, "cluster": None}, bridge)
        is_default = choice == self.choice and key == self.key({})
        pinned = self._pinned
        if is_default and pinned is not None and pinned[0] == key:
            target = pinned[1]
            return lambda: target

        def resolve() -> Any:
            target = self.find(choice, key)
            if is_default and choice == self.choice:
                self._pinned = key, target
            return target

        return resolve

    def fleet(self, values: Mapping[str, Any]) -> Any:
        """Every running container that a line with these options means."""
        choice, tags = self.choice.overridden(values), values.get("tag")
        client = self.client_of(values)
        if not choice and self.picked:
            return client.fleet(self.picked, tags=tags)
        if tags and not choice:  # whatever has these tags
            words = {**choice.words(), "cluster": values.get("cluster")}
            words["container"] = values.get("container")
            return client.fleet(tags=tags, **words)
        self._require(choice)
        return client.fleet(choice.address, tags=tags, **choice.words())

    def find(self, choice: Choice, key: Key) -> Any:
        """Look a container up."""
        self._require(choice)
        return self.client(key).target(choice.address, **choice.words())

    def _require(self, choice: Choice) -> None:
        if not choice and self.picked:
            raise InvalidRequest(
                f"{len(self.picked)} containers are picked, and this is for one",
                cure="--all runs a command in each of them; -t names one",
            )
        if not choice:
            raise InvalidRequest(
                "no target is set",
                cure="%ecs_target CLUSTER/SERVICE:CONTAINER sets one, and %ecs_pick shows a list "
                "to choose from; -t names one for one line",
            )


def _working_directory() -> Path:
    try:
        return Path.cwd()
    except OSError:  # somebody has taken it away
        return Path()


def _terminal(shell: Any) -> bool:
    from IPython.terminal.interactiveshell import TerminalInteractiveShell

    return isinstance(shell, TerminalInteractiveShell)
