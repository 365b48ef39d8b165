"""A far end that costs next to nothing: ``python -m bench.farend TASKS``.

Stands in for AWS and agents where only this package is to be measured: its tasks run nothing, and
every command is answered as the practice cluster answers ``hostname``, frame by frame. Prints its
URL, and runs until its standard input ends.
"""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from collections import Counter
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
_NAME = b"ip-172-31-64-5.ec2.internal\n"
_JSON = {"Content-Type": "application/x-amz-json-1.1"}


class FarEnd:
    """The answers, on the event loop that serves them.

    Args:
        tasks: how many there are, in service ``worker`` of cluster ``demo``.

    Attributes:
        calls: how often each operation was called.
        throttle: so many calls of ExecuteCommand to come are refused.
        release: commands with ``sleep`` in them end once this is set.
        running, most_running: commands that have begun and not ended.
        most_open: connections at once.
    """

    def __init__(self, tasks: int) -> None:
        self.calls: Counter[str] = Counter()
        self.throttle = 0
        self.release = asyncio.Event()
        self.running = self.most_running = 0
        self._open = self.most_open = 0
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
        self.calls[operation] += 1
        if operation == "ExecuteCommand" and self.throttle:
            self.throttle -= 1
            refusal = {"__type": "ThrottlingException", "message": "Rate exceeded"}
            return web.Response(status=400, text=json.dumps(refusal), headers=_JSON)
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
        self._open += 1
        self.most_open = max(self.most_open, self._open)
        await socket.receive()  # who is there
        command = asyncio.ensure_future(
            self._command(socket, *self._asked.pop(request.match_info["session"]))
        )
        try:
            async for message in socket:
                if message.data[4:15] != b"acknowledge":
                    await self._input(socket, message.data)
        finally:
            command.cancel()
            self._open -= 1
        return socket

    async def _command(self, socket: web.WebSocketResponse, nonce: bytes, command: str) -> None:
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        number = 0
        try:
            if "sleep" in command:
                for number, piece in enumerate((_begin(nonce), _output(b"here\n")), 1):
                    await socket.send_bytes(self._frame(MessageType.OUTPUT, number - 1, piece))
                await self.release.wait()
            for piece in (
                _ending(b"here\n") if number else [_begin(nonce), *_ending(_NAME, new=True)]
            ):
                await socket.send_bytes(self._frame(MessageType.OUTPUT, number, piece))
                number += 1
        finally:
            self.running -= 1

    async def _input(self, socket: web.WebSocketResponse, data: bytes) -> None:
        wire_id, (sequence,) = data[64:80], unpack(">q", data[48:56])
        await socket.send_bytes(
            acknowledgement("input_stream_data", wire_id, sequence, self._ids(), 1)
        )
        if data[-1:] == b"\n":  # all has come; else it asks whether somebody is there
            await socket.send_bytes(self._frame(MessageType.CHANNEL_CLOSED, 0, b'{"Output": ""}'))

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


def _output(data: bytes) -> bytes:
    return b"%s o t %d\n%s\n" % (_HEAD, len(data), data)


def _ending(output: bytes, *, new: bool = False) -> list[bytes]:
    """The frames of a command's end, as its wrapper writes them, behind what it has printed."""
    mark = _HEAD + b"\x1e"
    errors, ending = mark + mark, mark + b" 0 0 " + mark
    return [
        b"%s e t %d\n%s\n" % (_HEAD, len(errors), errors),
        b"%s z e %s\n" % (_HEAD, _proof(errors)),
        *([_output(output)] if new else []),
        _output(ending),
        b"%s z o %s\n" % (_HEAD, _proof(output + ending)),
    ]


def _proof(data: bytes) -> bytes:
    checksum = Cksum()
    checksum.update(data)
    return b"%d %d" % (checksum.value(), len(data))


async def serve(far: FarEnd) -> tuple[web.AppRunner, str]:
    """Serve it on a free port; returns what ends that, and the URL."""
    runner = web.AppRunner(far.application(), access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, backlog=1000).start()
    return runner, f"http://127.0.0.1:{runner.addresses[0][1]}"


async def _main(tasks: int) -> None:
    logging.getLogger("aiohttp.server").disabled = True  # clients may end as they like
    runner, url = await serve(FarEnd(tasks))
    sys.stdout.write(url + "\n")
    sys.stdout.flush()
    await asyncio.to_thread(sys.stdin.read)
    await runner.cleanup()


if __name__ == "__main__":
    asyncio.run(_main(int(sys.argv[1])))
