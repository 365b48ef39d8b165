"""Every error this package raises, in one tree.

::

    EcsExecError
    ├── InvalidRequest            what was asked cannot be asked (ValueError)
    ├── TargetNotFound            no such cluster, service, task or container (LookupError)
    ├── AmbiguousTarget           the address means more than one container (LookupError)
    ├── ExecNotEnabled            the task was started without ECS Exec
    ├── AgentNotConnected         the exec agent is not running or cannot be reached
    ├── AccessDenied              AWS refused the call (PermissionError)
    ├── CredentialsError          no credentials, or expired ones
    ├── ServiceError              AWS answered with an error that has no class of its own
    │   └── Throttled             the API's rate limit was passed
    ├── ConnectError              an endpoint, proxy or websocket is out of reach (ConnectionError)
    ├── MethodUnavailable         the chosen way of starting sessions is refused
    ├── ProtocolError             what came over the channel breaks the protocol or its own proof
    ├── SessionLost               the session ended before the command's end was seen
    │   └── WorkerLost            the worker that ran it is gone: nobody knows whether it ran
    ├── StartFailed               the agent could not start the command
    ├── CommandFailed             the command ended with a non-zero exit code
    │   └── CommandTimeout        the command was ended because its time was up (TimeoutError)
    ├── CopyFailed                a file or directory could not be copied (OSError)
    ├── FleetFailed               a command failed in some of several containers
    ├── NotBegun                  a run in several containers was ended before this one's turn
    ├── BridgeError               the chosen event-loop bridge is not safe here
    └── ProvisionError            infrastructure could not be made or removed

    Interrupted                   the user interrupted a command (KeyboardInterrupt)

Each carries ``cause`` (why it happened, in one sentence) and ``cure`` (what to do about it).
In a notebook an error shows as at most five lines and never as a traceback through this package.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .cleaning import plain
from .masking import mask

if TYPE_CHECKING:
    from .results import CommandResult

__all__ = [
    "AccessDenied",
    "AgentNotConnected",
    "AmbiguousTarget",
    "BridgeError",
    "CommandFailed",
    "CommandTimeout",
    "ConnectError",
    "CopyFailed",
    "CredentialsError",
    "EcsExecError",
    "ExecNotEnabled",
    "FleetFailed",
    "Interrupted",
    "InvalidRequest",
    "MethodUnavailable",
    "NotBegun",
    "ProtocolError",
    "ProvisionError",
    "ServiceError",
    "SessionLost",
    "StartFailed",
    "TargetNotFound",
    "Throttled",
    "WorkerLost",
]


class EcsExecError(Exception):
    """Base of all errors of this package.

    Args:
        message: what happened, in one line.
        cause: why, in one sentence; empty when the message says it all.
        cure: what the user can do about it.
        result: what a command had given before the error, if it had started: a CommandResult, or a
            FleetResult where it ran in several containers.

    Attributes:
        code: AWS's error code, as in ``ThrottlingException``, when AWS answered with one.
        request_id: the id under which CloudTrail and AWS support find the call.
    """

    cause: str = ""
    cure: str = ""
    code: str = ""
    request_id: str = ""

    def __init__(
        self,
        message: str = "",
        *,
        cause: str = "",
        cure: str = "",
        result: Any = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.cause = cause or type(self).cause
        self.cure = cure or type(self).cure
        self.result = result

    def __str__(self) -> str:
        return self.message

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), self.args, self.__dict__.copy())

    def _lines(self) -> list[str]:
        lines = [f"{type(self).__name__}: {self}"]
        if self.cause:
            lines.append(f"cause: {self.cause}")
        if self.cure:
            lines.append(f"cure:  {self.cure}")
        return lines

    def _render_traceback_(self) -> list[str]:
        """What a notebook shows instead of a traceback, at most five lines (IPython's protocol)."""
        text = "\n".join(self._lines()).split("\n")
        return text if len(text) <= 5 else [*text[:4], text[-1]]


def _rebuild(cls: type[EcsExecError], args: tuple[Any, ...], state: dict[str, Any]) -> EcsExecError:
    error = cls.__new__(cls)
    Exception.__init__(error, *args)
    error.__dict__.update(state)
    return error


class InvalidRequest(EcsExecError, ValueError):
    """What was asked cannot be asked: nothing was run."""


class TargetNotFound(EcsExecError, LookupError):
    """No such cluster, service, task or container."""


class AmbiguousTarget(EcsExecError, LookupError):
    """The address means more than one container.

    Attributes:
        choices: the addresses it could mean.
    """

    def __init__(self, message: str = "", *, choices: tuple[str, ...] = (), **rest: Any) -> None:
        super().__init__(message, **rest)
        self.choices = choices

    def _lines(self) -> list[str]:
        lines = super()._lines()
        if self.choices:
            more = f" and {len(self.choices) - 8} more" if len(self.choices) > 8 else ""
            lines.insert(1, f"choices: {', '.join(self.choices[:8])}{more}")
        return lines


class ExecNotEnabled(EcsExecError):
    """The task was started without ECS Exec.

    Attributes:
        findings: what a check has found that explains it, as ``client.check()`` gives it.
    """

    findings: tuple[Any, ...] = ()


class AgentNotConnected(EcsExecError):
    """The exec agent in the container is not running, or has no connection to AWS.

    Attributes:
        findings: what a check has found that explains it, as ``client.check()`` gives it.
    """

    findings: tuple[Any, ...] = ()


class AccessDenied(EcsExecError, PermissionError):
    """AWS refused the call."""


class CredentialsError(EcsExecError):
    """No credentials were found, or they have expired."""


class ServiceError(EcsExecError):
    """AWS answered with an error that has no class of its own."""

    def __init__(
        self, message: str = "", *, code: str = "", request_id: str = "", **rest: Any
    ) -> None:
        super().__init__(message, **rest)
        self.code = code
        self.request_id = request_id


class Throttled(ServiceError):
    """The rate limit of an AWS API was passed, and retries did not help."""


class ConnectError(EcsExecError, ConnectionError):
    """An endpoint, proxy or websocket cannot be reached."""


class MethodUnavailable(EcsExecError):
    """The chosen way of starting sessions (``method=``) is refused or lacks what was asked."""


class ProtocolError(EcsExecError):
    """What came over the channel breaks the protocol, or its own proof of completeness."""


class SessionLost(EcsExecError):
    """The session ended before the end of the command was seen: its outcome is unknown."""


class WorkerLost(SessionLost):
    """The worker of a cluster that was to run the command is gone: nobody knows whether it ran."""


class StartFailed(EcsExecError):
    """The agent could not start the command; nothing ran."""


class CommandFailed(EcsExecError):
    """The command ended with a non-zero exit code; :attr:`result` holds all of its output.

    Attributes:
        output_shown: the output stands above the error already, which then does not repeat it.
    """

    result: CommandResult
    output_shown: bool = False

    def _lines(self) -> list[str]:
        lines = super()._lines()
        # An error made by hand has no result.
        if self.output_shown or self.result is None:
            return lines
        for stream in ("stderr", "stdout"):
            capture = getattr(self.result, f"captured_{stream}")
            text = capture.last_lines(5 - len(lines), at_most=2000).decode("utf-8", "replace")
            tail = mask(plain(text)).text.strip().splitlines()
            if tail:
                tail = [line[-300:] for line in tail]
                lines[1:1] = [f"{stream}: {tail[0]}", *(" " * 8 + line for line in tail[1:])]
                break
        return lines


class CommandTimeout(CommandFailed, TimeoutError):
    """The command was ended because its time was up; :attr:`result` holds what came until then."""


class CopyFailed(EcsExecError, OSError):
    """A file or directory could not be copied; what was at the destination is as it was."""


class FleetFailed(EcsExecError):
    """A command failed in some of several containers; :attr:`result` is the whole FleetResult."""

    output_shown: bool = False


class NotBegun(EcsExecError):
    """A run in several containers was ended before this container's turn: nothing ran in it."""


class BridgeError(EcsExecError):
    """The chosen event-loop bridge is not safe in this interpreter or kernel."""


class ProvisionError(EcsExecError):
    """Infrastructure could not be made or removed.

    Attributes:
        step: of the plan, with its ``kind`` and ``name``; None where there is none.
        steps: of a plan that cannot be applied: all of them, as they were found; else empty.
    """

    def __init__(
        self, message: str = "", *, step: Any = None, steps: tuple[Any, ...] = (), **rest: Any
    ) -> None:
        super().__init__(message, **rest)
        self.step = step
        self.steps = steps


class Interrupted(KeyboardInterrupt):
    """The user interrupted a command; not an :class:`EcsExecError`, so that Run All stops.

    Attributes:
        result: what the command had given until then.
    """

    def __init__(self, message: str = "", result: Any = None) -> None:
        super().__init__(message)
        self.result = result

    def _render_traceback_(self) -> list[str]:
        return [f"Interrupted: {self}"]
