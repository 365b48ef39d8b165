"""The one port of the practice cluster: API calls and data channels.

Knows HTTP paths. Never knows what an operation or a session does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiohttp import web

from . import ecs
from .account import Account
from .api import Api
from .authority import Authority
from .batch import BatchPlugin
from .ecs.joining import InstancesThatJoin
from .forwarding import forwarder
from .front import Received, from_a_page
from .iam import Authorizer, Identities, SimulateService
from .intercept import Listener, origin_form, refusal
from .kms import KeyRules, Keys
from .network import Network
from .parameters import PublicParameters
from .quirks import rules
from .quotas import QuotaService
from .sessions import Gateway
from .ssm import SsmService
from .sts import StsService
from .terminal import TerminalPlugin
from .trail import Trail, TrailService
from .transcripts import Transcripts
from .world import World

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from .agent import Agent, Plugin
    from .counters import Counters
    from .ecs.model import Task
    from .faults import Faults
    from .pace import Pace
    from .runtimes import Runtime

__all__ = ["Server"]

_MAX_BODY = 5 << 30  # the most that S3 takes in one request
_LONGEST_LINE = 64 << 10


def _make_plugin(agent: Agent) -> Plugin:
    if agent.plan.kind == "NonInteractiveCommands":
        return BatchPlugin(agent)
    if agent.plan.kind == "Port":
        return forwarder(agent)
    return TerminalPlugin(agent)


class Server:
    """The whole practice cluster on one event loop.

    Args:
        root: a directory of its own.
        runtime: how containers are isolated.
        pace: the waits.
        faults: what is broken on purpose.
        counters: what happened.
        iam: whether policies decide what callers and tasks may do.
        region: where it begins with something.
        idle_timeout: seconds without traffic after which a session ends.
        wedge: whether too many sessions get an agent stuck; None: as the pace says.
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
        self.account = Account()
        self.trail = Trail(pace)
        identities = Identities(self.account, strict=iam)
        self.authorizer = Authorizer(self.account, identities, enabled=iam)
        self.keys = Keys(self.account, self.authorizer)
        self.network = Network(self.account)
        self.world = World(
            root,
            runtime,
            pace,
            region=region,
            account=self.account,
            network=self.network,
            authorizer=self.authorizer,
        )
        self.authorizer.facts = self.world.state
        self.gateway = Gateway(
            keys=self.keys,
            pace=pace,
            faults=faults,
            counters=counters,
            make_plugin=_make_plugin,
            transcripts=Transcripts(self.account, self.authorizer, pace),
            idle_limit=idle_timeout,
            wedge=wedge,
        )
        self.world.on_stopped = self.gateway.task_stopped
        services = [
            *ecs.operations(self.world, self.gateway, self.stream_url),
            InstancesThatJoin(self.world),
            PublicParameters(),
            SsmService(self.world, self.gateway, self.stream_url, faults),
            StsService(),
            TrailService(self.trail),
            QuotaService(faults),
            SimulateService(self.authorizer.principals, self.account.account_id),
            KeyRules(self.account),
            *rules(self.account),
        ]
        self._api = Api(
            services,
            faults,
            counters,
            account=self.account,
            identities=identities,
            trail=self.trail,
            gate=self.authorizer,
        )
        self.ca_bundle = root / "ca.pem"
        self._listener: Listener | None = None

    def stream_url(self, session_id: str) -> str:
        """Where the data channel of a session is."""
        return f"ws://127.0.0.1:{self.port}/v1/data-channel/{session_id}?role=publish_subscribe"

    def census(self) -> dict[str, int]:
        """How many clusters and running tasks there are."""
        clusters = list(self.world.state.clusters())
        return {"clusters": len(clusters), "tasks": len(self._running())}

    def _running(self) -> list[Task]:
        clusters = self.world.state.clusters()
        return [t for c in clusters for t in c.tasks.values() if t.desired == "RUNNING"]

    def stop_task(self, beginning: str, reason: str) -> str | None:
        """Begin to stop the one running task whose id begins so; its id, or None."""
        chosen = [task for task in self._running() if task.task_id.startswith(beginning)]
        if len(chosen) != 1:
            return None
        self.world.stop_task(chosen[0], reason)
        return chosen[0].task_id

    async def start(self, port: int, *, seed: bool) -> None:
        """Listen on a port of 127.0.0.1, a free one for 0."""
        self.account.warm(self.world.region)
        if seed:
            await self.world.seed()
        app = web.Application(client_max_size=_MAX_BODY)
        app.router.add_get("/v1/data-channel/{session_id}", self._channel)
        if self.add_routes is not None:
            self.add_routes(app)
        app.router.add_route("*", "/{path:.*}", self._any)
        runner = web.AppRunner(
            app,
            access_log=None,
            shutdown_timeout=0.5,
            auto_decompress=False,  # what S3 is given compressed, it keeps compressed
            max_line_size=_LONGEST_LINE,
            max_field_size=_LONGEST_LINE,
        )
        await runner.setup()
        authority = Authority()
        self.ca_bundle.write_bytes(authority.pem)
        self._listener = Listener(runner, authority)
        self.port = await self._listener.start("127.0.0.1", port)

    async def stop(self) -> None:
        """End sessions, containers, the port and the account, in this order."""
        await self.gateway.stop()
        await self.world.stop()
        if self._listener is not None:
            await self._listener.close()
        await self.account.close()

    async def _any(self, request: web.Request) -> web.Response:
        headers: dict[str, str] = {}
        for name, value in request.headers.items():
            key = name.lower()
            headers[key] = f"{headers[key]},{value}" if key in headers else value
        if from_a_page(headers):
            return web.Response(status=403, text="not for pages of other sites\n")
        target = origin_form(request.raw_path, self.port)
        if target is None:
            return web.Response(status=403, text=refusal(request.raw_path))
        if request.method == "GET" and target == "/" and "authorization" not in headers:
            return web.Response(text="ecs-exec-magic practice cluster\n")
        received = Received(
            request.method,
            target,
            headers,
            await request.read(),
            request.remote or "127.0.0.1",
        )
        reply = await self._api.answer(received)
        return web.Response(status=reply.status, body=reply.body, headers=reply.headers)

    async def _channel(self, request: web.Request) -> web.WebSocketResponse:
        session = self.gateway.sessions.get(request.match_info["session_id"])
        return await self.gateway.attach(session, request)
