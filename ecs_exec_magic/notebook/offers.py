"""What could be written at the cursor: options, addresses and the parts of them, variables.

Knows what an option's value means. Never knows IPython's completer, nor the network.
"""

from __future__ import annotations

import itertools
import os
import re
import types
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from ..address import Address, combine, parse_address, parse_cluster, parse_scope
from ..errors import InvalidRequest
from ..files import parse_place
from .choice import Choice

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from .caret import Ask
    from .lookups import Lookups
    from .workspace import Workspace

__all__ = ["Offer", "filled", "offers"]

_SHELLS = ("/bin/sh", "bash", "python3", "perl", "ruby", "node")
_NAME = re.compile(r"\{(\w+)\}|\$(\w+)")
_CHOICES = re.compile(r"\[?(\w[\w-]*(?:\|\w[\w-]*)+)\]?")
_SPOKEN_CONTAINER = re.compile(r"(arn:(?:[^:]*:){4}[^:]*|[^:]*):(.*)", re.DOTALL)
_FEW_IDS = 20
_ADDRESS, _SCOPE, _FROM_TO = "[ADDRESS]", "[CLUSTER[/NAME]]", "FROM TO"
_SURELY_LOCAL = ("/", "./", "../", "~")


@dataclass(frozen=True, slots=True)
class Offer:
    """One thing to write: the whole word, and what it is."""

    text: str
    kind: str


def filled(ask: Ask, variables: Mapping[str, Any]) -> Ask | None:
    """The question with the notebook's variables in place of their names in braces.

    Nothing is evaluated for that: what takes more than a name is left out, and the question is
    ``unclear`` then. None where it is the word at the cursor that does: it is Python's to complete.
    """

    def fill(text: str) -> str | None:
        try:
            text = _NAME.sub(lambda match: str(variables[match[1] or match[2]]), text)
        except Exception:  # noqa: BLE001 - no such variable, or one that makes no text
            return None
        return None if "{" in text or "$" in text else text

    typed = fill(ask.typed)
    if typed is None:
        return None
    values = {
        name: fill(value) if isinstance(value, str) else value for name, value in ask.values.items()
    }
    words = [fill(word) for word in ask.words]
    return replace(
        ask,
        typed=typed,
        values={name: value for name, value in values.items() if value is not None},
        words=tuple(word for word in words if word is not None),
        unclear=None in values.values() or None in words,
    )


def offers(space: Workspace, lookups: Lookups, ask: Ask) -> list[Offer]:
    """What could be written at the cursor: what begins as the word that is there."""
    found: dict[str, Offer] = {}
    try:
        for offer in _Finder(space, lookups, ask).offers():
            if offer.text.startswith(ask.typed):
                found.setdefault(offer.text, offer)
    except InvalidRequest:  # what else is on the line makes no sense
        return []
    return list(found.values())


class _Finder:
    """Finds what fits one question."""

    def __init__(self, space: Workspace, lookups: Lookups, ask: Ask) -> None:
        self._space = space
        self._lookups = lookups
        self._ask = ask
        self._of_listing = ask.command.usage == _SCOPE

    def offers(self) -> Iterator[Offer]:
        ask = self._ask
        if ask.kind == "flag":
            return self._flags()
        if ask.option is None:
            usage = ask.command.usage
            if len(ask.words) >= (2 if usage == _FROM_TO else 1):
                return iter(())
            there = {
                _ADDRESS: self._address,
                _SCOPE: self._scope,
                _FROM_TO: self._place_of_copy,
            }.get(usage)
            here, text = None, usage
        else:
            dest, text = ask.option.dest, ask.option.metavar
            there = {
                "target": self._address,
                "cluster": self._cluster,
                "service": self._service,
                "task": self._task,
                "family": self._family,
                "container": self._container,
            }.get(dest)
            here = {
                "region": self._region,
                "profile": self._profile,
                "shell": self._shell,
                "stdin": self._stdin,
                "executor": self._out,
                "out": self._out,
                "stdout": self._out,
                "stderr": self._out,
            }.get(dest)
        if there is not None and ask.unclear:
            return iter(())  # it may be another account
        find = there or here
        return find() if find is not None else _choices(text)

    # -- options ---------------------------------------------------------------------------------

    def _flags(self) -> Iterator[Offer]:
        ask = self._ask
        for option in ask.command.options:
            if option.dest not in ask.values:
                for flag in option.flags if ask.typed else (option.name,):
                    yield Offer(flag, "option")

    # -- what AWS has ----------------------------------------------------------------------------

    def _address(self) -> Iterator[Offer]:
        typed = self._ask.typed
        match = _SPOKEN_CONTAINER.fullmatch(typed)
        if match and (typed.startswith("arn:") or match[1]):
            if not _half_an_arn(match[1]):
                yield from self._containers(parse_address(match[1]), f"{match[1]}:")
            return
        cluster, slash, name = typed.rpartition("/")
        start = f"{cluster}/" if slash else ""
        place = cluster or self._place()
        if not slash and "cluster" not in self._ask.values:
            (clusters,) = self._lookups.get(self._lookups.clusters())
            yield from (Offer(f"{each}/", "cluster") for each in clusters)
        tasks = yield from self._names(place, start, name)
        if any(name in (task.service, task.family, task.task_id) for task in tasks):
            yield from self._containers(Address(place, name), f"{typed}:")

    def _scope(self) -> Iterator[Offer]:
        typed = self._ask.typed
        cluster, slash, name = typed.rpartition("/")
        if not slash:
            (clusters,) = self._lookups.get(self._lookups.clusters())
            yield from (Offer(each, "cluster") for each in clusters)
            if typed not in clusters:
                return
            cluster = typed
        yield from self._names(cluster, f"{cluster}/", name)

    def _names(self, place: str, start: str, name: str) -> Generator[Offer, None, list[Any]]:
        """Services, families of tasks on their own, and task ids of a cluster.

        Args:
            start: what stands before a name.
            name: what is there of it.

        Returns:
            the tasks.
        """
        look = self._lookups
        tasks: list[Any]
        services, tasks = look.get(look.services(place), look.tasks(place))
        yield from (Offer(start + each, "service") for each in services)
        lone = dict.fromkeys(task.family for task in tasks if not task.service)
        yield from (Offer(start + each, "family") for each in lone)
        if name or len(tasks) <= _FEW_IDS:
            yield from (Offer(start + task.task_id, "task") for task in tasks)
        return tasks

    def _cluster(self) -> Iterator[Offer]:
        (clusters,) = self._lookups.get(self._lookups.clusters())
        return (Offer(each, "cluster") for each in clusters)

    def _service(self) -> Iterator[Offer]:
        (services,) = self._lookups.get(self._lookups.services(self._place()))
        return (Offer(each, "service") for each in services)

    def _task(self) -> Iterator[Offer]:
        (tasks,) = self._lookups.get(self._lookups.tasks(self._place()))
        return (Offer(each.task_id, "task") for each in tasks)

    def _family(self) -> Iterator[Offer]:
        (tasks,) = self._lookups.get(self._lookups.tasks(self._place()))
        return (Offer(each.family, "family") for each in tasks)

    def _container(self) -> Iterator[Offer]:
        values: dict[str, Any] = {**self._ask.values}
        values.pop("container", None)
        if self._of_listing:
            scope = parse_scope(self._ask.words[0]) if self._ask.words else None
            query = combine(scope, **Choice.from_options(values).words(), nameless=True)
        else:
            if self._ask.words:
                values["target"] = self._ask.words[0]
            query = self._space.choice.overridden(values).query()
        return self._containers(replace(query, cluster=query.cluster or self._place()), "")

    def _containers(self, query: Address, start: str) -> Iterator[Offer]:
        """Containers of what an address means; those that AWS put there come last."""
        look, place = self._lookups, query.cluster or self._place()
        (tasks,) = look.get(look.tasks(place))
        meant = [task for task in tasks if query.name is None or _means(query, task)]
        if not meant and query.name:
            (meant,) = look.get(look.tasks_named(place, query.name))
        found = [each for task in meant for each in task.containers]
        found.sort(key=lambda each: each.injected)
        return (Offer(start + each.name, "container") for each in found)

    def _place(self) -> str:
        """The cluster that a name is in when the word at the cursor does not say."""
        values, words = self._ask.values, self._ask.words
        spoken = values.get("cluster")
        if isinstance(spoken, str):
            return parse_cluster(spoken)[0]
        address = words[0] if words else values.get("target")
        if isinstance(address, str):
            cluster = (parse_scope if self._of_listing else parse_address)(address).cluster
            if cluster:
                return cluster
        own = self._space.cluster if self._of_listing else self._space.settings.cluster
        return parse_cluster(own)[0] if own else "default"

    # -- files -----------------------------------------------------------------------------------

    def _place_of_copy(self) -> Iterator[Offer]:
        """One end of a copy: a path in a container, or a local one, or the begin of an address."""
        typed = self._ask.typed
        self._ask = replace(self._ask, words=())  # the other end says nothing of this one
        if typed.startswith(_SURELY_LOCAL):
            return _local_paths(typed)
        if typed.startswith(":") or ":/" in typed:
            return self._remote_paths(typed)
        return itertools.chain(_local_paths(typed), self._address() if typed else ())

    def _remote_paths(self, typed: str) -> Iterator[Offer]:
        place = parse_place(typed if typed != ":" else ":.")
        path = "" if typed == ":" else place.path
        directory, slash, name = path.rpartition("/")
        start = typed[: len(typed) - len(name)]
        values: dict[str, Any] = {**self._ask.values}
        if place.address is not None:
            values["target"] = place.address
        resolve = self._space.resolver(values, bridge="thread")
        address = str(self._space.choice.overridden(values))
        (names,) = self._lookups.get(self._lookups.names(address, directory + slash, resolve))
        return _entries(start, name, names)

    # -- what is here ----------------------------------------------------------------------------

    def _region(self) -> Iterator[Offer]:
        (regions,) = self._lookups.get(self._lookups.regions())
        return (Offer(each, "region") for each in regions)

    def _profile(self) -> Iterator[Offer]:
        (profiles,) = self._lookups.get(self._lookups.profiles())
        return (Offer(each, "profile") for each in profiles)

    def _shell(self) -> Iterator[Offer]:
        return (Offer(each, "shell") for each in _SHELLS)

    def _stdin(self) -> Iterator[Offer]:
        names = [name for name, value in self._variables() if _can_be_sent(value)]
        rest = [name for name, value in self._variables() if isinstance(value, Iterable)]
        return (Offer(name, "variable") for name in [*names, *rest])

    def _out(self) -> Iterator[Offer]:
        return (Offer(name, "variable") for name, _ in self._variables())

    def _variables(self) -> Iterator[tuple[str, Any]]:
        """The notebook's variables that hold data."""
        hidden: Mapping[str, Any] = self._space.shell.user_ns_hidden
        nothing = object()
        no_data = (types.ModuleType, type, types.FunctionType, types.BuiltinFunctionType)
        for name, value in sorted(self._space.variables.items()):
            if name.startswith("_") or not name.isidentifier():
                continue
            if value is not hidden.get(name, nothing) and not isinstance(value, no_data):
                yield name, value


def _local_paths(typed: str) -> Iterator[Offer]:
    directory, slash, name = typed.rpartition("/")
    try:
        with os.scandir(os.path.expanduser(directory + slash) or ".") as found:
            names = sorted(each.name + "/" * each.is_dir() for each in found)
    except OSError:
        names = []
    return _entries(directory + slash, name, names)


def _entries(start: str, name: str, names: Iterable[str]) -> Iterator[Offer]:
    """Paths of a directory; hidden ones where the name at the cursor is to be one."""
    for each in names:
        if name.startswith(".") or not each.startswith("."):
            yield Offer(start + each, "path")


def _choices(text: str) -> Iterator[Offer]:
    """The words of ``real|fast``, as help texts spell a choice."""
    match = _CHOICES.fullmatch(text)
    return (Offer(each, "choice") for each in (match[1].split("|") if match else ()))


def _half_an_arn(text: str) -> bool:
    return text.startswith("arn:") and "/" not in text


def _means(query: Address, task: Any) -> bool:
    name = query.name or ""
    return (
        (query.kind in (None, "service") and task.service == name)
        or (query.kind in (None, "family") and task.family == name)
        or (query.kind in (None, "task") and len(name) > 5 and task.task_id.startswith(name))
    )


def _can_be_sent(value: Any) -> bool:
    # Asked of the type: an object may do anything when it is asked itself.
    return isinstance(value, (str, bytes, bytearray, os.PathLike)) or hasattr(type(value), "read")
