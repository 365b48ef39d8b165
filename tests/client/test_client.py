"""The Python face: results, bridges, streams, bad input."""

from __future__ import annotations

import asyncio
import contextlib
import os
import pickle
import signal
import socket
import subprocess
import sys
import threading
import time
from datetime import datetime, timezone
from typing import Any
from urllib.parse import urlsplit

import pytest

import ecs_exec_magic as ecs
from ecs_exec_magic.address import ContainerRef
from ecs_exec_magic.client import Client, Target
from ecs_exec_magic.portal import portal
from ecs_exec_magic.runner import settle
from ecs_exec_magic.sandbox import Sandbox

from .conftest import connected, press_key, wait_until


def test_a_result_says_where_and_when(target: Target) -> None:
    before = datetime.now(timezone.utc)
    result = target.run("echo x")
    assert result.started_at is not None
    assert before <= result.started_at <= datetime.now(timezone.utc)
    assert result.session_id.startswith("ecs-execute-command-")
    assert result.request_id
    assert result.target == target.ref
    assert str(result.target) == target.address
    assert 0 < result.duration < 30
    assert result.command == "echo x"
    assert result
    assert str(result) == "x\n"


def test_results_and_targets_pickle_without_a_connection(target: Target) -> None:
    result = target.run("printf 'a\\000b'; exit 2")
    again = pickle.loads(pickle.dumps(result))
    assert again == result
    assert again.stdout_bytes == b"a\0b"
    lost = pickle.loads(pickle.dumps(target))
    assert lost == target
    with pytest.raises(ecs.InvalidRequest, match="no connection"):
        lost.run("true")


def test_an_address_is_accepted_back(client: Client, target: Target) -> None:
    assert client.target(target.address) == target
    assert type(target.ref) is ContainerRef


def test_targets_gives_every_one(client: Client) -> None:
    found = client.targets("demo/web:nginx")
    assert len({each.task_id for each in found}) == 3
    assert {each.container for each in client.targets("demo/web:*")} == {"nginx", "sidecar"}


def test_what_there_is(client: Client) -> None:
    assert [str(each) for each in client.clusters()] == client.cluster_names() == ["demo"]
    assert client.clusters()[0].running == 7
    assert client.services("demo") == ["web", "worker"]
    tasks = client.tasks("demo")
    assert len(tasks) == 7
    assert all(task.tags == {"environment": "practice"} for task in tasks)
    assert [task.exec_state == "on" for task in tasks].count(False) == 2
    (task,) = client.tasks("demo/no-exec", tags=False)
    assert (task.label, task.tags) == ("family:no-exec", {})
    assert client.target(tasks[0].address).task_id == tasks[0].task_id
    assert client.tasks("demo", stopped=True) == []
    assert client.unattended().tasks("demo/web", limit=1)[0].service == "web"
    assert client.unattended() is client.unattended()
    with pytest.raises(ecs.TargetNotFound, match="'default'"):
        client.tasks()
    with pytest.raises(ecs.TargetNotFound, match="no cluster 'dmo'"):
        client.services("dmo")


def test_the_choice_among_tasks_is_told(client: Client) -> None:
    assert "took" in client.target("demo/web:nginx").note


def test_url_serves_the_web_root(client: Client) -> None:
    from urllib.request import urlopen

    target = client.target("demo/web:nginx")
    target.run("echo '<h1>changed</h1>' > /usr/share/nginx/html/index.html", check=True)
    with urlopen(target.url(80), timeout=10) as answer:
        assert answer.read() == b"<h1>changed</h1>\n"


# -- bridges ---------------------------------------------------------------------------------------


def test_blocking_calls_inside_a_running_loop(target: Target) -> None:
    async def main() -> list[str]:
        return [target.run("echo blocking").stdout, (await target.run_async("echo async")).stdout]

    assert asyncio.run(main()) == ["blocking\n", "async\n"]


def test_many_at_once_on_the_callers_loop(client: Client) -> None:
    targets = client.targets("demo/web:nginx")

    async def main() -> list[ecs.CommandResult]:
        return await asyncio.gather(*(t.run_async("hostname; cat", stdin="x") for t in targets))

    results = asyncio.run(main())
    assert len({result.stdout for result in results}) == 3
    assert all(result.exact for result in results)


def test_run_async_calls_back_on_the_callers_loop(target: Target) -> None:
    threads: list[int] = []
    pieces: list[str] = []

    def on_output(event: ecs.OutputEvent) -> None:
        threads.append(threading.get_ident())
        pieces.append(event.text)

    asyncio.run(target.run_async("echo a; echo b >&2", on_output=on_output))
    assert set(threads) == {threading.get_ident()}
    assert sorted("".join(pieces).split()) == ["a", "b"]


def test_cancelling_run_async_ends_the_command(cluster: Sandbox, target: Target) -> None:
    async def main() -> None:
        started = asyncio.Event()
        task = asyncio.ensure_future(
            target.run_async("echo on; sleep 570", on_output=lambda _: started.set())
        )
        await asyncio.wait_for(started.wait(), 60)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    look = "for n in $(seq 60); do pgrep -fx 'sleep 570' || exit 0; sleep 1; done; exit 1"
    assert target.run(look).ok


def test_the_callback_runs_in_the_calling_thread(target: Target) -> None:
    seen: list[int] = []
    target.run("echo x", on_output=lambda _: seen.append(threading.get_ident()))
    assert set(seen) == {threading.get_ident()}


def test_blocking_calls_from_other_threads(target: Target) -> None:
    results: list[str] = []
    thread = threading.Thread(target=lambda: results.append(target.run("echo x").stdout))
    thread.start()
    thread.join()
    assert results == ["x\n"]


def test_interrupting_a_look_up(client: Client) -> None:
    async def forever() -> None:
        await asyncio.to_thread(press_key)
        await asyncio.sleep(600)

    with pytest.raises(KeyboardInterrupt):
        client._call(forever())
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_closed_client_has_no_connections_and_is_usable(cluster: Sandbox) -> None:
    url = urlsplit(cluster.url)

    def connections() -> set[int]:
        found = set()
        for name in os.listdir("/proc/self/fd"):
            with contextlib.suppress(OSError):
                if not os.readlink(f"/proc/self/fd/{name}").startswith("socket:"):
                    continue
                with socket.socket(fileno=os.dup(int(name))) as one:
                    if one.getpeername()[:2] == (url.hostname, url.port):
                        found.add(one.getsockname()[1])
        return found

    before = connections()
    client, other = connected(cluster), connected(cluster)
    helper = client.unattended()
    for _ in range(2):
        assert client.target("demo/worker").run("echo x").stdout == "x\n"
        assert helper.clusters()
        assert len(connections() - before) >= 2
        portal.submit(settle(60)).result(90)  # closing waits as well, but not for so long
        client.close()
        assert connections() <= before
    other.close()


def test_an_unknown_bridge(cluster: Sandbox) -> None:
    with pytest.raises(ecs.InvalidRequest, match="bridge"):
        connected(cluster, bridge="nope")


NEST = """
import asyncio, sys
import ecs_exec_magic as ecs

client = ecs.connect(endpoint_url=sys.argv[1], region="us-east-1", bridge="nest")
target = client.target("demo/worker")

def work():
    return [target.run(f"echo {n}", on_output=seen.append).stdout for n in range(5)]

seen = []
expected = [f"{n}\\n" for n in range(5)]
assert work() == expected, "outside of a loop"

async def main():
    assert work() == expected, "inside of a loop"
    assert (await target.run_async("echo a")).stdout == "a\\n"

asyncio.run(main())
assert work() == expected, "outside again"
assert "".join(event.text for event in seen) == "".join(expected) * 3
print("fine")
"""


def test_the_nest_bridge_in_a_plain_interpreter(cluster: Sandbox) -> None:
    environment = {**os.environ, **cluster.environment}
    done = subprocess.run(
        [sys.executable, "-c", NEST, cluster.url],
        capture_output=True,
        text=True,
        timeout=150,
        env=environment,
    )
    assert done.stdout == "fine\n", done.stderr


def test_nothing_is_said_at_exit(cluster: Sandbox) -> None:
    code = (
        "import sys, ecs_exec_magic as ecs\n"
        "t = ecs.connect(endpoint_url=sys.argv[1], region='us-east-1').target('demo/worker')\n"
        "print(t.run('echo x').stdout)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, cluster.url],
        capture_output=True,
        text=True,
        timeout=150,
        env={**os.environ, **cluster.environment},
    )
    assert (done.stdout, done.stderr) == ("x\n\n", "")


# -- streams ---------------------------------------------------------------------------------------


def test_a_stream_tells_streams_apart(target: Target) -> None:
    with target.stream("echo out; echo err >&2; exit 3") as stream:
        events = [(event.stream, event.data) for event in stream]
    # Each stream has its own order, and they have none between them.
    assert sorted(events) == [("stderr", b"err\n"), ("stdout", b"out\n")]
    assert stream.result is not None
    assert stream.result.exit_code == 3


def test_a_stream_that_checks(target: Target) -> None:
    with pytest.raises(ecs.CommandFailed):
        list(target.stream("exit 3", check=True))


def test_a_slow_reader_holds_the_command_back(target: Target) -> None:
    with target.stream("yes | head -c 40000000; echo done >&2", method="start-session") as stream:
        first = next(stream)
        time.sleep(1.0)
        assert first.data.startswith(b"y\ny\n")
        size = len(first.data) + sum(len(e.data) for e in stream if e.stream == "stdout")
    assert size == 40_000_000
    assert stream.result is not None
    assert stream.result.exact
    assert stream.result.captured_stdout.spilled


# -- bad input -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ({"timeout": 0}, "timeout"),
        ({"timeout": -1}, "timeout"),
        ({"method": "ssh"}, "method"),
        ({"max_bytes": -1}, "max_bytes"),
        ({"stdin": 5}, "stdin"),
        ({"stdin": object()}, "stdin"),
    ],
)
def test_bad_arguments_run_nothing(
    cluster: Sandbox, target: Target, how: dict[str, Any], said: str
) -> None:
    before = len(cluster.counters.calls("ExecuteCommand"))
    with pytest.raises(ecs.InvalidRequest, match=said):
        target.run("echo x", **how)
    assert len(cluster.counters.calls("ExecuteCommand")) == before


def test_an_input_that_fails_ends_the_command(target: Target) -> None:
    def broken() -> Any:
        yield b"one\n"
        raise OSError("my disk")

    with pytest.raises(OSError, match="my disk"):
        target.run("cat; sleep 30", stdin=broken())


@pytest.mark.parametrize("source", [iter([1]), iter([b"x", None])])
def test_an_input_of_wrong_items_does_not_hang(target: Target, source: Any) -> None:
    with pytest.raises(ecs.InvalidRequest, match="not str or bytes"):
        target.run("cat", stdin=source)


def test_an_input_that_blocks_does_not_outlive_the_command(target: Target) -> None:
    reader, writer = os.pipe()
    source = os.fdopen(reader, "rb")
    assert target.run("echo done", stdin=source).stdout == "done\n"
    os.close(writer)  # only now: until here the source blocks whoever reads it
    wait_until(lambda: not [t for t in threading.enumerate() if t.name == "ecs-exec-stdin"])
    source.close()


def test_a_slow_reader_takes_nothing_from_the_commands_time(target: Target) -> None:
    with target.stream("head -c 20000000 /dev/zero", method="start-session", timeout=30) as stream:
        for _ in stream:
            time.sleep(0.001)
    assert stream.result is not None
    assert not stream.result.timed_out
    assert len(stream.result.stdout_bytes) == 20_000_000


def test_an_interrupt_during_a_short_look_up_is_not_lost(client: Client) -> None:
    """Also when it ends in the moment in which the key is pressed."""
    with pytest.raises(KeyboardInterrupt):
        client._call(asyncio.to_thread(press_key))


def test_any_interpreter_runs_a_script(target: Target) -> None:
    """One that is not known to take a script as an argument gets it as its stdin."""
    script = "BEGIN { print 6 * 7 }\n"
    assert target.script(script, shell="awk -f /dev/stdin").stdout == "42\n"
    counted = target.script("a\nb\n", shell="wc -l")
    assert counted.stdout.strip() == "2"
    assert counted.command == "a\nb\n", "what is kept is the script"
    with pytest.raises(ecs.InvalidRequest, match="leaves none for the data"):
        target.script("x", shell="cobol", stdin="data")
    with pytest.raises(ecs.InvalidRequest, match="cannot be read"):
        target.script("x", shell="sh 'not closed")
    assert target.script("x", shell="no-such-interpreter").exit_code == 127
    with pytest.raises(ecs.InvalidRequest, match="no shell"):
        target.script("x", shell=" ")


@pytest.mark.parametrize(
    ("address", "error"),
    [
        ("demo/nope", ecs.TargetNotFound),
        ("nowhere/web:nginx", ecs.TargetNotFound),
        ("demo/web:nope", ecs.TargetNotFound),
        ("demo/web", ecs.AmbiguousTarget),
        ("demo/no-exec", ecs.ExecNotEnabled),
        ("demo/agent-down", ecs.AgentNotConnected),
        ("demo/", ecs.InvalidRequest),
        ("a b", ecs.InvalidRequest),
    ],
)
def test_errors_have_cause_or_cure_in_five_lines(
    client: Client, address: str, error: type[ecs.EcsExecError]
) -> None:
    with pytest.raises(error) as caught:
        client.target(address)
    assert caught.value.cause or caught.value.cure
    assert len(caught.value._render_traceback_()) <= 5
    assert pickle.loads(pickle.dumps(caught.value)).message == caught.value.message


def test_an_endpoint_that_nobody_serves() -> None:
    import boto3

    session = boto3.Session("AKIATEST", "secret", region_name="us-east-1")
    client = ecs.connect(endpoint_url="http://127.0.0.1:9", session=session)
    with pytest.raises(ecs.ConnectError) as caught:
        client.target("demo/web:nginx")
    assert caught.value.cure
