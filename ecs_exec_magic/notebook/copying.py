"""``%ecs_cp``: files and directories into a container and out of it.

Knows what a line asks for, and what is shown meanwhile. Never knows how bytes travel.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from IPython.core.magic import line_magic, magics_class, needs_local_scope, no_var_expand

from ..files import parse_place
from ..views import short_address, size
from .options import ACCOUNT, TARGET, WHERE, Command, Option, variable_name
from .workspace import EcsMagics

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..files import CopyResult
    from .workspace import Workspace

__all__ = ["EcsCopy"]

_BAR = 20

CP_LINE = Command(
    "%ecs_cp",
    "FROM TO",
    "Copy a file or directory into a container, or out of it.",
    (
        TARGET,
        Option(("-o", "--out"), "out", "keep the CopyResult as NAME", "NAME", variable_name),
        Option(("--quiet",), "quiet", "show nothing"),
        *WHERE,
        *ACCOUNT,
    ),
    """
    One of FROM and TO is in a container: TARGET:/PATH, as in prod/web:nginx:/etc/hosts, or :PATH
    for the target that -t or %ecs_target names. The other is local, as is ./a:b with its colon.

    Names are as in cp -R: into a directory that is there goes a copy under the source's own name;
    DIR/. means what is in DIR. Modes and times are kept. A copy that fails leaves what was at the
    destination as it was.
    """,
    takes_words=True,
)


class _Amount:
    """How much has come, as a bar; told by a thread and read by another."""

    def __init__(self, where: str) -> None:
        self._where = where
        self._done = 0
        self._total: int | None = None

    def told(self, done: int, total: int | None) -> None:
        """Take how much it is now."""
        self._done, self._total = done, total

    def __str__(self) -> str:
        if not self._done:
            return self._where
        if not self._total:
            return f"{self._where} · {size(self._done)}"
        part = min(1.0, self._done / self._total)
        bar = "█" * round(part * _BAR)
        return f"{self._where} · {bar:░<{_BAR}} {part:.0%} of {size(self._total)}"


@magics_class
class EcsCopy(EcsMagics):
    """Copy files."""

    def __init__(self, shell: Any, workspace: Workspace) -> None:
        super().__init__(shell)
        self._workspace = workspace

    @no_var_expand
    @needs_local_scope
    @line_magic
    @CP_LINE.document
    def ecs_cp(self, line: str, local_ns: Mapping[str, Any] | None = None) -> Any:
        space = self._workspace
        parsed = CP_LINE.parse(line, space.expander(local_ns))
        if parsed.help:
            sys.stdout.write(CP_LINE.help())
            return None
        if len(parsed.words) != 2:
            raise CP_LINE.error(f"FROM and TO are needed; there are {len(parsed.words)} words")
        source, to = (parse_place(word) for word in parsed.words)
        if source.remote == to.remote:
            raise CP_LINE.error(
                "both are in a container: copy to here first, and then from here"
                if source.remote
                else "neither is in a container: one is to be TARGET:/PATH, or :PATH"
            )
        far = source if source.remote else to
        if far.address is not None and parsed["target"]:
            raise CP_LINE.error(f"the container is named twice: -t, and in {far}")
        values = dict(parsed.values)
        if far.address is not None:
            values["target"] = far.address
        result = self._copied(space.resolve(values), source, to, quiet=parsed["quiet"])
        if parsed["out"]:
            space.variables[parsed["out"]] = result
        return result

    def _copied(self, target: Any, source: Any, to: Any, *, quiet: bool) -> CopyResult:
        space = self._workspace
        amount = _Amount(short_address(target.address))
        screen = None if quiet else space.screen()
        progress = None if screen is None else space.progress(screen, amount.__str__)
        how: dict[str, Any] = {"on_progress": amount.told}
        if screen is not None:
            how["on_notice"] = screen.notice
        if progress is not None:
            how["on_tick"] = progress.tick
        done = False
        try:
            if source.remote:
                method = space.settings.method
                result = target.get(source.path, to.path, method=method, **how)
            else:
                result = target.put(source.path, to.path, **how)
            done = True
        finally:
            if progress is not None:
                progress.end(success=done)
            if screen is not None:
                screen.close()
        if result.skipped and not quiet:
            for line in result.skipped[:5]:
                sys.stderr.write(f"not copied: {space.masked(line)}\n")
            if len(result.skipped) > 5:
                sys.stderr.write(f"not copied: {len(result.skipped) - 5} more, in .skipped\n")
        copied: CopyResult = result
        return copied
