"""Records as lines of JSON.

Knows the form of the lines, and what to make of lines that are torn, strange or of a newer form.
Never knows files.

A run is a line when it begins and one when it ends. Both have ``v``, the version of the form, and
``id``; a reader takes the fields that it knows and leaves the others.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import re
from dataclasses import fields
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from ..address import ContainerRef
from .processes import Process, lives
from .records import Record, Stored, Traffic

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from .files import Folder

__all__ = ["VERSION", "container_fields", "line", "records", "time_text"]

VERSION = 1

_TIME = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3})Z", re.ASCII)
_DIGEST = re.compile(r"[0-9a-f]{64}")
_TYPES: dict[str, tuple[type, ...]] = {
    "str": (str,),
    "bool": (bool,),
    "int": (int,),
    "float": (int, float),
}


def line(event: str, values: Mapping[str, Any]) -> bytes:
    """One line: ``begin`` or ``end`` of a run."""
    whole = {"v": VERSION, "event": event, **values}
    try:
        text = json.dumps(whole, ensure_ascii=False, separators=(",", ":"))
        return text.encode() + b"\n"
    except UnicodeEncodeError:  # bytes that are not UTF-8 travel as lone surrogates
        return json.dumps(whole, separators=(",", ":")).encode() + b"\n"


def records(lines: Iterable[bytes], folder: Folder | None = None) -> list[Record]:
    """The runs that lines tell of, in the order in which they began."""
    found: dict[str, Record] = {}
    for each in lines:
        values = _values(each)
        name = values.get("id")
        if not isinstance(name, str) or not name:
            continue
        if values.get("event") == "begin" and name not in found:
            begun = _begun(values, len(found) + 1, folder)
            if begun is not None:
                found[name] = begun
        elif values.get("event") == "end" and name in found and found[name].ended is None:
            found[name] = _ended(found[name], values)
    alive: dict[Process, bool | None] = {}
    for name, record in found.items():
        if record.ended is None:
            if record.process not in alive:
                alive[record.process] = lives(record.process)
            state = {True: "running", False: "killed", None: "unknown"}[alive[record.process]]
            found[name] = dataclasses.replace(record, state=state)
    return list(found.values())


def _values(text: bytes) -> dict[str, Any]:
    # A line that a killed process has torn, or that somebody else wrote, is none of ours.
    try:
        values = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return values if isinstance(values, dict) else {}


def _begun(values: Mapping[str, Any], number: int, folder: Folder | None) -> Record | None:
    command = values.get("command")
    if isinstance(command, list) and all(isinstance(word, str) for word in command):
        pass
    elif not isinstance(command, str):
        return None
    started = _time(values.get("at"))
    if started is None:
        return None
    known = _typed(values, Record, "id kind interpreter address group notebook identity version")
    process = _typed(values, Process, "pid host")
    return Record(
        **{"kind": "exec", **known},
        number=number,
        command=command,
        started=started,
        process=Process(
            **{"pid": 0, "started": _text(values.get("process")), "host": "", **process}
        ),
        masked=_typed(values, Record, "masked").get("masked", 0),
        target=_container(values.get("target")),
        folder=folder,
    )


def _ended(record: Record, values: Mapping[str, Any]) -> Record:
    ended = _time(values.get("at"))
    if ended is None:
        return record
    known = _typed(
        values,
        Record,
        "duration exit_code signal timed_out interrupted exact missing error message cause "
        "session_id request_id masked",
    )
    known["masked"] = known.get("masked", 0) + record.masked
    return dataclasses.replace(
        record,
        **known,
        state="ended",
        ended=ended,
        identity=_text(values.get("identity")) or record.identity,
        target=_container(values.get("target")) or record.target,
        stdout=_stored(values.get("stdout")),
        stderr=_stored(values.get("stderr")),
        traffic=_traffic(values.get("traffic")),
    )


# -- fields --------------------------------------------------------------------------------------


def container_fields(container: ContainerRef) -> dict[str, Any]:
    """A container as it is recorded: names and ids, and nothing of a connection."""
    return {each.name: getattr(container, each.name) for each in fields(ContainerRef)}


def _container(values: object) -> ContainerRef | None:
    if not isinstance(values, dict):
        return None
    found: dict[str, Any] = {each.name: values.get(each.name) for each in fields(ContainerRef)}
    optional = found.pop("service")
    if not all(isinstance(value, str) for value in found.values()):
        return None
    return ContainerRef(**found, service=optional if isinstance(optional, str) else None)


def _stored(values: object) -> Stored:
    if not isinstance(values, dict):
        return Stored(text=None, lost="was not recorded")
    known = _typed(values, Stored, "size sha256 masked truncated text kept lost")
    # It becomes the name of a file to be read.
    if known.get("kept") and not _DIGEST.fullmatch(known["kept"]):
        return Stored(text=None, lost="was not recorded")
    return Stored(**{"text": None, **known})


def _traffic(values: object) -> Traffic | None:
    if not isinstance(values, dict):
        return None
    names = "local_port connections refused sent received sessions"
    return Traffic(**_typed(values, Traffic, names))


def _typed(values: Mapping[str, Any], cls: type, names: str) -> dict[str, Any]:
    """Those of the named values that have the type of the class's field of that name."""
    types, found = _types_of(cls), {}
    for name in names.split():
        value = values.get(name)
        is_bool = isinstance(value, bool)
        if isinstance(value, _TYPES[types[name]]) and is_bool == (types[name] == "bool"):
            found[name] = value
    return found


@functools.lru_cache(maxsize=8)
def _types_of(cls: type) -> dict[str, str]:
    return {each.name: str(each.type).partition(" | ")[0] for each in fields(cls)}


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def time_text(moment: datetime) -> str:
    """A time as records have it: UTC, with milliseconds."""
    utc = moment.astimezone(timezone.utc)
    return f"{utc:%Y-%m-%dT%H:%M:%S}.{utc.microsecond // 1000:03d}Z"


def _time(text: object) -> datetime | None:
    match = _TIME.fullmatch(_text(text))
    try:
        return datetime.fromisoformat(f"{match[1]}+00:00") if match else None
    except ValueError:
        return None
