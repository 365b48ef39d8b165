"""The emulator against recordings of the real agent: same commands, same messages, same bytes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ecs_exec_magic.channel.frames import MessageType, PayloadType, decode

from .conftest import Cluster
from .rawclient import RawClient, Seen

WIRE = Path(__file__).parents[1] / "data" / "wire"


def load(name: str) -> tuple[dict[str, Any], Seen]:
    lines = (WIRE / f"{name}.jsonl").read_text().splitlines()
    seen = Seen()
    for line in lines[1:]:
        message = json.loads(line)
        if "hex" in message and message["dir"].endswith(">client"):
            frame = decode(bytes.fromhex(message["hex"]))
            seen.frames.append(frame)
            if frame.message_type == MessageType.CHANNEL_CLOSED:
                seen.closed = json.loads(frame.payload)
    return json.loads(lines[0]), seen


def squeezed(types: list[int]) -> list[int]:
    """Runs of output count once: where chunks end is the scheduler's business."""
    return [t for i, t in enumerate(types) if i == 0 or t != types[i - 1]]


@pytest.mark.parametrize(
    "name",
    [
        "bytes_all_256",
        "crlf_output",
        "empty_output",
        "killed_by_signal",
        "no_shell_expansion",
        "not_found",
        "out_err_exit3",
        "seq_20000",
        "slow_lines",
        "tail_lost_bad_utf8",
        "utf8_and_bad_bytes",
    ],
)
async def test_terminal_sessions(shared: Cluster, name: str) -> None:
    header, recorded = load(name)
    command = header["command"]
    if name == "bytes_all_256":  # no Python in the container: the same bytes from printf
        octal = "".join(f"\\\\{n:03o}" for n in range(256))
        command = f'printf "{octal}"'
    session = shared.execute(command)
    async with RawClient(session["streamUrl"], session["tokenValue"]) as client:
        seen = await client.finish()
    assert seen.payload() == recorded.payload()
    assert squeezed(seen.types()) == squeezed(recorded.types())
    assert seen.output == recorded.output
    assert recorded.closed is not None and seen.closed is not None
    assert set(seen.closed) == set(recorded.closed)
    assert {k: type(v) for k, v in seen.closed.items()} == {
        k: type(v) for k, v in recorded.closed.items()
    }
    assert [f.flags for f in seen.stream()][:1] == [f.flags for f in recorded.stream()][:1]


@pytest.mark.parametrize(
    "name", ["noninteractive_separate", "noninteractive_merged", "noninteractive_not_found"]
)
async def test_batch_sessions(shared: Cluster, name: str) -> None:
    header, recorded = load(name)
    parameters = header["parameters"]
    session = shared.batch(parameters["command"][0], separate="separateOutputStream" in parameters)
    async with RawClient(session["streamUrl"], session["tokenValue"]) as client:
        client.client_version = "1.2.0.0"
        seen = await client.finish()
    for kind in (PayloadType.OUTPUT, PayloadType.STDERR, PayloadType.EXIT_CODE):
        assert seen.payload(kind) == recorded.payload(kind)
    if name == "noninteractive_separate":  # the order of the two streams is not kept
        assert sorted(seen.types()) == sorted(recorded.types())
        assert seen.types()[-1] == PayloadType.EXIT_CODE
    else:
        assert seen.types() == recorded.types()
    told = [json.loads(s.payload(PayloadType.HANDSHAKE_COMPLETE)) for s in (seen, recorded)]
    assert told[0]["CustomerMessage"] == told[1]["CustomerMessage"]
    asked = [json.loads(s.payload(PayloadType.HANDSHAKE_REQUEST)) for s in (seen, recorded)]
    assert asked[0]["RequestedClientActions"] == asked[1]["RequestedClientActions"]
    assert seen.output == recorded.output


async def test_typed_shell(shared: Cluster) -> None:
    session = shared.execute("/bin/sh")
    async with RawClient(session["streamUrl"], session["tokenValue"]) as client:
        await client.until(lambda s: s.payload().endswith(b"# "))
        await client.send(PayloadType.SIZE, b'{"cols":132,"rows":40}')
        await client.send(PayloadType.OUTPUT, b"stty size\n")
        await client.until(lambda s: s.payload().endswith(b"40 132\r\n# "))
        await client.send(PayloadType.OUTPUT, b"exit\n")
        seen = await client.finish()
    assert seen.payload() == b"# stty size\r\n40 132\r\n# exit\r\n"
    assert seen.acked() == [0, 1, 2]


async def test_kms(shared: Cluster) -> None:
    _header, recorded = load("kms_echo")
    key = shared.kms.create_key()["KeyMetadata"]["Arn"]
    update = shared.ecs.update_cluster
    execution = {"kmsKeyId": key, "logging": "DEFAULT"}
    update(cluster="demo", configuration={"executeCommandConfiguration": execution})
    try:
        session = shared.execute("echo secret over kms")
    finally:
        update(cluster="demo", configuration={"executeCommandConfiguration": {}})
    async with RawClient(session["streamUrl"], session["tokenValue"]) as client:
        client.kms = shared.kms
        client.context = {
            "aws:ssm:SessionId": session["sessionId"],
            "aws:ssm:TargetId": shared.target(),
        }
        seen = await client.finish()
        assert client.cipher is not None
        plain = [
            client.cipher.decrypt(f.payload)
            for f in seen.stream()
            if f.payload_type == PayloadType.OUTPUT
        ]
    assert b"".join(plain) == b"secret over kms\r\n"
    assert squeezed(seen.types()) == squeezed(recorded.types())


async def test_kms_wrong_context(shared: Cluster) -> None:
    key = shared.kms.create_key()["KeyMetadata"]["Arn"]
    update = shared.ecs.update_cluster
    execution = {"kmsKeyId": key, "logging": "DEFAULT"}
    update(cluster="demo", configuration={"executeCommandConfiguration": execution})
    try:
        session = shared.execute("echo never")
    finally:
        update(cluster="demo", configuration={"executeCommandConfiguration": {}})
    async with RawClient(session["streamUrl"], session["tokenValue"]) as client:
        client.kms = shared.kms
        client.context = {"aws:ssm:SessionId": session["sessionId"]}
        seen = await client.finish()
    assert "Encountered error while initiating handshake. " in seen.output
    assert "InvalidCiphertextException" in seen.output
    assert PayloadType.OUTPUT not in seen.types()
