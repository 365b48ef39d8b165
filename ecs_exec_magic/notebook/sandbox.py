"""``%ecs_sandbox``: a practice cluster for this notebook, as a process of its own.

Knows the command line of the practice cluster and what a notebook has to forget while it practises.
Never knows what the cluster serves.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import threading
from typing import IO, TYPE_CHECKING, Any

from IPython.core.magic import line_magic, magics_class, no_var_expand

from ..errors import ProvisionError
from .options import Command, Option
from .settings import CLIENT
from .workspace import EcsMagics

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["EcsSandbox"]

TARGET = "demo/web:nginx"
"""Where commands run in a fresh practice cluster."""

_PROGRAM = (sys.executable, "-m", "ecs_exec_magic.cli", "sandbox")
_START_LIMIT = 90.0  # seconds; an engine may have an image to make first
_STOP_LIMIT = 60.0

SANDBOX_LINE = Command(
    "%ecs_sandbox",
    "up|status|down",
    "Practise without an AWS account: start, show or end a practice cluster.",
    (
        Option(("--port",), "port", "port on 127.0.0.1; 0 takes a free one", "N"),
        Option(("--pace",), "pace", "real (as on AWS) or fast (without its waits)", "real|fast"),
        Option(("--runtime",), "runtime", "how containers are isolated; default: auto", "NAME"),
        Option(("--region",), "region", "where cluster demo is", "NAME"),
        Option(("--idle-timeout",), "idle_timeout", "end idle sessions after so long", "S"),
        Option(("--seed",), "seed", "decides where fault rates strike", "N"),
        Option(("--empty",), "empty", "begin with nothing instead of cluster demo"),
        Option(("--iam",), "iam", "let IAM policies decide who may do what"),
    ),
    """
    While it is up, this notebook and the programs it starts see nothing of your AWS account: every
    AWS_ variable, and the region, profile, endpoint and cluster of these magics, make way for those
    of the practice cluster and come back with `down`. Commands run in demo/web:nginx where no
    target was set.

    `up` joins a practice cluster that already runs at the port; `down` then leaves it running. One
    that it has started ends with `down`, with %unload_ext and with the kernel.
    """,
    takes_words=True,
)


@magics_class
class EcsSandbox(EcsMagics):
    """A practice cluster for the notebook."""

    def __init__(self, shell: Any = None, **kwargs: Any) -> None:
        super().__init__(shell, **kwargs)
        self._child: subprocess.Popen[str] | None = None
        self._there: dict[str, Any] | None = None
        self._former: dict[str, str | None] = {}
        self._settings: dict[str, Any] = {}
        self._target: str | None = None

    @no_var_expand
    @line_magic
    @SANDBOX_LINE.document
    def ecs_sandbox(self, line: str) -> None:
        parsed = SANDBOX_LINE.parse(line)
        if parsed.help:
            sys.stdout.write(SANDBOX_LINE.help())
            return
        if len(parsed.words) != 1 or parsed.words[0] not in ("up", "status", "down"):
            raise SANDBOX_LINE.error("up, status or down is expected")
        if parsed.words[0] == "up":
            self._up(_arguments(parsed.values))
            return
        given = [name for name, value in parsed.values.items() if value and name != "port"]
        if given or (parsed.words[0] == "down" and parsed["port"]):
            raise SANDBOX_LINE.error(f"{parsed.words[0]} takes no such option")
        if parsed.words[0] == "status":
            self._status(parsed["port"])
        else:
            self._down()

    def close(self) -> None:
        """End what this notebook has started, and give back what it had before."""
        if self._there is not None:
            self._leave()
        child, self._child = self._child, None
        if child is not None:
            atexit.unregister(self.close)
            _end(child)

    # -- what the words do -----------------------------------------------------------------------

    def _up(self, arguments: list[str]) -> None:
        if self._there is not None:
            if self._child is None or self._child.poll() is None:
                sys.stdout.write(f"{_where(self._there)}; %ecs_sandbox down ends practice\n")
                _say_ignored(arguments)
                return
            self.close()  # it has ended without us
        child, there, notes = _start(arguments)
        self._there = there
        if not there["attached"]:
            self._child = child
            atexit.register(self.close)
        target = self._enter(there["environment"], "--empty" not in arguments)
        end = "down leaves it running" if there["attached"] else "it ends with this kernel"
        sys.stdout.write(f"{_where(there)}; {end}\n")
        where = f"commands run in {target}" if target else "no target is set"
        sys.stdout.write(f"{where}; this notebook sees no other AWS account until down\n")
        if there["attached"]:
            _say_ignored(arguments)
        if notes:
            sys.stdout.write(f"{notes}\n")

    def _status(self, port: str | None) -> None:
        if port is None and self._there is not None:
            port = self._there["url"].rpartition(":")[2]
        done = subprocess.run(
            [*_PROGRAM, "status", *([] if port is None else ["--port", port])],
            capture_output=True,
            text=True,
            check=False,
            timeout=_STOP_LIMIT,
        )
        sys.stdout.write(done.stdout or f"{_last_line(done.stderr)}\n")

    def _down(self) -> None:
        if self._there is None:
            sys.stdout.write("this notebook has no practice cluster; %ecs_sandbox up starts one\n")
            return
        url, attached = self._there["url"], self._there["attached"]
        self.close()
        sys.stdout.write(f"{url} {'is left running' if attached else 'has ended'}\n")

    # -- what the notebook forgets ---------------------------------------------------------------

    @property
    def _magics(self) -> Any:
        assert self.shell is not None, "magics are made with their shell"
        return self.shell.magics_manager.registry.get("EcsExec")

    def _enter(self, environment: Mapping[str, str], seeded: bool) -> str:
        """Point everything at the practice cluster; returns the target that holds now."""
        # A profile of the user's could name endpoints of its own.
        files = dict.fromkeys(("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"), os.devnull)
        wanted: dict[str, str | None] = {
            name: None for name in os.environ if name.startswith("AWS_")
        }
        wanted.update(files)
        wanted.update(environment)
        self._former = {name: os.environ.get(name) for name in wanted}
        _set_environment(wanted)
        magics = self._magics
        if magics is None:
            return ""
        self._settings = {name: getattr(magics, name) for name in CLIENT}
        for name in CLIENT:
            setattr(magics, name, None)
        if seeded and not magics.target:
            magics.target = self._target = TARGET
        return str(magics.target)

    def _leave(self) -> None:
        there, self._there = self._there, None
        assert there is not None
        # What has been set since then, in a cell or by %ecs_target, belongs to the user.
        ours = {**there["environment"]}
        former = {
            name: value
            for name, value in self._former.items()
            if os.environ.get(name) in (None, os.devnull, ours.get(name))
        }
        _set_environment(former)
        self._former = {}
        magics = self._magics
        if magics is not None:
            for name, value in self._settings.items():
                if getattr(magics, name) is None:
                    setattr(magics, name, value)
            if self._target is not None and magics.target == self._target:
                magics.target = ""
        self._settings, self._target = {}, None


def _set_environment(values: Mapping[str, str | None]) -> None:
    for name, value in values.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


def _arguments(values: Mapping[str, Any]) -> list[str]:
    arguments = []
    for option in SANDBOX_LINE.options:
        value = values[option.dest]
        if value:
            arguments += [option.name, value] if option.metavar else [option.name]
    return arguments


def _say_ignored(arguments: list[str]) -> None:
    """Options do not change a cluster that is up already; the user should not believe so."""
    given = [each for each in arguments if each.startswith("--") and each != "--port"]
    if given:
        sys.stdout.write(f"it was up already, so these change nothing: {', '.join(given)}\n")


def _where(there: Mapping[str, Any]) -> str:
    about = f"isolation: {there['runtime']}, process {there['pid']}"
    return f"a practice cluster is up at {there['url']} ({about})"


def _start(arguments: list[str]) -> tuple[subprocess.Popen[str], dict[str, Any], str]:
    """Start the cluster and wait until it is ready.

    Returns:
        Its process, what it tells of itself, and what it warns of.

    Raises:
        ProvisionError: it did not start.
    """
    with tempfile.TemporaryFile("w+") as complaints:
        # A session of its own: an interrupt of the kernel is meant for a cell. It ends when its
        # stdin does, even where the kernel is killed.
        child = subprocess.Popen(
            [*_PROGRAM, "up", "--json", "--attach", "--until-eof", *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=complaints,
            text=True,
            start_new_session=True,
        )
        try:
            line = _first_line(child)
        except BaseException:
            _end(child)
            raise
        said = _said(complaints)
        try:
            there: dict[str, Any] = json.loads(line)
        except ValueError:
            _end(child)
            reason = _last_line(_said(complaints)) or f"it was not ready in {_START_LIMIT:.0f} s"
            raise ProvisionError(
                f"the practice cluster did not start: {reason}",
                cure="%ecs_sandbox? lists the options",
            ) from None
        if there["attached"]:
            _end(child)
        return child, there, said.strip()


def _first_line(child: subprocess.Popen[str]) -> str:
    watchdog = threading.Timer(_START_LIMIT, child.kill)
    watchdog.daemon = True
    watchdog.start()
    try:
        assert child.stdout is not None
        return child.stdout.readline()
    finally:
        watchdog.cancel()


def _end(child: subprocess.Popen[str]) -> None:
    """End a cluster: it tidies up when its stdin closes."""
    with child:
        if child.stdin is not None:
            with contextlib.suppress(OSError):
                child.stdin.close()
        try:
            child.wait(_STOP_LIMIT)
        except subprocess.TimeoutExpired:
            child.kill()


def _said(complaints: IO[str]) -> str:
    complaints.seek(0)
    return complaints.read()


def _last_line(text: str) -> str:
    """The one line of an error, without the program's name."""
    lines = text.strip().splitlines()
    line = lines[-1] if lines else ""
    for start in ("ecs-exec-magic sandbox: ", "ecs-exec-magic sandbox up: error: "):
        line = line.removeprefix(start)
    return line
