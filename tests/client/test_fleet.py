"""One command in many containers."""

from __future__ import annotations

import itertools
import os
import pickle
import threading
import time
from typing import Any

import boto3
import pytest

import ecs_exec_magic as ecs
from ecs_exec_magic import fleet as fleet_module
from ecs_exec_magic.aws.slots import slots
from ecs_exec_magic.capture import Capture
from ecs_exec_magic.client import Client
from ecs_exec_magic.fleet_result import FleetResult
from ecs_exec_magic.sandbox import Sandbox

from .conftest import press_key, wait_until

KEYS = {"region_name": "us-east-1", "aws_access_key_id": "AKIATEST", "aws_secret_access_key": "x"}


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
    assert page.count("<tr") == 4
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
    jobs = list(running._work._running.values())  # a copy: the loop's thread adds to them
    return sum("begun" in job.so_far().stdout for job in jobs)


def test_the_interrupt_key(client: Client) -> None:
    fleet = client.fleet("demo/web:nginx")

    def press() -> None:
        wait_until(lambda: all(slots.taken(target) for target in fleet.targets))
        time.sleep(0.5)  # whether the commands run or begin to is all the same
        press_key()

    presser = threading.Thread(target=press)
    presser.start()
    with pytest.raises(ecs.Interrupted) as caught:
        fleet.run("sleep 60")
    presser.join()
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


def test_what_differs(client: Client) -> None:
    names = {t.address: t.run("hostname").stdout.strip() for t in client.targets("demo/web:nginx")}
    odd = list(names)[2]
    script = f'echo one; echo two; test "$(hostname)" != {names[odd]} && echo three || echo 3'
    result = client.run("demo/web:nginx", script)
    text = result.diff()
    head, other, *lines = text.split("\n")
    assert head.startswith("--- 2 containers: demo/")
    assert other.startswith("+++ 1 container: demo/" + odd.partition("/")[2][:8])
    assert lines == ["@@ -1,3 +1,3 @@", " one", " two", "-three", "+3"]
    assert "<span" in text._repr_mimebundle_()["text/html"]
    assert result.diff("stderr") == "no difference between 3 containers"
    failing = f'echo same; test "$(hostname)" != {names[odd]}'
    assert "+(exit code 1)" in client.run("demo/web:nginx", failing).diff()


def test_it_is_begun_again_where_it_failed(client: Client) -> None:
    # Each attempt adds a line to a file; the third finds three, and is content.
    path = f"/tmp/retry-{os.getpid()}"
    script = f"echo x >> {path}; test $(wc -l < {path}) -ge 3"
    result = client.run("demo/worker", script, retry=4)
    assert result.ok
    assert set(result.attempts.values()) == {3}
    assert [row["attempts"] for row in result.table()] == [3, 3]
    assert "Attempts" in result._repr_mimebundle_()["text/html"]
    twice = client.run("demo/worker", f"echo x >> {path}.2; wc -l < {path}.2; exit 1", retry=1)
    assert {each.stdout for each in twice.results.values()} == {"2\n"}
    assert {each.exit_code for each in twice.results.values()} == {1}


def test_no_more_are_begun_once_enough_have_failed(client: Client) -> None:
    fleet = client.fleet("demo/web:*")
    assert len(fleet.addresses) == 6
    result = fleet.run("exit 3", max_parallel=1, max_failures=2)
    assert [type(each).__name__ for each in result.values()] == ["CommandResult"] * 2 + [
        "NotBegun"
    ] * 4
    assert list(result.not_begun) == fleet.addresses[2:]
    assert repr(result) == "<FleetResult of 6 containers: 2 failed, 4 not begun>"
    assert "failed in 2 containers before" in str(result[fleet.addresses[5]])
    with pytest.raises(ecs.FleetFailed) as caught:
        result.check()
    assert "exit code 3" in caught.value.cause
    once = fleet.run("exit 3", max_parallel=1, fail_fast=True)
    assert (len(once.failed), len(once.not_begun)) == (1, 5)
    with pytest.raises(ecs.InvalidRequest, match="retry=-1"):
        fleet.run("true", retry=-1)


def test_tasks_with_a_tag(client: Client, cluster: Sandbox) -> None:
    aws = boto3.client("ecs", endpoint_url=cluster.url, **KEYS)
    tasks = client.tasks("demo/web")
    aws.tag_resource(resourceArn=tasks[1].task_arn, tags=[{"key": "canary", "value": "yes"}])
    aws.tag_resource(resourceArn=tasks[2].task_arn, tags=[{"key": "canary", "value": "no"}])
    assert len(client.fleet("demo/web:nginx", tags={"canary": None}).addresses) == 2
    # Nothing need be named: whatever has the tag in the cluster.
    result = client.run(None, "true", cluster="demo", container="nginx", tags={"canary": "yes"})
    assert list(result) == [f"demo/{tasks[1].task_id}:nginx"]
    with pytest.raises(ecs.TargetNotFound, match="has the tag canary=maybe") as caught:
        client.fleet("demo/web:nginx", tags={"canary": "maybe"})
    assert "canary=no" in caught.value.cause
    with pytest.raises(ecs.AmbiguousTarget, match="has 2 containers: nginx, sidecar"):
        client.fleet(cluster="demo", tags={"canary": "yes"})


def test_sessions_of_others_are_waited_for(client: Client, cluster: Sandbox) -> None:
    address = client.fleet("demo/worker").addresses[0]
    target = client.target(address)
    aws = boto3.client("ecs", endpoint_url=cluster.url, **KEYS)
    held = [
        aws.execute_command(
            cluster="demo", task=target.ref.task_arn, command="sleep 60", interactive=True
        )["session"]["sessionId"]
        for _ in range(2)
    ]
    ssm = boto3.client("ssm", endpoint_url=cluster.url, **KEYS)
    notices: list[str] = []

    def noticed(text: str) -> None:
        notices.append(text)
        for each in held:
            ssm.terminate_session(SessionId=each)

    result = client.fleet(address).run("echo mine", on_notice=noticed)
    assert result.ok
    assert len(notices) == 1 and "2 sessions, others' among them" in notices[0]


class Scripted:
    """Jobs that end as they are told, one outcome after the other."""

    def __init__(self, *outcomes: Any) -> None:
        self.outcomes = list(outcomes)
        self.begun = 0

    def job(self, address: str) -> Any:
        return self

    async def run(self) -> Any:
        self.begun += 1
        outcome = self.outcomes.pop(0)
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome


def ended(code: int | None, stdout: bytes = b"") -> ecs.CommandResult:
    return ecs.CommandResult(code, "c", captured_stdout=Capture(stdout))


GOOD = ended(0)


@pytest.mark.parametrize(
    ("first", "idempotent", "begun"),
    [
        (ecs.AgentNotConnected("not yet"), False, 2),
        (ecs.Throttled("too many"), False, 2),
        (ecs.SessionLost("cut"), False, 1),  # it may run to this moment
        (ecs.SessionLost("cut"), True, 2),
        (ecs.ServiceError("no answer"), False, 1),
        (ecs.ServiceError("no answer"), True, 2),
        (ecs.AccessDenied("no"), True, 1),
        (ecs.TargetNotFound("gone"), True, 1),
        (ended(None), False, 1),
        (ended(None), True, 2),
        (ended(4), False, 2),
    ],
)
async def test_what_is_begun_again(
    monkeypatch: pytest.MonkeyPatch, first: Any, idempotent: bool, begun: int
) -> None:
    monkeypatch.setattr(fleet_module, "_FIRST_PAUSE", 0.0)

    async def nobody(address: str) -> int:
        return 0

    jobs = Scripted(first, GOOD)
    limits = fleet_module.Limits(retry=3, idempotent=idempotent)
    job = fleet_module.FleetJob(jobs.job, ["a"], "c", limits=limits, crowd=nobody)
    result = await job.run()
    assert jobs.begun == begun == result.attempts["a"]
    assert result.ok == (begun == 2)


async def test_others_who_do_not_leave(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fleet_module, "_LOOK_AGAIN", 0.01)
    monkeypatch.setattr(fleet_module, "_CROWDED", 0.05)

    async def two(address: str) -> int:
        return 2 if address == "full" else 0

    jobs = Scripted(GOOD)
    job = fleet_module.FleetJob(
        jobs.job, ["full", "free"], "c", limits=fleet_module.Limits(), crowd=two
    )
    result = await job.run()
    assert result["free"] is GOOD
    assert isinstance(result["full"], ecs.NotBegun)
    assert "takes no more" in str(result["full"])


def test_many_are_shown_as_a_grid() -> None:
    outcomes: dict[str, Any] = {f"c/{i:032x}:web": GOOD for i in range(300)}
    outcomes[f"c/{7:032x}:web"] = ended(9, b"<no>")
    outcomes[f"c/{8:032x}:web"] = ecs.AccessDenied("no")
    page = FleetResult(outcomes)._repr_mimebundle_()["text/html"]
    assert page.count('role="img"') == 300
    assert page.count("✗") == 1 and page.count("!</span>") == 1
    assert page.index("exit code 9") > 0
    assert "&lt;no&gt;" in page and "<no>" not in page
    # Those that need a look are in the table, however many are fine.
    assert page.index("failed") < page.rindex("ok")
    assert "and 250 more" in page
    assert len(page) < 150_000


def test_only_so_many_differences_are_shown() -> None:
    outcomes: dict[str, Any] = {f"c/{i:032x}:web": ended(0, b"host %d\n" % i) for i in range(1000)}
    text = FleetResult(outcomes).diff()
    assert text.count("+++ 1 container: ") == 50
    assert text.endswith("@@ and 949 more texts, of 949 containers; .group() has them all @@")
    assert len(text._repr_mimebundle_()["text/html"]) < 50_000


def test_a_fleet_goes_no_faster_than_aws_takes(client: Client, cluster: Sandbox) -> None:
    cluster.faults.throttle["ExecuteCommand"] = 8
    result = client.run("demo/web:*", "true")
    assert result.ok
    assert cluster.faults.throttle["ExecuteCommand"] == 0
    assert client._api.pace.rate is not None


async def test_a_callback_that_fails_spoils_nothing() -> None:
    async def nobody(address: str) -> int:
        return 0

    def wrong(address: str, outcome: Any) -> None:
        raise KeyError(address)

    jobs = Scripted(GOOD, GOOD, GOOD)
    job = fleet_module.FleetJob(
        jobs.job,
        ["a", "b", "c"],
        "c",
        limits=fleet_module.Limits(max_parallel=1),
        crowd=nobody,
        on_result=wrong,
    )
    with pytest.raises(KeyError, match="a"):
        await job.run()
    assert jobs.begun == 3
    assert job.so_far().ok
