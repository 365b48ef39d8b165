"""``ecs-exec-magic sandbox up``: the practice cluster from a command line.

Knows its options and what it prints. Never knows what it serves.
"""

from __future__ import annotations

import json
import shlex
import signal
import sys
import threading
from typing import TYPE_CHECKING, Any

from .pace import PACES
from .running import start
from .runtimes import SandboxUnavailable

if TYPE_CHECKING:
    import argparse

__all__ = ["RUNTIMES", "add_arguments", "run"]

RUNTIMES = ("auto", "docker", "podman", "bwrap", "process")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the ``sandbox`` sub-commands and their options."""
    commands = parser.add_subparsers(dest="sandbox_command", required=True)
    up = commands.add_parser("up", help="start the practice cluster and print its environment")
    up.add_argument("--port", type=int, default=0, help="port on 127.0.0.1 (default: a free one)")
    up.add_argument(
        "--pace",
        choices=tuple(PACES),
        default="real",
        help="real keeps the waits of the agent and of AWS, fast leaves them out",
    )
    up.add_argument(
        "--runtime", choices=RUNTIMES, default="auto", help="how containers are isolated"
    )
    content = up.add_mutually_exclusive_group()
    content.add_argument(
        "--seed-cluster",
        dest="seed",
        action="store_true",
        default=True,
        help="begin with cluster demo (default)",
    )
    content.add_argument("--empty", dest="seed", action="store_false", help="begin with nothing")
    up.add_argument("--json", action="store_true", help="print one line of JSON instead")


def run(namespace: argparse.Namespace) -> int:
    """Run until SIGINT or SIGTERM; return the exit status."""
    stop = threading.Event()
    former: dict[int, Any] = {}
    for number in (int(signal.SIGINT), int(signal.SIGTERM)):
        former[number] = signal.signal(number, lambda *_: stop.set())
    try:
        try:
            sandbox = start(namespace.port, namespace.pace, namespace.runtime, namespace.seed)
        except (SandboxUnavailable, OSError, OverflowError) as error:
            sys.stderr.write(f"ecs-exec-magic sandbox: {error}\n")
            return 1
        with sandbox:
            if namespace.json:
                line = {
                    "url": sandbox.url,
                    "environment": sandbox.environment,
                    "runtime": sandbox.runtime,
                }
                sys.stdout.write(json.dumps(line) + "\n")
            else:
                for name, value in sandbox.environment.items():
                    sys.stdout.write(f"export {name}={shlex.quote(value)}\n")
                sys.stdout.write(f"# isolation: {sandbox.runtime}; stop with Ctrl-C\n")
            sys.stdout.flush()
            while not stop.wait(0.5):  # a wait without limit could not be interrupted everywhere
                pass
        return 0
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)
