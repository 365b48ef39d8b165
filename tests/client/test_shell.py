"""A kept shell over a channel that breaks: resumed, or over with honest words; and its place."""

from __future__ import annotations

import asyncio
import pickle
import threading
import time
from typing import Any

import pytest

import ecs_exec_magic as ecs
from ecs_exec_magic import warm
from ecs_exec_magic.aws.slots import slots
from ecs_exec_magic.client import Client, Target
from ecs_exec_magic.portal import Gate, portal
from ecs_exec_magic.sandbox import Sandbox

from .conftest import connected, wait_until


@pytest.mark.parametrize("frames", range(1, 10))
def test_a_cut_is_resumed_and_no_command_runs_twice(
    cluster: Sandbox, target: Target, frames: int
) -> None:
    assert cluster.wait_idle()  # a session of before that is closing could use up a cut
    with target.shell() as shell:
        shell.run("n=0")
        cluster.faults.cut_after_frames = frames
        cluster.faults.cut_times = 3
        for count in range(1, 7):
            result = shell.run("n=$((n+1)); echo $n; echo err >&2; (exit $n)")
            assert (result.stdout, result.stderr) == (f"{count}\n", "err\n")
            assert (result.exit_code, result.exact) == (count, True)
        assert cluster.counters.attachments[shell.session_id] >= 2


@pytest.mark.parametrize("inputs", range(1, 6))
def test_a_cut_while_a_command_is_sent(cluster: Sandbox, target: Target, inputs: int) -> None:
    assert cluster.wait_idle()  # a session of before that is closing could use up a cut
    with target.shell() as shell:
        shell.run("n=0")
        cluster.faults.cut_after_inputs = inputs
        cluster.faults.cut_times = 2
        cluster.faults.drop_inputs = {inputs + 1, inputs + 2}
        for count in range(1, 7):
            assert shell.run("n=$((n+1)); echo $n").stdout == f"{count}\n"


@pytest.mark.parametrize(
    "fault",
    [{"drop": set(range(2, 30, 3))}, {"duplicate": set(range(30))}, {"wrong_digest": {3, 5, 6}}],
    ids=lambda fault: next(iter(fault)),
)
def test_faulty_frames(cluster: Sandbox, target: Target, fault: dict[str, Any]) -> None:
    for name, value in fault.items():
        setattr(cluster.faults, name, value)
    with target.shell() as shell:
        for count in range(5):
            assert shell.run(f"echo {count}").stdout == f"{count}\n"


@pytest.mark.parametrize("how", ["session", "task"])
def test_a_session_that_is_ended_under_it(cluster: Sandbox, client: Client, how: str) -> None:
    target = client.target("demo/worker")
    shell = target.shell().open()
    seen = []

    def end(event: ecs.OutputEvent) -> None:
        seen.append(event.text)
        if how == "session":
            call = client._api.call("ssm", "terminate_session", SessionId=shell.session_id)
            client._call(call)
        else:
            cluster.faults.kill_task(target.task_id)

    with pytest.raises(ecs.SessionLost) as caught:
        shell.run("echo on; sleep 50; echo never", on_output=end)
    assert "unknown" in caught.value.cure
    assert caught.value.result.stdout == "on\n"
    assert caught.value.result.exit_code is None
    assert not caught.value.result.exact
    with pytest.raises(ecs.SessionLost) as after:
        shell.run("echo again")
    assert "not run" in after.value.cure
    shell.close()
    assert pickle.loads(pickle.dumps(caught.value.result)).stdout == "on\n"


def test_closed_while_a_command_runs(target: Target) -> None:
    shell = target.shell().open()

    def close(_: ecs.OutputEvent) -> None:
        threading.Thread(target=shell.close).start()

    start = time.monotonic()
    with pytest.raises(ecs.SessionLost) as caught:
        shell.run("echo on; sleep 50", on_output=close)
    assert time.monotonic() - start < 30
    assert caught.value.cause == "it was closed"
    assert caught.value.result.stdout == "on\n"
    assert shell.state == "ended: it was closed"
    assert target.run("echo free").ok


def test_an_agent_that_vanishes_is_noticed(
    cluster: Sandbox, target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(warm, "PROBE_AFTER", 0.2)
    shell = target.shell().open()
    assert shell.run("sleep 1.5; echo there").stdout == "there\n"  # quiet, and there

    def vanish(_: ecs.OutputEvent) -> None:
        cluster.faults.kill_agent(target.task_id)

    with pytest.raises(ecs.SessionLost, match="does not answer") as caught:
        shell.run("echo on; sleep 50", on_output=vanish)
    assert "unknown" in caught.value.cure
    assert caught.value.result.stdout == "on\n"
    assert shell.state.startswith("ended: ")
    # Nothing of it reaches who goes on.
    assert target.run("echo free").ok


def test_a_slow_reader_takes_nothing_from_the_commands_time(
    target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Gate.__init__, "__defaults__", (4096,))  # what is read ahead
    got: list[int] = []

    def slow(event: ecs.OutputEvent) -> None:
        got.append(len(event.data))
        time.sleep(len(event.data) / 20_000)

    with target.shell() as shell:
        start = time.monotonic()
        result = shell.run("head -c 300000 /dev/zero", timeout=10, on_output=slow, max_bytes=0)
        if time.monotonic() - start < 12:
            pytest.fail("the reader was not slow enough for this to say anything")
        assert (result.ok, result.timed_out, sum(got)) == (True, False, 300_000)
        assert shell.run("echo on").stdout == "on\n"
        with pytest.raises(ecs.CommandTimeout):
            shell.run("sleep 20", timeout=0.3)


def test_time_is_up_also_while_a_slow_reader_holds_a_flood_back(
    target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Gate.__init__, "__defaults__", (4096,))  # what is read ahead
    shell = target.shell().open()
    start = time.monotonic()
    with pytest.raises(ecs.CommandTimeout):
        shell.run("yes", timeout=0.2, on_output=lambda _: time.sleep(0.01), max_bytes=0)
    assert time.monotonic() - start < 60
    shell.close()


def test_closed_while_it_opens(cluster: Sandbox, target: Target) -> None:
    assert cluster.wait_idle()
    cluster.faults.terminal_delay = 4.0
    shell = target.shell()
    failed: list[BaseException] = []

    def run() -> None:
        try:
            shell.run("echo never")
        except ecs.SessionLost as error:
            failed.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    wait_until(lambda: bool(cluster.counters.active_sessions))
    shell.close()
    thread.join()
    assert len(failed) == 1
    assert cluster.wait_idle()


@pytest.mark.parametrize("fault", ["lose_resume", "refuse_resume"])
def test_a_cut_that_cannot_be_resumed(cluster: Sandbox, target: Target, fault: str) -> None:
    assert cluster.wait_idle()  # a session of before that is closing could use up a cut
    shell = target.shell().open()
    shell.run(f"echo before >/tmp/{fault}")
    setattr(cluster.faults, fault, True)

    def cut(_: object) -> None:
        """Only now: before, it could be the command that is cut off."""
        cluster.faults.cut_after_frames = 2
        cluster.faults.cut_times = 1

    with pytest.raises(ecs.SessionLost) as caught:
        shell.run(
            f"echo ran >>/tmp/{fault}; for i in $(seq 100); do echo $i; sleep 0.1; done",
            on_output=cut,
        )
    assert "unknown" in caught.value.cure
    assert caught.value.result.exit_code is None
    with pytest.raises(ecs.SessionLost) as after:
        shell.run(f"echo again >>/tmp/{fault}")
    assert "not run" in after.value.cure
    shell.close()
    cluster.faults.clear()
    assert target.run(f"cat /tmp/{fault}").stdout == "before\nran\n"


def test_input_that_breaks_ends_the_shell(target: Target) -> None:
    shell = target.shell().open()
    wrong: list[object] = [b"half of it", 5]
    with pytest.raises(ecs.InvalidRequest, match="gave int"):
        shell.run("cat >/tmp/half", stdin=wrong)
    assert "could not be read to its end" in shell.over
    with pytest.raises(ecs.InvalidRequest):
        target.shell().run("cat", stdin=5)


def test_the_awaitable_way(target: Target) -> None:
    async def several() -> list[str]:
        shell = target.shell()
        seen: list[str] = []
        try:
            both = [shell.run_async("n=$((n+1)); echo $n", on_output=print) for _ in range(3)]
            seen += [result.stdout for result in await asyncio.gather(*both)]
            result = await shell.run_async("cat", stdin="read", check=True)
            seen.append(result.stdout)
        finally:
            await asyncio.to_thread(shell.close)
        return seen

    assert asyncio.run(several()) == ["1\n", "2\n", "3\n", "read"]


def test_scripts_and_streams(target: Target) -> None:
    with target.shell() as shell:
        shell.script("n=1\nfor i in 1 2; do\n  n=$((n+i))\ndone\n", check=True)
        assert shell.run("echo $n").stdout == "4\n"
        other = shell.script("exit 3", shell="sh")
        assert (other.exit_code, other.command) == (3, "exit 3")
        with shell.stream("echo one; echo two >&2") as stream:
            events = [(event.stream, event.text) for event in stream]
        # Each stream has its own order, and they have none between them.
        assert sorted(events) == [("stderr", "two\n"), ("stdout", "one\n")]
        with shell.stream("echo on; sleep 50") as stream:
            assert next(stream).text == "on\n"
        assert shell.run("echo $n").stdout == "4\n"


def test_its_place_is_held_and_freed(target: Target) -> None:
    wait_until(lambda: slots.taken(target.ref) == 0)
    with target.shell() as shell:
        assert slots.taken(target.ref) == 1
        assert target.run("echo beside").stdout == "beside\n"
        shell.run("true")
    wait_until(lambda: slots.taken(target.ref) == 0)
    assert shell.state == "ended: it was closed"
    shell.close()


def test_a_shell_that_nobody_uses_is_closed(target: Target) -> None:
    shell = target.shell(max_idle=0.3).open()
    wait_until(lambda: bool(shell.over))
    wait_until(lambda: slots.taken(target.ref) == 0)
    with pytest.raises(ecs.SessionLost, match="no command came for"):
        shell.run("echo")


def test_an_idle_shell_shows_signs_of_life(
    cluster: Sandbox, target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(warm, "KEEP_ALIVE", 0.02)
    with target.shell() as shell:
        shell.run("x=1")
        first = shell._session._connection._channel.progress  # type: ignore[union-attr]
        wait_until(
            lambda: shell._session._connection._channel.progress >= first + 10  # type: ignore[union-attr]
        )
        assert shell.run("echo $x").stdout == "1\n"


def test_the_end_of_the_process_closes_it(cluster: Sandbox) -> None:
    target = connected(cluster).target("demo/worker")
    target.shell().open()
    portal.stop()
    assert slots.taken(target.ref) == 0


def test_what_cannot_be_run_is_refused_and_the_shell_stays(cluster: Sandbox) -> None:
    with pytest.raises(ecs.InvalidRequest):
        connected(cluster).target("demo/worker").shell(max_idle=0)
    with connected(cluster).target("demo/worker").shell() as shell:
        wrongs: tuple[str | list[str], ...] = ("", "a\0b", [])
        for wrong in wrongs:
            with pytest.raises(ecs.InvalidRequest):
                shell.run(wrong)
        with pytest.raises(ecs.CommandFailed):
            shell.run("false", check=True)
        assert shell.run("echo on").stdout == "on\n"
