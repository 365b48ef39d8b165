"""A far end that costs next to nothing: ``python -m bench.farend TASKS``.

Stands in for AWS and agents where only this package is to be measured: its tasks run nothing, and
every command is answered as the practice cluster answers ``hostname``, frame by frame. Prints its
URL, and runs until its standard input ends.
"""

from __future__ import annotations

import asyncio
import json
import sys
from struct import unpack
from typing import Any
from uuid import UUID

from aiohttp import web

from ecs_exec_magic.channel.frames import Frame, MessageType, PayloadType, acknowledgement, encode
from ecs_exec_magic.channel.identifiers import MessageIds
from ecs_exec_magic.remote.decoder import Cksum
from ecs_exec_magic.remote.wrapper import split

_ARN = "arn:aws:ecs:us-east-1:123456789012"
_SECRET = b"G2ir6eE1FfSkBTEPrGZYtNei"
_HEAD = b"\x1e" + _SECRET
_JSON = {"Content-Type": "application/x-amz-json-1.1"}


class FarEnd:
    """The answers.

    Args:
        tasks: how many there are, in service ``worker`` of cluster ``demo``.
    """

    def __init__(self, tasks: int) -> None:
        self._ids = MessageIds()
        self._arns = [f"{_ARN}:task/demo/{number:032x}" for number in range(tasks)]
        self._asked: dict[str, tuple[bytes, str]] = {}

    def application(self) -> web.Application:
        """What aiohttp serves."""
        application = web.Application()
        application.router.add_post("/", self._call)
        application.router.add_get("/{session}", self._session)
        return application

    async def _call(self, request: web.Request) -> web.Response:
        asked = await request.json()
        operation = request.headers["X-Amz-Target"].rpartition(".")[2]
        answer: dict[str, Any] = getattr(self, f"_{operation}")(asked, request.host)
        return web.Response(text=json.dumps(answer), headers=_JSON)

    def _ListTasks(self, asked: dict[str, Any], _: str) -> dict[str, Any]:
        start = int(asked.get("nextToken", 0))
        more = {"nextToken": str(start + 100)} if start + 100 < len(self._arns) else {}
        return {"taskArns": self._arns[start : start + 100], **more}

    def _DescribeTasks(self, asked: dict[str, Any], _: str) -> dict[str, Any]:
        return {"tasks": [_task(arn) for arn in asked["tasks"]]}

    def _DescribeSessions(self, asked: dict[str, Any], _: str) -> dict[str, Any]:
        return {"Sessions": []}

    def _TerminateSession(self, asked: dict[str, Any], _: str) -> dict[str, Any]:
        return {"SessionId": asked["SessionId"]}

    def _ExecuteCommand(self, asked: dict[str, Any], host: str) -> dict[str, Any]:
        name = f"ecs-execute-command-{UUID(bytes=self._ids()).hex}"
        words = split(asked["command"])
        self._asked[name] = words[4].encode(), words[-1]
        session = {"sessionId": name, "streamUrl": f"ws://{host}/{name}", "tokenValue": "t" * 128}
        return {"session": session}

    async def _session(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(compress=False)
        await socket.prepare(request)
        await socket.receive()  # who is there
        nonce, command = self._asked.pop(request.match_info["session"])
        pieces = _held(nonce) if "sleep" in command else _ended(nonce)
        for number, piece in enumerate(pieces):
            await socket.send_bytes(self._frame(MessageType.OUTPUT, number, piece))
        async for message in socket:
            if message.data[4:15] == b"acknowledge":
                continue
            wire_id, (sequence,) = message.data[64:80], unpack(">q", message.data[48:56])
            acknowledged = acknowledgement("input_stream_data", wire_id, sequence, self._ids(), 1)
            await socket.send_bytes(acknowledged)
            if message.data[-1:] == b"\n":  # all has come; else it asks whether somebody is there
                closed = self._frame(MessageType.CHANNEL_CLOSED, 0, b'{"Output": ""}')
                await socket.send_bytes(closed)
        return socket

    def _frame(self, kind: str, number: int, payload: bytes) -> bytes:
        name = UUID(bytes=self._ids())
        return encode(Frame(kind, number, 0, name, 1, PayloadType.OUTPUT, payload))


def _task(arn: str) -> dict[str, Any]:
    agent = {"name": "ExecuteCommandAgent", "lastStatus": "RUNNING", "lastStartedAt": 1.7e9}
    container = {
        "name": "worker",
        "containerArn": arn.replace("task", "container"),
        "taskArn": arn,
        "lastStatus": "RUNNING",
        "runtimeId": f"{arn[-32:]}-1111111111",
        "image": "worker:latest",
        "managedAgents": [agent],
        "networkInterfaces": [{"privateIpv4Address": "10.0.0.1"}],
        "healthStatus": "UNKNOWN",
    }
    return {
        "taskArn": arn,
        "clusterArn": f"{_ARN}:cluster/demo",
        "taskDefinitionArn": f"{_ARN}:task-definition/worker:1",
        "group": "service:worker",
        "lastStatus": "RUNNING",
        "desiredStatus": "RUNNING",
        "enableExecuteCommand": True,
        "startedAt": 1.7e9,
        "createdAt": 1.7e9,
        "containers": [container],
        "launchType": "FARGATE",
    }


def _begin(nonce: bytes) -> bytes:
    return b"\x1e%s B 1 r base64- cksum- setsid- %s\n" % (nonce, _SECRET)


def _held(nonce: bytes) -> list[bytes]:
    """The frames of a command that prints a line and goes on."""
    return [_begin(nonce), b"%s o t 5\nhere\n\n" % _HEAD]


def _ended(nonce: bytes) -> list[bytes]:
    """The frames of ``hostname``, as its wrapper writes them."""
    mark = _HEAD + b"\x1e"
    name = b"ip-172-31-64-5.ec2.internal\n"
    errors, ending = mark + mark, mark + b" 0 0 " + mark
    return [
        _begin(nonce),
        b"%s e t %d\n%s\n" % (_HEAD, len(errors), errors),
        b"%s z e %s\n" % (_HEAD, _proof(errors)),
        b"%s o t %d\n%s\n" % (_HEAD, len(name), name),
        b"%s o t %d\n%s\n" % (_HEAD, len(ending), ending),
        b"%s z o %s\n" % (_HEAD, _proof(name + ending)),
    ]


def _proof(data: bytes) -> bytes:
    checksum = Cksum()
    checksum.update(data)
    return b"%d %d" % (checksum.value(), len(data))


async def _serve(tasks: int) -> None:
    runner = web.AppRunner(FarEnd(tasks).application(), access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, backlog=1000)
    await site.start()
    sys.stdout.write(f"http://127.0.0.1:{runner.addresses[0][1]}\n")
    sys.stdout.flush()
    await asyncio.to_thread(sys.stdin.read)
    await runner.cleanup()


if __name__ == "__main__":
    asyncio.run(_serve(int(sys.argv[1])))
