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
import weakref
from typing import TYPE_CHECKING, Any, TypeVar

from .account import Account, in_words
from .audit import Audit, AuditEntry
from .aws import listing, profiles
from .aws.api import AwsApi, end_threads
from .aws.plan.options import FARGATE_SIZES, AccountChoices, PlanOptions, Subnet, Vpc
from .aws.plan.steps import Step, StepEvent
from .aws.policies import KINDS
from .aws.targets import Found, find
from .aws.tasks import TaskInfo, list_clusters
from .check import fixable, fixes
from .enabling import Enabling
from .findings import Finding, Findings
from .fleet import Fleet, FleetResult
from .forwarding.forward import Forward
from .forwarding.request import read_ports
from .forwarding.views import forward_table
from .plan import Plan
from .policies import PolicyDocument, Simulation
from .portal import awaited, bridge_named, portal
from .runner import Method, settle
from .running import RunningCommand
from .stream import OutputStream
from .target import Target

if TYPE_CHECKING:
    import concurrent.futures
    from collections.abc import Coroutine, Mapping, Sequence

    import boto3


__all__ = [
    "FARGATE_SIZES",
    "POLICY_KINDS",
    "AccountChoices",
    "Audit",
    "AuditEntry",
    "Client",
    "Enabling",
    "Finding",
    "Findings",
    "FleetResult",
    "Forward",
    "OutputStream",
    "Plan",
    "PlanOptions",
    "PolicyDocument",
    "RunningCommand",
    "Simulation",
    "Step",
    "StepEvent",
    "Subnet",
    "Target",
    "TaskInfo",
    "Vpc",
    "connect",
    "fixable",
    "fixes",
    "forward_table",
    "profile_names",
    "read_ports",
    "region_names",
]

T = TypeVar("T")

POLICY_KINDS = KINDS
"""The policies that :meth:`Client.policy` writes."""

_open: weakref.WeakSet[Client] = weakref.WeakSet()


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


class Client(Account):
    """One region of one AWS account, and the containers in it; made by :func:`connect`."""

    def __init__(self, api: AwsApi, *, bridge: str = "thread") -> None:
        self._api = api
        self._bridge_name = bridge
        self._bridge = bridge_named(bridge)
        self._caller: concurrent.futures.Future[dict[str, Any]] | None = None
        self._unattended: Client | None = None
        portal.at_stop(settle)
        _open.add(self)

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

    def close(self) -> None:
        """Let go of its connections, unless something runs; and, as the last one that is open, of
        the threads of this package.

        Waits some seconds, if need be, for sessions whose command has ended. The client stays
        usable: its next call opens and starts them again.
        """
        mine = [each for each in (self, self._unattended) if each is not None]
        _open.difference_update(mine)
        if portal.settle():
            for each in mine:
                each._api.close()
        if not _open and portal.rest():
            end_threads()

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
        words = in_words(cluster, service, task, family, container)
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
        tags: Mapping[str, str | None] | None = None,
    ) -> list[Target]:
        """Find every running container that an address means; arguments as for :meth:`target`.

        Args:
            tags: only in tasks with these tags; None as a value: whatever it is. The address may be
                left out then: all tasks of the cluster are meant.

        Raises:
            TargetNotFound: nothing of that name, or with these tags, runs.
            AmbiguousTarget: tasks have several containers and none is named.
        """
        words = in_words(cluster, service, task, family, container)
        return self._targets(self._call(find(self._api, address, want="all", tags=tags, **words)))

    def fleet(
        self,
        address: str | Sequence[str] | None = None,
        *,
        tags: Mapping[str, str | None] | None = None,
        **words: str | None,
    ) -> Fleet:
        """Every running container that an address means, to run commands in all at once.

        Arguments and errors are those of :meth:`targets`; several addresses mean the containers of
        each, every one once.
        """
        if address is None or isinstance(address, str):
            return Fleet(self._api, self._bridge, self.targets(address, tags=tags, **words))

        async def each() -> list[Found]:
            asked = (find(self._api, one, want="all", tags=tags, **words) for one in address)
            return list(await asyncio.gather(*asked))

        targets = [target for found in self._call(each()) for target in self._targets(found)]
        once = {target.address: target for target in targets}
        return Fleet(self._api, self._bridge, list(once.values()))

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
        retry: int = 0,
        max_failures: int | None = None,
        fail_fast: bool = False,
        idempotent: bool = False,
        executor: Any = None,
        worker_credentials: bool = False,
        tags: Mapping[str, str | None] | None = None,
        **words: str | None,
    ) -> FleetResult:
        """Run a command in every running container that an address means.

        ``client.fleet(address).run(command)`` is the same, and says more. With ``tags`` the
        address may be a cluster alone.
        """
        return self.fleet(address, tags=tags, **words).run(
            command,
            shell=shell,
            stdin=stdin,
            timeout=timeout,
            check=check,
            method=method,
            max_bytes=max_bytes,
            max_parallel=max_parallel,
            retry=retry,
            max_failures=max_failures,
            fail_fast=fail_fast,
            idempotent=idempotent,
            executor=executor,
            worker_credentials=worker_credentials,
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
                **in_words(cluster, service, task, family, container),
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

    async def _awaited(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Await a coroutine of ours from the caller's loop, whichever that is."""
        return await awaited(self._bridge, coroutine)
