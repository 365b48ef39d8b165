"""Events of CloudTrail about sessions, read: who called what, on which container, with what end.

Knows the form of events (WALKTHROUGH 12), and that any part of one may be missing, null or hidden.
Never knows how they are looked up.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["HIDDEN", "Call", "Identity", "read"]

HIDDEN = "HIDDEN_DUE_TO_SECURITY_REASONS"
"""What CloudTrail shows in the place of what it does not tell."""

_RESOURCE = re.compile(
    r"arn:[a-z0-9-]+:ecs:[a-z0-9-]*:\d*:(?P<kind>task|cluster)/(?P<path>[A-Za-z0-9_./-]+)"
)
_PORT_WORDS = {"portNumber": "port", "localPortNumber": "to local port", "host": "of"}


@dataclass(frozen=True, slots=True)
class Identity:
    """Who called.

    Attributes:
        name: for people: the user's name, ``ROLE/SESSION``, ``root``, or a service of AWS.
        arn: the whole ARN; empty where the event has none.
        kind: CloudTrail's word, as in ``IAMUser`` and ``AssumedRole``.
    """

    name: str = ""
    arn: str = ""
    kind: str = ""

    @property
    def names(self) -> tuple[str, ...]:
        """All names that people know this caller by."""
        role, slash, session = self.name.partition("/")
        parts = (role, session) if slash else ()
        return tuple(dict.fromkeys(each for each in (self.arn, self.name, *parts) if each))


@dataclass(frozen=True, slots=True)
class Call:
    """One call, as CloudTrail tells of it; what it does not tell is empty.

    Attributes:
        id: of the event.
        name: ``ExecuteCommand``, ``StartSession``, ``ResumeSession`` or ``TerminateSession``.
        command: as it was passed to the API, or :data:`HIDDEN`.
        runtime_id: of the container, in place of its name, where Session Manager was called.
        document: of Session Manager.
        error: AWS's code when the call failed.
    """

    id: str
    name: str
    at: datetime
    who: Identity = Identity()
    source_ip: str = ""
    user_agent: str = ""
    region: str = ""
    cluster: str = ""
    task_id: str = ""
    task_arn: str = ""
    container: str = ""
    runtime_id: str = ""
    command: str = ""
    document: str = ""
    session_id: str = ""
    request_id: str = ""
    error: str = ""
    error_message: str = ""


def read(event: Mapping[str, Any]) -> Call | None:
    """Read an event of LookupEvents; None for one that is not about a container's session."""
    record = _record(event.get("CloudTrailEvent"))
    name = _text(event.get("EventName")) or _text(record.get("eventName"))
    asked, answered = (
        _mapping(record.get("requestParameters")),
        _mapping(record.get("responseElements")),
    )
    message = _text(record.get("errorMessage"))
    if name == "ExecuteCommand":
        about = _of_execute_command(asked, answered, message)
    elif name == "StartSession":
        about = _of_start_session(asked, answered)
        if not _text(asked.get("target")).startswith("ecs:") and not _RESOURCE.search(message):
            return None  # an instance's
        about = {**_of_message(message), **{key: value for key, value in about.items() if value}}
    elif name in ("ResumeSession", "TerminateSession"):
        about = {"session_id": _text(asked.get("sessionId"))}
        if not about["session_id"]:
            return None
    else:
        return None
    return Call(
        id=_text(event.get("EventId")) or _text(record.get("eventID")),
        name=name,
        at=_moment(event.get("EventTime"), record.get("eventTime")),
        who=_identity(_mapping(record.get("userIdentity")), _text(event.get("Username"))),
        source_ip=_text(record.get("sourceIPAddress")),
        user_agent=_text(record.get("userAgent")).strip("[]"),
        region=_text(record.get("awsRegion")),
        request_id=_text(record.get("requestID")),
        error=_text(record.get("errorCode")).rpartition("#")[2],
        error_message=message,
        **about,
    )


def _of_execute_command(
    asked: Mapping[str, Any], answered: Mapping[str, Any], message: str
) -> dict[str, str]:
    found = _of_message(message)
    task = _text(answered.get("taskArn")) or _text(asked.get("task"))
    cluster = _text(answered.get("clusterArn")) or _text(asked.get("cluster"))
    if not cluster and task.startswith("arn:"):
        path = task.rpartition(":task/")[2].split("/")
        cluster = path[0] if len(path) > 1 else ""
    told = {
        "cluster": _last(cluster),
        "task_id": _last(task),
        "task_arn": task if task.startswith("arn:") else "",
        "container": _text(answered.get("containerName")) or _text(asked.get("container")),
        "command": _text(asked.get("command")),
        "session_id": _text(_mapping(answered.get("session")).get("sessionId")),
    }
    found.update({key: value for key, value in told.items() if value})
    if asked and not found.get("cluster"):
        found["cluster"] = "default"  # what a call without one means
    return found


def _of_start_session(asked: Mapping[str, Any], answered: Mapping[str, Any]) -> dict[str, str]:
    document = _text(asked.get("documentName"))
    given = asked.get("parameters")
    command = HIDDEN if given == HIDDEN else ""
    parameters = {key: _first(value) for key, value in _mapping(given).items()}
    if parameters.get("command"):
        command = parameters["command"]
    elif "port" in document.lower() and not command:
        words = [
            f"{word} {parameters[key]}" for key, word in _PORT_WORDS.items() if parameters.get(key)
        ]
        command = " ".join(["forward", *words])
    # ecs:CLUSTER_TASKID_RUNTIMEID; a cluster's name may have _ in it.
    target, _, runtime = _text(asked.get("target")).removeprefix("ecs:").rpartition("_")
    cluster, _, task_id = target.rpartition("_")
    return {
        "cluster": cluster,
        "task_id": task_id,
        "runtime_id": runtime,
        "command": command,
        "document": document,
        "session_id": _text(answered.get("sessionId")),
    }


def _of_message(message: str) -> dict[str, str]:
    """What an error's text says of the container: CloudTrail leaves a refused call's words out."""
    match = _RESOURCE.search(message)
    if match is None:
        return {}
    path = match["path"].rstrip(".").split("/")
    if match["kind"] == "cluster":
        return {"cluster": path[-1]}
    found = {"task_id": path[-1], "task_arn": match[0].rstrip(".")}
    return {**found, "cluster": path[0]} if len(path) > 1 else found


def _identity(told: Mapping[str, Any], name: str) -> Identity:
    arn, kind = _text(told.get("arn")), _text(told.get("type"))
    if kind == "AssumedRole" or ":assumed-role/" in arn:
        issuer = _mapping(_mapping(told.get("sessionContext")).get("sessionIssuer"))
        session = _last(arn) if arn else _text(told.get("principalId")).partition(":")[2]
        role = _text(issuer.get("userName")) or (arn.split("/")[1] if arn.count("/") > 1 else "")
        shown = "/".join(each for each in (role, session or name) if each)
    elif kind == "Root":
        shown = "root"
    else:
        shown = _text(told.get("userName")) or name or _text(told.get("invokedBy"))
        if not shown and arn:
            shown = _last(arn)
    return Identity(shown or _text(told.get("principalId")), arn, kind)


def _record(text: Any) -> Mapping[str, Any]:
    try:
        return _mapping(json.loads(text))
    except (TypeError, ValueError, RecursionError):
        return {}


def _moment(told: Any, text: Any) -> datetime:
    """The event's time, in UTC; the beginning of all time for an event that has none."""
    try:
        moment: datetime = (
            told
            if isinstance(told, datetime)
            else datetime.fromisoformat(_text(text).replace("Z", "+00:00"))
        )
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=timezone.utc)
        return moment.astimezone(timezone.utc)
    except (ValueError, OverflowError):
        return datetime.fromtimestamp(0, timezone.utc)


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _text(value: Any) -> str:
    if not isinstance(value, str):
        return ""
    # Half of a pair of surrogates is possible in JSON, and nowhere else.
    return value.encode("utf-8", "backslashreplace").decode()


def _first(value: Any) -> str:
    if isinstance(value, list):
        return _text(value[0]) if value else ""
    return _text(value)


def _last(arn: str) -> str:
    return arn.rpartition("/")[2]
