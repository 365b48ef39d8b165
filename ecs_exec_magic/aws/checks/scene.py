"""What is looked at: tasks, services, definitions and the cluster that an address means.

Knows how to look each thing up once, for all checks. Never judges what it finds.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from ...address import Address, combine, parse_scope
from ...errors import AccessDenied, EcsExecError, InvalidRequest, TargetNotFound
from ..absence import cluster_missing
from ..listing import list_tasks
from ..simulation import principal_of, simulate
from ..targets import check_region
from ..tasks import INJECTED

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Sequence

    from ...address import ContainerRef
    from ...results import CommandResult
    from ..api import AwsApi
    from ..simulation import Question, Verdict

    Runner = Callable[[ContainerRef, "str | Sequence[str]"], Awaitable[CommandResult]]

__all__ = ["Record", "Scene", "Settings", "listed", "scene_of", "short"]

T = TypeVar("T")
Record = dict[str, Any]
"""Something as AWS describes it."""

MOST_TASKS = 100
"""Tasks that are looked at; of more than these AWS chooses."""

_SHOWN = 5
_NO_CONTAINER = "NoSuchContainer"  # a code of our own
_NOT_THERE = ("ClientException", "InvalidParameterException")


@dataclass(frozen=True)
class Settings:
    """How a cluster wants sessions to be kept and encrypted.

    Attributes:
        logging: ``NONE``, ``DEFAULT`` or ``OVERRIDE``.
        key: id, ARN or alias; empty for none.
        group, bucket: empty for none.
    """

    logging: str = "DEFAULT"
    key: str = ""
    group: str = ""
    group_encrypted: bool = False
    bucket: str = ""
    prefix: str = ""
    bucket_encrypted: bool = False


class Scene:
    """What an address means, with all that belongs to it; looked up when it is asked for.

    Args:
        api: where to ask.
        query: the address; without a name the whole cluster is meant.
        run: runs a command in a container; None where no session is to be opened.

    Attributes:
        place: short name of the cluster.
        family_only: the name is that of a task definition of which nothing runs.
        gone: the cluster was deleted; AWS shows it for a while.
        agent_log_wanted: the agent's log is read, too.
    """

    def __init__(self, api: AwsApi, query: Address, run: Runner | None = None) -> None:
        self.api = api
        self.query = query
        self.run = run
        self.place = query.cluster or api.cluster
        self.family_only = self.gone = False
        self.agent_log_wanted = False
        self._known: dict[Any, asyncio.Future[Any]] = {}

    @property
    def where(self) -> str:
        """The address, for people."""
        name = f"{self.place}/{self.query.name}" if self.query.name else self.place
        return f"{name}:{self.query.container}" if self.query.container else name

    @property
    def wanted(self) -> str | None:
        """The one container that is meant; None for all."""
        return None if self.query.container == "*" else self.query.container

    # -- looking things up once ------------------------------------------------------------------

    async def once(self, key: Any, make: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """What a coroutine gives, run at the first call with this key."""
        if key not in self._known:
            self._known[key] = asyncio.ensure_future(make())
        found: T = await asyncio.shield(self._known[key])
        return found

    async def call(self, service: str, operation: str, /, **params: Any) -> Record:
        """An API call, made once for each set of parameters."""
        key = (service, operation, repr(sorted(params.items())))
        return await self.once(key, lambda: self.api.call(service, operation, **params))

    async def pages(self, service: str, operation: str, member: str, **params: Any) -> list[Any]:
        """All pages of a listing, read once."""
        key = (service, operation, repr(sorted(params.items())))
        return await self.once(key, lambda: self.api.pages(service, operation, member, **params))

    async def close(self) -> None:
        """Give up what is still being looked up."""
        for each in self._known.values():
            each.cancel()
        await asyncio.gather(*self._known.values(), return_exceptions=True)

    # -- tasks and services ----------------------------------------------------------------------

    async def find(self) -> None:
        """Look the address up, as far as that is allowed.

        Raises:
            TargetNotFound: there is no such cluster or name; the error lists what there is.
        """
        try:
            await self._task_arns()
            await self._container_there()
        except AccessDenied:
            return  # the checks will say so, each for its part
        except TargetNotFound as error:
            name = self.query.name
            if error.code == "ClusterNotFoundException" and await self._was_deleted():
                self.gone = True
                self._known.clear()
                return
            if error.code == _NO_CONTAINER or name is None or self.query.arn:
                raise
            is_there = error.code != "ClusterNotFoundException"
            if is_there and self.query.kind in (None, "family") and await self._is_family(name):
                self.family_only = True
                self._known.clear()
                return
            if self.query.cluster or self.query.kind or not await self._is_cluster(name):
                raise
            self.query = Address(cluster=name, container=self.query.container)
            self.place = name
            self._known.clear()
            await self.find()

    async def _task_arns(self) -> list[str]:
        if self.family_only or self.gone:
            return []
        return await self.once("task arns", self._listed)

    async def _listed(self) -> list[str]:
        query = self.query
        words: dict[str, Any] = {query.kind: query.name} if query.kind and not query.arn else {}
        scope = query.arn or (f"{self.place}/{query.name}" if query.name else None)
        found = await list_tasks(
            self.api,
            scope if query.kind is None or query.arn else None,
            cluster=None if query.arn and not query.cluster else self.place,
            limit=MOST_TASKS,
            **words,
        )
        return [each.task_arn for each in found]

    async def _container_there(self) -> None:
        """Refuse a container that none of what is there has."""
        if self.wanted is None:
            return
        names = {
            str(each.get("name"))
            for _, definition, _ in await self.definitions()
            for each in definition.get("containerDefinitions", ())
        }
        if names and self.wanted not in names:
            error = TargetNotFound(
                f"{self.place}/{self.query.name or ''} has no container {self.wanted!r}",
                cause=f"its containers are {', '.join(sorted(names))}",
                cure="name one of these, or none for all of them",
            )
            error.code = _NO_CONTAINER
            raise error

    async def _is_family(self, name: str) -> bool:
        try:
            await self.call("ecs", "describe_task_definition", taskDefinition=name)
        except EcsExecError:
            return False
        return True

    async def _was_deleted(self) -> bool:
        """Whether AWS still shows the cluster, as one that is no more."""
        try:
            return (await self.cluster()).get("status") != "ACTIVE"
        except EcsExecError:
            return False

    async def _is_cluster(self, name: str) -> bool:
        try:
            answer = await self.api.call("ecs", "describe_clusters", clusters=[name])
        except EcsExecError:
            return False
        return any(each.get("status") == "ACTIVE" for each in answer.get("clusters", ()))

    async def tasks(self) -> list[Record]:
        """The tasks, as DescribeTasks shows them; those that run or start, or a named one."""
        arns = await self._task_arns()
        if not arns:
            return []
        answer = await self.call(
            "ecs", "describe_tasks", cluster=self.place, tasks=arns, include=["TAGS"]
        )
        return list(answer.get("tasks", ()))

    async def running(self) -> list[Record]:
        """The tasks in which a command could be run by now."""
        return [each for each in await self.tasks() if each.get("lastStatus") == "RUNNING"]

    async def last_stopped(self) -> Record | None:
        """The task that stopped last, where none runs."""
        if self.family_only or self.gone or self.query.name is None:
            return None

        async def look() -> str:
            kind: dict[str, Any] = {self.query.kind: self.query.name} if self.query.kind else {}
            scope = None if kind else f"{self.place}/{self.query.name}"
            found = await list_tasks(
                self.api, scope, cluster=self.place, stopped=True, limit=MOST_TASKS, **kind
            )
            return found[0].task_arn if found else ""

        arn = await self.once("stopped", look)
        if not arn:
            return None
        answer = await self.call("ecs", "describe_tasks", cluster=self.place, tasks=[arn])
        return next(iter(answer.get("tasks", ())), None)

    async def services(self) -> list[Record]:
        """The services that are meant, or that the tasks belong to."""
        if self.family_only or self.gone:
            return []
        names = [
            str(each["group"])[len("service:") :]
            for each in await self.tasks()
            if str(each.get("group", "")).startswith("service:")
        ]
        if not names and self.query.name and self.query.kind in (None, "service"):
            names = [self.query.name]
        names = list(dict.fromkeys(names))
        found: list[Record] = []
        for start in range(0, len(names), 10):  # what DescribeServices takes at once
            batch = names[start : start + 10]
            try:
                answer = await self.call(
                    "ecs", "describe_services", cluster=self.place, services=batch
                )
            except EcsExecError as error:
                if error.code in _NOT_THERE:  # the name was no service's
                    continue
                raise
            found += answer.get("services", ())
        return [each for each in found if each.get("status") != "INACTIVE"]

    async def services_seen(self) -> list[Record]:
        """The same, as far as they may be looked at: where tasks tell as much, nothing is lost."""
        try:
            return await self.services()
        except AccessDenied:
            if not await self.tasks():
                raise
            return []

    # -- definitions -----------------------------------------------------------------------------

    async def definitions(self) -> list[tuple[str, Record, Record | None]]:
        """Who uses which task definition: a label, the definition, and the task if it is one's.

        A service is one of them with what it would start now.
        """
        used: list[tuple[str, str, Record | None]] = [
            (short(each), str(each.get("taskDefinitionArn", "")), each)
            for each in await self.tasks()
        ]
        if self.family_only:
            used.append((f"family {self.query.name}", self.query.name or "", None))
        current = {arn for _, arn, _ in used}
        for service in await self.services_seen():
            arn = str(service.get("taskDefinition", ""))
            if arn and arn not in current:
                used.append((f"service {service.get('serviceName')}", arn, None))
        if not used and (last := await self.last_stopped()) is not None:
            used.append((short(last), str(last.get("taskDefinitionArn", "")), last))
        documents = await asyncio.gather(*(self._definition(arn) for _, arn, _ in used))
        return [(label, doc, task) for (label, _, task), doc in zip(used, documents, strict=True)]

    async def _definition(self, arn: str) -> Record:
        answer = await self.call("ecs", "describe_task_definition", taskDefinition=arn)
        return dict(answer["taskDefinition"])

    async def containers(self) -> list[tuple[str, Record, Record]]:
        """The containers that are meant: a label, the definition, and the task's overrides.

        Those of the same definition are one, unless a task overrides something.
        """
        found: dict[tuple[str, str, str], tuple[str, Record, Record]] = {}
        for _, definition, task in await self.definitions():
            overrides = ((task or {}).get("overrides") or {}).get("containerOverrides") or ()
            own = {each.get("name"): each for each in overrides}
            name = f"{definition.get('family')}:{definition.get('revision')}"
            for container in definition.get("containerDefinitions", ()):
                if self.is_meant(container.get("name", "")):
                    override = own.get(container["name"]) or {}
                    key = (name, container["name"], repr(sorted(override.items())))
                    label = f"{container['name']} of {name}"
                    found.setdefault(key, (label, container, override))
        return list(found.values())

    def is_meant(self, container: str) -> bool:
        """Whether a container is one of those that the address means."""
        return container == self.wanted if self.wanted else not container.startswith(INJECTED)

    # -- the cluster -----------------------------------------------------------------------------

    async def cluster(self) -> Record:
        """The cluster.

        Raises:
            TargetNotFound: there is none of that name.
        """
        answer = await self.call(
            "ecs", "describe_clusters", clusters=[self.place], include=["CONFIGURATIONS", "TAGS"]
        )
        for each in answer.get("clusters", ()):
            return dict(each)
        raise await cluster_missing(self.api, self.place, named=self.query.cluster is not None)

    async def settings(self) -> Settings:
        """What the cluster's executeCommandConfiguration says."""
        configuration = (await self.cluster()).get("configuration") or {}
        exec_ = configuration.get("executeCommandConfiguration") or {}
        logs = exec_.get("logConfiguration") or {}
        logging = exec_.get("logging") or "DEFAULT"
        if logging != "OVERRIDE":
            return Settings(logging, exec_.get("kmsKeyId") or "")
        return Settings(
            logging,
            exec_.get("kmsKeyId") or "",
            logs.get("cloudWatchLogGroupName") or "",
            bool(logs.get("cloudWatchEncryptionEnabled")),
            logs.get("s3BucketName") or "",
            logs.get("s3KeyPrefix") or "",
            bool(logs.get("s3EncryptionEnabled")),
        )

    # -- who may what ----------------------------------------------------------------------------

    async def arn(self, service: str, resource: str, *, account: bool = True) -> str:
        """An ARN in this region and account."""
        number, region = await self.api.account_region()
        where = f"{region}:{number}" if account else ":"
        return f"arn:{self.api.partition}:{service}:{where}:{resource}"

    async def caller(self) -> str:
        """The user or role whose credentials are used, as the simulator takes it."""

        async def look() -> str:
            return await principal_of(self.api, str((await self.api.identity())["Arn"]))

        return await self.once("caller", look)

    async def verdicts(self, principal: str, questions: Sequence[Question]) -> tuple[Verdict, ...]:
        """What IAM says of a user or role; asked once for each question."""
        key = ("verdicts", principal, repr(questions))
        return await self.once(key, lambda: simulate(self.api, principal, questions))


async def scene_of(
    api: AwsApi,
    address: Address | str | None = None,
    *,
    cluster: str | None = None,
    service: str | None = None,
    task: str | None = None,
    family: str | None = None,
    container: str | None = None,
    run: Runner | None = None,
) -> Scene:
    """What an address means, or the options that say the same in words.

    Raises:
        InvalidRequest: it is malformed or contradicts itself.
        TargetNotFound: there is no such cluster or name; the error lists what there is.
    """
    words = {"service": service, "task": task, "family": family, "container": container}
    try:
        query = combine(address, cluster=cluster, **words, nameless=True)
    except InvalidRequest:
        # `prod/` and the ARN of a cluster name no target, but they can be checked.
        if not isinstance(address, str) or any(words.values()):
            raise
        query = combine(parse_scope(address), cluster=cluster, nameless=True)
    check_region(api, query)
    scene = Scene(api, query, run)
    try:
        await scene.find()
        if query.name is None:
            await _cluster_there(scene)
    except BaseException:
        await scene.close()
        raise
    return scene


async def _cluster_there(scene: Scene) -> None:
    try:
        await scene.cluster()
    except AccessDenied:
        return


def short(task: Record) -> str:
    """A task in a few words."""
    return f"task {str(task.get('taskArn', '')).rpartition('/')[2][:8]}"


def listed(items: Sequence[str]) -> str:
    """Names with commas between; of many only the first."""
    items = list(dict.fromkeys(items))
    more = f" and {len(items) - _SHOWN} more" if len(items) > _SHOWN else ""
    return ", ".join(items[:_SHOWN]) + more
