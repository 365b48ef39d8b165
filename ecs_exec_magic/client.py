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
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, TypeVar

from .address import ContainerRef
from .aws import listing, ports, profiles
from .aws.api import AwsApi
from .aws.targets import Found, find
from .aws.tasks import TaskInfo, list_clusters
from .errors import InvalidRequest
from .fleet import Fleet, FleetResult
from .portal import bridge_named, portal
from .results import OutputEvent
from .runner import Job, Method, Request, settle
from .running import OutputStream, RunningCommand, watch

if TYPE_CHECKING:
    import concurrent.futures
    from collections.abc import Awaitable, Callable, Coroutine, Sequence

    import boto3

    from .results import CommandResult

__all__ = [
    "Client",
    "FleetResult",
    "OutputStream",
    "RunningCommand",
    "Target",
    "TaskInfo",
    "connect",
    "profile_names",
    "region_names",
]

T = TypeVar("T")


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


profile_names = profiles.profile_names
region_names = profiles.region_names


class Client:
    """One region of one AWS account, and the containers in it; made by :func:`connect`."""

    def __init__(self, api: AwsApi, *, bridge: str = "thread") -> None:
        self._api = api
        self._bridge_name = bridge
        self._bridge = bridge_named(bridge)
        self._caller: concurrent.futures.Future[dict[str, Any]] | None = None
        self._unattended: Client | None = None
        portal.at_stop(settle)

    def __repr__(self) -> str:
        return f"<Client of {self._api!r}, bridge={self._bridge_name!r}>"

    def caller(self, wait: float = 0.0) -> str:
        """ARN of the user whose credentials are used; empty while or when it cannot be known.

        Args:
            wait: seconds to wait for the answer at most; it goes on being asked for after that.
        """
        if self._caller is None:
            self._caller = portal.submit(self._api.identity())
        with contextlib.suppress(Exception, asyncio.CancelledError):
            return str(self._caller.result(wait)["Arn"])
        return ""

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

    def fleet(self, address: str | None = None, **words: str | None) -> Fleet:
        """Every running container that an address means, to run commands in all at once.

        Arguments and errors are those of :meth:`targets`.
        """
        return Fleet(self._api, self._bridge, self.targets(address, **words))

    def run(
        self,
        address: str | None,
        command: str | Sequence[str | bytes],
        *,
        shell: str | None = None,
        stdin: Any = None,
        timeout: float | None = None,
        check: bool = False,
        method: Method = "execute-command",
        max_bytes: int | None = None,
        max_parallel: int = 50,
        **words: str | None,
    ) -> FleetResult:
        """Run a command in every running container that an address means.

        ``client.fleet(address).run(command)`` is the same, and says more.
        """
        return self.fleet(address, **words).run(
            command,
            shell=shell,
            stdin=stdin,
            timeout=timeout,
            check=check,
            method=method,
            max_bytes=max_bytes,
            max_parallel=max_parallel,
        )

    # -- what there is ---------------------------------------------------------------------------

    def tasks(
        self,
        scope: str | None = None,
        *,
        cluster: str | None = None,
        service: str | None = None,
        task: str | None = None,
        family: str | None = None,
        container: str | None = None,
        tags: bool = True,
        stopped: bool = False,
        limit: int | None = None,
    ) -> list[TaskInfo]:
        """List tasks that run or start, the longest first.

        A name that means several things gives the tasks of all of them. :attr:`TaskInfo.address`
        is good for :meth:`target`, with ``:CONTAINER`` behind it where a task has several.

        Args:
            scope: ``CLUSTER[/NAME[:CONTAINER]]``, as in ``prod`` or ``prod/web``; None: the
                client's cluster. The options say the same in words.
            container: only tasks that have this one.
            tags: look up their tags too.
            stopped: the tasks that have stopped in about the last hour instead, the last first. A
                task that is named by its whole id is given in any case.
            limit: no more than so many; which ones is AWS's choice.

        Raises:
            TargetNotFound: there is no such cluster or name; the error lists what there is.
        """
        return self._call(
            listing.list_tasks(
                self._api,
                scope,
                **_words(cluster, service, task, family, container),
                tags=tags,
                stopped=stopped,
                limit=limit,
            )
        )

    def clusters(self) -> list[listing.ClusterInfo]:
        """List all clusters, with counts of tasks and services as far as these may be seen."""
        return self._call(listing.describe_all_clusters(self._api))

    def cluster_names(self) -> list[str]:
        """List the short names of all clusters; one permission and call less."""
        return self._call(list_clusters(self._api))

    def services(self, cluster: str | None = None) -> list[str]:
        """List the short names of a cluster's services; None: the client's cluster.

        Raises:
            TargetNotFound: there is no such cluster; the error lists what there is.
        """
        return self._call(listing.list_services_of(self._api, cluster))

    def unattended(self) -> Client:
        """The same account, for look-ups that nobody waits for: they try once and give up early.

        Raises:
            CredentialsError: the profile would ask for the code of an MFA device.
        """
        if self._unattended is None:
            self._unattended = Client(self._api.unattended())
        return self._unattended

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
        on_tick: Callable[[], object] | None = None,
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
            on_tick: called in this thread ten times a second, whether something comes or not.

        Raises:
            CommandFailed: ``check`` was asked for, and the exit code is not 0.
            CommandTimeout: its time was up; ``.result`` holds what came.
            Interrupted: the interrupt key was pressed; ``.result`` holds what came.
            EcsExecError: see :mod:`ecs_exec_magic.errors`.
        """
        request = Request(command, stdin, timeout, method, max_bytes)
        return self._run(request, check, on_output, on_notice, on_tick)

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
        on_tick: Callable[[], object] | None = None,
    ) -> CommandResult:
        """Run a whole script in a shell or another interpreter of the container.

        Args:
            body: the script.
            shell: a program with arguments, as in ``bash -e``, ``python3`` or ``psql -d app``. One
                that is not known to take a script as an argument gets it as its stdin.
        """
        request = Request.of_script(body, shell, stdin, timeout, method, max_bytes)
        return self._run(request, check, on_output, on_notice, on_tick)

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
        client = self._connected()

        def make(put: Callable[[OutputEvent], object], gate: Callable[[], Awaitable[None]]) -> Job:
            return Job(client._api, self.ref, request, on_output=put, on_batch=gate)

        return OutputStream(make, check=check)

    def url(self, port: int) -> str:
        """Where that port of the container answers HTTP.

        The public address of the task on AWS, loopback in a practice cluster.

        Raises:
            InvalidRequest: it has no address that can be reached.
        """
        client = self._connected()
        return client._call(ports.container_url(client._api, self.ref, port))

    def start(
        self,
        command: str | Sequence[str | bytes],
        *,
        shell: str | None = None,
        stdin: Any = None,
        timeout: float | None = None,
        check: bool = False,
        method: Method = "execute-command",
        max_bytes: int | None = None,
        on_output: Callable[[OutputEvent], object] | None = None,
        on_notice: Callable[[str], object] | None = None,
        on_done: Callable[[], object] | None = None,
        on_tick: Callable[[], object] | None = None,
    ) -> RunningCommand[CommandResult]:
        """Start a command and return at once; the rest is as for :meth:`run`.

        Args:
            shell: the command is a script for this interpreter, as for :meth:`script`.
            on_output: called in the package's own thread; it must not block.
            on_notice: likewise.
            on_done: likewise, when it has ended.
            on_tick: likewise, ten times a second while it runs.
        """
        request = Request.of(command, shell, stdin, timeout, method, max_bytes)
        job = Job(
            self._connected()._api, self.ref, request, on_output=on_output, on_notice=on_notice
        )
        return RunningCommand(job, check=check, on_done=on_done, on_tick=on_tick)

    def _run(
        self,
        request: Request,
        check: bool,
        on_output: Callable[[OutputEvent], object] | None,
        on_notice: Callable[[str], object] | None,
        on_tick: Callable[[], object] | None,
    ) -> CommandResult:
        client = self._connected()

        def make(emit: Callable[[Any, int], object], gate: Callable[[], Awaitable[None]]) -> Job:
            return Job(
                client._api,
                self.ref,
                request,
                on_output=(lambda event: emit(event, len(event.data))) if on_output else None,
                on_notice=(lambda text: emit(text, 0)) if on_notice else None,
                on_batch=gate,
            )

        def show(item: OutputEvent | str) -> None:
            if isinstance(item, OutputEvent):
                if on_output is not None:
                    on_output(item)
            elif on_notice is not None:
                on_notice(item)

        result = watch(client._bridge, make, show, on_tick)
        return result.check() if check else result

    def _connected(self) -> Client:
        if self._client is None:
            raise InvalidRequest(
                f"{self} has been unpickled and has no connection",
                cause="connections and credentials do not travel with a target",
                cure=f"client.target({self.address!r}) makes a live one",
            )
        return self._client


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


def _on_loop(
    loop: asyncio.AbstractEventLoop, callback: Callable[[Any], object] | None
) -> Callable[[Any], object] | None:
    if callback is None:
        return None
    return lambda item: loop.call_soon_threadsafe(callback, item)
