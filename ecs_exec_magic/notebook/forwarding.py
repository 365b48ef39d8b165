"""``%ecs_forward``: ports of containers as ports of this machine.

Knows the line, and which forwards this notebook has. Never knows how bytes travel.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from IPython.core.magic import line_magic, magics_class, needs_local_scope, no_var_expand

from ..errors import InvalidRequest
from .keeping import Kept
from .options import ACCOUNT, TARGET, WHERE, Command, Option
from .runs import Order
from .workspace import EcsMagics

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .workspace import Workspace

__all__ = ["EcsForward", "Forwards"]


def _local_port(text: str) -> int:
    if text.isascii() and text.isdigit() and int(text) < 65536:
        return int(text)
    raise ValueError(f"{text!r} is not a port; 0 takes one that is free")


def _address(text: str) -> str:
    if not text.strip():
        raise ValueError("an address is needed, such as 127.0.0.1")
    return text


FORWARD_LINE = Command(
    "%ecs_forward",
    "[PORT | LOCAL:PORT | LOCAL:HOST:PORT]",
    "Make a port of a container a port of this machine.",
    (
        TARGET,
        Option(
            ("--local-port",), "local_port", "listen on this port; 0: any free", "N", _local_port
        ),
        Option(("--bind",), "bind", "listen on this address, not 127.0.0.1", "ADDRESS", _address),
        Option(("--stop",), "stop", "end the forwards on these local ports, or all"),
        *WHERE,
        *ACCOUNT,
    ),
    """
    PORT is one of the container, and the local port has the same number where that is free, else
    any; LOCAL:PORT has it at the local port LOCAL. LOCAL:HOST:PORT is a port of another host, as
    the container knows it. The value has .local_port, .url, .connections and .stop(); in the next
    cells, clients of any kind connect to 127.0.0.1 and that port. It is open until --stop, and
    holds one of the two sessions that the container's agent takes.

    Without a port, all forwards of this notebook are listed; they are among %ecs_jobs as well, and
    %ecs_history has what went through each. It needs the right to
    ssm:StartSession. --bind with any other address lets others on the network in.
    """,
    takes_words=True,
)


class Forwards(list[Any]):
    """Forwarded ports, shown as a table."""

    def _table(self) -> Any:
        from ..client import forward_table

        return forward_table(self)

    def __repr__(self) -> str:
        return str(self._table().text())

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        bundle: dict[str, str] = self._table().bundle()
        return bundle


@magics_class
class EcsForward(EcsMagics):
    """Forwarded ports."""

    def __init__(self, shell: Any, workspace: Workspace) -> None:
        super().__init__(shell)
        self._workspace = workspace
        self._forwards = Forwards()

    @no_var_expand
    @needs_local_scope
    @line_magic
    @FORWARD_LINE.document
    def ecs_forward(self, line: str, local_ns: Mapping[str, Any] | None = None) -> Any:
        space = self._workspace
        parsed = FORWARD_LINE.parse(line, space.expander(local_ns))
        if parsed.help:
            sys.stdout.write(FORWARD_LINE.help())
            return None
        if parsed["stop"]:
            return self._stop(parsed.words)
        if not parsed.words:
            if any(value for value in parsed.values.values()):
                raise FORWARD_LINE.error("which port is to be forwarded?")
            return Forwards(self._running())
        if len(parsed.words) > 1:
            raise FORWARD_LINE.error("one port at a time; each line forwards one")
        return self._forward(parsed.words[0], parsed.values)

    def close(self) -> None:
        """Stop every forward of this notebook."""
        forwards, self._forwards = self._forwards, Forwards()
        for forward in forwards:
            forward.stop()

    def _running(self) -> list[Any]:
        # One that has ended by itself is listed once more, with the reason.
        there = list(self._forwards)
        self._forwards = Forwards(each for each in there if each.running)
        return there

    def _forward(self, text: str, values: Mapping[str, Any]) -> Any:
        from ..client import read_ports

        space = self._workspace
        try:
            local, host, port = read_ports(text)
        except ValueError as error:
            raise FORWARD_LINE.error(str(error)) from None
        chosen = values["local_port"]
        if local is not None and chosen is not None and local != chosen:
            raise FORWARD_LINE.error(f"the local port is {local} or {chosen}, not both")
        wanted = chosen if chosen is not None else local
        how: dict[str, Any] = {"on_notice": _say}
        if values["bind"]:
            how["bind"] = values["bind"]
        order = Order(f"%ecs_forward {text}", None, values, {})
        kept = Kept(space, order, kind="forward")
        try:
            target = space.resolve(values)
            kept.found(target)
            if wanted is None:
                forward = self._same_or_any(target, port, how)
            else:
                forward = target.forward(port, host or None, wanted, **how)
        except BaseException as error:
            kept.finish(None, error)
            raise
        finally:
            for notice in kept.notices:
                _say(notice)
        self._forwards.append(forward)
        space.jobs.port(forward, kept)
        return forward

    @staticmethod
    def _same_or_any(target: Any, port: int, how: dict[str, Any]) -> Any:
        if port >= 1024:
            try:
                return target.forward(port, None, port, **how)
            except InvalidRequest as error:
                if "local port" not in error.message:
                    raise
        return target.forward(port, None, 0, **how)

    def _stop(self, words: tuple[str, ...]) -> Forwards:
        there = {str(forward.local_port): forward for forward in self._running()}
        unknown = [word for word in words if word not in there]
        if unknown:
            ports = ", ".join(there) or "none"
            raise InvalidRequest(
                f"local port {unknown[0]} is not forwarded by this notebook",
                cure=f"forwarded are: {ports}",
            )
        stopped = Forwards(there[word] for word in (words or there))
        for forward in stopped:
            forward.stop()
        self._running()
        return stopped


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()
