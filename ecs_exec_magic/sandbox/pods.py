"""The containers of one task, whatever runs them.

Knows their start, ports, ends and removal. Never knows tasks' states, sessions or AWS.
"""

from __future__ import annotations

import asyncio
import functools
from typing import TYPE_CHECKING

from .containers import Container, ContainerSpec, Events, StartError
from .ports import PortProxy

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from .runtimes import Runtime

__all__ = ["ContainerSpec", "Pod", "PodError"]

_WORDS = (
    "CannotStartContainerError: ResourceInitializationError: failed to create new container "
    "runtime task: failed to create shim task: OCI runtime create failed: runc create failed: "
    "unable to start container process: {}: unknown"
)


class PodError(Exception):
    """A container could not be started.

    Attributes:
        container: its name.
    """

    def __init__(self, container: str, message: str) -> None:
        super().__init__(message)
        self.container = container


class Pod:
    """The containers of one task; they share the network.

    Args:
        root: a directory of its own, made when needed and removed by :meth:`stop`.
        runtime: how they are run.
        specs: what they are.
        on_output: gets a container's name and what its main process wrote, on either stream.
        on_exit: gets a container's name and exit code (128+N for signal N), once, when its main
            process ended by itself; the container has ended by then, and all output was given.

    Attributes:
        host_ports: loopback ports of this host by container and container port.
    """

    def __init__(
        self,
        root: Path,
        runtime: Runtime,
        specs: Sequence[ContainerSpec],
        *,
        on_output: Callable[[str, bytes], object] | None = None,
        on_exit: Callable[[str, int], object] | None = None,
    ) -> None:
        self.host_ports: dict[tuple[str, int], int] = {}
        self._specs = tuple(specs)
        events = Events(on_output or _ignore, on_exit or _ignore)
        self._backend = runtime.pod(root, self._specs, events)
        self._proxies: list[PortProxy] = []
        self._starting: list[asyncio.Task[None]] = []
        self._stopping: asyncio.Task[dict[str, int]] | None = None

    def container(self, name: str) -> Container:
        """A container by its name. Raises KeyError."""
        return self._backend.containers[name]

    async def start(self) -> None:
        """Open the ports and start the main processes that the definition names.

        A container whose main process is its image's own starts when something first needs it: a
        command, or a connection to one of its ports.

        Raises:
            PodError: a container could not be started; those that were have been stopped again.
        """
        for spec in self._specs:
            container = self.container(spec.name)
            for port in spec.ports:
                proxy = PortProxy(functools.partial(container.connect, port))
                self._proxies.append(proxy)
                self.host_ports[spec.name, port] = await proxy.start()
        self._starting = [
            asyncio.ensure_future(self._start(name))
            for name, container in self._backend.containers.items()
            if container.eager
        ]
        try:
            await asyncio.gather(*self._starting)
        except PodError:
            await self.stop(0)
            raise

    async def _start(self, name: str) -> None:
        try:
            await self.container(name).start()
        except StartError as error:
            raise PodError(name, _WORDS.format(error)) from None

    async def stop(self, grace: float = 30.0) -> dict[str, int]:
        """End every container and remove every trace; return the exit codes.

        A second call without grace ends what the first still waits for.

        Args:
            grace: seconds between SIGTERM to the main processes and SIGKILL.
        """
        if self._stopping is None:
            self._stopping = asyncio.ensure_future(self._stop(grace))
        elif not grace and not self._stopping.done():
            containers = self._backend.containers.values()
            await asyncio.gather(*(c.stop(0) for c in containers), return_exceptions=True)
        return await asyncio.shield(self._stopping)

    async def _stop(self, grace: float) -> dict[str, int]:
        for task in self._starting:
            task.cancel()
        await asyncio.gather(*self._starting, return_exceptions=True)
        await asyncio.gather(*(proxy.stop() for proxy in self._proxies))
        self.host_ports.clear()
        names = list(self._backend.containers)
        codes = await asyncio.gather(*(self.container(name).stop(grace) for name in names))
        await self._backend.close()
        return dict(zip(names, codes, strict=True))


def _ignore(_name: str, _what: object) -> None:
    """Nobody wants to know."""
