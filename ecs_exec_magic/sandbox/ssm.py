"""The SSM API of the practice cluster, as far as sessions need it.

Knows documents, parameters and the life of a session as AWS tells it. Never knows frames.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any

from .agent import SessionPlan
from .api import ApiError, Caller, operation

if TYPE_CHECKING:
    from .ecs.model import ContainerState, Task
    from .faults import Faults
    from .sessions import Gateway, Session
    from .world import World

__all__ = ["SsmService"]

_DOCUMENTS = {
    "": "Standard_Stream",
    "SSM-SessionManagerRunShell": "Standard_Stream",
    "AWS-StartInteractiveCommand": "InteractiveCommands",
    "AWS-StartNonInteractiveCommand": "NonInteractiveCommands",
    "AWS-StartPortForwardingSession": "Port",
    "AWS-StartPortForwardingSessionToRemoteHost": "Port",
}
_PARAMETERS = {
    "Standard_Stream": set(),
    "InteractiveCommands": {"command"},
    "NonInteractiveCommands": {
        "command",
        "separateOutputStream",
        "stdOutSeparatorPrefix",
        "stdErrSeparatorPrefix",
    },
    "Port": {"portNumber", "localPortNumber", "host"},
}
_TO_REMOTE_HOST = "AWS-StartPortForwardingSessionToRemoteHost"


class SsmService:
    """Session operations.

    Args:
        world: what there is.
        gateway: the sessions.
        stream_url: makes the stream URL of a session id.
        faults: what is broken on purpose.
    """

    service = "ssm"

    def __init__(self, world: World, gateway: Gateway, stream_url: Any, faults: Faults) -> None:
        self._world = world
        self._gateway = gateway
        self._stream_url = stream_url
        self._faults = faults

    def _target(self, target: str, region: str) -> tuple[str | None, Task, ContainerState]:
        if target.startswith("ecs:"):
            names, _, runtime_id = target[4:].rpartition("_")
            cluster_name, _, task_id = names.rpartition("_")
            cluster = self._world.state.region(region).clusters.get(cluster_name)
            task = cluster.tasks.get(task_id) if cluster else None
            if cluster is not None and task is not None and self._world.is_up(task):
                for container in task.containers:
                    connected = container.agent == "RUNNING" and container.control_channel
                    if container.runtime_id == runtime_id and connected:
                        return cluster.key_id, task, container
        raise ApiError("TargetNotConnected", f"{target} is not connected.")

    def _known(self, session_id: str) -> Session:
        session = self._gateway.sessions.get(session_id)
        if session is None:
            raise ApiError("DoesNotExistException", f"Session {session_id} does not exist.")
        return session

    @operation("StartSession")
    def op_start_session(self, given: dict[str, Any], caller: Caller) -> dict[str, Any]:
        """Open a session by a document."""
        if self._faults.deny_start_session:
            raise ApiError(
                "AccessDeniedException",
                f"User: {caller.arn} is not authorized to perform: ssm:StartSession on resource: "
                f"arn:aws:ecs:{caller.region}:{caller.account_id}:task/* with an explicit deny "
                "in an identity-based policy",
            )
        document = given.get("DocumentName", "")
        kind = _DOCUMENTS.get(document)
        if kind is None:
            raise ApiError("InvalidDocument", f"Document with name {document} does not exist.")
        parameters = {k: v[0] if v else "" for k, v in given.get("Parameters", {}).items()}
        properties = _port_properties(document, parameters) if kind == "Port" else {}
        unknown = set(parameters) - _PARAMETERS[kind]
        if unknown or ("command" in _PARAMETERS[kind] and "command" not in parameters):
            names = ", ".join(sorted(unknown)) or "command"
            raise _unfit(document, names)
        key_id, task, container = self._target(given["Target"], caller.region)
        session_id = f"sandbox-{secrets.token_hex(9)[:17]}"
        plan = SessionPlan(
            session_id,
            kind,
            parameters.get("command", ""),
            given["Target"],
            key_id,
            parameters.get("separateOutputStream", "").lower() == "true",
            (
                parameters.get("stdOutSeparatorPrefix", ""),
                parameters.get("stdErrSeparatorPrefix", ""),
            ),
            region=caller.region,
            role_arn=task.launch.role_arn,
            properties=properties,
        )
        session = self._gateway.open(
            plan,
            self._world.container(task, container),
            container.runtime_id,
            document=document,
            owner=caller.arn,
        )
        return {
            "SessionId": session_id,
            "StreamUrl": self._stream_url(session_id),
            "TokenValue": session.token,
        }

    @operation("ResumeSession")
    def op_resume_session(self, given: dict[str, Any], caller: Caller) -> dict[str, Any]:
        """Give a new token; an empty one when the session is over."""
        if self._faults.refuse_resume:
            raise ApiError(
                "AccessDeniedException",
                f"User: {caller.arn} is not authorized to perform: ssm:ResumeSession",
            )
        session = self._known(given["SessionId"])
        return {
            "SessionId": session.session_id,
            "TokenValue": self._gateway.resume(session),
            "StreamUrl": self._stream_url(session.session_id),
        }

    @operation("TerminateSession")
    def op_terminate_session(self, given: dict[str, Any], caller: Caller) -> dict[str, Any]:
        """End a session; one that has ended stays so."""
        session = self._known(given["SessionId"])
        self._gateway.terminate(session)
        return {"SessionId": session.session_id}

    @operation("DescribeSessions")
    def op_describe_sessions(self, given: dict[str, Any], caller: Caller) -> dict[str, Any]:
        """List active or past sessions, the newest first."""
        wanted = given["State"] == "Active"
        filters = {f["key"]: f["value"] for f in given.get("Filters", [])}
        chosen = []
        for session in reversed(self._gateway.sessions.values()):
            view = self._view(session)
            fits = all(
                view.get({"Target": "Target", "Owner": "Owner", "SessionId": "SessionId"}.get(k, k))
                == v
                for k, v in filters.items()
                if k in ("Target", "Owner", "SessionId", "Status")
            )
            if (session.ended is None) == wanted and fits:
                chosen.append(view)
        start = int(given.get("NextToken") or 0)
        size = given.get("MaxResults") or 200
        more = start + size < len(chosen)
        token = str(start + size) if more else None
        return {"Sessions": chosen[start : start + size], "NextToken": token}

    @staticmethod
    def _view(session: Session) -> dict[str, Any]:
        status = "Connected"
        if session.ended is not None:
            status = "Terminated"
        elif session.relay is None or session.relay.client is None:
            status = "Disconnected"
        return {
            "SessionId": session.session_id,
            "Target": session.plan.target_id,
            "Status": status,
            "StartDate": session.started,
            "EndDate": session.ended,
            "DocumentName": session.document or None,
            "Owner": session.owner,
            "Reason": session.reason or None,
        }


def _unfit(document: str, names: str) -> ApiError:
    return ApiError("InvalidParameters", f"Parameters of document {document} do not fit: {names}")


def _port_properties(document: str, parameters: dict[str, str]) -> dict[str, str]:
    """What the handshake of a port session tells its client, all of it as text."""
    remote = document == _TO_REMOTE_HOST
    port, local = parameters.get("portNumber", "80"), parameters.get("localPortNumber", "")
    if ("host" in parameters) != remote:
        raise _unfit(document, "host")
    if not (port.isascii() and port.isdigit() and 0 < int(port) < 65536):
        raise _unfit(document, "portNumber")
    properties = {"portNumber": port, "localPortNumber": local, "type": "LocalPortForwarding"}
    return {**properties, "host": parameters["host"]} if remote else properties
