"""What can go wrong between here and the container never gives a wrong result."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from typing import Any

import pytest

import ecs_exec_magic as ecs
from ecs_exec_magic import runner
from ecs_exec_magic.client import Client, Target
from ecs_exec_magic.remote import command as command_module
from ecs_exec_magic.remote import shell as shell_module
from ecs_exec_magic.remote import wrapper
from ecs_exec_magic.sandbox import Sandbox

from .conftest import wait_until

NUMBERS = "".join(f"{n}\n" for n in range(1, 20001))


@pytest.mark.parametrize("method", ["execute-command", "start-session"])
@pytest.mark.parametrize(
    "fault",
    [
        {"drop": {0, 3, 7, 8, 20}},
        {"duplicate": {0, 1, 2, 9}},
        {"delay": {0, 2, 5, 11}},
        {"wrong_digest": {0, 4, 5}},
        {"drop": {1, 2}, "duplicate": {3}, "delay": {4}, "wrong_digest": {6}},
        {"unknown_frames": 3},
        {"text_frames": True},
        {"drop_acks": 5},
        {"discard_window": 0.3},
    ],
    ids=lambda fault: "+".join(fault),
)
def test_faulty_frames_leave_the_output_exact(
    cluster: Sandbox, target: Target, fault: dict[str, Any], method: Any
) -> None:
    for name, value in fault.items():
        setattr(cluster.faults, name, value)
    result = target.run("seq 1 20000; echo err >&2; exit 3", method=method)
    assert result.stdout == NUMBERS
    assert result.stderr == "err\n"
    assert result.exit_code == 3
    assert result.exact


@pytest.mark.parametrize("frames", [1, 2, 5, 17, 60])
def test_a_cut_connection_is_resumed_without_loss(
    cluster: Sandbox, target: Target, frames: int
) -> None:
    assert cluster.wait_idle()  # a session of before that is closing could use up a cut
    cluster.faults.cut_after_frames = frames
    cluster.faults.cut_times = 3
    result = target.run("seq 1 20000; exit 3")
    assert result.stdout == NUMBERS
    assert result.exact
    assert cluster.counters.attachments[result.session_id] >= 2


def test_much_that_is_lost_at_the_end_is_sent_again(cluster: Sandbox, target: Target) -> None:
    # The agent sends one lost frame again every 100 ms, and gives all of them four seconds at most.
    cluster.faults.drop = set(range(5, 65))
    result = target.run("seq 1 20000; exit 3")
    assert result.stdout == NUMBERS
    assert result.exact


def test_a_cut_while_input_is_sent(cluster: Sandbox, target: Target) -> None:
    assert cluster.wait_idle()  # a session of before that is closing could use up a cut
    cluster.faults.cut_after_inputs = 10
    cluster.faults.cut_times = 2
    cluster.faults.drop_inputs = {2, 3, 15}
    data = bytes(range(256)) * 400
    result = target.run(["cat"], stdin=data)
    assert result.stdout_bytes == data
    assert result.exact
    assert cluster.counters.attachments[result.session_id] >= 2


def test_a_session_that_cannot_be_resumed_is_lost(cluster: Sandbox, target: Target) -> None:
    assert cluster.wait_idle()  # a session of before that is closing could use up a cut
    cluster.faults.lose_resume = True
    cluster.faults.cut_after_frames = 8
    with pytest.raises(ecs.SessionLost) as caught:
        target.run("seq 1 20000; sleep 20")
    result = caught.value.result
    assert result is not None
    assert not result.exact
    assert result.exit_code is None
    assert NUMBERS.startswith(result.stdout)


def test_an_agent_that_dies_in_mid_output(
    cluster: Sandbox, target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "PROBE_AFTER", 0.4)
    cluster.faults.agent_dies_after = 12
    with pytest.raises(ecs.SessionLost, match="does not answer") as caught:
        target.run("seq 1 20000; sleep 20")
    assert caught.value.result is not None
    assert caught.value.result.exit_code is None
    assert not caught.value.result.ok


def test_a_quiet_command_is_not_taken_for_dead(
    target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "PROBE_AFTER", 0.3)
    assert target.run("sleep 3; echo x").stdout == "x\n"


def test_a_task_that_stops_is_told_with_its_reason(
    cluster: Sandbox, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "PROBE_AFTER", 0.3)
    target = client.targets("demo/worker")[-1]
    stream = target.stream("echo on; sleep 40")
    assert next(stream).text == "on\n"
    stop = client._api.call(
        "ecs", "stop_task", cluster="demo", task=target.task_arn, reason="my reason"
    )
    client._call(stop)
    with pytest.raises(ecs.SessionLost):
        list(stream)


def test_a_silent_agent(cluster: Sandbox, target: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    cluster.faults.never_ready = True
    monkeypatch.setattr(command_module.Execution.__init__, "__kwdefaults__", {
        **(command_module.Execution.__init__.__kwdefaults__ or {}), "start_limit": 0.5
    })  # fmt: skip
    with pytest.raises(ecs.AgentNotConnected, match="silent") as caught:
        target.run("true")
    assert caught.value.cause
    assert caught.value.cure
    assert cluster.counters.terminated


@pytest.mark.parametrize("kept", [False, True])
def test_an_agent_whose_places_others_hold(
    cluster: Sandbox, client: Client, monkeypatch: pytest.MonkeyPatch, kept: bool
) -> None:
    """The error says whose sessions these are, and how to end one."""
    made = shell_module.Shell if kept else command_module.Execution
    defaults = {**(made.__init__.__kwdefaults__ or {}), "start_limit": 1.0}
    monkeypatch.setattr(made.__init__, "__kwdefaults__", defaults)
    target = client.target("demo/worker")
    hold: dict[str, Any] = {
        "command": "sleep 60",
        "task": target.task_arn,
        "container": target.container,
    }
    started = []
    assert cluster.wait_idle()  # those of tests before would be counted
    for _ in range(2):
        call = client._api.call("ecs", "execute_command", cluster="demo", interactive=True, **hold)
        started.append(client._call(call))
    try:
        with pytest.raises(ecs.AgentNotConnected, match="silent for 1 s") as caught:
            if kept:
                target.shell().open()
            else:
                target.run("true")
        assert "2 sessions are open in" in caught.value.cause
        assert caught.value.cure.startswith("end those that nobody needs: aws ssm terminate-ses")
        assert [each.id for each in caught.value.findings] == ["sessions.in-use"]
    finally:
        for each in started:
            session_id = each["session"]["sessionId"]
            client._call(client._api.call("ssm", "terminate_session", SessionId=session_id))
    assert cluster.wait_idle()
    assert target.run("echo free").stdout == "free\n"


def test_a_session_ended_by_somebody_else(cluster: Sandbox, client: Client, target: Target) -> None:
    def end_it() -> None:
        while not cluster.counters.active_sessions:
            time.sleep(0.02)
        for session_id in list(cluster.counters.attachments):
            if session_id not in cluster.counters.ended:
                client._call(client._api.call("ssm", "terminate_session", SessionId=session_id))

    stream = target.stream("echo on; sleep 30")
    assert next(stream).text == "on\n"
    thread = threading.Thread(target=end_it)
    thread.start()
    with pytest.raises(ecs.SessionLost, match="ended before"):
        list(stream)
    thread.join()


AT_ONCE = """\
import sys, time, boto3
import ecs_exec_magic as ecs
url, address, after = sys.argv[1:]
session = boto3.Session("AKIATEST", "secret", region_name="us-east-1")
target = ecs.connect(endpoint_url=url, session=session).target(address)
class Broken(Exception): ...
def broken(event):
    raise Broken
try:
    target.run("echo begun; exec sleep 60", on_output=broken)
except Broken:
    end = time.perf_counter() + float(after)
    while time.perf_counter() < end:
        pass
"""
"""A process that ends so many seconds after something failed in it."""


@pytest.mark.timeout(300)  # twenty processes, each of which imports and asks AWS anew
def test_a_process_that_ends_at_once_leaves_no_session(cluster: Sandbox, target: Target) -> None:
    """Wherever its end finds the one of its session: a tenth of such sessions were left once."""
    assert cluster.wait_idle()  # what tests before have left open, to close by itself
    for after in range(20):
        words = [sys.executable, "-c", AT_ONCE, cluster.url, target.address, str(after / 5000)]
        done = subprocess.run(words, capture_output=True, text=True, timeout=120)
        assert (done.returncode, done.stderr) == (0, "")
        assert cluster.wait_idle(), after


def test_sessions_are_terminated_when_the_caller_fails(cluster: Sandbox, target: Target) -> None:
    def fail(_: object) -> None:
        raise RuntimeError("my callback")

    before = len(cluster.counters.terminated)
    with pytest.raises(RuntimeError, match="my callback"):
        target.run("echo x; sleep 30", on_output=fail)
    wait_until(lambda: len(cluster.counters.terminated) > before)


def test_a_session_that_does_not_close_is_terminated_off_the_results_path(
    cluster: Sandbox, target: Target
) -> None:
    cluster.faults.hold_closed = 30
    result = target.run("echo x")
    assert result.stdout == "x\n"
    assert result.session_id not in cluster.counters.terminated  # not at once
    wait_until(lambda: result.session_id in cluster.counters.terminated)


def test_never_a_third_session(cluster: Sandbox, target: Target) -> None:
    notices: list[str] = []
    results: list[ecs.CommandResult] = []

    def one(n: int) -> None:
        results.append(target.run(f"sleep 1.2; echo {n}", on_notice=notices.append))

    threads = [threading.Thread(target=one, args=(n,)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(r.stdout for r in results) == [f"{n}\n" for n in range(6)]
    assert cluster.counters.max_sessions[target.runtime_id] == 2
    assert notices
    assert "session" in notices[0]


def test_throttling_is_waited_out(cluster: Sandbox, target: Target) -> None:
    cluster.faults.throttle = {"ExecuteCommand": 2}
    assert target.run("echo x").stdout == "x\n"


def test_a_refused_start_session_says_it_all(cluster: Sandbox, target: Target) -> None:
    cluster.faults.deny_start_session = True
    with pytest.raises(ecs.MethodUnavailable) as caught:
        target.run("true", method="start-session")
    text = f"{caught.value} {caught.value.cause} {caught.value.cure}"
    for word in ("ssm:StartSession", "log", "not proven", "execute-command"):
        assert word in text


def test_an_image_without_a_shell(target: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    # No sh: as if the wrapper had asked for one where there is none.
    real = wrapper.wrap

    def without_shell(*args: Any, **how: Any) -> wrapper.Wrapped:
        wrapped = real(*args, **how)
        api = wrapped.api_command.replace("sh -c", "/nonexistent/sh -c", 1)
        return wrapper.Wrapped(api, wrapped.nonce, wrapped.payload)

    monkeypatch.setattr("ecs_exec_magic.runner.wrap", without_shell)
    result = target.run(["echo", "a b", "{{ssm:x}}"])
    assert result.stdout == "a b {{ssm:x}}\n"
    assert result.exit_code is None
    assert not result.exact
    assert "no shell" in result.missing
    with pytest.raises(ecs.StartFailed) as caught:
        target.run("echo x")
    assert "list of arguments" in caught.value.cure
    with pytest.raises(ecs.MethodUnavailable):
        target.run(["cat"], stdin="x")
