"""The process's own loop rests when nothing runs on it, and comes back."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING

import pytest

from ecs_exec_magic.channel import connection
from ecs_exec_magic.portal import Portal

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def portal() -> Iterator[Portal]:
    portal = Portal()
    yield portal
    portal.stop()


async def here() -> list[threading.Thread]:
    """The loop's thread, and one of its own for what blocks: both must end with it."""
    return [threading.current_thread(), await asyncio.to_thread(threading.current_thread)]


def test_it_rests_when_nothing_runs_and_starts_again(portal: Portal) -> None:
    first = portal.submit(here()).result(60)
    assert [thread.is_alive() for thread in first] == [True, True]
    assert portal.rest()
    assert [thread.is_alive() for thread in first] == [False, False]
    second = portal.submit(here()).result(60)
    assert second[0] is not first[0]
    assert second[0].is_alive()


def test_what_has_just_ended_does_not_keep_it(portal: Portal) -> None:
    """Who waits for a future is woken before it is taken out of what was submitted."""
    portal.submit(here()).result(60)
    just: concurrent.futures.Future[None] = concurrent.futures.Future()
    portal._submitted.add(just)
    assert not portal.rest()
    just.set_result(None)
    assert portal.rest()


def test_it_does_not_rest_while_something_runs(portal: Portal) -> None:
    go = threading.Event()

    async def work() -> str:
        await asyncio.to_thread(go.wait, 60)
        return "done"

    running = portal.submit(work())
    assert not portal.rest()
    assert not running.done()
    go.set()
    assert running.result(60) == "done"
    assert portal.rest()


def test_it_settles_when_nothing_runs(portal: Portal) -> None:
    go, settled = threading.Event(), threading.Event()

    async def behind() -> None:
        await asyncio.sleep(0.01)
        settled.set()

    portal.at_stop(behind)
    assert portal.settle(), "nothing has begun"
    assert not settled.is_set()
    running = portal.submit(asyncio.to_thread(go.wait, 60))
    assert not portal.settle()
    assert not settled.is_set()
    go.set()
    assert running.result(60)
    assert portal.settle()
    assert settled.is_set()


def test_what_does_not_settle_in_time_goes_on(portal: Portal) -> None:
    ended = threading.Event()

    async def behind() -> None:
        await asyncio.sleep(0.5)
        ended.set()

    portal.submit(here()).result(60)
    portal.at_stop(behind)
    assert portal.settle(0.01)
    assert not ended.is_set()
    assert ended.wait(60)


def test_resting_before_anything_ran_does_nothing(portal: Portal) -> None:
    assert portal.rest()
    assert portal._thread is None


def test_what_ends_a_session_is_never_cut_off(portal: Portal) -> None:
    """Wherever the stop finds it: not yet begun, about to begin, or half way."""

    async def steps() -> None:
        for _ in range(20):  # within tasks of its own, as before Python 3.12 wait_for makes them
            await asyncio.wait_for(asyncio.sleep(0.0005), 5)

    async def job(ended: threading.Event) -> None:
        async def end() -> None:
            await steps()
            ended.set()

        try:
            await asyncio.sleep(60)
        finally:
            await asyncio.shield(connection._spawn(end()))

    for moment in range(60):
        ended = threading.Event()
        running = portal.submit(job(ended))
        portal.submit(asyncio.sleep(0.001)).result(60)
        running.cancel()
        end = time.perf_counter() + moment * 0.0003
        while time.perf_counter() < end:
            pass
        portal.stop()
        assert ended.is_set(), moment


def test_what_does_not_end_is_left(portal: Portal) -> None:
    stubborn = threading.Event()

    async def job() -> None:
        asyncio.current_task()._log_destroy_pending = False  # type: ignore[union-attr]
        while not stubborn.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(0.05)

    portal.submit(job())
    portal.submit(asyncio.sleep(0.001)).result(60)
    start = time.monotonic()
    portal.stop(2)
    took = time.monotonic() - start
    stubborn.set()
    assert took < 60


FORKED = """\
import asyncio, os, time
from ecs_exec_magic.portal import portal

async def nothing(): ...

portal.submit(asyncio.sleep(60))
portal.submit(nothing()).result(60)
child = os.fork()
if not child:
    portal.submit(nothing()).result(60)
    start = time.monotonic()
    portal.stop(60)
    os._exit(int((time.monotonic() - start) / 30))
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0, "it waited for its parent's"
"""


def test_a_forked_child_does_not_wait_for_what_its_parent_does() -> None:
    done = subprocess.run(
        [sys.executable, "-c", FORKED], capture_output=True, text=True, timeout=150
    )
    assert (done.returncode, done.stderr) == (0, "")


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
    end = time.monotonic() + 60
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
        timeout=150,
        check=False,
    )
    assert done.returncode == 0, done.stderr
