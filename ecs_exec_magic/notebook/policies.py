"""``%ecs_policy``: the least policy for a cluster as it is, and what somebody can do there.

Knows what a line asks for. Never knows what a policy says.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from IPython.core.magic import line_magic, magics_class, needs_local_scope, no_var_expand

from .options import ACCOUNT, Command, Option, key_values
from .workspace import EcsMagics

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..client import PolicyDocument, Simulation
    from .workspace import Workspace

__all__ = ["EcsPolicy"]

_KINDS = ("operator", "task-role", "deny-start-session")


POLICY_LINE = Command(
    "%ecs_policy",
    "operator|task-role|deny-start-session [CLUSTER[/SERVICE]]",
    "Write the least policy for a cluster as it is set now, or say what somebody can do there.",
    (
        Option(("--tag",), "tag", "only into tasks with this tag", "KEY=VALUE,…", key_values),
        Option(("--container",), "container", "only into this container", "NAME"),
        Option(
            ("--simulate",),
            "simulate",
            "ask IAM what a user or role can do there, and why not",
            "me|NAME|ARN",
        ),
        *ACCOUNT,
    ),
    """
    operator is for people who run commands, task-role for the role of tasks, deny-start-session
    leaves no way around ecs:ExecuteCommand and its audit. Log group, bucket, key and partition are
    those of the cluster. Nothing is put anywhere.

    Without CLUSTER the notebook's target is meant. The value is a document: a mapping whose .json()
    IAM takes as it is, and whose .notes say what each statement is for. With --simulate it is a
    list of verdicts.
    """,
    takes_words=True,
)


@magics_class
class EcsPolicy(EcsMagics):
    """Write policies, and ask IAM about people."""

    def __init__(self, shell: Any, workspace: Workspace) -> None:
        super().__init__(shell)
        self._workspace = workspace

    @no_var_expand
    @needs_local_scope
    @line_magic
    @POLICY_LINE.document
    def ecs_policy(
        self, line: str, local_ns: Mapping[str, Any] | None = None
    ) -> PolicyDocument | Simulation | None:
        space = self._workspace
        parsed = POLICY_LINE.parse(line, space.expander(local_ns))
        if parsed.help:
            sys.stdout.write(POLICY_LINE.help())
            return None
        kind, *targets = parsed.words or [""]
        if kind not in _KINDS:
            raise POLICY_LINE.error(f"which policy? There are {', '.join(_KINDS)}")
        if len(targets) > 1:
            raise POLICY_LINE.error(f"one CLUSTER/SERVICE is enough; there are {len(targets)}")
        target = targets[0] if targets else self._target()
        client = space.client_of(parsed.values)
        tags, container, principal = parsed["tag"], parsed["container"], parsed["simulate"]
        if principal is None:
            written: PolicyDocument = client.policy(kind, target, tags=tags, container=container)
            return written
        if tags:
            raise POLICY_LINE.error(
                "--simulate asks with the tags that tasks have; leave out --tag"
            )
        asked: Simulation = client.simulate(principal, target, kind=kind, container=container)
        return asked

    def _target(self) -> str:
        """The notebook's own cluster, and what is chosen in it."""
        space = self._workspace
        query = space.choice.query() if space.choice else None
        if space.cluster is None:
            raise POLICY_LINE.error("no target is set: write CLUSTER or CLUSTER/SERVICE")
        return f"{space.cluster}/{query.name}" if query and query.name else space.cluster
