"""``%ecs_jobs``: list, follow and end what runs in the background.

Knows the jobs of the notebook. Never knows how they were started.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from IPython.core.magic import line_magic, magics_class, no_var_expand

from ..errors import InvalidRequest
from ..files import Amount, CopyResult
from ..results import CommandResult
from ..tables import Cell, Column, Row, Table, dot
from ..views import short_address
from .jobs import BackgroundJob, Job
from .options import Command, Option
from .progress import seconds
from .workspace import EcsMagics

if TYPE_CHECKING:
    from .workspace import Workspace

__all__ = ["EcsJobs", "JobList"]

JOBS_LINE = Command(
    "%ecs_jobs",
    "[NUMBER ...]",
    "List, follow or end what runs in the background: jobs, kept shells, forwarded ports.",
    (
        Option(("-f", "--follow"), "follow", "show its last lines, and what comes, until it ends"),
        Option(("--interrupt",), "interrupt", "send SIGINT; the second time, end the session"),
        Option(("--stop",), "stop", "end: SIGTERM, and the end of the session 3 s later"),
        Option(("--all",), "all", "all that run, in place of numbers"),
    ),
    """
    Without numbers it lists all jobs of this notebook and returns them. One number returns that
    job and shows it, live. The interrupt key ends --follow, not the job.

    A shell that --keep has begun is listed as well: it holds one of the two places of its
    container until --stop, an hour without a command, or the end of the notebook. So is a port that
    %ecs_forward has opened.
    """,
    takes_words=True,
)


_COLUMNS = (
    Column("", number=True),
    Column("STATE"),
    Column("TIME", number=True),
    Column("CONTAINER", least=20),
    Column("COMMAND", least=24, mono=True),
)
_COLOURS = {"running": "wait", "done": "good", "failed": "bad", "open": "good"}


class JobList(list[Job]):
    """Jobs, kept shells and forwarded ports, shown as a table."""

    def table(self) -> Table:
        """The table that it shows."""
        count = f"{len(self)} job{'' if len(self) == 1 else 's'}"
        return Table(
            count if self else "no jobs; --bg starts one", _COLUMNS, tuple(map(_row, self))
        )

    def __repr__(self) -> str:
        return self.table().text()

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        return self.table().bundle()


def _row(job: Job) -> Row:
    state = job.state
    return Row(
        (
            Cell(str(job.number)),
            Cell(state, dot(_COLOURS.get(state, "none"), state)),
            Cell(seconds(job.elapsed)),
            Cell(short_address(job.where), title=job.where),
            Cell(job.title()),
        )
    )


@magics_class
class EcsJobs(EcsMagics):
    """What runs in the background."""

    def __init__(self, shell: Any, workspace: Workspace) -> None:
        super().__init__(shell)
        self._workspace = workspace

    @no_var_expand
    @line_magic
    @JOBS_LINE.document
    def ecs_jobs(self, line: str) -> Any:
        parsed = JOBS_LINE.parse(line, self._workspace.expander(None))
        if parsed.help:
            sys.stdout.write(JOBS_LINE.help())
            return None
        actions = [name for name in ("follow", "interrupt", "stop") if parsed[name]]
        if len(actions) > 1:
            raise JOBS_LINE.error(f"--{actions[0]} and --{actions[1]} do not go together")
        if parsed["all"] and parsed.words:
            raise JOBS_LINE.error("numbers or --all, not both")
        chosen = self._chosen(parsed.words)
        if parsed["all"]:
            chosen = JobList(job for job in self._workspace.jobs if not job.done())
        if not actions:
            if parsed["all"]:
                return chosen
            if not parsed.words:
                return JobList(self._workspace.jobs)
            return chosen[0] if len(chosen) == 1 else chosen
        if not (parsed.words or parsed["all"]):
            raise JOBS_LINE.error(f"--{actions[0]} needs the number of a job, or --all")
        if actions == ["follow"]:
            if len(chosen) != 1:
                raise JOBS_LINE.error("--follow takes one job at a time")
            self._follow(chosen[0])
            return None
        for job in chosen:
            ran = job.interrupt() if actions == ["interrupt"] else job.cancel()
            if not ran:
                sys.stdout.write(f"job {job.number} has ended already: {job.facts()}\n")
        return chosen

    def _chosen(self, words: tuple[str, ...]) -> JobList:
        jobs = JobList()
        for word in words:
            if not (word.isascii() and word.isdigit()):
                raise JOBS_LINE.error(f"{word!r} is not the number of a job")
            try:
                jobs.append(self._workspace.jobs.get(int(word)))
            except LookupError as error:
                raise InvalidRequest(str(error), cure="%ecs_jobs lists them") from None
        return jobs

    def _follow(self, job: Job) -> None:
        """Show what has come and what comes, until the job ends or the interrupt key is pressed."""
        if not isinstance(job, BackgroundJob):
            raise InvalidRequest(f"job {job.number} has no output to follow: {job.title()}")
        so_far = job.so_far()
        if isinstance(so_far, Amount | CopyResult):
            raise InvalidRequest(
                f"job {job.number} is a copy: it has no output to follow",
                cure=f"%ecs_jobs {job.number} shows how far it is",
            )
        if not isinstance(so_far, CommandResult):
            raise InvalidRequest(
                f"job {job.number} runs in many containers: it has no one output to follow",
                cure=f"%ecs_jobs {job.number} shows how far it is; .so_far() has what has ended",
            )
        screen = self._workspace.screen()
        progress = self._workspace.progress(screen, lambda: f"job {job.number}")

        def tick() -> None:
            screen.tick()
            if progress is not None:
                progress.tick()

        try:
            job.follow(screen.output, tick)
            if job.state != "done":
                screen.notice(f"job {job.number}: {job.facts()}")
        finally:
            if progress is not None:
                progress.end(success=True)
            screen.close()
