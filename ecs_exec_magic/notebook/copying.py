"""``%ecs_cp``: files and directories into a container and out of it.

Knows what a line asks for, and what is shown meanwhile. Never knows how bytes travel.
"""

from __future__ import annotations

import os
import shlex
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from IPython.core.magic import line_magic, magics_class, needs_local_scope, no_var_expand

from ..capture import Capture
from ..files import Amount, parse_place
from ..views import short_address
from .keeping import Kept
from .options import ACCOUNT, TARGET, WHERE, Command, Option, variable_name
from .runs import Order
from .workspace import EcsMagics

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..files import CopyResult, Place
    from .jobs import BackgroundJob
    from .workspace import Workspace

__all__ = ["EcsCopy"]

CP_LINE = Command(
    "%ecs_cp",
    "FROM TO",
    "Copy a file or directory into a container, or out of it.",
    (
        TARGET,
        Option(("-o", "--out"), "out", "keep the CopyResult as NAME", "NAME", variable_name),
        Option(("--quiet",), "quiet", "show nothing"),
        Option(("--bg",), "bg", "copy in the background, and return the job; see %ecs_jobs"),
        *WHERE,
        *ACCOUNT,
    ),
    """
    One of FROM and TO is in a container: TARGET:/PATH, as in prod/web:nginx:/etc/hosts, or :PATH
    for the target that -t or %ecs_target names. The other is local, as is ./a:b with its colon.

    Names are as in cp -R: into a directory that is there goes a copy under the source's own name;
    DIR/. means what is in DIR. Modes and times are kept. A copy that fails leaves what was at the
    destination as it was. It is recorded in %ecs_history.
    """,
    takes_words=True,
)


@dataclass(frozen=True)
class _Copied:
    """A copy as it is recorded: what it did, a line for each fact."""

    result: CopyResult
    exit_code: int = 0
    captured_stdout: Capture = field(default_factory=Capture)

    @classmethod
    def of(cls, result: CopyResult) -> _Copied:
        facts = [("path", result.path), ("files", result.files), ("bytes", result.bytes)]
        facts += [("sha256", result.sha256)] if result.sha256 else []
        facts += [("not copied", each) for each in result.skipped]
        text = "".join(f"{name}: {value}\n" for name, value in facts)
        return cls(result, captured_stdout=Capture(text.encode("utf-8", "surrogateescape")))

    @property
    def exact(self) -> bool:
        """Whether both ends' checksums agreed."""
        return bool(self.result.verified)

    @property
    def missing(self) -> str:
        """Why they could not be compared."""
        return "" if self.exact else "the container has no checksums"

    @property
    def duration(self) -> float:
        """Seconds."""
        return self.result.duration

    @property
    def session_id(self) -> str:
        """Of the last session."""
        return self.result.session_id


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
        command = f"%ecs_cp {shlex.quote(str(source))} {shlex.quote(str(to))}"
        order = Order(command, None, values, {}, quiet=parsed["quiet"])
        if parsed["bg"]:
            return self._start(order, source, to, parsed["out"])
        result = self._run(order, source, to)
        if parsed["out"]:
            space.variables[parsed["out"]] = result
        return result

    def _run(self, order: Order, source: Place, to: Place) -> CopyResult:
        kept = Kept(self._workspace, order, kind="copy")
        result: CopyResult | None = None
        failure: BaseException | None = None
        try:
            target = self._workspace.resolve(order.values)
            kept.found(target)
            result = self._copied(target, source, to, quiet=order.quiet)
            return result
        except BaseException as error:
            failure = error
            raise
        finally:
            kept.finish(None if result is None else _Copied.of(result), failure)
            _tell(kept.notices)

    def _start(self, order: Order, source: Place, to: Place, out: str | None) -> BackgroundJob:
        space, kept = self._workspace, Kept(self._workspace, order, kind="copy")
        if out:
            space.variables[out] = None

        def ended(job: BackgroundJob) -> None:
            error = job.exception()
            result = job.so_far() if error is None else None
            if out:
                space.variables[out] = result
            kept.finish(None if result is None else _Copied.of(result), error, wait=0.0)

        try:
            target = space.resolve(order.values)
            kept.found(target)
            job = space.jobs.add(order.command, target.address, ended)

            # As the path is meant now: a later cell may change the directory.
            local = os.path.expanduser(to.path if source.remote else source.path)
            local = os.path.join(os.getcwd(), local)

            def start(**hooks: Any) -> Any:
                if source.remote:
                    method = space.settings.method
                    return target.start_get(source.path, local, method=method, **hooks)
                return target.start_put(local, to.path, **hooks)

            try:
                job.begin(start, view=not order.quiet)
            except BaseException:
                space.jobs.drop(job)
                raise
        except BaseException as error:
            kept.finish(None, error)
            raise
        finally:
            _tell(kept.notices)
        return job

    def _copied(self, target: Any, source: Place, to: Place, *, quiet: bool) -> CopyResult:
        space = self._workspace
        amount = Amount()
        screen = None if quiet else space.screen()
        progress = None if screen is None else space.progress(screen, lambda: _note(target, amount))
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


def _note(target: Any, amount: Amount) -> str:
    return " · ".join(text for text in (short_address(target.address), str(amount)) if text)


def _tell(notices: list[str]) -> None:
    for notice in notices:
        sys.stderr.write(f"{notice}\n")
