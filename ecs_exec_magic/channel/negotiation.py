"""The client's part in a handshake, and the encryption that comes of it (PROTOCOL 4).

Knows which answer follows which message, and what must not be sent or taken in the clear. Never
knows frames, sequence numbers or KMS itself.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from . import handshake
from .encryption import DATA_KEY_BYTES, DecryptionError, SessionCipher
from .events import DataKeyNeeded, HandshakeComplete
from .handshake import HandshakeError

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Negotiation", "SecurityError"]

_SESSION_TYPES = frozenset(
    {"Standard_Stream", "InteractiveCommands", "NonInteractiveCommands", "Port"}
)


class SecurityError(ValueError):
    """The session cannot go on without giving up the encryption that was asked for."""


class Negotiation:
    """One session's handshake.

    Methods that take a message from the agent raise HandshakeError when it is to be dropped, and
    SecurityError when the session must end.

    Args:
        session_id: as AWS gave it.
        target: the TargetId of the encryption context.
        client_version: reported to the agent.
        new_nonce: gives the 12 bytes of the next nonce; None for random ones.

    Attributes:
        started: whether the agent has begun a handshake.
        finished: whether there is nothing more to negotiate.
        encrypted: whether payloads are encrypted.
        plain: whether payloads neither are nor should be encrypted.
        data_key_needed: set while the agent waits for a data key.
    """

    def __init__(
        self,
        session_id: str,
        target: str,
        client_version: str,
        new_nonce: Callable[[], bytes] | None = None,
    ) -> None:
        self.started = False
        self.finished = False
        self.data_key_needed: DataKeyNeeded | None = None
        self._session_id = session_id
        self._target = target
        self._version = client_version
        self._new_nonce = new_nonce or _random_nonce
        self._cipher: SessionCipher | None = None
        self._must_encrypt = False
        self._agent_version = ""
        self._session_type = ""
        self._properties: dict[str, str] = {}
        self._answers: list[dict[str, Any]] = []

    @property
    def encrypted(self) -> bool:
        return self._cipher is not None

    @property
    def plain(self) -> bool:
        return self._cipher is None and not self._must_encrypt

    def skip(self) -> None:
        """The first message was no handshake: there will be none (PROTOCOL 4.1)."""
        self.finished = True

    def take_request(self, payload: bytes) -> bytes | None:
        """Take a HandshakeRequest; return the response, or None while a data key is needed."""
        request = handshake.parse_request(payload)
        if self.finished or self.started:
            # A second one could only take away the encryption that the first has asked for.
            raise HandshakeError("a second handshake")
        self.started = True
        self._agent_version = request.agent_version
        for action in request.actions:
            if action.kind == handshake.SESSION_TYPE:
                self._answers.append(self._take_session_type(action))
            elif action.kind == handshake.KMS_ENCRYPTION:
                self._ask_for_key(action)
            else:
                self._answers.append(handshake.unsupported(action.kind))
        return self._respond() if self.data_key_needed is None else None

    def _take_session_type(self, action: handshake.Action) -> dict[str, Any]:
        self._session_type = action.text("SessionType")
        if self._session_type not in _SESSION_TYPES:
            return handshake.failed(action.kind, f"Unknown session type {self._session_type}")
        properties = action.parameters.get("Properties")
        if isinstance(properties, dict):
            self._properties = {
                key: value for key, value in properties.items() if isinstance(value, str)
            }
        return handshake.session_type_done()

    def _ask_for_key(self, action: handshake.Action) -> None:
        self._must_encrypt = True
        context = handshake.encryption_context(
            self._session_id, self._target, action.text("Challenge")
        )
        self.data_key_needed = DataKeyNeeded(action.text("KMSKeyId"), context)

    def provide_data_key(self, plaintext: bytes, ciphertext: bytes) -> bytes | None:
        """Go on with a data key; return the response, or None if nobody waits for it."""
        needed = self.data_key_needed
        if needed is None:
            return None
        if len(plaintext) != DATA_KEY_BYTES:
            return self.refuse_data_key(f"KMS gave a data key of {len(plaintext)} bytes")
        self._cipher = SessionCipher(plaintext)
        challenged = "aws:ssm:RandomChallenge" in needed.context
        self._answers.append(handshake.kms_done(ciphertext, acknowledge_challenge=challenged))
        return self._respond()

    def refuse_data_key(self, text: str) -> bytes | None:
        """No data key could be had; return the response that says why."""
        if self.data_key_needed is None:
            return None
        self._answers.append(handshake.failed(handshake.KMS_ENCRYPTION, text))
        return self._respond([text])

    def _respond(self, errors: list[str] | None = None) -> bytes:
        self.data_key_needed = None
        return handshake.build_response(self._answers, errors or [], self._version)

    def take_challenge(self, payload: bytes) -> bytes:
        """Take an encryption challenge; return its answer."""
        ciphertext = handshake.parse_challenge(payload)
        if self._cipher is None or self.finished:
            raise HandshakeError("an encryption challenge out of turn")
        try:
            plaintext = self._cipher.decrypt(ciphertext)
        except DecryptionError:
            raise SecurityError(
                "the agent's encryption challenge does not fit this session's key"
            ) from None
        return handshake.build_challenge(self.encrypt(plaintext))

    def take_complete(self, payload: bytes) -> HandshakeComplete:
        """Take a HandshakeComplete; return what it comes to."""
        complete = handshake.parse_complete(payload)
        if self.finished:
            raise HandshakeError("a second end of the handshake")
        if self._must_encrypt and self._cipher is None:
            raise SecurityError("the handshake ended without the encryption it had asked for")
        self.finished = True
        return HandshakeComplete(
            self._agent_version,
            self._session_type,
            complete.customer_message,
            self.encrypted,
            self._properties,
        )

    def encrypt(self, payload: bytes) -> bytes:
        """Return a payload of user data as it is to be sent."""
        if self._cipher is None:
            return payload
        return self._cipher.encrypt(payload, self._new_nonce())

    def decrypt(self, payload: bytes) -> bytes:
        """Return a payload of user data as it was before it was sent."""
        if self._cipher is None:
            if self._must_encrypt:
                raise SecurityError(
                    "output came before the encryption that was asked for had begun"
                )
            return payload
        try:
            return self._cipher.decrypt(payload)
        except DecryptionError:
            raise SecurityError(
                "what came could not be decrypted with this session's key"
            ) from None


def _random_nonce() -> bytes:
    return os.urandom(12)
