"""Docker and Podman: finding an engine, talking to it, and the pods it runs.

Knows the engine's API (through the docker SDK) and its images. Never knows sessions or AWS.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import json
import os
import platform
import re
import socket
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

from . import image as images
from . import small_image
from .engine_container import EngineContainer
from .runtimes import Runtime, SandboxUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from docker import DockerClient

    from .containers import Backend, Container, ContainerSpec, Events

__all__ = ["Engine", "EngineError", "EnginePod", "EngineRuntime", "connect"]

_Result = TypeVar("_Result")
_API = "1.41"
_OWNER = "ecs-exec-magic.owner"
_THREADS = 8
_PULL_LIMIT = 20.0  # seconds
_PROBE_LIMIT = 5
_CALL_LIMIT = 60
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_PRIVATE = re.compile(r"\d{12}\.dkr\.ecr\.")
"""Registries of accounts: the practice account's do not exist, others need a login."""


class EngineError(Exception):
    """The engine refused; the message is its own."""


class Engine:
    """One engine.

    Args:
        url: its socket, ``unix://`` or ``tcp://``.
        client: the SDK's client for it.
        is_podman: whether it is Podman, which does some things otherwise.
        pull: whether it may fetch images.
    """

    def __init__(self, url: str, client: DockerClient, *, is_podman: bool, pull: bool) -> None:
        self.is_podman = is_podman
        self.client = client
        self.api = client.api
        self.owner = _owner()
        self._url = url
        self._pull = pull
        self._pool = concurrent.futures.ThreadPoolExecutor(_THREADS, "ecs-exec-magic-engine")
        self._images: dict[str, tuple[str, bool]] = {}
        self._turns: dict[str, threading.Lock] = {}

    async def call(self, function: Callable[..., _Result], *args: Any, **kwargs: Any) -> _Result:
        """Call a method of the SDK in a thread.

        Raises:
            EngineError: the engine refused, or is gone.
        """

        def work() -> _Result:
            import docker.errors
            import requests

            try:
                return function(*args, **kwargs)
            except docker.errors.APIError as error:
                raise EngineError(error.explanation or str(error)) from None
            except (docker.errors.DockerException, requests.RequestException, OSError) as error:
                raise EngineError(str(error)) from None

        return await asyncio.get_running_loop().run_in_executor(self._pool, work)

    async def hijack(self, path: str, body: dict[str, Any]) -> socket.socket:
        """POST a request after which the connection is a stream of bytes; return it.

        The SDK's own way may keep the first bytes in a buffer of its HTTP client.

        Raises:
            EngineError: the engine refused.
        """
        loop = asyncio.get_running_loop()
        parts = urlsplit(self._url)
        unix = parts.scheme == "unix"
        made = socket.socket(socket.AF_UNIX if unix else socket.AF_INET, socket.SOCK_STREAM)
        made.setblocking(False)
        data = json.dumps(body).encode()
        head = (
            f"POST /v{_API}{path} HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\n"
            f"Upgrade: tcp\r\nContent-Type: application/json\r\nContent-Length: {len(data)}\r\n\r\n"
        )
        try:
            await loop.sock_connect(
                made, parts.path if unix else (parts.hostname or "127.0.0.1", parts.port or 2375)
            )
            await loop.sock_sendall(made, head.encode() + data)
            answer = await _read_to(made, b"\r\n\r\n")
            status = int(answer.split(b" ", 2)[1])
            if status not in (101, 200):
                raise EngineError(await _refusal(made, answer))
        except (OSError, ValueError, IndexError) as error:
            made.close()
            raise EngineError(f"the engine has gone: {error}") from error
        except BaseException:
            made.close()
            raise
        return made

    def image(self, name: str) -> tuple[str, bool]:
        """What to run for an image's name, and whether it is a stand-in. Blocks.

        The image itself when the engine has it or can fetch it in time, else a small one made here.

        Raises:
            EngineError: neither can be had.
        """
        with self._turns.setdefault(name, threading.Lock()):
            if name not in self._images:
                self._images[name] = (
                    (name, False) if self._has(name) or self._fetch(name) else self._stand_in(name)
                )
            return self._images[name]

    def _stand_in(self, name: str) -> tuple[str, bool]:
        kind = images.find(name)
        tag = small_image.name_of(kind)
        with self._turns.setdefault(tag, threading.Lock()):
            if not self._has(tag):
                with small_image.archive(kind) as path:
                    repository, _, version = tag.rpartition(":")
                    answer = self.api.import_image_from_file(str(path), repository, version)
                made = _DIGEST.search(answer)
                if made is None:
                    raise EngineError(f"the small image could not be made: {answer.strip()[:200]}")
                self.api.tag(made.group(), repository, version)  # Podman 4.3 takes no tag above
        return tag, True

    def _has(self, name: str) -> bool:
        import docker.errors

        try:
            self.client.images.get(name)
        except docker.errors.APIError:
            return False
        return True

    def _fetch(self, name: str) -> bool:
        import docker
        import docker.errors
        import requests

        registry = name.partition("/")[0]
        if not self._pull or _PRIVATE.match(name) or registry in ("localhost", "ecs-exec-magic"):
            return False
        deadline = time.monotonic() + _PULL_LIMIT
        limited = docker.APIClient(self._url, version=_API, timeout=int(_PULL_LIMIT))
        tag = None if ":" in name.rpartition("/")[2] or "@" in name else "latest"
        try:
            for line in limited.pull(name, tag=tag, stream=True, decode=True):
                if "error" in line or time.monotonic() > deadline:
                    return False
        except (docker.errors.DockerException, requests.RequestException, OSError):
            return False
        finally:
            limited.close()
        return self._has(name)

    def sweep(self) -> None:
        """Remove containers whose sandbox is no more. Blocks."""
        import docker.errors

        for found in self.api.containers(all=True, filters={"label": _OWNER}):
            if _is_dead(found["Labels"].get(_OWNER, "")):
                with contextlib.suppress(docker.errors.APIError):  # another one sweeps it too
                    self.api.remove_container(found["Id"], v=True, force=True)

    def labels(self) -> dict[str, str]:
        """What marks our containers."""
        return {_OWNER: self.owner}

    def close(self) -> None:
        """End its threads and connections."""
        self._pool.shutdown(wait=True)
        self.client.close()


async def _read_to(source: socket.socket, ending: bytes) -> bytes:
    """Read byte by byte, so as to take nothing of what follows."""
    loop = asyncio.get_running_loop()
    data = b""
    while not data.endswith(ending):
        piece = await loop.sock_recv(source, 1)
        if not piece:
            raise ConnectionResetError("it closed the connection")
        data += piece
    return data


async def _refusal(source: socket.socket, head: bytes) -> str:
    found = re.search(rb"(?i)content-length: *(\d+)", head)
    size = int(found.group(1)) if found else 0
    body = b""
    while len(body) < size:
        piece = await asyncio.get_running_loop().sock_recv(source, size - len(body))
        if not piece:
            break
        body += piece
    try:
        message = json.loads(body)["message"]
    except (ValueError, KeyError, TypeError):
        message = body.decode("utf-8", "replace") or head.split(b"\r\n")[0].decode()
    return str(message).strip()


def _owner() -> str:
    """This process, as long as its machine runs: node, boot, process namespace, id, start."""
    return "|".join((*_place(), str(os.getpid()), _started(os.getpid()) or "?"))


def _place() -> tuple[str, str, str]:
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        space = os.readlink("/proc/self/ns/pid")
    except OSError:
        boot = space = "?"
    return platform.node(), boot, space


def _started(pid: int) -> str | None:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except OSError:
        pass
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return None
    except OSError:
        return "?"
    return "?" if not Path("/proc/self").exists() else None


def _is_dead(owner: str) -> bool:
    """Whether the process of a label has ended; one that cannot be judged from here lives."""
    try:
        node, boot, space, pid, start = owner.split("|")
        number = int(pid)
    except ValueError:
        return False
    here = _place()
    if node != here[0]:
        return False
    if boot != here[1]:
        return True
    return space == here[2] and _started(number) != start


class EngineRuntime(Runtime):
    """Containers by an engine."""

    def __init__(self, name: str, engine: Engine) -> None:
        self.name = name
        self.engine = engine

    def pod(self, root: Path, specs: Sequence[ContainerSpec], events: Events) -> Backend:
        """Make the containers of a task; nothing is started yet."""
        return EnginePod(self.engine, specs, events)

    def close(self) -> None:
        """End the engine's threads and connections."""
        self.engine.close()


class EnginePod:
    """The containers of one task. Several share the network of one that only waits."""

    def __init__(self, engine: Engine, specs: Sequence[ContainerSpec], events: Events) -> None:
        self._engine = engine
        self._specs = tuple(specs)
        self._pause: str | None = None
        self._starting: asyncio.Task[str] | None = None
        self._made: dict[str, EngineContainer] = {
            spec.name: EngineContainer(engine, self, spec, events) for spec in self._specs
        }
        self.containers: dict[str, Container] = dict(self._made)

    async def network_of(self, container: EngineContainer) -> str | None:
        """The container whose network this one joins, None when it is alone.

        Raises:
            EngineError: it could not be started.
        """
        if len(self._specs) == 1:
            return None
        if self._starting is None:
            self._starting = asyncio.ensure_future(self._start_pause())
        return await asyncio.shield(self._starting)

    async def _start_pause(self) -> str:
        engine, first = self._engine, self._specs[0]
        ports = sorted({port for spec in self._specs for port in spec.ports})
        tag, _ = await engine.call(engine.image, "localhost/ecs-exec-magic/pause")
        made = await engine.call(
            engine.api.create_container,
            tag,
            ["sleep", "2147483647"],
            hostname=first.hostname,
            labels=engine.labels(),
            ports=ports,
            host_config=engine.api.create_host_config(
                init=True, port_bindings=dict.fromkeys(ports, ("127.0.0.1",))
            ),
        )
        self._pause = str(made["Id"])
        await engine.call(engine.api.start, self._pause)
        return self._pause

    async def close(self) -> None:
        """Remove the waiting container."""
        if self._starting is not None:
            await asyncio.gather(self._starting, return_exceptions=True)
        if self._pause is not None:
            with contextlib.suppress(EngineError):  # somebody was faster
                await self._engine.call(
                    self._engine.api.remove_container, self._pause, v=True, force=True
                )
            self._pause = None


def _sockets(name: str) -> list[str]:
    given = [os.environ.get("DOCKER_HOST")]
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    usual: list[str] = []
    if name in ("auto", "docker"):
        usual += ["/var/run/docker.sock", str(Path.home() / ".docker/run/docker.sock")]
        usual += [f"{runtime}/docker.sock"] if runtime else []
    if name in ("auto", "podman"):
        given.append(os.environ.get("CONTAINER_HOST"))
        usual += [f"{runtime}/podman/podman.sock"] if runtime else []
        usual.append("/run/podman/podman.sock")
    named = [url for url in given if url]
    return named or [f"unix://{path}" for path in usual if Path(path).is_socket()]


def _refuses(url: str) -> str:
    """Why nothing answers at a socket, empty when something does; the SDK would not close its."""
    parts = urlsplit(url)
    unix = parts.scheme == "unix"
    with socket.socket(socket.AF_UNIX if unix else socket.AF_INET) as made:
        made.settimeout(_PROBE_LIMIT)
        try:
            made.connect(parts.path if unix else (parts.hostname or "", parts.port or 2375))
        except (OSError, ValueError) as error:
            return getattr(error, "strerror", None) or str(error)
    return ""


def connect(name: str, pull: bool) -> EngineRuntime:
    """Return the engine of this name that answers.

    Args:
        name: ``docker``, ``podman``, or ``auto`` for the first of them.
        pull: whether it may fetch images.

    Raises:
        SandboxUnavailable: none answers; one line says what would help.
    """
    try:
        import docker
        import docker.errors
        import requests
    except ModuleNotFoundError:
        raise SandboxUnavailable(
            "container engines need the docker package: pip install 'ecs-exec-magic[sandbox]'"
        ) from None
    reasons = []
    for url in _sockets(name):
        if urlsplit(url).scheme not in ("unix", "tcp") or os.environ.get("DOCKER_TLS_VERIFY"):
            reasons.append(f"{url}: only unix:// and plain tcp:// can be used")
            continue
        refusal = _refuses(url)
        if refusal:
            reasons.append(f"{url}: {refusal}")
            continue
        client = docker.DockerClient(url, version=_API, timeout=_PROBE_LIMIT)
        try:
            version: Any = client.version()
            kinds = " ".join(part.get("Name", "") for part in version.get("Components") or ())
            found = "podman" if "podman" in kinds.lower() else "docker"
            if name not in ("auto", found):
                reasons.append(f"{url} is {found.title()}")
                client.close()
                continue
            client.api.timeout = _CALL_LIMIT
            engine = Engine(url, client, is_podman=found == "podman", pull=pull)
            engine.sweep()
        except (docker.errors.DockerException, requests.RequestException, OSError) as error:
            reasons.append(f"{url}: {str(error).splitlines()[0]}")
            client.close()
        else:
            return EngineRuntime(found, engine)
    which = "a container engine" if name == "auto" else name.title()
    raise SandboxUnavailable(
        f"{which} does not answer" + (f" ({'; '.join(reasons)})" if reasons else "")
    )
