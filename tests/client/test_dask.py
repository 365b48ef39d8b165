"""A fleet's sessions opened by the workers of a real Dask cluster: two processes here."""

from __future__ import annotations

import asyncio
import contextlib
import os
import pickle
import signal
import sys
import threading
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import boto3
import dask
import distributed
import pytest

import ecs_exec_magic as ecs
from ecs_exec_magic import dask_jobs, hosting
from ecs_exec_magic.address import ContainerRef
from ecs_exec_magic.aws.census import Census
from ecs_exec_magic.aws.slots import slots
from ecs_exec_magic.client import Client
from ecs_exec_magic.hosting import News
from ecs_exec_magic.runner import Request, settle
from ecs_exec_magic.sandbox import Sandbox

from .conftest import wait_until

pytestmark = [pytest.mark.timeout(240)]

KEYS = {"region_name": "us-east-1", "aws_access_key_id": "AKIATEST", "aws_secret_access_key": "x"}
SLOW = 60.0  # seconds that something may take on a machine that has much else to do


def local_cluster(**how: Any) -> distributed.LocalCluster:
    # Workers that are threads have no port, and so no host.
    host = "127.0.0.1" if how.get("processes", True) else None
    how = {"n_workers": 2, "threads_per_worker": 1, "host": host, **how}
    cluster: Any = distributed.LocalCluster  # it has no types
    made: distributed.LocalCluster = cluster(dashboard_address="127.0.0.1:0", **how)
    return made


@contextlib.contextmanager
def connected_to(where: Any, **how: Any) -> Iterator[distributed.Client]:
    make: Any = distributed.Client
    with make(where, **how) as client:
        yield client


@pytest.fixture(scope="module")
def _workers() -> Iterator[Any]:
    # On a busy machine a killed worker may need longer to be there again than this cluster waits
    # before it gives its place up.
    patient = dask.config.set({"distributed.deploy.lost-worker-timeout": "300s"})
    with patient, local_cluster() as cluster, connected_to(cluster) as executor:
        yield executor


@pytest.fixture
def executor(_workers: Any) -> Any:
    """A client of a cluster with two workers; those that a test has killed are there again."""
    wait_until(lambda: len(asked(_workers, os.getpid)) == 2, SLOW)
    return _workers


def asked(executor: Any, function: Any, *args: Any) -> dict[str, Any]:
    """What a function gives in each worker that answers."""
    answers = executor.run(function, *args, on_error="ignore")
    found: dict[str, Any] = answers
    return found


# What the workers are asked.


def jobs_here() -> int:
    return sum(len(party._jobs) for party in hosting._parties.values())


def parties_here() -> int:
    return len(hosting._parties)


def names_here() -> set[str]:
    return set(hosting._parties)


def known_to(executor: Any) -> set[str]:
    """The parties of all workers; one whose client was closed is there until its lease is over."""
    return set().union(*asked(executor, names_here).values())


def die_when_asked_to_get_ready() -> None:
    async def die(parcel: object) -> Any:
        os.kill(os.getpid(), signal.SIGKILL)

    hosting._open = die


def be_of_version(version: str) -> None:
    hosting.__version__ = version  # type: ignore[attr-defined]


def set_here(variables: dict[str, str | None]) -> None:
    for key, value in variables.items():
        if value is None:
            os.environ.pop(key, None)
        else:
            os.environ[key] = value


def name() -> str:
    return f"/tmp/dask-{uuid.uuid4().hex}"


def until(path: str) -> str:
    """A command that goes on until there is that file."""
    return f"while ! test -e {path}; do sleep 0.1; done"


def touch(client: Client, addresses: list[str], path: str) -> None:
    for address in addresses:
        client.target(address).run(f"touch {path}", check=True)


# -- what comes back -----------------------------------------------------------------------------


def test_the_result_is_that_of_a_run_from_here(client: Client, executor: Any) -> None:
    script = "hostname; echo no >&2; exit $(hostname | cksum | cut -c1)"
    here = client.run("demo/web:*", script)
    there = client.run("demo/web:*", script, executor=executor)
    assert list(there) == list(here)
    assert there.command == here.command
    assert there.attempts == here.attempts
    for address, result in here.results.items():
        other = there[address]
        assert isinstance(other, ecs.CommandResult)
        assert other.stdout_bytes == result.stdout_bytes
        assert other.stderr_bytes == result.stderr_bytes == b"no\n"
        assert other.exit_code == result.exit_code
        assert other.target == result.target
        assert other.exact
        assert other.session_id and other.request_id
    assert client.run("demo/no-exec", "true", executor=executor).errors
    with pytest.raises(ecs.FleetFailed):
        client.fleet("demo/worker").run("false", executor=executor, check=True)


def test_both_workers_take_part_and_one_runs_many(client: Client, executor: Any) -> None:
    go = name()
    running = client.fleet("demo/web:*").start(until(go), executor=executor)
    wait_until(lambda: sorted(asked(executor, jobs_here).values()) == [3, 3], SLOW)
    touch(client, client.fleet("demo/web:*").addresses, go)
    assert running.result(SLOW).ok
    wait_until(lambda: set(asked(executor, parties_here).values()) == {0}, SLOW)


def test_each_result_comes_as_it_ends(client: Client, executor: Any) -> None:
    go = name()
    fleet = client.fleet("demo/web:nginx")
    first, *others = fleet.addresses
    odd = client.target(first).run("hostname").stdout.strip()
    seen: list[str] = []

    def ended(address: str, outcome: object) -> None:
        seen.append(address)
        if address == first:
            for other in others:
                client.target(other).run(f"touch {go}", check=True)

    script = f"test $(hostname) = {odd} || {until(go)}"
    assert fleet.run(script, executor=executor, on_result=ended).ok
    assert seen[0] == first and sorted(seen) == sorted(fleet.addresses)


def test_eight_megabytes_of_any_bytes(client: Client, executor: Any) -> None:
    path = name()
    script = f"head -c 8388608 /dev/urandom > {path}; cat {path}; cksum < {path} >&2; rm {path}"
    address = client.fleet("demo/worker").addresses[0]
    (result,) = client.fleet(address).run(script, executor=executor).results.values()
    assert result.exact
    assert len(result.stdout_bytes) == 8388608
    again = client.target(address)
    again.write_bytes(path, result.stdout_bytes)
    assert again.run(f"cksum < {path}; rm {path}").stdout == result.stderr


def test_stdin_is_read_here(client: Client, executor: Any, tmp_path: Path) -> None:
    data = bytes(range(256)) * 40
    (tmp_path / "data").write_bytes(data)
    executor.run(os.chdir, "/")
    for stdin in (data, tmp_path / "data", [data[:100], data[100:]]):
        result = client.run("demo/worker", "cat", stdin=stdin, executor=executor)
        assert {each.stdout_bytes for each in result.results.values()} == {data}


async def test_a_path_travels_as_its_bytes(tmp_path: Path) -> None:
    (tmp_path / "data").write_bytes(b"some")
    request = await dask_jobs._portable(Request("cat", tmp_path / "data"))
    assert request.stdin == b"some"
    gone = Request("cat", tmp_path / "data")
    (tmp_path / "data").unlink()
    with pytest.raises(ecs.InvalidRequest, match="stdin cannot be read"):
        await dask_jobs._portable(gone)


def test_a_time_limit(client: Client, executor: Any) -> None:
    result = client.run("demo/worker", "echo x; sleep 300", timeout=1, executor=executor)
    assert len(result.failed) == 2
    assert all(each.timed_out and each.stdout == "x\n" for each in result.failed.values())


def test_retries_and_limits_are_kept_here(client: Client, executor: Any) -> None:
    path = name()
    script = f"echo x >> {path}; test $(wc -l < {path}) -ge 2"
    result = client.run("demo/worker", script, retry=3, executor=executor)
    assert result.ok
    assert set(result.attempts.values()) == {2}
    few = client.run("demo/web:*", "exit 3", max_parallel=1, fail_fast=True, executor=executor)
    assert (len(few.failed), len(few.not_begun)) == (1, 5)


# -- places in containers ------------------------------------------------------------------------


def test_no_container_gets_more_sessions_than_its_agent_takes(
    client: Client, cluster: Sandbox, executor: Any
) -> None:
    assert cluster.wait_idle(SLOW)
    go = name()
    fleet = client.fleet("demo/worker")
    runs = [fleet.start(until(go), executor=executor) for _ in range(4)]
    ssm = boto3.client("ssm", endpoint_url=cluster.url, **KEYS)

    def sessions() -> list[int]:
        pages = ssm.get_paginator("describe_sessions").paginate(State="Active")
        found = Counter(each["Target"] for page in pages for each in page["Sessions"])
        assert max(found.values(), default=0) <= 2
        return sorted(found.values())

    def waiting() -> list[int]:
        containers = dict(slots._containers)
        return [len(each.queue) for each in containers.values() if each.queue]

    wait_until(lambda: sessions() == [2, 2], SLOW)
    # Two of each container's four wait in this process, whichever worker they would go to.
    wait_until(lambda: waiting() == [2, 2], SLOW)
    assert sessions() == [2, 2]
    # Sessions that the workers have opened do not count as those of others, once they are told of.
    refs = [target.ref for target in client.targets("demo/worker")]
    wait_until(lambda: client._call(_others(client, refs)) == [0, 0], SLOW)
    # The test itself needs a place too: of the four only one goes on.
    for run in runs[1:]:
        run.interrupt()
    with ThreadPoolExecutor(2) as threads:
        targets = client.targets("demo/worker")
        list(threads.map(lambda target: target.run(f"touch {go}", check=True), targets))
    assert runs[0].result(SLOW).ok
    for run in runs[1:]:
        with pytest.raises(ecs.Interrupted):
            run.result(SLOW)
    assert cluster.wait_idle(SLOW)


async def _others(client: Client, refs: list[ContainerRef]) -> list[int]:
    census = Census(client._api)
    return [await census.others(ref) for ref in refs]


# -- ending it -----------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["interrupt", "cancel"])
def test_it_can_be_ended(client: Client, cluster: Sandbox, executor: Any, how: str) -> None:
    begun = name()
    body = f"trap 'echo got; exit 130' INT TERM; touch {begun}; while :; do sleep 0.1; done"
    fleet = client.fleet("demo/web:nginx")
    running = fleet.start(body, max_parallel=2, executor=executor)
    wait_until(lambda: _have(client, fleet.addresses, begun) == 2, SLOW)
    assert getattr(running, how)()
    if how == "interrupt":
        with pytest.raises(ecs.Interrupted) as caught:
            running.result(SLOW)
        result = caught.value.result
    else:
        result = running.result(SLOW)
    assert [each.stdout for each in result.results.values()] == ["got\n"] * 2
    assert len(result.not_begun) == 1
    assert cluster.wait_idle(SLOW)
    wait_until(lambda: set(asked(executor, parties_here).values()) == {0}, SLOW)


def _have(client: Client, addresses: list[str], path: str) -> int:
    return sum(client.target(each).run(f"test -e {path}").ok for each in addresses)


def test_the_interrupt_key(client: Client, cluster: Sandbox, executor: Any) -> None:
    fleet = client.fleet("demo/worker")

    def press() -> None:
        wait_until(lambda: sum(asked(executor, jobs_here).values()) == 2, SLOW)
        os.kill(os.getpid(), signal.SIGINT)

    presser = threading.Thread(target=press)
    presser.start()
    with pytest.raises(ecs.Interrupted) as caught:
        fleet.run("sleep 300", executor=executor)
    presser.join()
    assert {each.exit_code for each in caught.value.result.results.values()} <= {130, None}
    assert cluster.wait_idle(SLOW)


def test_what_is_given_up_is_ended(client: Client, cluster: Sandbox, executor: Any) -> None:
    begun = name()
    fleet = client.fleet("demo/worker")

    class Fed(Exception):
        pass

    def tick() -> None:
        if cluster.counters.active_sessions:
            raise Fed

    assert cluster.wait_idle(SLOW)
    with pytest.raises(Fed):
        fleet.run(f"trap '' INT; touch {begun}; sleep 300", executor=executor, on_tick=tick)
    assert cluster.wait_idle(SLOW)
    wait_until(lambda: set(asked(executor, parties_here).values()) == {0}, SLOW)
    wait_until(lambda: not any(slots.taken(each) for each in fleet.targets), SLOW)


# -- a worker that dies --------------------------------------------------------------------------


@pytest.mark.parametrize("idempotent", [False, True])
def test_a_worker_is_killed_while_its_command_runs(
    client: Client, cluster: Sandbox, executor: Any, idempotent: bool
) -> None:
    log, go = name(), name()
    fleet = client.fleet("demo/worker")
    running = fleet.start(
        f"echo x >> {log}; {until(go)}; echo end", executor=executor, idempotent=idempotent
    )
    wait_until(lambda: _have(client, fleet.addresses, log) == 2, SLOW)
    assert list(asked(executor, jobs_here).values()) == [1, 1]
    victim = next(iter(asked(executor, os.getpid).values()))
    os.kill(victim, signal.SIGKILL)
    if idempotent:
        lines = ["1", "2"]
        wait_until(lambda: _lines(client, fleet.addresses, log) == lines, SLOW)
    else:
        lines = ["1", "1"]
        wait_until(lambda: len(running.so_far()) == 1, SLOW)
        # Nothing waits any more to be begun: Dask has one worker, and a new one soon.
        wait_until(lambda: len(asked(executor, os.getpid)) == 2, SLOW)
    touch(client, fleet.addresses, go)
    result = running.result(SLOW)
    assert _lines(client, fleet.addresses, log) == lines
    if idempotent:
        assert result.ok
        assert sorted(result.attempts.values()) == [1, 2]
    else:
        assert len(result.succeeded) == 1
        ((address, error),) = result.errors.items()
        assert isinstance(error, ecs.WorkerLost)
        assert isinstance(error, ecs.SessionLost)
        assert "nobody knows whether the command ran" in str(error)
        assert result.attempts[address] == 1
        with pytest.raises(ecs.FleetFailed, match="1 of 2 containers"):
            result.check()
    # Nor does the session that nobody reads any more go on, and hold a place.
    assert cluster.wait_idle(SLOW)
    wait_until(lambda: not any(slots.taken(each) for each in fleet.targets), SLOW)


def _lines(client: Client, addresses: list[str], path: str) -> list[str]:
    """How many lines a file has in each container, sorted."""
    found = [client.target(each).run(f"wc -l < {path}").stdout.strip() for each in addresses]
    return sorted(found)


def test_a_worker_is_killed_before_a_command_has_begun(client: Client, executor: Any) -> None:
    log = name()
    victim = next(iter(asked(executor, os.getpid)))
    executor.run(die_when_asked_to_get_ready, workers=[victim])
    fleet = client.fleet("demo/web:*")
    result = fleet.run(f"echo x >> {log}", executor=executor)
    assert result.ok
    assert set(result.attempts.values()) == {1}
    assert _lines(client, fleet.addresses, log) == ["1"] * 6


def test_all_workers_are_killed(client: Client, executor: Any) -> None:
    """The nannies start new ones, and what had not been begun is begun there."""
    log, go = name(), name()
    fleet = client.fleet("demo/web:nginx")
    running = fleet.start(f"echo x >> {log}; {until(go)}", executor=executor, max_parallel=2)
    wait_until(lambda: _have(client, fleet.addresses, log) == 2, SLOW)
    for pid in asked(executor, os.getpid).values():
        os.kill(pid, signal.SIGKILL)
    wait_until(lambda: running.done() or _have(client, fleet.addresses, log) == 3, 150)
    touch(client, fleet.addresses, go)
    result = running.result(SLOW)
    assert len(result.succeeded) == 1, result.table()
    assert {type(each) for each in result.errors.values()} == {ecs.WorkerLost}
    assert _lines(client, fleet.addresses, log) == ["1"] * 3


class Silent:
    """Two workers: one that takes messages and never answers, and is then gone; one that runs."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self.first = asyncio.Event()
        self.gone = asyncio.Event()

    async def call(self, address: str, function: Any, party: Any, *args: Any, **_: Any) -> Any:
        if function is hosting.open_party:
            return hosting.Welcome.here().__class__(ecs.__version__, address)
        if address == "bad":
            if function is hosting.tell:
                self.first.set()
            await self.gone.wait()
            raise OSError("closed")
        if function is hosting.tell:
            self.begun += [each.parts[0] for each in args[0] if each.kind == "begin"]
            return True
        await asyncio.sleep(0.01)
        found = []
        for number, token in enumerate(self.begun[args[0] // 2 :], args[0] // 2):
            outcome = pickle.dumps(ecs.CommandResult(0, "c"))
            found.append(News(2 * number + 1, "outcome", token, outcome))
            found.append(News(2 * number + 2, "settled", token))
        return found

    async def workers(self) -> list[str]:
        return ["good"] if self.gone.is_set() else ["bad"]


async def test_what_was_never_sent_is_begun_elsewhere(
    monkeypatch: pytest.MonkeyPatch, client: Client
) -> None:
    """And what was sent is not, although the worker has never said that it got it."""
    ref = client.target("demo/worker").ref
    refs: dict[str, ContainerRef] = {"a": ref, "b": ref}
    silent = Silent()
    crew = dask_jobs.Crew(None, client._api, refs, Request("c"), 10)  # type: ignore[arg-type]
    monkeypatch.setattr(crew, "call", silent.call)
    monkeypatch.setattr(crew, "workers", silent.workers)
    async with crew:
        sent = asyncio.ensure_future(crew.job("a").run())
        await silent.first.wait()
        unsent = asyncio.ensure_future(crew.job("b").run())
        await asyncio.sleep(0)
        silent.gone.set()
        with pytest.raises(ecs.WorkerLost):
            await sent
        assert (await unsent).ok
        assert len(silent.begun) == 1
    await settle()


# -- what is refused -----------------------------------------------------------------------------


def test_what_is_no_client_of_dask(client: Client, executor: Any) -> None:
    fleet = client.fleet("demo/worker")
    with pytest.raises(ecs.InvalidRequest, match="is ThreadPoolExecutor, not a client of Dask"):
        fleet.run("true", executor=ThreadPoolExecutor())
    with pytest.raises(ecs.InvalidRequest, match="goes with executor"):
        fleet.run("true", worker_credentials=True)
    with connected_to(executor.scheduler.address) as closed:
        pass
    with pytest.raises(ecs.InvalidRequest, match="the Dask client is closed"):
        fleet.start("true", executor=closed)


def test_without_dask(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(ecs.InvalidRequest, match="not installed") as caught:
        client.run("demo/worker", "true", executor=object())
    assert caught.value.cure == 'pip install "ecs-exec-magic[fleet]"'


async def test_a_client_of_ones_own_loop(client: Client, executor: Any) -> None:
    make: Any = distributed.Client
    async with make(executor.scheduler.address, asynchronous=True) as own:
        fleet = await asyncio.to_thread(client.fleet, "demo/worker")
        with pytest.raises(ecs.InvalidRequest, match="runs on the event loop of this thread"):
            fleet.run("true", executor=own)
        # In another thread nothing is in its way.
        assert (await asyncio.to_thread(fleet.run, "true", executor=own)).ok


def test_no_workers(client: Client) -> None:
    with (
        local_cluster(n_workers=0) as empty,
        connected_to(empty) as alone,
        pytest.raises(ecs.InvalidRequest, match="has no worker"),
    ):
        client.run("demo/worker", "true", executor=alone)


def test_workers_of_another_version(client: Client, executor: Any) -> None:
    one, other = asked(executor, os.getpid)
    notices: list[str] = []
    fleet = client.fleet("demo/worker")
    others = known_to(executor)
    try:
        executor.run(be_of_version, "9", workers=[one])
        assert fleet.run("true", executor=executor, on_notice=notices.append).ok
        assert any(f"the Dask worker {one} has ecs-exec-magic 9" in each for each in notices)
        executor.run(be_of_version, "9", workers=[other])
        with pytest.raises(ecs.InvalidRequest, match="has ecs-exec-magic 9") as caught:
            fleet.run("true", executor=executor)
        assert f'pip install "ecs-exec-magic=={ecs.__version__}"' in caught.value.cure
        # Nor does any of them keep what it was lent.
        wait_until(lambda: known_to(executor) <= others, SLOW)
    finally:
        executor.run(be_of_version, ecs.__version__)


def test_workers_that_are_threads_of_this_process(client: Client, cluster: Sandbox) -> None:
    """They count places together with the one who waits for them."""
    with local_cluster(processes=False) as threads, connected_to(threads) as executor:
        runs = [client.fleet("demo/worker").start("hostname", executor=executor) for _ in range(3)]
        assert all(each.result(SLOW).ok for each in runs)
        assert cluster.wait_idle(SLOW)


# -- secrets -------------------------------------------------------------------------------------


def test_nothing_of_dask_shows_secrets(cluster: Sandbox, executor: Any) -> None:
    secret = f"SECRET{uuid.uuid4().hex}"
    session = boto3.Session("AKIATEST", secret, region_name="us-east-1")
    client = ecs.connect(endpoint_url=cluster.url, session=session)
    assert client.run("demo/worker", f"true {secret}", executor=executor).ok
    with pytest.raises(RuntimeError):
        # Dask writes into its logs what a function was called with that fails.
        executor.run(_fails, hosting.Parcel("p", *_lent(secret)))
    told = [executor.get_worker_logs(), executor.get_scheduler_logs(), executor.scheduler_info()]
    assert "_fails" in repr(told)
    assert secret not in repr(told)


def _fails(parcel: object) -> None:
    raise RuntimeError("it failed")


def _lent(secret: str) -> tuple[Any, Any, int]:
    from ecs_exec_magic.aws.lending import Keys, Lent

    return Lent("us-east-1", None, Keys("AKIATEST", secret)), Request(f"true {secret}"), 10


def test_workers_with_credentials_of_their_own(
    client: Client, cluster: Sandbox, executor: Any
) -> None:
    keys = {"AWS_ACCESS_KEY_ID": "AKIAWORKER", "AWS_SECRET_ACCESS_KEY": "x"}
    executor.run(set_here, keys)
    try:
        fleet = client.fleet("demo/worker")
        assert fleet.run("true", executor=executor, worker_credentials=True).ok
        asked_by = [each.access_key for each in cluster.counters.calls("ExecuteCommand")][-2:]
        assert asked_by == ["AKIAWORKER"] * 2
        assert fleet.run("true", executor=executor).ok
        asked_by = [each.access_key for each in cluster.counters.calls("ExecuteCommand")][-2:]
        assert asked_by == ["AKIATEST"] * 2
    finally:
        executor.run(set_here, dict.fromkeys(keys))


def test_credentials_are_renewed_while_it_runs(
    client: Client, executor: Any, monkeypatch: pytest.MonkeyPatch, cluster: Sandbox
) -> None:
    monkeypatch.setattr(dask_jobs, "_RENEW", 0.1)
    go = name()
    fleet = client.fleet("demo/worker")
    others = known_to(executor)
    running = fleet.start(until(go), executor=executor, max_parallel=1)
    wait_until(lambda: sum(asked(executor, jobs_here).values()) == 1, SLOW)
    seen: list[Any] = []
    client._api.session.get_credentials().access_key = "AKIANEW"

    def renewed() -> bool:
        seen.append(asked(executor, keys_here, others))
        return all(each == {"AKIANEW"} for each in seen[-1].values())

    try:
        wait_until(renewed, SLOW)
    except AssertionError:
        raise AssertionError(f"keys at last: {seen[-1]}") from None
    touch(client, fleet.addresses, go)
    assert running.result(SLOW).ok
    time.sleep(0)
    assert cluster.counters.calls("ExecuteCommand")[-1].access_key == "AKIANEW"


def keys_here(but: set[str]) -> set[str]:
    """Access keys that the parties of a worker sign with, but for some."""
    parties = [party for name, party in hosting._parties.items() if name not in but]
    found = [party._borrowed.api.session.get_credentials() for party in parties]
    return {each.get_frozen_credentials().access_key for each in found}
