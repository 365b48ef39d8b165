"""What a command costs in a kept shell: ``python -m bench.shell`` from the project's root.

Against the practice cluster at its real pace, with and without 1 ms of delay in either direction,
beside a command that has a session of its own, in the same run: ours, and that of the official
tools where they are on PATH. They have no other way.
"""

from __future__ import annotations

import subprocess
import sys
from urllib.parse import urlsplit

from .apart import practice
from .command import say, timed
from .official import ABSENT, official

COMMANDS = 500


def main() -> None:
    """Measure, and print a table."""
    with practice("real") as cluster:
        target = cluster.client().target("demo/worker")
        target.run("true")  # starts the container and the boto3 clients
        cold, result = timed(lambda: target.run("echo x"))
        assert result.exact
        say(f"cold command, whole: {1000 * cold:.0f} ms")
        tools = official(cluster.environment)
        if tools is None:
            say(ABSENT)
        else:
            whole = [tools.execute(target, "echo x")[0] for _ in range(3)]
            say(f"official, the same: {1000 * sorted(whole)[1]:.0f} ms, median of {len(whole)}")
        for delay in (0.0, 0.001):
            _delay(cluster.url, delay)
            with target.shell() as shell:
                shell.run("n=0")
                seconds = []
                for count in range(1, COMMANDS + 1):
                    took, result = timed(lambda: shell.run("n=$((n+1)); echo $n"))
                    assert result.exact
                    assert result.stdout == f"{count}\n"
                    seconds.append(1000 * took)
            seconds.sort()
            say(
                f"command in a kept shell, {1000 * delay:.0f} ms of delay: "
                f"median {seconds[len(seconds) // 2]:.1f} ms, "
                f"p95 {seconds[len(seconds) * 95 // 100]:.1f} ms, n={len(seconds)}"
            )


def _delay(url: str, seconds: float) -> None:
    command = [sys.executable, "-m", "ecs_exec_magic.cli", "sandbox", "fault"]
    command += ["latency", str(seconds), "--port", str(urlsplit(url).port)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


if __name__ == "__main__":
    main()
