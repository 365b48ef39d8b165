"""What fleets cost: ``python -m bench.fleet [TASKS [RUNTIME]]`` from the project's root.

One command in each of many tasks, all from one process that does nothing else: commands a second,
processor time of that process for each, and the memory of its sessions
when all of them are open at once. Twice: with the practice cluster, whose own processes and shells
take most of the same cores, and with a far end that costs next to nothing (:mod:`bench.farend`).

Where the AWS CLI and the session-manager-plugin are on PATH, ``xargs -P`` over ``aws ecs
execute-command`` does the same beside it.
"""

from __future__ import annotations

import contextlib
import json
import os
import pty
import resource
import subprocess
import sys
import tempfile
import time
import tracemalloc
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3

from .crowd import say
from .official import ABSENT, official

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .official import Official

_KEYS = ("AKIABENCH", "secret")
_PARALLEL = 50
_OFFICIAL = 20  # tasks
_OFFICIAL_PARALLEL = 8


# -- in a process of its own ---------------------------------------------------------------------


def _fleet(url: str) -> Any:
    import ecs_exec_magic as ecs

    session = boto3.Session(*_KEYS, region_name="us-east-1")
    return ecs.connect(endpoint_url=url, session=session).fleet("demo/worker")


def rate(url: str) -> dict[str, float]:
    """Run ``hostname`` everywhere."""
    fleet = _fleet(url)
    found = _processor_time()
    fleet.run("true", max_parallel=_PARALLEL)  # practice containers start when they are first used
    before, start = _processor_time(), time.perf_counter()
    result = fleet.run("hostname", max_parallel=_PARALLEL)
    took = time.perf_counter() - start
    assert all(each.exact and each.ok for each in result.results.values()), result
    assert len(result.results) == len(fleet.addresses), result
    count = len(result)
    return {
        "rate": count / took,
        "cpu": (_processor_time() - before) / count,
        "start": found,
    }


def _processor_time() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def memory(url: str) -> dict[str, float]:
    """Hold a session open in every task; what each takes."""
    fleet = _fleet(url)
    targets, fleet.targets = fleet.targets, fleet.targets[:1]
    fleet.run("hostname")  # what is loaded once counts for no session
    fleet.targets = targets
    before, traced = _resident(), tracemalloc.get_traced_memory()[0]
    running: Any = fleet.start("echo here; exec sleep 600", max_parallel=len(fleet.addresses))
    jobs = running._work._running
    while sum(bool(job.so_far().stdout_bytes) for job in list(jobs.values())) < len(fleet.targets):
        assert not running.done(), list(running.so_far().values())[:1]
        time.sleep(1)
    grown, traced = _resident() - before, tracemalloc.get_traced_memory()[0] - traced
    count = len(fleet.targets)
    # Ended from outside: what saying good-bye to so many takes is not measured here.
    return {"sessions": count, "resident": grown / count, "traced": traced / count}


def _resident() -> int:
    """Bytes of this process that lie in memory."""
    words = Path("/proc/self/statm").read_text().split()
    return int(words[1]) * os.sysconf("SC_PAGE_SIZE")


# -- from outside --------------------------------------------------------------------------------


def client(what: str, url: str, *options: str) -> dict[str, float]:
    """Do one of the two in a new process."""
    code = (
        "import json, os, sys; from bench import fleet; "
        f"print(json.dumps(fleet.{what}({url!r})), flush=True); os._exit(0)"
    )
    done = subprocess.run(
        [sys.executable, *options, "-c", code], stdout=subprocess.PIPE, check=True, text=True
    )
    answer: dict[str, float] = json.loads(done.stdout)
    return answer


def measure(name: str, url: str) -> float:
    """Both, as rows of a table; returns the processor time of a command."""
    told = client("rate", url)
    held = client("memory", url)
    traced = client("memory", url, "-X", "tracemalloc") if name == "nothing" else None
    witness = "" if traced is None else f", {traced['traced'] / 1000:.0f} KB by tracemalloc"
    say(
        f"| {name} | {told['rate']:.1f} "
        f"| {1000 * told['cpu']:.1f} ms, and {told['start']:.1f} s to start and find them "
        f"| {held['sessions']:.0f}: {held['resident'] / 1000:.0f} KB each{witness} |"
    )
    return told["cpu"]


def beside(tools: Official, url: str) -> float:
    """The same with ``xargs -P``, as a row; returns the processor time of a command."""
    ecs = boto3.Session(*_KEYS, region_name="us-east-1").client("ecs", endpoint_url=url)
    tasks = ecs.list_tasks(cluster="demo", serviceName="worker")["taskArns"][:_OFFICIAL]
    keyboard, screen = pty.openpty()  # without a terminal the plugin ends at once
    with tempfile.NamedTemporaryFile("w") as names:
        names.write("\n".join(tasks))
        names.flush()
        command = ["xargs", "-a", names.name, "-P", str(_OFFICIAL_PARALLEL), "-I{}", tools.aws]
        command += ["--region", tools.region, "ecs", "execute-command", "--cluster", "demo"]
        command += ["--interactive", "--command", "hostname", "--task", "{}"]
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        start = time.perf_counter()
        done = subprocess.run(
            command, stdin=screen, capture_output=True, env=tools.environment, check=False
        )
        took = time.perf_counter() - start
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
    os.close(keyboard)
    os.close(screen)
    assert done.stdout.count(b".internal") == len(tasks), done.stdout + done.stderr
    cpu = (used.ru_utime + used.ru_stime - before.ru_utime - before.ru_stime) / len(tasks)
    say(
        f"| the same, xargs -P {_OFFICIAL_PARALLEL} over the AWS CLI with the plugin "
        f"{tools.version} | {len(tasks) / took:.2f} | {1000 * cpu:.0f} ms | |"
    )
    return cpu


@contextlib.contextmanager
def practice(runtime: str, tasks: int) -> Iterator[tuple[str, dict[str, str]]]:
    """A practice cluster in processes of its own; gives its URL and environment."""
    command = [sys.executable, "-m", "ecs_exec_magic.cli", "sandbox", "up", "--port", "0"]
    command += ["--pace", "fast", "--runtime", runtime, "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        try:
            told = json.loads(child.stdout.readline())
            url = told["url"]
            ecs = boto3.Session(*_KEYS, region_name="us-east-1").client("ecs", endpoint_url=url)
            ecs.update_service(cluster="demo", service="worker", desiredCount=tasks)
            running = 0
            while running < tasks:
                time.sleep(0.5)
                answer = ecs.describe_services(cluster="demo", services=["worker"])
                running = answer["services"][0]["runningCount"]
            yield url, told["environment"]
        finally:
            child.terminate()


@contextlib.contextmanager
def nothing(tasks: int) -> Iterator[str]:
    """A far end that only answers; gives its URL."""
    command = [sys.executable, "-m", "bench.farend", str(tasks)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        yield child.stdout.readline().decode().strip()
        child.communicate()


def main(tasks: int = 200, runtime: str = "bwrap") -> None:
    """Measure, and print a table."""
    say(f"\nFleets: {tasks:,} tasks, {_PARALLEL} at once, the far end on the same cores:\n")
    say("| far end | commands/s | processor time each | sessions open at once |\n|---|---|---|---|")
    with nothing(tasks) as url:
        measure("nothing", url)
    with practice(runtime, tasks) as (url, environment):
        ours = measure(f"practice cluster, {runtime}, fast", url)
        tools = official(environment)
        theirs = None if tools is None else beside(tools, url)
    if theirs is None:
        say(f"\n{ABSENT}")
    else:
        say(f"\nProcessor time of the official way and of this one: {theirs / ours:.0f} to 1.")


if __name__ == "__main__":
    main(*(int(word) if word.isdigit() else word for word in sys.argv[1:]))  # type: ignore[arg-type]  # words of a command line
