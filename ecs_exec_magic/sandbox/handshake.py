"""The agent's side of the handshake, with and without KMS (PROTOCOL 4).

Knows the order of the messages and what fails it. Never knows frames, acknowledgements or
processes.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import secrets
import string
import time
from typing import TYPE_CHECKING, Any

from ..channel.encryption import DATA_KEY_BYTES, DecryptionError, SessionCipher
from ..channel.frames import PayloadType
from ..waiting import wait_for
from .api import ApiError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

__all__ = ["AGENT_VERSION", "HandshakeFailed", "multiplexes", "perform"]

AGENT_VERSION = "3.3.987.0"

_OLD_CLIENT = (
    "Please update session manager plugin version (minimum required version 1.2.312.0) "
    "for fully support of separate StdOut/StdErr output.\r\n"
)
_ENCRYPTED = "This session is encrypted using AWS KMS."


class HandshakeFailed(Exception):
    """The handshake failed; the message is what the agent reports."""


def multiplexes(agent_version: str, client_version: object) -> bool:
    """Whether a port session carries many connections: both ends must be new enough (7.1)."""
    old = _version(agent_version) <= (3, 0, 196, 0)
    return not old and _version(client_version) >= (1, 1, 70)


def keeps_alive(agent_version: str, client_version: object) -> bool:
    """Whether either end is too old to know that smux's own signs of life are left out (7.1)."""
    old = _version(agent_version) <= (3, 1, 1511, 0)
    return old or _version(client_version) <= (1, 2, 331, 0)


def _version(text: object) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in str(text).split("."))
    except ValueError:
        return (0,)


async def perform(
    *,
    send: Callable[[int, bytes], Awaitable[None]],
    receive: Callable[[], Awaitable[dict[str, Any]]],
    kind: str,
    separate: bool,
    key_id: str | None,
    context: dict[str, str],
    decrypt: Callable[[bytes, dict[str, str]], Awaitable[bytes]],
    limit: float,
    properties: dict[str, str] | None = None,
    agent_version: str = AGENT_VERSION,
) -> tuple[SessionCipher | None, dict[str, Any]]:
    """Run the handshake.

    Args:
        send: sends one message of a payload type.
        receive: waits for the next handshake answer of the client, without a limit.
        kind: the session type.
        separate: whether both output streams are kept apart.
        key_id: the KMS key, or None for a handshake without encryption.
        context: the encryption context of the data key, but for the challenge.
        decrypt: has KMS open a data key in a context; raises ApiError.
        limit: seconds to wait for each answer.
        properties: of the session type; a port session has them.
        agent_version: what the agent says it is.

    Returns:
        The cipher, if there is a key, and the client's HandshakeResponse.

    Raises:
        HandshakeFailed: the client is too late, refuses, or cannot prove its key.
    """
    started = time.monotonic_ns()
    letters = string.ascii_letters + string.digits
    challenge = "".join(secrets.choice(letters) for _ in range(16))
    challenge = base64.b64encode(challenge.encode()).decode()
    actions: list[dict[str, Any]] = [
        {
            "ActionType": "SessionType",
            "ActionParameters": {"SessionType": kind, "Properties": properties},
        }
    ]
    if key_id:
        actions.append(
            {
                "ActionType": "KMSEncryption",
                "ActionParameters": {"KMSKeyId": key_id, "Challenge": challenge},
            }
        )
    request = {"AgentVersion": agent_version, "RequestedClientActions": actions}
    await send(PayloadType.HANDSHAKE_REQUEST, _json(request))
    try:
        response = await wait_for(receive(), limit)
    except asyncio.TimeoutError:
        raise HandshakeFailed(
            "Handshake timed out. Please ensure that you have the latest version of the session "
            "manager plugin."
        ) from None
    results = _results(response)
    cipher = None
    message = ""
    if key_id:
        cipher = await _data_key(results.get("KMSEncryption"), challenge, context, decrypt)
        await _prove(send, receive, cipher, limit)
        message = _ENCRYPTED
    if separate and _version(response.get("ClientVersion")) <= (1, 2, 295, 0):
        message = _OLD_CLIENT + message
    elapsed = time.monotonic_ns() - started
    complete = {"HandshakeTimeToComplete": elapsed, "CustomerMessage": message}
    await send(PayloadType.HANDSHAKE_COMPLETE, _json(complete))
    return cipher, response


def _results(response: dict[str, Any]) -> dict[str, Any]:
    results = {}
    for action in response.get("ProcessedClientActions") or []:
        name, status = action.get("ActionType"), action.get("ActionStatus")
        if status != 1:
            raise HandshakeFailed(
                f"{name} failed on client with status {status} error: {action.get('Error', '')}"
            )
        results[name] = action.get("ActionResult")
    return results


async def _data_key(
    result: Any,
    challenge: str,
    context: dict[str, str],
    decrypt: Callable[[bytes, dict[str, str]], Awaitable[bytes]],
) -> SessionCipher:
    if not isinstance(result, dict):
        raise HandshakeFailed("KMSEncryption failed on client with status 0 error: ")
    if result.get("ChallengeAcknowledgement"):
        context = {**context, "aws:ssm:RandomChallenge": challenge}
    try:
        blob = base64.b64decode(result.get("KMSCipherTextKey") or "", validate=True)
        plaintext = await decrypt(blob, context)
    except ApiError as error:
        raise HandshakeFailed(
            "Fetching data key failed: Unable to retrieve data key, Error when decrypting data "
            f"key {error.code}: {error.message}"
        ) from None
    except ValueError:
        raise HandshakeFailed("Fetching data key failed: illegal base64 data") from None
    if len(plaintext) != DATA_KEY_BYTES:
        raise HandshakeFailed("Fetching data key failed: the data key has a wrong length")
    return SessionCipher(plaintext, agent=True)


async def _prove(
    send: Callable[[int, bytes], Awaitable[None]],
    receive: Callable[[], Awaitable[dict[str, Any]]],
    cipher: SessionCipher,
    limit: float,
) -> None:
    secret = os.urandom(64)
    sealed = base64.b64encode(cipher.encrypt(secret)).decode()
    await send(PayloadType.ENC_CHALLENGE_REQUEST, _json({"Challenge": sealed}))
    try:
        answer = await wait_for(receive(), limit)
    except asyncio.TimeoutError:
        raise HandshakeFailed("Timed out waiting for encryption challenge.") from None
    try:
        returned = cipher.decrypt(base64.b64decode(answer.get("Challenge") or ""))
    except (DecryptionError, ValueError):
        raise HandshakeFailed("Could not decrypt the encryption challenge.") from None
    if returned != secret:
        raise HandshakeFailed("Encryption challenge does not match!")


def _json(message: dict[str, Any]) -> bytes:
    return json.dumps(message, separators=(",", ":")).encode()
