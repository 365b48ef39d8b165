"""What a running session needs of AWS: resuming, ending, keys and signatures.

Knows the calls of :class:`~ecs_exec_magic.channel.connection.SessionServices`. Never knows how the
session was started.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlsplit, urlunsplit

from ..errors import AccessDenied, EcsExecError, TargetNotFound

if TYPE_CHECKING:
    from ..channel.connection import SessionGrant
    from .api import AwsApi

__all__ = ["DATA_KEY_BYTES", "AwsSessionServices"]

DATA_KEY_BYTES = 64
"""Two AES-256 keys, one for each direction (PROTOCOL 4.4)."""


class AwsSessionServices:
    """Resuming, ending, encrypting and signing one session, with the caller's credentials.

    Args:
        api: where to ask.
        grant: the session.
    """

    def __init__(self, api: AwsApi, grant: SessionGrant) -> None:
        self._api = api
        self._session_id = grant.session_id
        self._stream_url = grant.stream_url
        self._signed: dict[str, str] | None = None

    def __repr__(self) -> str:
        return f"<AwsSessionServices of {self._session_id}>"

    async def resume(self) -> tuple[str, str]:
        """A URL and a new token to connect with again; an empty token: the session is over.

        Raises:
            AccessDenied: the caller lacks ``ssm:ResumeSession`` on the session.
        """
        try:
            answer = await self._api.call(
                "ssm", "resume_session", _about=self._session_id, SessionId=self._session_id
            )
        except TargetNotFound:
            return self._stream_url, ""
        # `cell-number` in the URL can expire: a new one replaces it (PROTOCOL 1.6).
        self._stream_url = answer.get("StreamUrl") or self._stream_url
        return self._stream_url, answer.get("TokenValue") or ""

    async def terminate(self) -> None:
        """End the session, and with it the command; one that is over already is no error.

        Raises:
            AccessDenied: the caller lacks ``ssm:TerminateSession`` on the session.
        """
        with contextlib.suppress(TargetNotFound):
            await self._api.call(
                "ssm", "terminate_session", _about=self._session_id, SessionId=self._session_id
            )

    async def generate_data_key(self, key_id: str, context: dict[str, str]) -> tuple[bytes, bytes]:
        """A data key of 64 bytes, in clear and encrypted (PROTOCOL 4.4).

        Args:
            key_id: the cluster's key, as the agent's request names it.
            context: the encryption context; the agent decrypts with the same.

        Raises:
            AccessDenied: the caller lacks ``kms:GenerateDataKey`` on the key.
        """
        try:
            answer = await self._api.call(
                "kms",
                "generate_data_key",
                _about=key_id,
                KeyId=key_id,
                NumberOfBytes=DATA_KEY_BYTES,
                EncryptionContext=context,
            )
        except AccessDenied as error:
            error.cure = (
                f"allow kms:GenerateDataKey on {key_id}, in the caller's policy and in the key's: "
                "the cluster encrypts its sessions with this key"
            )
            raise
        return answer["Plaintext"], answer["CiphertextBlob"]

    async def sign(self, url: str) -> dict[str, str]:
        """Headers of Signature Version 4 for the upgrade to a websocket (PROTOCOL 1.3).

        Empty without credentials, and for a URL that is presigned.
        """
        signed, self._signed = self._signed, None
        if signed is not None and url == self._stream_url:
            return signed
        try:
            return await self._api.in_thread(lambda: _signature(self._api, url))
        except EcsExecError:
            # AWS still takes unsigned upgrades; the refusal, if one comes, says more than this.
            return {}

    def sign_first(self) -> None:
        """Sign the first upgrade, in the thread that has started the session; best effort."""
        with contextlib.suppress(Exception):  # whatever it is, :meth:`sign` will meet it again
            self._signed = _signature(self._api, self._stream_url)


def _signature(api: AwsApi, url: str) -> dict[str, str]:
    from botocore.auth import SigV4Auth
    from botocore.awsrequest import AWSRequest

    parts = urlsplit(url)
    if any(name.lower().startswith("x-amz-") for name, _ in parse_qsl(parts.query, True)):
        return {}
    scheme = {"wss": "https", "ws": "http"}.get(parts.scheme, parts.scheme)
    credentials = api.session.get_credentials()
    if credentials is None:
        return {}
    request = AWSRequest("GET", urlunsplit(parts._replace(scheme=scheme, fragment="")))
    frozen: Any = credentials.get_frozen_credentials()
    SigV4Auth(frozen, "ssmmessages", api.region).add_auth(request)
    return {name: str(value) for name, value in request.headers.items()}
