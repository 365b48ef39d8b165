"""Commands in the background: started, watched, awaited, ended."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
import time
from typing import Any

import pytest

import ecs_exec_magic as ecs
from ecs_exec_magic.client import Target
from ecs_exec_magic.portal import ThreadBridge, portal
from ecs_exec_magic.results import OutputEvent
from ecs_exec_magic.runner import Job
from ecs_exec_magic.running import watch
from ecs_exec_magic.sandbox import Sandbox

from .conftest import press_key, until_there, wait_until

LOOP = "trap 'echo ended; exit 3' TERM INT; echo begun; while :; do sleep 0.1; done"


def test_it_runs_while_the_caller_goes_on(target: Target) -> None:
    done = threading.Event()
    events: list[OutputEvent] = []
    began = time.monotonic()
    command = f"echo a; {until_there('/tmp/seen')}; echo b"
    running = target.start(command, on_output=events.append, on_done=done.set)
    assert not running.done()
    assert running.state == "running"
    wait_until(lambda: running.tail() == "a\n")
    assert running.so_far().exit_code is None
    target.run("touch /tmp/seen", check=True)
    result = running.result()
    assert (result.stdout, result.exit_code, result.exact) == ("a\nb\n", 0, True)
    assert running.result() is result, "as often as one likes"
    assert done.wait(60)
    assert "".join(event.text for event in events) == "a\nb\n"
    assert running.state == "done"
    assert 0 < running.elapsed <= time.monotonic() - began
    assert running.tail(1) == "b\n"
    assert not running.cancel()
    assert not running.interrupt()


def test_its_errors_come_with_the_result(target: Target) -> None:
    running = target.start("echo no >&2; exit 4", check=True)
    with pytest.raises(ecs.CommandFailed, match="exit code 4"):
        running.result()
    assert running.state == "failed"
    assert target.start("exit 4").result().exit_code == 4
    late = target.start("echo x; sleep 60", timeout=1)
    with pytest.raises(ecs.CommandTimeout):
        late.result()
    assert late.so_far().stdout == "x\n"
    assert late.state == "failed"


def test_a_result_can_be_waited_for_in_vain(target: Target) -> None:
    running = target.start(LOOP)
    wait_until(lambda: "begun" in running.tail())
    with pytest.raises(TimeoutError, match="still runs"):
        running.result(0.3)
    assert not running.wait(0)
    assert running.cancel()
    assert running.result().stdout == "begun\nended\n"
    assert running.state == "cancelled"


def test_cancelled_before_it_began(target: Target) -> None:
    running = target.start("sleep 60")
    running.cancel()
    result = running.result()
    assert result.exit_code in (None, 143)
    assert running.state == "cancelled"


def test_stopping_waits_for_the_end_and_no_longer(target: Target) -> None:
    running = target.start("echo on; exec sleep 600")
    wait_until(lambda: running.tail() == "on\n")
    assert isinstance(running._work, Job)
    portal.submit(running._work.stop(600)).result(50)
    assert running.result(50).signal == "SIGTERM"


def test_interrupted(target: Target) -> None:
    running = target.start(LOOP)
    wait_until(lambda: "begun" in running.tail())
    assert running.interrupt()
    with pytest.raises(ecs.Interrupted) as caught:
        running.result()
    assert caught.value.result.stdout == "begun\nended\n"
    assert running.state == "interrupted"


def test_it_can_be_awaited(target: Target) -> None:
    async def main() -> tuple[str, bool]:
        slow, quick = target.start("sleep 1; echo slow"), target.start("echo quick")
        beats = 0

        async def beat() -> None:
            nonlocal beats
            while True:
                await asyncio.sleep(0.05)
                beats += 1

        beating = asyncio.ensure_future(beat())
        text = (await quick).stdout + (await slow).stdout
        beating.cancel()
        return text, beats > 3

    assert asyncio.run(main()) == ("quick\nslow\n", True)


def test_cancelling_who_awaits_leaves_it_running(target: Target) -> None:
    running = target.start(f"{until_there('/tmp/left')}; echo whole")

    async def main() -> None:
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(_wait(running), 0.3)

    asyncio.run(main())
    target.run("touch /tmp/left", check=True)
    assert running.result().stdout == "whole\n"


async def _wait(running: Any) -> Any:
    return await running


def test_the_interrupt_key_ends_the_waiting_only(target: Target) -> None:
    running = target.start(f"{until_there('/tmp/pressed')}; echo whole")

    pressing = threading.Thread(target=press_key)
    pressing.start()
    with pytest.raises(ecs.Interrupted, match="the command runs on"):
        running.result(60)
    pressing.join()
    assert not running.done()
    target.run("touch /tmp/pressed", check=True)
    assert running.result().stdout == "whole\n"


class Deaf:
    """Work that nothing ends but its cancellation."""

    def __init__(self) -> None:
        self.presses = 0

    async def run(self) -> str:
        await asyncio.sleep(600)
        return "never"

    async def interrupt(self) -> None:
        self.presses += 1

    async def stop(self) -> None: ...

    @property
    def interrupted(self) -> bool:
        return self.presses > 0

    def so_far(self) -> str:
        return "what came"


PRESSED = """
import asyncio, os, signal, sys
from ecs_exec_magic.portal import bridge_named

class Pressed:
    def __init__(self):
        self.over = asyncio.Event()

    def start(self, emit, gate):
        os.kill(os.getpid(), signal.SIGINT)
        return self.run()

    async def run(self):
        await asyncio.wait_for(self.over.wait(), 50)
        return "told"

    async def interrupt(self):
        self.over.set()

print(bridge_named(sys.argv[1]).follow(Pressed(), print))
"""


@pytest.mark.parametrize("name", ["thread", "nest"])
def test_an_interrupt_while_it_begins_reaches_it(name: str) -> None:
    """In a process of its own, for nest_asyncio patches asyncio for good."""
    done = subprocess.run(
        [sys.executable, "-c", PRESSED, name], capture_output=True, text=True, timeout=150
    )
    assert done.stdout == "told\n", done.stderr


def test_a_third_interrupt_gives_up_and_keeps_what_came() -> None:
    work = Deaf()
    reminders: list[str] = []

    def press() -> None:
        for count in range(3):
            wait_until(lambda count=count: work.presses == count)
            press_key()

    pressing = threading.Thread(target=press)
    pressing.start()
    with pytest.raises(ecs.Interrupted) as caught:
        watch(ThreadBridge(), lambda emit, gate: work, reminders.append)
    pressing.join()
    assert caught.value.result == "what came"
    assert work.presses == 2


def test_what_breaks_the_showing_keeps_what_came(target: Target) -> None:
    def show(event: OutputEvent) -> None:
        raise RuntimeError("no screen")

    with pytest.raises(RuntimeError, match="no screen") as caught:
        target.run("echo begun; sleep 60", on_output=show)
    assert caught.value.result.stdout == "begun\n"  # type: ignore[attr-defined]


def test_a_script_in_the_background(target: Target) -> None:
    assert target.start("echo $((6*7))", shell="sh").result().stdout == "42\n"


def test_a_session_that_is_lost_is_told(cluster: Sandbox, target: Target) -> None:
    running = target.start("echo before; sleep 60")
    wait_until(lambda: running.tail() == "before\n")
    session = running.so_far().session_id
    import boto3

    ssm = boto3.client(
        "ssm",
        endpoint_url=cluster.url,
        region_name="us-east-1",
        aws_access_key_id="AKIATEST",
        aws_secret_access_key="secret",
    )
    ssm.terminate_session(SessionId=session)
    with pytest.raises(ecs.SessionLost):
        running.result()
    assert running.so_far().stdout == "before\n"
    assert running.state == "failed"
