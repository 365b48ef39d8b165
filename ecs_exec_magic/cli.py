"""The console script ``ecs-exec-magic``.

Knows the subcommands' names. Never knows what they do: each lives in its own module.
"""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from . import __version__
from .errors import EcsExecError

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the console script and return its exit status."""
    parser = argparse.ArgumentParser(
        prog="ecs-exec-magic",
        description="ECS Exec from notebooks: a check, a practice cluster and a demo.",
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    from . import check_command

    check = commands.add_parser(
        "check",
        help="look at everything that commands in a container need",
        epilog="exit status: 0 nothing failed, 1 something did, 2 something could not be looked at",
    )
    check_command.add_arguments(check)
    sandbox = commands.add_parser("sandbox", help="a practice cluster on this machine")
    demo = commands.add_parser(
        "demo", help="run the quickstart notebook against a practice cluster"
    )
    lab = commands.add_parser("lab", help="open it in JupyterLab, with a practice cluster up")
    for each in (demo, lab):
        each.add_argument("notebook", nargs="?", help="instead of the quickstart")
    words = sys.argv[1:] if argv is None else list(argv)
    if words[:1] == ["check"]:  # what is needed for the others may not be installed
        try:
            return check_command.run(parser.parse_args(words))
        except KeyboardInterrupt:
            return 130
    try:
        from .sandbox import command as sandbox_command
    except ImportError as error:
        if error.name is None or error.name.startswith("ecs_exec_magic"):
            raise
        print(
            f"ecs-exec-magic: {error.name} is missing; pip install 'ecs-exec-magic[sandbox]'",
            file=sys.stderr,
        )
        return 2
    sandbox_command.add_arguments(sandbox)
    arguments = parser.parse_args(argv)
    if arguments.command == "sandbox":
        return sandbox_command.run(arguments)
    from . import demo as demo_module

    try:
        return demo_module.main(arguments.notebook, live=arguments.command == "lab")
    except EcsExecError as error:
        print("\n".join(error._lines()), file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
