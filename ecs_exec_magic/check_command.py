"""``ecs-exec-magic check``: a check from a command line.

Knows its options, what it prints, and exit statuses: 0 when nothing has failed (warnings are fine),
1 when something has, 2 when something could not be looked at, or the line is wrong. Never knows
what a check looks at.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from .errors import EcsExecError

if TYPE_CHECKING:
    import argparse

    from .client import Client, Findings

__all__ = ["FAILED", "FINE", "NOT_KNOWN", "add_arguments", "run"]

FINE, FAILED, NOT_KNOWN = 0, 1, 2
"""Exit statuses."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument(
        "target",
        metavar="TARGET",
        nargs="?",
        help="[CLUSTER/]NAME[:CONTAINER], where NAME is a service, task id, family or ARN; or a "
        "cluster; without one: the whole cluster",
    )
    for name, text in (
        ("region", "AWS region"),
        ("profile", "profile of the AWS configuration"),
        ("endpoint-url", "serve all AWS calls here"),
        ("cluster", "cluster of TARGET"),
    ):
        parser.add_argument(f"--{name}", help=text)
    parser.add_argument("--json", action="store_true", help="print the findings as JSON")
    parser.add_argument("--agent-log", action="store_true", help="also fetch the exec agent's log")
    parser.add_argument(
        "--outside", action="store_true", help="open no session to look into containers"
    )
    parser.add_argument("--fix", action="store_true", help="put right what can be put right safely")
    parser.add_argument("--yes", action="store_true", help="with --fix: do not ask")


def run(arguments: argparse.Namespace) -> int:
    """Check, print, and return the exit status."""
    if arguments.yes and not arguments.fix:
        return _refused("--yes goes with --fix")
    if arguments.fix and not arguments.yes and not sys.stdin.isatty():
        return _refused("nobody is there to confirm a fix: add --yes")
    from .client import connect

    try:
        client = connect(arguments.region, arguments.profile, arguments.endpoint_url)
        try:
            found = _checked(client, arguments)
            if arguments.fix:
                found = _fixed(client, arguments, found)
        finally:
            client.close()
    except EcsExecError as error:
        sys.stderr.write("\n".join(error._lines()) + "\n")
        return NOT_KNOWN
    sys.stdout.write(f"{found.json() if arguments.json else found}\n")
    return {"fail": FAILED, "unknown": NOT_KNOWN}.get(found.worst, FINE)


def _refused(why: str) -> int:
    sys.stderr.write(f"ecs-exec-magic check: {why}\n")
    return NOT_KNOWN


def _checked(client: Client, arguments: argparse.Namespace) -> Findings:
    return client.check(
        arguments.target,
        cluster=arguments.cluster,
        inside=not arguments.outside,
        agent_log=arguments.agent_log,
    )


def _fixed(client: Any, arguments: argparse.Namespace, found: Findings) -> Findings:
    """Show what would be changed, ask, change it, and check again."""
    from .client import fixes

    asked = changed = False
    for service, plan in fixes(client, found):
        if not arguments.yes and not asked:
            sys.stderr.write(f"{found}\n\n")
            asked = True
        sys.stderr.write(f"{plan.show()}\n")
        if not arguments.yes and not _agreed(f"change this in {service}? [y/N] "):
            break
        plan.apply(_tell)
        changed = True
    return _checked(client, arguments) if changed else found


def _agreed(question: str) -> bool:
    sys.stderr.write(question)
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def _tell(event: Any) -> None:
    said = f": {event.said}" if event.said else ""
    sys.stderr.write(f"{event.step.kind} {event.step.name}: {event.state}{said}\n")
