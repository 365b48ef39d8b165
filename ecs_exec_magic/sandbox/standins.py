"""Stand-ins for rooms that are still being built, behind the same names.

Knows just enough for the control plane to run. Never knows requests.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import shlex
import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from . import image as images
from . import pages
from .containers import Container, Process, StartError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from .api import Caller
    from .runtimes import Runtime

__all__ = [
    "EXECUTION_ROLE",
    "TASK_ROLE",
    "Account",
    "Authorizer",
    "ContainerSpec",
    "Interface",
    "LoggingPlan",
    "Network",
    "Pod",
    "PodError",
    "seed_roles",
]

TASK_ROLE = "sandbox-task-role"
EXECUTION_ROLE = "sandbox-execution-role"


async def seed_roles(account: Account, region: str) -> None:
    """Make the roles of the seeded tasks."""


class Account:
    """Log groups in memory; every other call answers with nothing."""

    def __init__(self, account_id: str = "123456789012") -> None:
        self.account_id = account_id
        self.groups: dict[tuple[str, str], dict[str, list[str]]] = {}

    async def call(
        self, service: str, operation: str, region: str, **parameters: Any
    ) -> dict[str, Any]:
        """Answer one call."""
        from botocore.exceptions import ClientError

        def refuse(code: str, message: str) -> ClientError:
            return ClientError({"Error": {"Code": code, "Message": message}}, operation)

        if service != "logs":
            return {}
        group = (region, parameters["logGroupName"])
        if operation == "create_log_group":
            if group in self.groups:
                raise refuse("ResourceAlreadyExistsException", "The specified log group exists")
            self.groups[group] = {}
            return {}
        streams = self.groups.get(group)
        if streams is None:
            raise refuse("ResourceNotFoundException", "The specified log group does not exist.")
        if operation == "create_log_stream":
            streams[parameters["logStreamName"]] = []
        if operation == "put_log_events":
            streams[parameters["logStreamName"]] += [e["message"] for e in parameters["logEvents"]]
        if operation == "get_log_events":
            events = [{"message": text} for text in streams[parameters["logStreamName"]]]
            return {"events": events}
        return {}


class Authorizer:
    """Allows everything."""

    enabled = False

    async def check(
        self,
        caller: Caller,
        action: str,
        resource: str,
        context: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        """Allow it."""

    async def role_allows(
        self,
        role_arn: str | None,
        action: str,
        resource: str = "*",
        context: Mapping[str, Sequence[str]] | None = None,
    ) -> bool:
        """Allow it."""
        return True


@dataclass(frozen=True, slots=True)
class Interface:
    """The network interface of one task."""

    eni_id: str
    attachment_id: str
    subnet_id: str
    zone: str
    private_address: str
    private_name: str
    mac: str
    public_address: str | None
    groups: tuple[str, ...]


class Network:
    """Addresses by counting."""

    def __init__(self) -> None:
        self._number = itertools.count(10)

    async def attach(
        self, region: str, subnets: Sequence[str], groups: Sequence[str], public: bool
    ) -> Interface:
        """Make an interface up."""
        number = next(self._number)
        address = f"10.0.{number // 200 % 256}.{number % 200 + 10}"
        suffix = "ec2.internal" if region == "us-east-1" else f"{region}.compute.internal"
        return Interface(
            eni_id=f"eni-0{uuid.uuid4().hex[:16]}",
            attachment_id=str(uuid.uuid4()),
            subnet_id=subnets[number % len(subnets)],
            zone=f"{region}{'ab'[number % 2]}",
            private_address=address,
            private_name=f"ip-{address.replace('.', '-')}.{suffix}",
            mac="0a:" + ":".join(f"{b:02x}" for b in number.to_bytes(5, "big")),
            public_address=f"203.0.113.{number % 250}" if public else None,
            groups=tuple(groups) or ("sg-0123456789abcdef0",),
        )

    async def check(self, region: str, subnets: Sequence[str], groups: Sequence[str]) -> None:
        """Take any."""

    async def detach(self, region: str, interface: Interface) -> None:
        """Forget it."""

    async def defaults(self, region: str) -> tuple[list[str], list[str]]:
        """Default subnets and the default security group."""
        return ["subnet-0a1b2c3d4e5f60718", "subnet-0918f7e6d5c4b3a29"], ["sg-0123456789abcdef0"]


@dataclass(frozen=True, slots=True)
class LoggingPlan:
    """Where the transcript of a session goes."""

    log_group: str | None
    log_group_encrypted: bool
    bucket: str | None
    prefix: str
    bucket_encrypted: bool


class PodError(Exception):
    """A container could not be started."""

    def __init__(self, container: str, message: str) -> None:
        super().__init__(message)
        self.container = container


@dataclass(frozen=True, slots=True)
class ContainerSpec:
    """One container of a task."""

    name: str
    image: str
    hostname: str
    address: str
    environment: dict[str, str] = field(repr=False)
    entry_point: tuple[str, ...] | None
    command: tuple[str, ...] | None
    working_directory: str = ""
    read_only: bool = False
    init: bool = False
    ports: tuple[int, ...] = ()
    memory: int | None = None
    essential: bool = True


class Pod:
    """The containers of one task."""

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
        self._specs = {spec.name: spec for spec in specs}
        self._root = root
        self._on_output = on_output or (lambda _name, _data: None)
        self._on_exit = on_exit or (lambda _name, _code: None)
        self._servers: list[pages.PageServer] = []
        self._mains: dict[str, Process] = {}
        self._watchers: dict[str, asyncio.Task[None]] = {}
        self._codes: dict[str, int] = {}
        self._containers = {
            spec.name: Container(
                root / spec.name,
                _kind(spec.image),
                runtime,
                hostname=spec.hostname,
                address=spec.address,
                environment=spec.environment,
            )
            for spec in specs
        }

    def container(self, name: str) -> Container:
        """One of them."""
        return self._containers[name]

    async def start(self) -> None:
        """Start main processes."""
        for name, spec in self._specs.items():
            kind = _kind(spec.image)
            argv = [*(spec.entry_point or ()), *(spec.command or ())]
            if argv:
                container = self._containers[name]
                try:
                    process = await container.spawn(argv, container.environment(), "separate")
                except StartError as error:
                    raise PodError(
                        name, f"CannotStartContainerError: {error} ({shlex.join(argv)})"
                    ) from None
                self._mains[name] = process
                for handle in process.files:
                    asyncio.get_running_loop().add_reader(handle, self._read, name, handle)
                self._watchers[name] = asyncio.ensure_future(self._watch(name, process))
            elif kind.is_web_server and 80 in spec.ports:
                root = self._root / name / images.WEB_ROOT
                root.mkdir(parents=True, exist_ok=True)
                for path, text in kind.files.items():
                    if path.startswith(images.WEB_ROOT):
                        (self._root / name / path).write_text(text)
                server = pages.PageServer(root)
                self.host_ports[name, 80] = await server.start()
                self._servers.append(server)

    def _read(self, name: str, handle: int) -> None:
        try:
            data = os.read(handle, 65536)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if data:
            self._on_output(name, data)
        else:
            asyncio.get_running_loop().remove_reader(handle)
            os.close(handle)

    async def _watch(self, name: str, process: Process) -> None:
        code = os.waitstatus_to_exitcode(await process.ended)
        self._codes[name] = code if code >= 0 else 128 - code
        await asyncio.sleep(0.01)
        self._on_exit(name, self._codes[name])

    async def stop(self, grace: float = 30.0) -> dict[str, int]:
        """End everything."""
        for watcher in self._watchers.values():
            watcher.cancel()
        for name, process in self._mains.items():
            await self._containers[name].kill(process, 15)
            done, _ = await asyncio.wait({process.ended}, timeout=grace)
            self._codes.setdefault(name, 143 if done else 137)
        for server in self._servers:
            await server.stop()
        await asyncio.gather(*(c.stop() for c in self._containers.values()))
        return {name: self._codes.get(name, 143) for name in self._specs}


def _kind(name: str) -> images.Image:
    return next(
        (each for kind, each in images.IMAGES.items() if kind in name), images.IMAGES["sidecar"]
    )
