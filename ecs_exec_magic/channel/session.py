"""What a connection is given: the session it belongs to, AWS's services, and settings.

Knows only shapes. Never knows how they are filled (with boto3, elsewhere).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from .dialing import without_query

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["ConnectionOptions", "SessionGrant", "SessionServices"]


class SessionServices(Protocol):
    """What a connection needs of AWS in the course of one session."""

    async def resume(self) -> tuple[str, str]:
        """Call ``ssm:ResumeSession``; return stream URL and token (PROTOCOL 1.6).

        An empty token says that the session is over; an empty URL that the old one still holds.
        """
        ...

    async def terminate(self) -> None:
        """Call ``ssm:TerminateSession``."""
        ...

    async def generate_data_key(self, key_id: str, context: dict[str, str]) -> tuple[bytes, bytes]:
        """Call ``kms:GenerateDataKey`` for 64 bytes; return plaintext and ciphertext blob."""
        ...

    async def sign(self, url: str) -> dict[str, str]:
        """Return the SigV4 headers for the upgrade request, none where there are no credentials."""
        ...


@dataclass(frozen=True, slots=True)
class SessionGrant:
    """A session that AWS has started for us.

    Attributes:
        session_id: names it.
        stream_url: the websocket's URL, used as it is; its query may hold a signature.
        token: opens it; a secret.
        target: ``ecs:<cluster>_<task>_<runtimeId>``, part of the KMS context (PROTOCOL 4.4).
    """

    session_id: str
    stream_url: str = field(repr=False)
    token: str = field(repr=False)
    target: str = ""

    def __repr__(self) -> str:
        url = without_query(self.stream_url)
        return f"SessionGrant({self.session_id!r}, {url!r}, target={self.target!r})"


@dataclass(frozen=True, slots=True)
class ConnectionOptions:
    """Settings of a connection; all times in seconds, all sizes in bytes.

    Attributes:
        ca_bundle: file or directory of certificates to trust in place of the system's.
        verify: whether certificates are checked.
        proxies: proxy URLs by ``https``, ``http``, ``all``, and hosts to spare under ``no``; None
            takes those of the environment.
        ping_interval: between two websocket pings (PROTOCOL 1.5).
        dead_after: how long after a ping without any frame the far end counts as gone.
        open_timeout: for connecting and upgrading.
        open_attempts: how often the first connection is tried when the server is overloaded.
        resume_attempts: how often in a row resuming is tried (PROTOCOL 1.6).
        resume_delay: before the second try; doubled with each, up to five seconds.
        data_key_timeout: for KMS; the agent waits 15 seconds in all.
        terminate_timeout: for ``ssm:TerminateSession``.
        window: how much input may be unacknowledged before :meth:`~.connection.Connection.send`
            waits.
        max_queued: how much output may wait to be received before reading stops.
    """

    ca_bundle: str | None = None
    verify: bool = True
    proxies: Mapping[str, str] | None = field(default=None, repr=False)
    ping_interval: float = 30.0
    dead_after: float = 20.0
    open_timeout: float = 45.0
    open_attempts: int = 3
    resume_attempts: int = 6
    resume_delay: float = 0.1
    data_key_timeout: float = 13.0
    terminate_timeout: float = 10.0
    window: int = 64 * 1024
    max_queued: int = 4 * 1024 * 1024
