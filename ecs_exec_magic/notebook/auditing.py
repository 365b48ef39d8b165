"""``%ecs_audit``: who ran what, where, when, from where.

Knows what a line asks for. Never knows where the answers come from, or how they look.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from IPython.core.magic import line_magic, magics_class, needs_local_scope, no_var_expand

from ..moments import since
from .options import ACCOUNT, Command, Option, positive_count, variable_name
from .workspace import EcsMagics

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .workspace import Workspace

__all__ = ["EcsAudit"]

_NEWEST = 100


AUDIT_LINE = Command(
    "%ecs_audit",
    "[CLUSTER[/NAME[:CONTAINER]]]",
    "List who ran what, where, when and from where: anybody's sessions, and what was refused.",
    (
        Option(
            ("--since",), "since", "from 2h, 3d, 10:30, today or 2026-11-27; default 2h", "T", since
        ),
        Option(("--until",), "until", "up to that time", "T", since),
        Option(
            ("--who",),
            "who",
            "only by this user, ARN, role, name of a role's session, or a pattern with *",
            "NAME",
        ),
        Option(
            ("-n", "--newest"),
            "newest",
            f"no more than so many; default {_NEWEST}",
            "N",
            positive_count,
        ),
        Option(("--transcripts",), "transcripts", "show what the sessions showed, too"),
        Option(("--json",), "json", "print JSON instead of a table"),
        Option(("-o", "--out"), "out", "keep the Audit as NAME", "NAME", variable_name),
        *ACCOUNT,
    ),
    """
    Without an argument every cluster of the region is meant. NAME is a service, task id or family.

    CloudTrail's events, which are up to 15 minutes late and 90 days old at most, are joined with
    the session logs in CloudWatch Logs and S3 and with the recorded runs of this notebook. The
    lines below the table say what each source gave, what is missing, and which permission would
    give it.

    The value is an Audit: a sequence of entries with .time, .who, .source_ip, .cluster, .service,
    .task_id, .container, .command, .outcome, .logs, .transcript, .records and more; .filter(),
    .table(), .dataframe() and .json().
    """,
    takes_words=True,
)


@magics_class
class EcsAudit(EcsMagics):
    """See who ran what."""

    def __init__(self, shell: Any, workspace: Workspace) -> None:
        super().__init__(shell)
        self._workspace = workspace

    @no_var_expand
    @needs_local_scope
    @line_magic
    @AUDIT_LINE.document
    def ecs_audit(self, line: str, local_ns: Mapping[str, Any] | None = None) -> Any:
        space = self._workspace
        parsed = AUDIT_LINE.parse(line, space.expander(local_ns))
        if parsed.help:
            sys.stdout.write(AUDIT_LINE.help())
            return None
        if len(parsed.words) > 1:
            raise AUDIT_LINE.error(f"one CLUSTER/NAME is enough; there are {len(parsed.words)}")
        found = space.client_of(parsed.values).audit(
            parsed.words[0] if parsed.words else None,
            since=parsed["since"] or "2h",
            until=parsed["until"],
            who=parsed["who"],
            limit=parsed["newest"] or _NEWEST,
            transcripts=parsed["transcripts"],
            journal=space.journal(),
            mask=space.settings.mask,
        )
        if parsed["out"]:
            space.variables[parsed["out"]] = found
        if parsed["json"]:
            sys.stdout.write(f"{found.json()}\n")
            return None
        return found
