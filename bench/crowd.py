"""How much a crowded practice cluster takes: ``python -m bench.crowd [RUNTIME [TASKS]]``.

A service of 1,000 tasks, and in each of them a session at once. The cluster runs in a process of
its own; its memory is the proportional set size of that process and all below it.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config

from ecs_exec_magic.channel.connection import Connection
from ecs_exec_magic.channel.session import SessionGrant

__all__ = ["main"]

_AT_ONCE = 16  # calls


def say(line: str) -> None:
    """Print a line of the report."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def family(root: int) -> list[int]:
    """A process and all that descend from it."""
    children: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            words = stat.read_text().rpartition(")")[2].split()
            children.setdefault(int(words[1]), []).append(int(stat.parent.name))
    found, todo = [], [root]
    while todo:
        one = todo.pop()
        found.append(one)
        todo += children.get(one, [])
    return found


def memory(root: int) -> tuple[int, float]:
    """Processes, and their proportional set size in MB."""
    total, pids = 0, family(root)
    for pid in pids:
        with contextlib.suppress(OSError):
            for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    total += int(line.split()[1])
    return len(pids), total / 1000


class _Services:
    """What a session may need; here it needs nothing."""

    async def resume(self) -> tuple[str, str]:
        return "", ""

    async def terminate(self) -> None:
        return

    async def generate_data_key(self, key_id: str, context: dict[str, str]) -> tuple[bytes, bytes]:
        raise AssertionError(key_id)

    async def sign(self, url: str) -> dict[str, str]:
        return {}


async def sessions(ecs: Any, arns: list[str], pid: int) -> None:
    """Open one session in every task, and look at the memory while all are open."""
    limit = asyncio.Semaphore(_AT_ONCE)

    async def one(arn: str) -> Connection:
        async with limit:
            answer = await asyncio.to_thread(
                ecs.execute_command,
                cluster="demo",
                task=arn,
                command="sh -c 'echo here; sleep 600'",
                interactive=True,
            )
            session = answer["session"]
            grant = SessionGrant(session["sessionId"], session["streamUrl"], session["tokenValue"])
            connection = await Connection.open(grant, _Services())
            await connection.receive()  # the first output: the command runs
            return connection

    start = time.perf_counter()
    open_ones = await asyncio.gather(*(one(arn) for arn in arns))
    took = time.perf_counter() - start
    processes, size = memory(pid)
    say(f"| {len(open_ones)} sessions at once | {took:.1f} s | {size:,.0f} MB | {processes:,} |")
    await asyncio.gather(*(connection.aclose() for connection in open_ones))


def main(runtime: str = "bwrap", tasks: int = 1000) -> None:
    """Measure, and print a table."""
    start = time.perf_counter()
    command = [sys.executable, "-m", "ecs_exec_magic.cli", "sandbox", "up", "--port", "0"]
    command += ["--pace", "fast", "--runtime", runtime, "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        url = json.loads(child.stdout.readline())["url"]
        say(f"\nThe practice cluster with {runtime}, {tasks:,} tasks:\n")
        say("| what | took | memory of all its processes | processes |\n|---|---|---|---|")
        processes, size = memory(child.pid)
        say(f"| up | {time.perf_counter() - start:.1f} s | {size:,.0f} MB | {processes} |")
        session = boto3.Session("AKIABENCH", "secret", region_name="us-east-1")
        config = Config(max_pool_connections=_AT_ONCE, retries={"max_attempts": 0})
        ecs = session.client("ecs", endpoint_url=url, config=config)
        try:
            start = time.perf_counter()
            ecs.update_service(cluster="demo", service="worker", desiredCount=tasks)
            arns: list[str] = []
            while len(arns) < tasks:
                time.sleep(0.5)
                pages = ecs.get_paginator("list_tasks").paginate(
                    cluster="demo", serviceName="worker"
                )
                arns = [arn for page in pages for arn in page["taskArns"]]
            service = ecs.describe_services(cluster="demo", services=["worker"])["services"][0]
            while service["runningCount"] < tasks:
                time.sleep(0.5)
                service = ecs.describe_services(cluster="demo", services=["worker"])["services"][0]
            took = time.perf_counter() - start
            processes, size = memory(child.pid)
            say(f"| {tasks:,} tasks RUNNING | {took:.1f} s | {size:,.0f} MB | {processes:,} |")
            asyncio.run(sessions(ecs, arns, child.pid))
        finally:
            start = time.perf_counter()
            child.terminate()
            child.wait(120)
    say(f"| down again | {time.perf_counter() - start:.1f} s | | {len(family(child.pid)) - 1} |")


if __name__ == "__main__":
    main(*(int(word) if word.isdigit() else word for word in sys.argv[1:]))  # type: ignore[arg-type]  # words of a command line
