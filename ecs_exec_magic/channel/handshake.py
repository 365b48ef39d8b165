"""The handshake's messages: payload types 5 to 9 and what is said in them (PROTOCOL 4.2).

Knows their JSON, both to read and to build it, for either side. Never knows frames, order or keys.
"""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import dataclass, field
from typing import Any

__all__ = [
    "CLIENT_VERSION",
    "KMS_ENCRYPTION",
    "SESSION_TYPE",
    "Action",
    "Complete",
    "HandshakeError",
    "Request",
    "build_challenge",
    "build_complete",
    "build_request",
    "build_response",
    "encryption_context",
    "failed",
    "kms_done",
    "parse_challenge",
    "parse_complete",
    "parse_request",
    "parse_response",
    "session_type_done",
    "unsupported",
]

CLIENT_VERSION = "1.2.764.0"
"""The version we report. The agent switches on it: from 1.2.694.0 on we get everything there is."""

SESSION_TYPE = "SessionType"
KMS_ENCRYPTION = "KMSEncryption"

SUCCESS, FAILED, UNSUPPORTED = 1, 2, 3


class HandshakeError(ValueError):
    """A handshake message cannot be read."""


@dataclass(frozen=True, slots=True)
class Action:
    """One action that the agent requests.

    Attributes:
        kind: ``SessionType``, ``KMSEncryption`` or one unknown to us.
        parameters: as the agent gave them.
    """

    kind: str
    parameters: dict[str, Any] = field(default_factory=dict)

    def text(self, name: str) -> str:
        """Return a parameter that should be a text, or an empty string."""
        value = self.parameters.get(name)
        return value if isinstance(value, str) else ""


@dataclass(frozen=True, slots=True)
class Request:
    """What the agent says first (payload type 5)."""

    agent_version: str
    actions: tuple[Action, ...]


@dataclass(frozen=True, slots=True)
class Complete:
    """What the agent says last (payload type 7).

    Attributes:
        nanoseconds: how long the agent says the handshake took.
        customer_message: a text for the user, or an empty string.
    """

    nanoseconds: int
    customer_message: str


def _dump(value: object) -> bytes:
    # What the agent said may come back in our answer, half a surrogate pair included.
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "replace")


def _load(payload: bytes) -> dict[str, Any]:
    try:
        value = json.loads(payload)
    except (ValueError, RecursionError):
        raise HandshakeError("a handshake message is not JSON") from None
    if not isinstance(value, dict):
        raise HandshakeError("a handshake message is not a JSON object")
    return value


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def parse_request(payload: bytes) -> Request:
    """Read a HandshakeRequest.

    Raises:
        HandshakeError: it is not one.
    """
    value = _load(payload)
    listed = value.get("RequestedClientActions")
    if listed is None:
        listed = []
    if not isinstance(listed, list):
        raise HandshakeError("the requested actions are not a list")
    actions = []
    for item in listed:
        if not isinstance(item, dict):
            raise HandshakeError("a requested action is not an object")
        parameters = item.get("ActionParameters")
        actions.append(
            Action(
                _text(item.get("ActionType")), parameters if isinstance(parameters, dict) else {}
            )
        )
    return Request(_text(value.get("AgentVersion")), tuple(actions))


def build_request(agent_version: str, actions: list[Action]) -> bytes:
    """Build a HandshakeRequest, as an agent does."""
    return _dump(
        {
            "AgentVersion": agent_version,
            "RequestedClientActions": [
                {"ActionType": action.kind, "ActionParameters": action.parameters}
                for action in actions
            ],
        }
    )


def session_type_done() -> dict[str, Any]:
    """The answer to a SessionType action that we can serve."""
    return _answer(SESSION_TYPE, SUCCESS, None, "")


def kms_done(ciphertext: bytes, *, acknowledge_challenge: bool) -> dict[str, Any]:
    """The answer to a KMSEncryption action.

    Args:
        ciphertext: the data key as ``kms:GenerateDataKey`` encrypted it.
        acknowledge_challenge: whether the challenge of the request went into the encryption
            context; agents from 3.3.808 on send one.
    """
    result: dict[str, Any] = {
        "KMSCipherTextKey": base64.b64encode(ciphertext).decode(),
        "KMSCipherTextHash": None,
    }
    if acknowledge_challenge:
        result["ChallengeAcknowledgement"] = True
    return _answer(KMS_ENCRYPTION, SUCCESS, result, "")


def failed(kind: str, text: str) -> dict[str, Any]:
    """The answer to an action that we know and that did not succeed; the agent then closes."""
    return _answer(kind, FAILED, None, text)


def unsupported(kind: str) -> dict[str, Any]:
    """The answer to an action that we do not know."""
    return _answer(kind, UNSUPPORTED, None, f"Unsupported action {kind}")


def _answer(kind: str, status: int, result: object, error: str) -> dict[str, Any]:
    return {"ActionType": kind, "ActionStatus": status, "ActionResult": result, "Error": error}


def build_response(
    answers: list[dict[str, Any]], errors: list[str], client_version: str = CLIENT_VERSION
) -> bytes:
    """Build a HandshakeResponse (payload type 6)."""
    return _dump(
        {
            "ClientVersion": client_version,
            "ProcessedClientActions": answers,
            "Errors": errors or None,
        }
    )


def parse_response(payload: bytes) -> dict[str, Any]:
    """Read a HandshakeResponse, as an agent does; the fields stay as they are on the wire.

    Raises:
        HandshakeError: it is not one.
    """
    value = _load(payload)
    answers = value.get("ProcessedClientActions") or []
    if not isinstance(answers, list) or not all(isinstance(item, dict) for item in answers):
        raise HandshakeError("the processed actions are not a list of objects")
    value["ProcessedClientActions"] = answers
    return value


def parse_challenge(payload: bytes) -> bytes:
    """Return the ciphertext of an encryption challenge (payload types 8 and 9).

    Raises:
        HandshakeError: it is not one.
    """
    try:
        return base64.b64decode(_text(_load(payload).get("Challenge")), validate=True)
    except (binascii.Error, ValueError):
        raise HandshakeError("the challenge is not base64") from None


def build_challenge(ciphertext: bytes) -> bytes:
    """Build an encryption challenge, request or answer."""
    return _dump({"Challenge": base64.b64encode(ciphertext).decode()})


def parse_complete(payload: bytes) -> Complete:
    """Read a HandshakeComplete.

    Raises:
        HandshakeError: it is not one.
    """
    value = _load(payload)
    spent = value.get("HandshakeTimeToComplete")
    return Complete(
        spent if isinstance(spent, int) and not isinstance(spent, bool) else 0,
        _text(value.get("CustomerMessage")),
    )


def build_complete(complete: Complete) -> bytes:
    """Build a HandshakeComplete, as an agent does."""
    return _dump(
        {
            "HandshakeTimeToComplete": complete.nanoseconds,
            "CustomerMessage": complete.customer_message,
        }
    )


def encryption_context(session_id: str, target: str, challenge: str = "") -> dict[str, str]:
    """Return the encryption context of the session's data key (PROTOCOL 4.4).

    Args:
        session_id: as ``ecs:ExecuteCommand`` gave it.
        target: ``ecs:<cluster>_<task>_<runtimeId>``; must equal what the agent computes.
        challenge: the request's challenge, if it is to be acknowledged.
    """
    context = {"aws:ssm:SessionId": session_id, "aws:ssm:TargetId": target}
    if challenge:
        context["aws:ssm:RandomChallenge"] = challenge
    return context
