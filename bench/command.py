"""What a command costs on top of its agent: ``python -m bench.command`` from the project's root.

Against the practice cluster at its real pace, in a process of its own, with a warm boto3 client:
the agent sleeps one second before it sends anything, so what a command takes beyond that second is
the API call, the wrapper's start, and this client. The official way stands beside it where its
tools are on PATH: they are started anew for each command.
"""

from __future__ import annotations

import statistics
import sys
import time
from typing import TYPE_CHECKING, Any

from .apart import practice
from .official import ABSENT, official

if TYPE_CHECKING:
    from collections.abc import Callable

    from ecs_exec_magic.results import CommandResult

AGENT_DELAY = 1.0
MEBIBYTE = 1 << 20


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    """Seconds that some work takes, and what it returned."""
    start = time.perf_counter()
    value = work()
    return time.perf_counter() - start, value


def say(line: str) -> None:
    """Print a line of the report."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def main() -> None:
    """Measure, and print a table."""
    with practice("real") as cluster:
        target = cluster.client().target("demo/worker")
        target.run("true")  # starts the container and the boto3 clients
        seconds = []
        for _ in range(10):
            took, result = timed(lambda: target.run("echo x"))
            assert result.exact
            seconds.append(took)
            time.sleep(0.5)  # the session before ends, so that no slot is waited for
        over = sorted(1000 * (each - AGENT_DELAY) for each in seconds)
        say(
            f"cold command, beyond the agent's own second: median {statistics.median(over):.0f} ms "
            f"[{over[0]:.0f}..{over[-1]:.0f}], n={len(over)}"
        )
        seconds = []
        for _ in range(10):
            took, result = timed(lambda: target.run("echo x", method="start-session"))
            assert result.exact
            seconds.append(1000 * took)
            time.sleep(0.3)
        say(
            f'the same, method="start-session", whole: median {statistics.median(seconds):.0f} ms '
            f"[{min(seconds):.0f}..{max(seconds):.0f}], n={len(seconds)}"
        )
        target.run("seq 1 800000 >/tmp/text; head -c 4000000 /dev/urandom >/tmp/blob", check=True)
        rates: dict[str, float] = {}
        for method in ("execute-command", "start-session"):
            for name in ("text", "blob"):

                def fetch(name: str = name, method: Any = method) -> CommandResult:
                    return target.run(f"cat /tmp/{name}", method=method)

                took, result = timed(fetch)
                assert result.exact
                rates[f"{method} {name}"] = len(result.stdout_bytes) / took / MEBIBYTE
        for name, rate in rates.items():
            say(f"output, {name:24} {rate:6.2f} MiB/s")
        took, result = timed(lambda: target.run("sha256sum", stdin=bytes(4 * MEBIBYTE)))
        assert result.ok
        say(f"input, execute-command            {4 / took:6.2f} MiB/s")
        tools = official(cluster.environment)
        if tools is None:
            say(ABSENT)
            return
        whole = []
        for _ in range(5):
            took, printed = tools.execute(target, "echo x")
            assert b"\nx\r\n" in printed
            whole.append(1000 * took)
        ours = statistics.median(over) + 1000 * AGENT_DELAY
        say(
            f"cold command, whole: {ours:.0f} ms (official: {statistics.median(whole):.0f} "
            f"[{min(whole):.0f}..{max(whole):.0f}], n={len(whole)})"
        )
        took, printed = tools.execute(target, "cat /tmp/text")
        size = len(printed.replace(b"\r\n", b"\n")) / MEBIBYTE
        rate = rates["execute-command text"]
        say(f"output, text: {rate:.2f} MiB/s (official: {size / took:.2f}, without proof of it)")


if __name__ == "__main__":
    main()
