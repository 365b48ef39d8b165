"""The process's own loop rests when nothing runs on it, and comes back."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

import pytest

from ecs_exec_magic.portal import Portal

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def portal() -> Iterator[Portal]:
    portal = Portal()
    yield portal
    portal.stop()


async def here() -> threading.Thread:
    await asyncio.to_thread(lambda: None)  # the loop's own threads must end with it
    return threading.current_thread()


def test_it_rests_when_nothing_runs_and_starts_again(portal: Portal) -> None:
    before = threading.active_count()
    first = portal.submit(here()).result(10)
    assert first.is_alive()
    assert portal.rest()
    assert not first.is_alive()
    assert threading.active_count() == before
    second = portal.submit(here()).result(10)
    assert second is not first
    assert second.is_alive()


def test_it_does_not_rest_while_something_runs(portal: Portal) -> None:
    go = threading.Event()

    async def work() -> str:
        await asyncio.to_thread(go.wait, 10)
        return "done"

    running = portal.submit(work())
    assert not portal.rest()
    assert not running.done()
    go.set()
    assert running.result(10) == "done"
    assert portal.rest()


def test_resting_before_anything_ran_does_nothing(portal: Portal) -> None:
    before = threading.active_count()
    assert portal.rest()
    assert threading.active_count() == before


CLIENTS = """
import threading, time
import ecs_exec_magic as ecs

def threads():
    return {thread.name for thread in threading.enumerate() if thread.name[:4] == "ecs-"}

def call(client):
    try:
        client.target("nowhere/at-all")
    except ecs.EcsExecError:
        pass

def ended():
    end = time.monotonic() + 20
    while threads() and time.monotonic() < end:
        time.sleep(0.02)
    return not threads()

one, other = (ecs.connect("eu-west-1", endpoint_url="http://127.0.0.1:9") for _ in range(2))
call(one)
one.close()
assert "ecs-exec-magic" in threads(), "the other client is open"
other.close()
assert ended(), threads()
call(one)
assert "ecs-exec-magic" in threads(), "a closed client is usable"
one.close()
assert ended(), threads()
"""


def test_closing_the_last_client_ends_our_threads() -> None:
    keys = {"AWS_ACCESS_KEY_ID": "AKIDEXAMPLE", "AWS_SECRET_ACCESS_KEY": "none"}
    done = subprocess.run(
        [sys.executable, "-c", CLIENTS],
        env={**keys, "AWS_MAX_ATTEMPTS": "1", "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert done.returncode == 0, done.stderr
