"""What is to be forwarded: a port, of which host, and where it is to be found on this machine.

Knows the notation and what cannot be asked for. Never knows sessions.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import InvalidRequest

__all__ = ["LOOPBACK", "ForwardRequest", "read_ports"]

LOOPBACK = "127.0.0.1"

_NOTATION = (
    "PORT is a port of the container, LOCAL:PORT is that at another local port, and "
    "LOCAL:HOST:PORT one of a host that it reaches"
)
_CURE = "write 8080, 18080:8080 or 5432:db.internal:5432"


@dataclass(frozen=True, slots=True)
class ForwardRequest:
    """One port to forward.

    Attributes:
        port: of the container, or of ``host``.
        host: a host that the container reaches, as it knows it; empty for the container itself.
        local_port: on this machine; 0 for any that is free.
        bind: the local address that is listened on.
    """

    port: int
    host: str = ""
    local_port: int = 0
    bind: str = LOOPBACK

    def __post_init__(self) -> None:
        _check(self.port, "port", 1)
        _check(self.local_port, "local port", 0)
        if any(char.isspace() or not char.isprintable() for char in self.host):
            raise InvalidRequest(f"{self.host!r} is not the name or address of a host")
        if not self.bind:
            raise InvalidRequest(
                "no local address to listen on is given",
                cure=f"{LOOPBACK} serves this machine alone, 0.0.0.0 everybody who can reach it",
            )

    @property
    def destination(self) -> str:
        """What it leads to, in words."""
        return f"{self.host}:{self.port}" if self.host else f"port {self.port}"


def _check(value: int, name: str, least: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value < 65536:
        raise InvalidRequest(f"{value!r} is not a {name}", cure=f"ports are {least} to 65535")


def read_ports(text: str) -> tuple[int | None, str, int]:
    """Read ``PORT``, ``LOCAL:PORT`` or ``LOCAL:HOST:PORT``.

    Returns:
        the local port, or None where none is named, the host, and its port.

    Raises:
        ValueError: it is none of them.
    """
    local, colon, rest = text.partition(":")
    if not colon:
        return None, "", _port(text)
    host, colon, port = rest.rpartition(":")
    if not colon:
        return _port(local, 0), "", _port(port)
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        host = ""
    if not host or "[" in host or "]" in host:
        raise ValueError(f"{text!r} cannot be read: {_NOTATION}; {_CURE}")
    return _port(local, 0), host, _port(port)


def _port(text: str, least: int = 1) -> int:
    if text.isascii() and text.isdigit() and least <= int(text) < 65536:
        return int(text)
    raise ValueError(f"{text!r} is not a port: {_NOTATION}")
