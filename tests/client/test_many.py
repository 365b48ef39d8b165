"""Fleets of many containers: what is called, what is open at once, what becomes of refusals.

Everything is counted and nothing timed. The far end answers in this process.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any

import boto3
import pytest

import ecs_exec_magic as ecs
from bench.farend import FarEnd, serve
from ecs_exec_magic import runner
from ecs_exec_magic.aws import census, pace
from ecs_exec_magic.client import Client
from ecs_exec_magic.room import Room, files_left

from .conftest import wait_until

pytestmark = pytest.mark.timeout(300)

MANY = 1000


class Served:
    """A far end on a loop of its own."""

    def __init__(self, tasks: int) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self.far = self._do(self._made(tasks))
        self._runner, self.url = self._do(serve(self.far))

    async def _made(self, tasks: int) -> FarEnd:
        return FarEnd(tasks)

    def _do(self, work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(60)

    def release(self) -> None:
        """Let the commands end that wait for it."""
        self._loop.call_soon_threadsafe(self.far.release.set)

    def close(self) -> None:
        self._do(self._runner.cleanup())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(60)
        self._loop.close()

    def client(self) -> Client:
        session = boto3.Session("AKIATEST", "secret", region_name="us-east-1")
        return ecs.connect(endpoint_url=self.url, session=session)


@pytest.fixture
def served(request: pytest.FixtureRequest) -> Iterator[Served]:
    served = Served(getattr(request, "param", MANY))
    yield served
    served.close()


def test_calls_for_many_containers(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(census, "_FRESH", 1e9)
    monkeypatch.setattr(runner, "PROBE_AFTER", 1e9)  # what is quiet for long is looked at
    result = served.client().run("demo/worker", "hostname")
    assert (len(result), result.ok) == (MANY, True)
    assert all(each.exact for each in result.results.values())
    # Pages of the service's and the family's tasks, and descriptions of a hundred at a time.
    assert served.far.calls == {
        "ListTasks": 20,
        "DescribeTasks": 10,
        "DescribeSessions": 1,
        "ExecuteCommand": MANY,
    }
    assert served.far.most_open <= 100


def test_refusals_spoil_nothing(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pace, "_LEAST", pace._FREE)  # no test waits for AWS's pace
    served.far.throttle = 60
    result = served.client().run("demo/worker", "hostname")
    assert (len(result.succeeded), served.far.throttle) == (MANY, 0)
    assert served.far.calls["ExecuteCommand"] == MANY + 60
    assert set(result.attempts.values()) == {1}


@pytest.mark.parametrize("served", [60], indirect=True)
def test_no_more_at_once_than_asked(served: Served) -> None:
    running = served.client().fleet("demo/worker").start("sleep 600", max_parallel=20)
    wait_until(lambda: served.far.running == 20, 60)
    assert len(running.so_far()) == 0
    served.release()
    assert running.result().ok
    assert served.far.most_running == 20
    # Sessions whose command has ended say good-bye beside those that begin.
    assert 20 <= served.far.most_open <= 40


def in_process(code: str) -> Any:
    """What a new process prints as JSON."""
    done = subprocess.run(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, check=True, text=True, timeout=300
    )
    return json.loads(done.stdout)


LIMITED = """
import json, resource
resource.setrlimit(resource.RLIMIT_NOFILE, ({soft}, {hard}))
from ecs_exec_magic.room import Room, files_left
"""


def test_the_limit_of_files_is_raised_as_far_as_need_be() -> None:
    code = LIMITED.format(soft=256, hard=4096) + (
        "left = files_left(100), files_left(1000)\n"
        "print(json.dumps([left, resource.getrlimit(resource.RLIMIT_NOFILE)]))"
    )
    left, (soft, hard) = in_process(code)
    assert left == [100, 1000]
    assert 1000 < soft < 1256, "no more than what is needed"
    assert hard == 4096


def test_where_it_cannot_be_raised_fewer_run_at_once() -> None:
    code = LIMITED.format(soft=256, hard=256) + (
        "room = Room.of(1000)\nprint(json.dumps([room.running, room.limit, files_left(1000)]))"
    )
    running, limit, left = in_process(code)
    assert 100 < running < left < 256
    assert limit == 256
    wide = Room.of(10)
    assert (wide.running, wide.limit) == (10, None)
    assert files_left(0) == 0


@pytest.mark.parametrize("served", [300], indirect=True)
def test_a_fleet_larger_than_the_files_of_its_process(served: Served) -> None:
    """All of them are run, some after the others, and it is said why."""
    code = LIMITED.format(soft=128, hard=160) + (
        "import boto3, ecs_exec_magic as ecs\n"
        "session = boto3.Session('AKIATEST', 'secret', region_name='us-east-1')\n"
        f"fleet = ecs.connect(endpoint_url={served.url!r}, session=session).fleet('demo/worker')\n"
        "said = []\n"
        "result = fleet.run('hostname', max_parallel=300, on_notice=said.append)\n"
        "print(json.dumps([len(result), len(result.succeeded), said]))"
    )
    count, good, said = in_process(code)
    assert (count, good) == (300, 300)
    (notice,) = said
    assert notice.startswith("only ") and "160 files open (ulimit -n)" in notice
    assert served.far.most_open < 160
