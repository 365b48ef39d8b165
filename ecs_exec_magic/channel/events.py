"""What a data channel reports to the layer above.

Knows the names of the things that can happen. Never knows how they came about.
"""

from __future__ import annotations

from dataclasses import dataclass, field

__all__ = [
    "Closed",
    "DataKeyNeeded",
    "Event",
    "ExitCode",
    "Flag",
    "HandshakeComplete",
    "Lost",
    "Output",
    "StdErr",
]


@dataclass(frozen=True, slots=True)
class Output:
    """Output of the process: of a PTY session all of it, otherwise its standard output.

    Attributes:
        data: the bytes as the agent sent them (decrypted, where the channel is encrypted).
    """

    data: bytes


@dataclass(frozen=True, slots=True)
class StdErr:
    """Standard error of the process; only in sessions with separate streams (PROTOCOL 5.2).

    Attributes:
        data: the bytes as the agent sent them.
    """

    data: bytes


@dataclass(frozen=True, slots=True)
class ExitCode:
    """The process has ended; only in sessions with separate streams (PROTOCOL 5.2).

    Attributes:
        code: its exit code; the agent says -1 for death by a signal. Output and StdErr may still
            come after it.
    """

    code: int


@dataclass(frozen=True, slots=True)
class Flag:
    """A flag from the agent, used in port sessions (PROTOCOL 2.2).

    Attributes:
        value: 1 DisconnectToPort, 2 TerminateSession, 3 ConnectToPortError.
    """

    value: int


@dataclass(frozen=True, slots=True)
class HandshakeComplete:
    """The handshake is over: from here on input may be sent (PROTOCOL 4.2).

    Attributes:
        agent_version: as the agent gave it, such as ``3.3.1611.0``.
        session_type: ``InteractiveCommands``, ``NonInteractiveCommands``, ``Port`` ...
        customer_message: a text for the user, or an empty string.
        encrypted: whether payloads are encrypted with a KMS data key.
        properties: what came along with the session type; a port session has them.
    """

    agent_version: str
    session_type: str
    customer_message: str
    encrypted: bool
    properties: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class DataKeyNeeded:
    """The agent asks for encryption: the core waits for a data key (PROTOCOL 4.4).

    Not an event but a request, found in :attr:`~.protocol.DataChannel.data_key_needed`. A
    connection answers it itself.

    Attributes:
        key_id: the KMS key, as the agent named it.
        context: the encryption context for ``kms:GenerateDataKey``.
    """

    key_id: str
    context: dict[str, str]


@dataclass(frozen=True, slots=True)
class Closed:
    """The session has ended; nothing comes after it (PROTOCOL 3.7).

    Attributes:
        output: the agent's own words, empty unless the session failed.
    """

    output: str


@dataclass(frozen=True, slots=True)
class Lost:
    """The connection is gone and could not be resumed; nothing comes after it.

    Attributes:
        reason: why, in a few words.
    """

    reason: str


Event = Output | StdErr | ExitCode | Flag | HandshakeComplete | Closed | Lost
"""Anything a channel reports."""
