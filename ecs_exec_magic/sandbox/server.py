"""The one port of the practice cluster: API calls and data channels.

Knows HTTP paths. Never knows what an operation or a session does.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from aiohttp import web

from .api import Api
from .batch import BatchPlugin
from .ecs import EcsService
from .kms import KeyStore
from .sessions import Gateway
from .ssm import SsmService, StsService
from .terminal import TerminalPlugin
from .world import World

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from .agent import Agent, Plugin
    from .faults import Counters, Faults
    from .pace import Pace
    from .runtimes import Runtime

__all__ = ["Server"]

_LOG = logging.getLogger(__name__)
_MAX_BODY = 8 << 20


def _make_plugin(agent: Agent) -> Plugin:
    if agent.plan.kind == "NonInteractiveCommands":
        return BatchPlugin(agent)
    return TerminalPlugin(agent)


class _TaskKeys:
    """The keys, as a task's agent asks for them."""

    def __init__(self, keys: KeyStore) -> None:
        self._keys = keys

    async def decrypt(
        self, region: str, blob: bytes, context: dict[str, str], key_id: str, role_arn: str | None
    ) -> bytes:
        return self._keys.decrypt(blob, context, key_id)


class Server:
    """The whole practice cluster on one event loop.

    Args:
        root: a directory of its own.
        runtime: how containers are isolated.
        pace: the waits.
        faults: what is broken on purpose.
        counters: what happened.
    """

    def __init__(
        self,
        root: Path,
        runtime: Runtime,
        pace: Pace,
        faults: Faults,
        counters: Counters,
        *,
        iam: bool = False,
        region: str = "us-east-1",
        idle_timeout: float = 1200.0,
        wedge: bool | None = None,
    ) -> None:
        self.port = 0
        self.add_routes: Callable[[web.Application], None] | None = None
        self.keys = KeyStore()
        self.world = World(root, runtime, pace)
        self.gateway = Gateway(
            keys=_TaskKeys(self.keys),
            pace=pace,
            faults=faults,
            counters=counters,
            make_plugin=_make_plugin,
            idle_limit=idle_timeout,
            wedge=wedge,
        )
        services = [
            EcsService(self.world, self.gateway, self.stream_url),
            SsmService(self.world, self.gateway, self.stream_url, faults),
            StsService(),
            self.keys,
        ]
        self._api = Api(services, faults, counters)
        self._runner: web.AppRunner | None = None

    def stream_url(self, session_id: str) -> str:
        """Where the data channel of a session is."""
        return f"ws://127.0.0.1:{self.port}/v1/data-channel/{session_id}?role=publish_subscribe"

    def census(self) -> dict[str, int]:
        """How many clusters and running tasks there are."""
        clusters = self.world.state.clusters.values()
        running = sum(t.desired == "RUNNING" for c in clusters for t in c.tasks.values())
        return {"clusters": len(clusters), "tasks": running}

    def stop_task(self, beginning: str, reason: str) -> str | None:
        """Begin to stop the one running task whose id begins so; its id, or None."""
        clusters = self.world.state.clusters.values()
        tasks = [t for c in clusters for t in c.tasks.values() if t.desired == "RUNNING"]
        chosen = [task for task in tasks if task.task_id.startswith(beginning)]
        if len(chosen) != 1:
            return None
        self.world.stop_task(chosen[0], reason)
        return chosen[0].task_id

    async def start(self, port: int, *, seed: bool) -> None:
        """Listen on a port of 127.0.0.1, a free one for 0."""
        if seed:
            await self.world.seed()
        app = web.Application(client_max_size=_MAX_BODY)
        app.router.add_post("/", self._post)
        app.router.add_get("/", self._front)
        app.router.add_get("/v1/data-channel/{session_id}", self._channel)
        if self.add_routes is not None:
            self.add_routes(app)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.5)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", port)
        await site.start()
        self.port = int(self._runner.addresses[0][1])

    async def stop(self) -> None:
        """End sessions, containers and the port, in this order."""
        await self.gateway.stop()
        await self.world.stop()
        if self._runner is not None:
            await self._runner.cleanup()

    async def _post(self, request: web.Request) -> web.Response:
        body = await request.read()
        try:
            reply = await self._api.answer(request.headers, body)
        except Exception:  # noqa: BLE001  # an error of ours: the caller sees a service failure
            _LOG.exception("the practice cluster failed on a request")
            return web.json_response(
                {"__type": "ServerException", "message": "Service Unavailable."}, status=500
            )
        return web.Response(status=reply.status, body=reply.body, headers=reply.headers)

    async def _front(self, _request: web.Request) -> web.Response:
        return web.Response(text="ecs-exec-magic practice cluster\n")

    async def _channel(self, request: web.Request) -> web.WebSocketResponse:
        session = self.gateway.sessions.get(request.match_info["session_id"])
        return await self.gateway.attach(session, request)
