"""A practice cluster that runs in a thread of its own.

Knows how to start and stop one, and what environment its users need. Never knows what it serves.
"""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any

from .faults import Counters, Faults
from .forks import raise_file_limit
from .leftovers import Home, sweep
from .pace import PACES
from .runtimes import SandboxUnavailable, choose

if TYPE_CHECKING:
    from collections.abc import Coroutine

__all__ = ["Sandbox", "start"]

_REGION = "us-east-1"


class Sandbox:
    """A running practice cluster; a context manager that stops it at the end.

    Attributes:
        url: the endpoint of every AWS service it serves.
        environment: variables for boto3 and the AWS CLI.
        runtime: how its containers are isolated.
        faults: what a test may break, at any time.
        counters: what happened so far.
    """

    def __init__(self, port: int, pace: str, runtime: str, seed: bool) -> None:
        if pace not in PACES:
            raise ValueError(f"pace is one of {', '.join(PACES)}, not {pace!r}")
        self.faults = Faults()
        self.counters = Counters()
        sweep()
        raise_file_limit()
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
            self._server = Server(self._home.path, chosen, PACES[pace], self.faults, self.counters)
        except BaseException as error:
            self._loop.close()
            self._home.close()
            if isinstance(error, ModuleNotFoundError) and error.name == "aiohttp":
                raise SandboxUnavailable(
                    "the practice cluster needs aiohttp: pip install 'ecs-exec-magic[sandbox]'"
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
            "AWS_ACCESS_KEY_ID": "AKIASANDBOX000000001",
            "AWS_SECRET_ACCESS_KEY": "sandbox",
            "AWS_DEFAULT_REGION": _REGION,
            "AWS_REGION": _REGION,
        }

    def wait_idle(self, timeout: float = 10.0) -> bool:
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
            self._containers.close()
            self._home.close()

    def __enter__(self) -> Sandbox:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.stop()


def start(port: int = 0, pace: str = "real", runtime: str = "auto", seed: bool = True) -> Sandbox:
    """Start a practice cluster on 127.0.0.1.

    Args:
        port: the port, or 0 for a free one.
        pace: ``real`` keeps the waits of the agent and of AWS, ``fast`` leaves them out.
        runtime: ``auto``, ``bwrap``, ``unshare`` or ``process``.
        seed: whether cluster ``demo`` is there at first.

    Raises:
        SandboxUnavailable: it cannot run here as asked; the message says what would help.
        OSError: the port is taken.
    """
    return Sandbox(port, pace, runtime, seed)
