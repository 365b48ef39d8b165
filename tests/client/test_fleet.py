"""One command in many containers."""

from __future__ import annotations

import itertools
import os
import pickle
import signal
import threading
from typing import Any

import pytest

import ecs_exec_magic as ecs
from ecs_exec_magic.client import Client

from .conftest import wait_until


def test_every_container_runs_it(client: Client) -> None:
    fleet = client.fleet("demo/web:nginx")
    seen: list[str] = []
    result = fleet.run("hostname", on_result=lambda address, outcome: seen.append(address))
    assert list(result) == fleet.addresses, "in the order of the targets, whoever ended first"
    assert sorted(seen) == sorted(fleet.addresses)
    assert len({each.stdout for each in result.results.values()}) == 3
    assert all(each.exact for each in result.results.values())
    assert result.ok
    assert result
    assert result.check() is result
    assert repr(result) == "<FleetResult of 3 containers: 3 ok>"
    assert [row["outcome"] for row in result.table()] == ["ok"] * 3
    assert client.run("demo/web:*", "true", max_parallel=2).ok
    assert len(client.run("demo/web:*", "true", max_parallel=2)) == 6
    again = pickle.loads(pickle.dumps(result))
    assert again.table() == result.table()


def test_one_that_fails_spoils_nothing(client: Client) -> None:
    addresses = client.fleet("demo/web:nginx").addresses
    odd = addresses[1].partition("/")[2][:32]
    names = {
        each.address: each.run("hostname").stdout.strip()
        for each in client.targets("demo/web:nginx")
    }
    (bad,) = (address for address in addresses if odd in address)
    script = f'test "$(hostname)" != {names[bad]} || {{ echo no >&2; exit 5; }}; echo fine'
    result = client.run("demo/web:nginx", script)
    assert list(result.failed) == [bad]
    assert len(result.succeeded) == 2
    assert not result
    first, second = result.group()
    assert first[0] == [bad], "the odd one out comes first"
    assert len(second[0]) == 2
    with pytest.raises(ecs.FleetFailed, match="1 of 3 containers") as caught:
        client.run("demo/web:nginx", script, check=True)
    assert bad in str(caught.value)
    assert "exit code 5" in caught.value.cause
    assert caught.value.result.failed[bad].stderr == "no\n"
    page = result._repr_mimebundle_()["text/html"]
    assert page.count("<tr>") == 4
    assert "no" in page


def test_timeouts_are_outcomes(client: Client) -> None:
    result = client.run("demo/worker", "echo x; sleep 60", timeout=1)
    assert all(each.timed_out for each in result.failed.values())
    assert len(result.failed) == 2
    assert {row["outcome"] for row in result.table()} == {"timed out"}


def test_errors_are_kept_by_address(client: Client) -> None:
    result = client.run("demo/no-exec", "true")
    ((address, error),) = result.errors.items()
    assert isinstance(error, ecs.EcsExecError)
    assert address == client.fleet("demo/no-exec").addresses[0]
    assert result.table()[0]["last_line"].startswith(type(error).__name__)
    assert result.group() == [([address], error)]
    with pytest.raises(ecs.FleetFailed):
        result.check()


def test_stdin_goes_to_each(client: Client) -> None:
    result = client.run("demo/web:nginx", "cat", stdin="same")
    assert {each.stdout for each in result.results.values()} == {"same"}
    with pytest.raises(ecs.InvalidRequest, match="read only once"):
        client.run("demo/web:nginx", "cat", stdin=iter(["x"]))
    with pytest.raises(ecs.InvalidRequest, match="max_parallel=0"):
        client.run("demo/web:nginx", "true", max_parallel=0)


def test_no_more_at_once_than_asked(client: Client) -> None:
    script = "date +%s%N; sleep 0.5; date +%s%N"
    result = client.run("demo/web:nginx", script, max_parallel=1)
    spans = sorted(tuple(map(int, each.lines)) for each in result.results.values())
    assert all(before[1] <= after[0] for before, after in itertools.pairwise(spans))


def test_an_interrupt_reaches_all_and_begins_no_more(client: Client) -> None:
    body = "trap 'echo got; exit 130' INT; echo begun; while :; do sleep 0.1; done"
    running = client.fleet("demo/web:nginx").start(body, max_parallel=2)
    fleet: Any = running
    wait_until(lambda: _begun(fleet) == 2)
    assert running.interrupt()
    with pytest.raises(ecs.Interrupted) as caught:
        running.result()
    result = caught.value.result
    assert sorted(len(each.stdout) for each in result.results.values()) == [10, 10]
    assert len(result.errors) == 1
    assert "not begun" in str(*result.errors.values())


def _begun(running: Any) -> int:
    jobs = running._work._begun.values()
    return sum("begun" in job.so_far().stdout for job in jobs)


def test_the_interrupt_key(client: Client) -> None:
    timer = threading.Timer(1.5, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    with pytest.raises(ecs.Interrupted) as caught:
        client.run("demo/web:nginx", "sleep 60")
    assert {each.exit_code for each in caught.value.result.results.values()} <= {130, None}


def test_in_the_background(client: Client) -> None:
    running = client.fleet("demo/web:nginx").start("sleep 0.5; hostname")
    assert len(running.so_far()) == 0
    assert running.result().ok
    assert running.state == "done"
    cancelled = client.fleet("demo/web:nginx").start("sleep 60")
    assert cancelled.cancel()
    assert not cancelled.result().ok
    assert cancelled.state == "cancelled"
