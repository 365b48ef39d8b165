"""The Python face: connect, find targets, run commands in them.

Knows how to say in blocking and awaitable calls what the layers below do. Never knows notebooks.

::

    import ecs_exec_magic as ecs

    client = ecs.connect()
    target = client.target("prod/web:nginx")
    print(target.run("ls -l /").stdout)
"""

from __future__ import annotations

import asyncio
import contextlib
import queue
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, TypeVar

from .address import ContainerRef
from .aws import ports
from .aws.api import AwsApi
from .aws.targets import Found, find
from .errors import Interrupted, InvalidRequest
from .portal import Gate, bridge_named, portal
from .results import OutputEvent
from .runner import Job, Method, Request, settle
from .terminal.threads import Terminal

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Generator, Iterator, Sequence
    from types import TracebackType

    import boto3

    from .results import CommandResult

__all__ = ["Client", "OutputStream", "Target", "connect"]

T = TypeVar("T")

_SCRIPT_FLAGS = {"perl": "-e", "ruby": "-e", "node": "-e", "nodejs": "-e", "lua": "-e"}
_SCRIPT_FLAGS |= dict.fromkeys(("sh", "bash", "dash", "ash", "ksh", "zsh", "mksh"), "-c")


def connect(
    region: str | None = None,
    profile: str | None = None,
    endpoint_url: str | None = None,
    *,
    cluster: str | None = None,
    session: boto3.Session | None = None,
    bridge: str = "thread",
) -> Client:
    """Return a client; nothing is called yet.

    Args:
        region: as in ``eu-west-1``; else what the environment or the profile says.
        profile: of the AWS configuration files.
        endpoint_url: serves every AWS service that is called, as a practice cluster does.
        cluster: meant by addresses that name none; else ``default``, as in the AWS CLI.
        session: a ``boto3.Session`` to take credentials and region from.
        bridge: ``thread`` runs everything on a loop of its own and works everywhere; ``nest`` runs
            it on the caller's loop with nest_asyncio.

    Raises:
        CredentialsError: there is no such profile.
        InvalidRequest: arguments that contradict each other.
        BridgeError: ``nest`` is not safe here.
    """
    api = AwsApi(
        session, region=region, profile=profile, endpoint_url=endpoint_url, cluster=cluster
    )
    return Client(api, bridge=bridge)


class Client:
    """One region of one AWS account, and the containers in it; made by :func:`connect`."""

    def __init__(self, api: AwsApi, *, bridge: str = "thread") -> None:
        self._api = api
        self._bridge_name = bridge
        self._bridge = bridge_named(bridge)
        portal.at_stop(settle)

    def __repr__(self) -> str:
        return f"<Client of {self._api!r}, bridge={self._bridge_name!r}>"

    def target(
        self,
        address: str | None = None,
        *,
        cluster: str | None = None,
        service: str | None = None,
        task: str | None = None,
        family: str | None = None,
        container: str | None = None,
    ) -> Target:
        """Find one running container.

        Of several tasks it takes the one that has run longest with its exec agent running; which
        one it took is in :attr:`Target.note`.

        Args:
            address: ``[CLUSTER/]NAME[:CONTAINER]``; the other arguments say the same in words.

        Raises:
            TargetNotFound: nothing of that name runs; the error lists what does.
            AmbiguousTarget: the address means several things; the error lists them.
            ExecNotEnabled: the task was started without ECS Exec.
            AgentNotConnected: the exec agent is not running, with the reason.
        """
        words = _words(cluster, service, task, family, container)
        found = self._call(find(self._api, address, want="one", **words))
        return self._targets(found)[0]

    def targets(
        self,
        address: str | None = None,
        *,
        cluster: str | None = None,
        service: str | None = None,
        task: str | None = None,
        family: str | None = None,
        container: str | None = None,
    ) -> list[Target]:
        """Find every running container that an address means; arguments as for :meth:`target`.

        Raises:
            TargetNotFound: nothing of that name runs.
            AmbiguousTarget: tasks have several containers and none is named.
        """
        words = _words(cluster, service, task, family, container)
        return self._targets(self._call(find(self._api, address, want="all", **words)))

    def _targets(self, found: Found) -> list[Target]:
        return [Target.of(ref, self, found.note) for ref in found.refs]

    def _call(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return self._bridge.call(coroutine)

    async def _awaited(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Await a coroutine of ours from the caller's loop, whichever that is."""
        if self._bridge_name == "nest":
            return await coroutine
        future = asyncio.wrap_future(portal.submit(coroutine))
        try:
            while True:
                # The kernel's interrupt only schedules something on this loop and does not wake
                # it: without a beat of our own it would pass unnoticed.
                done, _ = await asyncio.wait({future}, timeout=0.2)
                if done:
                    return future.result()
        except asyncio.CancelledError:
            future.cancel()
            raise


@dataclass(frozen=True, repr=False)
class Target(ContainerRef):
    """One running container; found by :meth:`Client.target`, and able to run commands.

    Attributes:
        note: which task was taken among several, as a sentence; empty if there was one.
    """

    note: str = field(default="", compare=False, repr=False)
    _client: Client | None = field(default=None, compare=False, repr=False)

    @classmethod
    def of(cls, ref: ContainerRef, client: Client, note: str = "") -> Target:
        """A target from plain data."""
        values = {each.name: getattr(ref, each.name) for each in fields(ContainerRef)}
        return cls(**values, note=note, _client=client)

    @property
    def ref(self) -> ContainerRef:
        """The same as plain data, with no connection behind it."""
        values = {each.name: getattr(self, each.name) for each in fields(ContainerRef)}
        return ContainerRef(**values)

    def __str__(self) -> str:
        return self.address

    def __repr__(self) -> str:
        return f"<Target {self.address}>"

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_client": None}

    # -- running commands ------------------------------------------------------------------------

    def run(
        self,
        command: str | Sequence[str | bytes],
        *,
        stdin: Any = None,
        timeout: float | None = None,
        check: bool = False,
        method: Method = "execute-command",
        max_bytes: int | None = None,
        on_output: Callable[[OutputEvent], object] | None = None,
        on_notice: Callable[[str], object] | None = None,
    ) -> CommandResult:
        """Run a command and wait for its end.

        Args:
            command: a string is given to ``sh -c``; a list is a program and its arguments, which
                no shell reads.
            stdin: text, bytes, a path, an open file, or an iterator of text or bytes.
            timeout: seconds from the command's start; then it gets SIGTERM, and SIGKILL 3 s later.
            check: raise on an exit code other than 0.
            method: ``start-session`` is the opt-in second way, without a terminal and faster; it
                needs ssm:StartSession, takes no stdin, and ECS does not log it.
            max_bytes: keep no more than this of each stream; the result is then ``truncated``.
            on_output: called in this thread with each piece of output as it comes.
            on_notice: called in this thread with a sentence when something takes long.

        Raises:
            CommandFailed: ``check`` was asked for, and the exit code is not 0.
            CommandTimeout: its time was up; ``.result`` holds what came.
            Interrupted: the interrupt key was pressed; ``.result`` holds what came.
            EcsExecError: see :mod:`ecs_exec_magic.errors`.
        """
        request = Request(command, stdin, timeout, method, max_bytes)
        return self._run(request, check, on_output, on_notice)

    async def run_async(
        self,
        command: str | Sequence[str | bytes],
        *,
        stdin: Any = None,
        timeout: float | None = None,
        check: bool = False,
        method: Method = "execute-command",
        max_bytes: int | None = None,
        on_output: Callable[[OutputEvent], object] | None = None,
        on_notice: Callable[[str], object] | None = None,
    ) -> CommandResult:
        """:meth:`run`, awaitable; cancelling it ends the command.

        ``on_output`` and ``on_notice`` are called on the caller's loop.
        """
        request = Request(command, stdin, timeout, method, max_bytes)
        client = self._connected()
        here = asyncio.get_running_loop()
        job = Job(
            client._api,
            self.ref,
            request,
            on_output=_on_loop(here, on_output),
            on_notice=_on_loop(here, on_notice),
        )
        result = await client._awaited(job.run())
        return result.check() if check else result

    def script(
        self,
        body: str,
        *,
        shell: str = "/bin/sh",
        stdin: Any = None,
        timeout: float | None = None,
        check: bool = False,
        method: Method = "execute-command",
        max_bytes: int | None = None,
        on_output: Callable[[OutputEvent], object] | None = None,
        on_notice: Callable[[str], object] | None = None,
    ) -> CommandResult:
        """Run a whole script in a shell or another interpreter of the container.

        Args:
            body: the script.
            shell: a program with arguments, as in ``bash -e`` or ``python3``.
        """
        request = Request(_script(body, shell), stdin, timeout, method, max_bytes, script=True)
        return self._run(request, check, on_output, on_notice)

    def stream(
        self,
        command: str | Sequence[str | bytes],
        *,
        stdin: Any = None,
        timeout: float | None = None,
        check: bool = False,
        method: Method = "execute-command",
        max_bytes: int | None = None,
    ) -> OutputStream:
        """Run a command and iterate over its output as it comes.

        Leaving the loop early and closing the iterator ends the command; after the last event,
        ``.result`` is the whole.
        """
        request = Request(command, stdin, timeout, method, max_bytes)
        return OutputStream(self._connected(), self.ref, request, check=check)

    def terminal(
        self,
        command: str | Sequence[str] = "/bin/sh",
        *,
        script: str | None = None,
        on_output: Callable[[bytes], object],
        columns: int = 80,
        rows: int = 24,
        on_notice: Callable[[str], object] | None = None,
    ) -> Terminal:
        """Run a program on a terminal: what is written is typed, and its output comes as it is.

        Args:
            command: a program and its arguments, as a list or as the agent splits it; no shell
                reads it, and nothing is wrapped around it.
            script: given to that program to run, as :meth:`script` does.
            on_output: see :class:`~.terminal.threads.Terminal`.

        Raises:
            EcsExecError: see :mod:`ecs_exec_magic.errors`.
        """
        api = self._connected()._api
        if script is not None:
            command = _script(script, command)
        return Terminal(on_output).open(api, self.ref, command, columns, rows, on_notice)

    def url(self, port: int) -> str:
        """Where that port of the container answers HTTP.

        The public address of the task on AWS, loopback in a practice cluster.

        Raises:
            InvalidRequest: it has no address that can be reached.
        """
        client = self._connected()
        return client._call(ports.container_url(client._api, self.ref, port))

    def _run(
        self,
        request: Request,
        check: bool,
        on_output: Callable[[OutputEvent], object] | None,
        on_notice: Callable[[str], object] | None,
    ) -> CommandResult:
        client = self._connected()
        watched = _Watched(client, self.ref, request, events=on_output is not None)

        def show(item: OutputEvent | str) -> None:
            if isinstance(item, OutputEvent):
                if on_output is not None:
                    on_output(item)
            elif on_notice is not None:
                on_notice(item)

        result = client._bridge.follow(watched, show)
        if watched.job is not None and watched.job.interrupted:
            raise Interrupted(f"{result!r}", result)
        return result.check() if check else result

    def _connected(self) -> Client:
        if self._client is None:
            raise InvalidRequest(
                f"{self} has been unpickled and has no connection",
                cause="connections and credentials do not travel with a target",
                cure=f"client.target({self.address!r}) makes a live one",
            )
        return self._client


class _Watched:
    """A job whose output goes to a bridge."""

    def __init__(
        self, client: Client, ref: ContainerRef, request: Request, *, events: bool
    ) -> None:
        self._client = client
        self._ref = ref
        self._request = request
        self._events = events
        self.job: Job | None = None

    async def start(
        self, emit: Callable[[Any, int], object], gate: Callable[[], Awaitable[None]]
    ) -> CommandResult:
        self.job = Job(
            self._client._api,
            self._ref,
            self._request,
            on_output=(lambda event: emit(event, len(event.data))) if self._events else None,
            on_notice=lambda text: emit(text, 0),
            on_batch=gate,
        )
        return await self.job.run()

    async def interrupt(self) -> None:
        if self.job is not None:
            await self.job.interrupt()


class OutputStream:
    """The output of a running command, piece by piece; made by :meth:`Target.stream`.

    An iterator and a context manager. Closing it ends the command.

    Attributes:
        result: the whole, once the iteration has ended; None before.
    """

    def __init__(self, client: Client, ref: ContainerRef, request: Request, *, check: bool) -> None:
        self.result: CommandResult | None = None
        self._check = check
        self._over = False
        self._iterator = self._events(client, ref, request)

    def __iter__(self) -> Iterator[OutputEvent]:
        return self

    def __next__(self) -> OutputEvent:
        return next(self._iterator)

    def __enter__(self) -> OutputStream:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the command, if it still runs, and wait until it has."""
        self._iterator.close()

    def _events(
        self, client: Client, ref: ContainerRef, request: Request
    ) -> Generator[OutputEvent, None, None]:
        # Between two events the caller does what it likes: only an own loop can go on meanwhile.
        items: queue.SimpleQueue[OutputEvent | None] = queue.SimpleQueue()
        gate = Gate(portal.loop())

        def put(event: OutputEvent) -> None:
            gate.put(len(event.data))
            items.put(event)

        job = Job(client._api, ref, request, on_output=put, on_batch=gate.passed)
        future = portal.submit(job.run())
        future.add_done_callback(lambda _: items.put(None))
        try:
            while True:
                try:
                    event = items.get(timeout=0.2)
                except queue.Empty:
                    continue
                if event is None:
                    break
                gate.taken(len(event.data))
                yield event
            self.result = future.result()
            if self._check:
                self.result.check()
        finally:
            if not future.done():
                gate.open()
                stopping = portal.submit(job.stop())
                with contextlib.suppress(Exception, asyncio.CancelledError):
                    self.result = future.result()
                stopping.cancel()


def _words(
    cluster: str | None,
    service: str | None,
    task: str | None,
    family: str | None,
    container: str | None,
) -> dict[str, Any]:
    return {
        "cluster": cluster,
        "service": service,
        "task": task,
        "family": family,
        "container": container,
    }


def _script(body: str, shell: str | Sequence[str]) -> list[str]:
    """The arguments that run a script: the interpreter, its flag, the script."""
    words = shell.split() if isinstance(shell, str) else list(shell)
    if not words:
        raise InvalidRequest("no shell is named", cure='use shell="/bin/sh", for example')
    program = words[0].rsplit("/", 1)[-1].rstrip("0123456789.")
    flag = "-c" if program.startswith(("python", "pypy")) else _SCRIPT_FLAGS.get(program)
    if flag is None:
        raise InvalidRequest(
            f"how {words[0]!r} takes a script as an argument is not known",
            cure=f"run([{words[0]!r}], stdin=script), or one of {', '.join(_SCRIPT_FLAGS)}, python",
        )
    return [*words, flag, body]


def _on_loop(
    loop: asyncio.AbstractEventLoop, callback: Callable[[Any], object] | None
) -> Callable[[Any], object] | None:
    if callback is None:
        return None
    return lambda item: loop.call_soon_threadsafe(callback, item)
