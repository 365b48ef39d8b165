"""A practice cluster that runs in a thread of its own.

Knows how to start and stop one, and what environment its users need. Never knows what it serves.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import threading
import time
from typing import TYPE_CHECKING, Any

from . import admin
from .account import OWN_KEY, regions
from .chaos import Chaos
from .counters import Counters
from .faults import Faults
from .forks import raise_file_limit
from .front import DEFAULT_REGION
from .leftovers import Home, sweep
from .pace import PACES
from .runtimes import SandboxUnavailable, choose

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from .runtimes import Runtime

__all__ = ["Sandbox", "start"]


class Sandbox:
    """A running practice cluster; a context manager that stops it at the end.

    Attributes:
        url: the endpoint of every AWS service it serves.
        environment: variables for boto3 and the AWS CLI.
        proxy_environment: the same, for programs that do not know ``AWS_ENDPOINT_URL``.
        runtime: how its containers are isolated.
        faults: what a test may break, at any time.
        counters: what happened so far.
        region: the region of what it begins with.
        warning: what its user should know; mostly empty.
        secret: opens its own routes.
        on_stop: called when somebody asks for its end at these routes.
    """

    def __init__(
        self,
        port: int,
        pace: str,
        runtime: str,
        seed: bool,
        *,
        iam: bool,
        region: str,
        idle_timeout: float,
        wedge: bool | None,
        fault_seed: int,
    ) -> None:
        if pace not in PACES:
            raise ValueError(f"pace is one of {', '.join(PACES)}, not {pace!r}")
        if not 0 < idle_timeout < float("inf"):
            raise ValueError(f"the idle timeout is a number of seconds, not {idle_timeout}")
        if not 0 <= port < 65536:
            raise ValueError(f"{port} is not a port")
        if region != DEFAULT_REGION and region not in regions():
            raise ValueError(f"{region!r} is not a region of AWS")
        self.faults = Faults(seed=fault_seed, on_action=self._act)
        self.counters = Counters()
        sweep()
        raise_file_limit()
        self.region = region
        self.iam = iam
        self.pace = pace
        self.secret = secrets.token_urlsafe(32)
        self.on_stop: Callable[[], object] | None = None
        self._began = time.monotonic()
        self._containers: Runtime | None = None
        self._home = Home()
        self._stopped = False
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(
            target=self._run, name="ecs-exec-magic-sandbox", daemon=True
        )
        try:
            chosen = choose(runtime)
            from .server import Server

            self.runtime = chosen.name
            self._containers = chosen
            self.warning = chosen.warning
            self._server = Server(
                self._home.path,
                chosen,
                PACES[pace],
                self.faults,
                self.counters,
                iam=iam,
                region=region,
                idle_timeout=idle_timeout,
                wedge=wedge,
            )
            self._server.add_routes = lambda app: admin.add_routes(app, self)
            self._chaos = Chaos(self._server.gateway, self._server.stop_task)
        except BaseException as error:
            self._loop.close()
            if self._containers is not None:
                self._containers.close()
            self._home.close()
            if isinstance(error, ModuleNotFoundError) and error.name in ("aiohttp", "moto"):
                raise SandboxUnavailable(
                    f"the practice cluster needs {error.name}: "
                    "pip install 'ecs-exec-magic[sandbox]'"
                ) from None
            raise
        self._thread.start()
        try:
            self.call(self._server.start(port, seed=seed))
        except BaseException:
            self.stop()
            raise

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()

    def call(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        """Run a coroutine on the sandbox's loop and return what it returns."""
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()

    @property
    def port(self) -> int:
        """The one port."""
        return self._server.port

    @property
    def url(self) -> str:
        """The endpoint URL."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def environment(self) -> dict[str, str]:
        """What boto3 and the AWS CLI need to talk to it."""
        return {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ACCESS_KEY_ID": OWN_KEY,
            "AWS_SECRET_ACCESS_KEY": "sandbox",
            "AWS_DEFAULT_REGION": self.region,
            "AWS_REGION": self.region,
        }

    @property
    def proxy_environment(self) -> dict[str, str]:
        """The same, and what leads programs here that know no other endpoint than AWS's own."""
        here = "127.0.0.1,localhost"
        return {
            **self.environment,
            "HTTPS_PROXY": self.url,
            "https_proxy": self.url,
            "NO_PROXY": here,
            "no_proxy": here,
            "AWS_CA_BUNDLE": str(self._server.ca_bundle),
        }

    @property
    def account_id(self) -> str:
        """The number of its account; further ones in the same process have other numbers."""
        return self._server.account.account_id

    def status(self) -> dict[str, Any]:
        """What runs, in plain values."""
        return {
            "url": self.url,
            "pid": os.getpid(),
            "uptime": round(time.monotonic() - self._began, 1),
            "runtime": self.runtime,
            "pace": self.pace,
            "iam": self.iam,
            "region": self.region,
            **self._server.census(),
            "sessions": sum(self.counters.active_sessions.values()),
            "faults": self.faults.active(),
        }

    def _act(self, name: str, value: str) -> str:
        return str(self.call(self._chaos.act(name, value)))

    async def act(self, name: str, value: str) -> str:
        """Do a fault that strikes at once, on the sandbox's own loop; raises ValueError."""
        return await self._chaos.act(name, value)

    def wait_idle(self, timeout: float = 60.0) -> bool:
        """Wait until no session holds a slot; False when the time is up first."""

        async def idle() -> bool:
            loop = asyncio.get_running_loop()
            deadline = loop.time() + timeout
            while self.counters.active_sessions:
                if loop.time() >= deadline:
                    return False
                await asyncio.sleep(0.01)
            return True

        return bool(self.call(idle()))

    def stop(self) -> None:
        """End every process that was started and remove every file; harmless when repeated."""
        if self._stopped:
            return
        self._stopped = True
        try:
            self.call(self._server.stop())
            self.call(self._loop.shutdown_default_executor())
        finally:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()
            if self._containers is not None:
                self._containers.close()
            self._home.close()

    def __enter__(self) -> Sandbox:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.stop()


def start(
    port: int = 0,
    pace: str = "real",
    runtime: str = "auto",
    seed: bool = True,
    *,
    iam: bool = False,
    region: str = "us-east-1",
    idle_timeout: float = 1200.0,
    wedge: bool | None = None,
    fault_seed: int = 0,
) -> Sandbox:
    """Start a practice cluster on 127.0.0.1.

    Args:
        port: the port, or 0 for a free one.
        pace: ``real`` keeps the waits of the agent and of AWS, ``fast`` leaves them out.
        runtime: ``auto``, ``docker``, ``podman``, ``bwrap``, ``unshare`` or ``process``.
        seed: whether cluster ``demo`` is there at first.
        iam: whether policies decide what callers and tasks may do.
        region: where cluster ``demo`` is.
        idle_timeout: seconds without traffic after which a session ends; 20 minutes on AWS.
        wedge: whether a container's agent stays stuck when a fourth session finds two at work and
            one waiting, as the real one does; None means at real pace only.
        fault_seed: decides where faults given as rates strike.

    Raises:
        SandboxUnavailable: it cannot run here as asked; the message says what would help.
        OSError: the port is taken.
        ValueError: an argument is wrong.
    """
    return Sandbox(
        port,
        pace,
        runtime,
        seed,
        iam=iam,
        region=region,
        idle_timeout=idle_timeout,
        wedge=wedge,
        fault_seed=fault_seed,
    )
