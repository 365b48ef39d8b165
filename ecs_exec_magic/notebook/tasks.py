"""``%ecs_tasks``: what runs.

Knows what a line asks for, and what it leaves out. Never knows how tasks look.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from IPython.core.magic import line_magic, magics_class, needs_local_scope, no_var_expand

from ..address import combine, parse_scope
from ..errors import TargetNotFound
from .choice import Choice
from .listing import Clusters, Tasks
from .options import ACCOUNT, WHERE, Command, Option, tags_of
from .workspace import EcsMagics

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .workspace import Workspace

__all__ = ["EcsTasks"]


_HELP = {
    "cluster": "cluster to look in",
    "service": "only tasks of this service",
    "task": "only this task (id or ARN)",
    "family": "only tasks of this definition",
    "container": "only tasks with a container of this name",
}
_ONLY = tuple(replace(option, help=_HELP[option.dest]) for option in WHERE)

TASKS_LINE = Command(
    "%ecs_tasks",
    "[CLUSTER[/NAME]]",
    "List what runs: services, task ids, containers, and where commands can be run.",
    (
        Option(("--exec-off",), "exec_off", "only tasks in which exec is off, with the reason"),
        Option(("--stopped",), "stopped", "tasks that have stopped lately, with the reason"),
        Option(("--tag",), "tag", "only tasks with this tag", "KEY[=VALUE]", tags_of),
        *_ONLY,
        *ACCOUNT,
    ),
    """
    NAME is a service, task id or family. Without an argument the cluster of this notebook's target
    or settings is meant; where there is none, the clusters are listed.

    The value is a list of tasks with .address, .service, .family, .task_id, .containers,
    .exec_state, .age, .zone, .tags and more; `-t {tasks[0].address}` runs a command in one. AWS
    knows stopped tasks for about an hour. Several tags, with commas between, must all be there.
    """,
    takes_words=True,
)


@magics_class
class EcsTasks(EcsMagics):
    """See what runs."""

    def __init__(self, shell: Any, workspace: Workspace) -> None:
        super().__init__(shell)
        self._workspace = workspace

    @no_var_expand
    @needs_local_scope
    @line_magic
    @TASKS_LINE.document
    def ecs_tasks(
        self, line: str, local_ns: Mapping[str, Any] | None = None
    ) -> Tasks | Clusters | None:
        space = self._workspace
        parsed = TASKS_LINE.parse(line, space.expander(local_ns))
        if parsed.help:
            sys.stdout.write(TASKS_LINE.help())
            return None
        if len(parsed.words) > 1:
            raise TASKS_LINE.error(f"one CLUSTER/NAME is enough; there are {len(parsed.words)}")
        if parsed["stopped"] and parsed["exec_off"]:
            raise TASKS_LINE.error("exec is off in every stopped task; --stopped alone lists them")
        scope = parsed.words[0] if parsed.words else None
        words = Choice.from_options(parsed.values).words()
        # The line's cluster is part of the question, not of the client.
        client = space.client(space.key({**parsed.values, "cluster": None}))
        if scope is None and not any(words.values()):
            words["cluster"] = space.cluster
            if words["cluster"] is None:
                clusters = client.clusters()
                if len(clusters) != 1:
                    return Clusters(clusters)
                words["cluster"] = clusters[0].name
        elif scope is None and not words["cluster"]:
            of_arn = any(value and value.startswith("arn:") for value in words.values())
            words["cluster"] = None if of_arn else space.cluster
        try:
            found = client.tasks(scope, **words, tags=True, stopped=parsed["stopped"])
        except TargetNotFound as error:
            no_cluster = error.code == "ClusterNotFoundException"
            if scope and "/" not in scope and no_cluster and "did you mean" not in error.cure:
                error.cure += f"; a service of that name is CLUSTER/{scope}"
            raise
        asked = combine(scope and parse_scope(scope), **words, nameless=True)
        where = asked.cluster or (found[0].cluster if found else "the default cluster")
        kept = [
            task
            for task in found
            if task.has_tags(parsed["tag"] or {})
            and not (parsed["exec_off"] and _takes_commands(task))
        ]
        where = f"{where}/{asked.name}" if asked.name else where
        return Tasks(kept, where, of=len(found), stopped=parsed["stopped"])


def _takes_commands(task: Any) -> bool:
    return bool(task.exec_state == "on")
