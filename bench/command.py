"""What a command costs on top of its agent: ``python -m bench.command`` from the project's root.

Against the practice cluster at its real pace, with a warm boto3 client: the agent sleeps one second
before it sends anything, so what a command takes beyond that second is the API call, the wrapper's
start, and this client.
"""

from __future__ import annotations

import statistics
import sys
import time
from typing import TYPE_CHECKING, Any

import boto3

import ecs_exec_magic as ecs
from ecs_exec_magic import sandbox

if TYPE_CHECKING:
    from collections.abc import Callable

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
    session = boto3.Session("AKIABENCH", "secret", region_name="us-east-1")
    with sandbox.start(pace="real") as practice:
        target = ecs.connect(endpoint_url=practice.url, session=session).target("demo/worker")
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

                def fetch(name: str = name, method: Any = method) -> ecs.CommandResult:
                    return target.run(f"cat /tmp/{name}", method=method)

                took, result = timed(fetch)
                assert result.exact
                rates[f"{method} {name}"] = len(result.stdout_bytes) / took / MEBIBYTE
        for name, rate in rates.items():
            say(f"output, {name:24} {rate:6.2f} MiB/s")
        took, result = timed(lambda: target.run("sha256sum", stdin=bytes(4 * MEBIBYTE)))
        assert result.ok
        say(f"input, execute-command            {4 / took:6.2f} MiB/s")


if __name__ == "__main__":
    main()
