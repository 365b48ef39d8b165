"""Sessions as the gateway and the agent conduct them: order, slots, ends, faults."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from typing import Any

import pytest

from ecs_exec_magic import sandbox as package
from ecs_exec_magic.channel.frames import MessageType, PayloadType
from ecs_exec_magic.sandbox import agent
from ecs_exec_magic.sandbox.handshake import HandshakeFailed, perform

from .conftest import Cluster, left_idle
from .containers.helpers import until
from .rawclient import RawClient, Seen


def has(text: bytes) -> object:
    return lambda seen: text in seen.payload()


def _keys(session: dict[str, str]) -> tuple[str, str]:
    return session["streamUrl"], session["tokenValue"]


async def run(cluster: Cluster, command: str) -> Seen:
    session = cluster.execute(command)
    async with RawClient(session["streamUrl"], session["tokenValue"]) as client:
        return await client.finish()


async def test_files_and_processes_are_shared(shared: Cluster) -> None:
    await run(shared, "sh -c 'echo kept >/tmp/note; sleep 60 </dev/null >/dev/null 2>&1 &'")
    seen = await run(shared, "cat /tmp/note")
    assert seen.payload() == b"kept\r\n"
    if shared.sandbox.runtime != "process":
        seen = await run(shared, "sh -c 'kill -0 $$ && tr -d \"\\\\0\" </proc/*/cmdline | cat'")
    seen = await run(shared, "sh -c 'pwd; tty; stty size; echo $TERM $LANG; setsid -w true'")
    assert b"\r\n/dev/pts/" in seen.payload()
    assert seen.payload().endswith(b"\r\n0 0\r\nxterm-256color C.UTF-8\r\n")


async def test_dev_fd_can_be_reopened(shared: Cluster) -> None:
    seen = await run(shared, "sh -c 'echo one >/dev/fd/1; exec 3</dev/fd/0; echo two >/dev/tty'")
    assert seen.payload() == b"one\r\ntwo\r\n"


async def test_sessions_of_long_ago_are_forgotten(
    own: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ecs_exec_magic.sandbox.sessions._REMEMBERED", 2)
    for _ in range(4):
        await run(own, "true")
    assert own.sandbox.wait_idle()
    last = await run(own, "echo here")
    assert last.payload() == b"here\r\n" and own.sandbox.wait_idle()
    seen = own.ssm.describe_sessions(State="History")["Sessions"]
    assert len(seen) <= 3


async def test_a_task_that_stops_ends_a_clients_session(own: Cluster) -> None:
    task = own.task()["taskArn"]
    session = own.execute("sh -c 'echo up; sleep 600'")
    async with RawClient(session["streamUrl"], session["tokenValue"]) as client:
        await client.until(has(b"up"))
        await asyncio.to_thread(own.ecs.stop_task, cluster="demo", task=task)
        seen = await client.finish()
    assert seen.closed is not None and seen.closed["Output"] == ""


def test_a_stopped_task_holds_no_session_that_nobody_came_to(own: Cluster) -> None:
    task = own.task()["taskArn"]
    arguments: Any = {"cluster": "demo", "task": task, "container": "worker", "interactive": True}
    for command in ("sleep 600", "sleep 600", "true"):  # the third waits for a slot
        own.ecs.execute_command(**arguments, command=command)
    sessions = list(own.sandbox._server.gateway.sessions.values())
    while not all(s.agent and getattr(s.agent._plugin, "_process", None) for s in sessions[:2]):
        time.sleep(0.01)
    own.ecs.stop_task(cluster="demo", task=task)
    own.ecs.get_waiter("tasks_stopped").wait(
        cluster="demo", tasks=[task], WaiterConfig={"Delay": 0, "MaxAttempts": 20_000}
    )
    assert own.sandbox.wait_idle()
    assert len(own.ssm.describe_sessions(State="History")["Sessions"]) == 3
    assert own.ssm.describe_sessions(State="Active")["Sessions"] == []


async def test_wrong_token_is_refused(shared: Cluster) -> None:
    session = shared.execute("true")
    async with RawClient(session["streamUrl"], "wrong") as client:
        await client.until(lambda s: s.close_code is not None)
        assert client.seen.close_code == 1003
    async with RawClient(session["streamUrl"], session["tokenValue"]) as client:
        await client.finish()
    async with RawClient(session["streamUrl"], session["tokenValue"]) as client:
        await client.until(lambda s: s.close_code is not None)
        assert client.seen.close_code == 1003
    unknown = session["streamUrl"].replace("ecs-execute-command-", "unknown-")
    async with RawClient(unknown, session["tokenValue"]) as client:
        await client.until(lambda s: s.close_code is not None)
        assert client.seen.close_code == 1003


async def test_input_order_duplicates_and_acks(shared: Cluster) -> None:
    session = shared.execute("sh -c 'stty -echo; echo go; read a; read b; read c; echo $a-$b'")
    async with RawClient(session["streamUrl"], session["tokenValue"]) as client:
        await client.until(has(b"go"))
        await client.send(PayloadType.OUTPUT, b"second\n", sequence=1)
        await client.send(PayloadType.OUTPUT, b"first\n", sequence=0)
        await client.send(PayloadType.OUTPUT, b"first\n", sequence=0)
        await client.until(lambda s: len(s.acked()) == 3)
        await client.send(PayloadType.OUTPUT, b"end\n", sequence=2)
        seen = await client.finish()
    assert b"first-second" in seen.payload()
    assert seen.acked()[:3] == [1, 0, 0]


async def test_early_input_is_discarded_or_not_acked(own: Cluster) -> None:
    faults = own.sandbox.faults
    faults.discard_window = faults.terminal_delay = 1000.0
    session = own.execute("cat")
    (held,) = own.sandbox._server.gateway.sessions.values()

    async with RawClient(session["streamUrl"], session["tokenValue"]) as client:
        await until(lambda: held.agent is not None)
        await client.send(PayloadType.OUTPUT, b"lost\n")
        await client.until(lambda s: s.acked() == [0])
        faults.discard_window = 0.0
        await until(lambda: held.agent is not None and held.agent._decided)
        await client.send(PayloadType.OUTPUT, b"kept\n", sequence=1)
        await asyncio.sleep(0.1)
        assert client.seen.acked() == [0]  # the terminal is not open
        faults.terminal_delay = 0.0
        deadline = time.monotonic() + 60
        while 1 not in client.seen.acked():
            assert time.monotonic() < deadline
            await client.send(PayloadType.OUTPUT, b"kept\n", sequence=1)
            await asyncio.sleep(0.05)
        await client.send(PayloadType.OUTPUT, b"\x04", sequence=2)
        seen = await client.finish()
    assert seen.payload() == b"kept\r\nkept\r\n"


async def test_bad_size_sticks(shared: Cluster) -> None:
    session = shared.execute("sh -c 'echo go; sleep 0.5'")
    async with RawClient(session["streamUrl"], session["tokenValue"]) as client:
        await client.until(has(b"go"))
        await client.send(PayloadType.SIZE, b"no json")
        seen = await client.finish()
    assert seen.acked() == []


async def test_full_terminal_blocks_acks(shared: Cluster) -> None:
    wait = "until test -e room; do sleep 0.05; done"
    session = shared.execute(f"sh -c 'stty raw -echo; echo go; {wait}; head -c 40960 | wc -c'")
    async with RawClient(session["streamUrl"], session["tokenValue"]) as client:
        await client.until(has(b"go"))
        for _ in range(40):
            await client.send(PayloadType.OUTPUT, b"x" * 1024)
        await client.until(lambda s: s.acked())
        await asyncio.sleep(0.4)
        assert len(client.seen.acked()) < 30
        await run(shared, "touch room")
        seen = await client.finish()
    assert b"40960" in seen.payload()


async def test_third_session_waits_for_a_slot(own: Cluster) -> None:
    first, second, third = (own.execute("sh -c 'echo up; read x'") for _ in range(3))
    async with (
        RawClient(first["streamUrl"], first["tokenValue"]) as one,
        RawClient(second["streamUrl"], second["tokenValue"]) as two,
        RawClient(third["streamUrl"], third["tokenValue"]) as three,
    ):
        await one.until(has(b"up"))
        await two.until(has(b"up"))
        await asyncio.sleep(0.3)
        assert three.seen.frames == []
        await one.send(PayloadType.OUTPUT, b"\n")
        await one.finish()
        await three.until(has(b"up"))
    assert list(own.sandbox.counters.max_sessions.values()) == [2]


@pytest.fixture
def wedging(isolation: str) -> Iterator[Cluster]:
    """A fast cluster whose agents get stuck as the real one does."""
    with package.start(pace="fast", runtime=isolation, wedge=True) as sandbox:
        yield Cluster(sandbox)


async def test_a_fourth_session_gets_the_agent_stuck(wedging: Cluster) -> None:
    own = wedging
    sessions = [own.execute("sh -c 'echo up; read x'") for _ in range(4)]
    one, two, three, four = (RawClient(s["streamUrl"], s["tokenValue"]) for s in sessions)
    async with one, two, three, four:
        for client in (one, two):
            await client.until(has(b"up"))
        for client in (one, two):
            await client.send(PayloadType.OUTPUT, b"\n")
            await client.finish()
        await three.until(has(b"up"))  # it was in the queue
        late = own.execute("echo late")
        async with RawClient(late["streamUrl"], late["tokenValue"]) as five:
            await asyncio.sleep(0.3)
            assert five.seen.frames == []  # though a slot is free
            assert four.seen.frames == []
            own.ssm.terminate_session(SessionId=sessions[3]["sessionId"])
            assert (await four.finish()).output == ""
            own.ssm.terminate_session(SessionId=late["sessionId"])
            await five.finish()
        # Only an agent that starts anew takes sessions again.
        still = own.execute("echo still")
        async with RawClient(still["streamUrl"], still["tokenValue"]) as six:
            assert await asyncio.to_thread(own.sandbox.faults.kill_agent) == "1 sessions lost"
            await asyncio.sleep(0.2)
            assert six.seen.frames == []  # the old agent's request is lost with it
        seen = await run(own, "echo new")
        assert seen.payload() == b"new\r\n"


async def test_at_fast_pace_the_queue_has_no_end(own: Cluster) -> None:
    sessions = [own.execute("echo x") for _ in range(6)]
    for session in sessions:
        async with RawClient(session["streamUrl"], session["tokenValue"]) as client:
            assert (await client.finish()).payload() == b"x\r\n"
    assert list(own.sandbox.counters.max_sessions.values()) == [2]


@pytest.fixture
def hasty(isolation: str) -> Iterator[Cluster]:
    """A fast cluster that ends idle sessions soon."""
    with package.start(pace="fast", runtime=isolation, idle_timeout=0.6) as sandbox:
        yield Cluster(sandbox)


async def test_an_idle_session_ends(own: Cluster) -> None:
    session = own.execute("sh -c 'echo up; while read x; do echo $x; done'")
    async with RawClient(session["streamUrl"], session["tokenValue"]) as client:
        await client.until(has(b"up"))
        for count in range(1, 5):  # traffic keeps it alive for longer than the limit
            left_idle(own.sandbox, session["sessionId"], 0.7)
            await client.send(PayloadType.OUTPUT, b"on\n")
            await client.until(lambda s, n=count: s.payload().count(b"on\r\n") == 2 * n)
        assert client.seen.closed is None
        left_idle(own.sandbox, session["sessionId"])
        assert (await client.finish()).output == ""
    past = own.ssm.describe_sessions(State="History")["Sessions"]
    assert past[0]["SessionId"] == session["sessionId"]
    assert past[0]["Reason"] == "idle"
    assert own.ssm.resume_session(SessionId=session["sessionId"])["TokenValue"] == ""


async def test_an_idle_end_needs_no_client_no_slot_and_no_agent(hasty: Cluster) -> None:
    commands = ("sleep 90", "sleep 90", "sleep 90", "echo {{ssm:name}}")
    sessions = [hasty.execute(command)["sessionId"] for command in commands]

    def over() -> bool:
        past = hasty.ssm.describe_sessions(State="History")["Sessions"]
        return {s["SessionId"] for s in past} == set(sessions)

    await until(over)
    assert hasty.sandbox.wait_idle()


@pytest.mark.parametrize("answers", [0, 1])
async def test_a_handshake_has_a_limit(answers: int) -> None:
    sent: list[int] = []
    left = answers

    async def send(payload_type: int, payload: bytes) -> None:
        sent.append(payload_type)

    async def receive() -> dict[str, Any]:
        nonlocal left
        if not left:
            await asyncio.sleep(60)
        left -= 1
        result = {"KMSCipherTextKey": ""}
        action = {"ActionType": "KMSEncryption", "ActionStatus": 1, "ActionResult": result}
        return {"ClientVersion": "1.2.694.0", "ProcessedClientActions": [action]}

    async def decrypt(blob: bytes, context: dict[str, str]) -> bytes:
        return bytes(64)

    words = "Timed out waiting for encryption challenge." if answers else "Handshake timed out."
    with pytest.raises(HandshakeFailed, match=words):
        await perform(
            send=send,
            receive=receive,
            kind="InteractiveCommands",
            separate=False,
            key_id="key",
            context={},
            decrypt=decrypt,
            limit=0.05,
        )
    assert sent == [5, 8][: 1 + answers]


async def test_waiting_session_can_be_terminated(own: Cluster) -> None:
    first, second, third = (own.execute("sleep 100") for _ in range(3))
    async with RawClient(third["streamUrl"], third["tokenValue"]) as client:
        await asyncio.sleep(0.05)
        own.ssm.terminate_session(SessionId=third["sessionId"])
        await client.finish()
    for session in (first, second):
        own.ssm.terminate_session(SessionId=session["sessionId"])
    assert own.sandbox.wait_idle()
    assert own.sandbox.counters.terminated == [s["sessionId"] for s in (third, first, second)]


async def test_terminate_kills_and_hangs_up(own: Cluster) -> None:
    script = "trap '' HUP; (trap 'echo hup >/tmp/hup' HUP; echo up; sleep 5 & wait) ; sleep 9"
    session = own.execute(f'sh -c "{script}"')
    async with RawClient(session["streamUrl"], session["tokenValue"]) as client:
        await client.until(has(b"up"))
        own.ssm.terminate_session(SessionId=session["sessionId"])
        seen = await client.finish()
    assert seen.output == ""
    states = {
        state: [s["SessionId"] for s in own.ssm.describe_sessions(State=state)["Sessions"]]
        for state in ("Active", "History")
    }
    assert states == {"Active": [], "History": [session["sessionId"]]}
    assert own.ssm.resume_session(SessionId=session["sessionId"])["TokenValue"] == ""


async def test_background_child_keeps_the_session_open(shared: Cluster) -> None:
    late = "until test -e late; do sleep 0.05; done; echo late"
    session = shared.execute(f"sh -c 'trap \"\" HUP; ({late}) & echo soon'")
    async with RawClient(session["streamUrl"], session["tokenValue"]) as client:
        await client.until(has(b"soon"))
        await asyncio.sleep(0.2)
        assert client.seen.closed is None
        await run(shared, "touch late")
        seen = await client.finish()
    assert b"late" in seen.payload()


async def test_resume_after_a_cut(own: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agent, "_DRAIN", 60.0)  # it waits for the client to come back
    own.sandbox.faults.cut_after_frames = 3
    session = own.execute("seq 1 3000")
    got = Seen()
    token = session["tokenValue"]
    for _ in range(2):
        async with RawClient(session["streamUrl"], token) as client:
            await client.until(lambda s: s.closed is not None or s.close_code is not None)
            got.frames += client.seen.frames
            got.closed = client.seen.closed
        if got.closed is None:
            assert client.seen.close_code == 1006
            token = own.ssm.resume_session(SessionId=session["sessionId"])["TokenValue"]
            assert token and token != session["tokenValue"]
    assert got.payload() == b"".join(b"%d\r\n" % n for n in range(1, 3001))
    assert own.sandbox.counters.attachments == {session["sessionId"]: 2}


async def test_absent_client_pauses_the_output(own: Cluster) -> None:
    session = own.execute("sh -c 'while :; do echo on; sleep 0.01; done'")
    async with RawClient(*_keys(session)) as client:
        await client.until(has(b"on"))
    there = own.sandbox._server.gateway.sessions[session["sessionId"]].agent
    assert there is not None
    await until(lambda: not there.active.is_set())  # nobody listens
    sent = there._stream_frames
    await asyncio.sleep(0.5)
    assert there._stream_frames == sent
    token = own.ssm.resume_session(SessionId=session["sessionId"])["TokenValue"]
    async with RawClient(session["streamUrl"], token) as client:
        await client.until(lambda s: s.stream() and s.stream()[-1].sequence > sent)
        own.ssm.terminate_session(SessionId=session["sessionId"])
        await client.finish()


async def test_newer_client_takes_over(own: Cluster) -> None:
    session = own.execute("sh -c 'echo up; cat'")
    async with RawClient(session["streamUrl"], session["tokenValue"]) as one:
        await one.until(has(b"up"))
        token = own.ssm.resume_session(SessionId=session["sessionId"])["TokenValue"]
        async with RawClient(session["streamUrl"], token) as two:
            await one.until(lambda s: s.close_code is not None)
            await two.send(PayloadType.OUTPUT, b"\x04")
            await two.finish()


@pytest.mark.parametrize("fault", ["drop", "duplicate", "delay", "wrong_digest"])
async def test_frame_faults_are_repaired(
    own: Cluster, fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(agent, "_DRAIN", 60.0)  # lost frames come again one by one
    setattr(own.sandbox.faults, fault, {0, 2, 5})
    seen = await run(own, "seq 1 3000")
    assert seen.payload() == b"".join(b"%d\r\n" % n for n in range(1, 3001))


async def test_faults_of_the_end(own: Cluster) -> None:
    faults = own.sandbox.faults
    faults.agent_dies_after = 2
    session = own.execute("sh -c 'echo a; while :; do echo b; sleep 0.1; done'")
    async with RawClient(session["streamUrl"], session["tokenValue"]) as client:
        await client.until(has(b"b\r\n"))
        assert own.sandbox.wait_idle()
        assert client.seen.closed is None
    faults.clear()
    faults.close_before_data = True
    session = own.execute("echo x")
    async with RawClient(session["streamUrl"], session["tokenValue"]) as client:
        await client.until(lambda s: s.close_code is not None)
        assert client.seen.frames == []
    faults.clear()
    faults.lose_resume = True
    answer = own.ssm.resume_session(SessionId=session["sessionId"])
    assert answer["TokenValue"] == ""
    faults.clear()
    faults.never_ready = True
    session = own.execute("echo x")
    async with RawClient(session["streamUrl"], session["tokenValue"]) as client:
        await client.send(PayloadType.OUTPUT, b"x")
        await asyncio.sleep(0.3)
        assert client.seen.stream() == []
        own.ssm.terminate_session(SessionId=session["sessionId"])
        await client.finish()


async def test_start_failures(shared: Cluster) -> None:
    for command, text in (
        ("nope", 'Failed to start pty: exec: "nope": executable file not found in $PATH'),
        ("/nope", "Failed to start pty: fork/exec /nope: no such file or directory"),
        ("/tmp", "Failed to start pty: fork/exec /tmp: permission denied"),
        ("sh 'x", "Failed to parse commands input: EOF found when expecting closing quote"),
    ):
        seen = await run(shared, command)
        assert seen.output.startswith("\n----------ERROR-------\nUnable to start command: ")
        assert text in seen.output and seen.stream() == []
    seen = await run(shared, "  ")
    assert seen.output == "Commands cannot be empty for session type InteractiveCommands"


async def test_ssm_parameter_means_silence(own: Cluster) -> None:
    session = own.execute("echo {{ssm:name}}")
    async with RawClient(session["streamUrl"], session["tokenValue"]) as client:
        await asyncio.sleep(0.4)
        assert client.seen.frames == []
        own.ssm.terminate_session(SessionId=session["sessionId"])
        await client.finish()


async def test_idle_sessions_cost_little(own: Cluster) -> None:
    async with RawClient(*_keys(own.execute("sh -c 'echo up; read x'"))) as client:
        await client.until(has(b"up"))
        session = own.sandbox._server.gateway.sessions[client.url.split("/")[-1].split("?")[0]]
        there = session.agent
        assert there is not None
        # Nothing is to be read, and nothing to be sent again.
        await until(lambda: there._reader is None and there._resender is None)


async def test_unacknowledged_tail_costs_two_seconds(shared: Cluster) -> None:
    session = shared.execute("echo x")
    async with RawClient(session["streamUrl"], session["tokenValue"], ack=False) as client:
        seen = await client.finish()
    sent = [f for f in seen.frames if f.message_type == MessageType.OUTPUT]
    assert len(sent) > 1 and len({f.message_id for f in sent}) == 1


@pytest.mark.parametrize(
    ("byte", "code"), [(b"\x03", b"EXIT_CODE: 5"), (b"\x1c", b"EXIT_CODE: -1")]
)
async def test_batch_signals(shared: Cluster, byte: bytes, code: bytes) -> None:
    session = shared.batch("sh -c 'trap \"exit 5\" INT; echo up; while :; do sleep 0.05; done'")
    async with RawClient(session["streamUrl"], session["tokenValue"]) as client:
        await client.until(has(b"up"))
        await client.send(PayloadType.OUTPUT, byte)
        seen = await client.finish()
    assert seen.payload(PayloadType.EXIT_CODE) == code


async def test_batch_bulk_and_no_stdin(shared: Cluster) -> None:
    session = shared.batch("sh -c 'cat; seq 1 50000; printf \"tail\\303\"; echo e >&2'")
    async with RawClient(session["streamUrl"], session["tokenValue"]) as client:
        seen = await client.finish()
    expected = b"".join(b"%d\n" % n for n in range(1, 50001)) + b"tail"
    assert seen.payload() == expected
    assert seen.payload(PayloadType.STDERR) == b"e\n"
    assert seen.payload(PayloadType.EXIT_CODE) == b"EXIT_CODE: 0"


async def test_refused_handshake(shared: Cluster) -> None:
    session = shared.batch("true")
    async with RawClient(session["streamUrl"], session["tokenValue"]) as client:
        client.answer_handshake = False
        await client.until(lambda s: PayloadType.HANDSHAKE_REQUEST in s.types())
        action = {"ActionType": "SessionType", "ActionStatus": 2, "Error": "no"}
        answer = {"ClientVersion": "1.2.0.0", "ProcessedClientActions": [action]}
        await client.send(PayloadType.HANDSHAKE_RESPONSE, json.dumps(answer).encode())
        seen = await client.finish()
    assert (
        "Encountered error while initiating handshake. SessionType failed on client with status 2 "
        "error: no" in seen.output
    )
