"""The magics: parse, show, store, raise.

Knows IPython and the names of the Python API. Never knows sockets, frames or AWS calls.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

from IPython.core.magic import (
    Magics,
    cell_magic,
    line_magic,
    magics_class,
    needs_local_scope,
    no_var_expand,
)
from IPython.utils.text import DollarFormatter
from traitlets import Bool, Enum, Float, TraitError, Unicode, observe, validate

from ..address import parse_address
from ..errors import CommandFailed, InvalidRequest
from .choice import Choice
from .display import Screen
from .options import ACCOUNT, RUN, WHERE, Command, Option, Parsed

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ..results import CommandResult

__all__ = ["EcsExec"]

_SHELL = Option(("--shell",), "shell", "the program that runs the script", "PATH")

TARGET_LINE = Command(
    "%ecs_target",
    "[ADDRESS]",
    "Set, show or clear the container that this notebook's commands run in.",
    (
        *WHERE,
        *ACCOUNT,
        Option(("--check",), "check", "run `true` there, to see that commands work"),
        Option(("--clear",), "clear", "forget the target"),
    ),
    """
    ADDRESS is [CLUSTER/]NAME[:CONTAINER], where NAME is a service, task id, family or ARN. The
    container is looked up at once and stays the same until the target is set again; it is
    returned, so that `t = %ecs_target` gives Python a Target.

    --region, --profile, --endpoint-url, and --cluster without a name hold for all that follows.
    """,
    takes_words=True,
)

_RUN_DETAILS = """
    Without -t the command runs in the container that %ecs_target has set. --container alone means
    another container of the same task. Option values may hold {name} of the notebook.

    A non-zero exit code raises CommandFailed; its .result, and -o NAME, hold all of the output.
    NAME is None until the command has ended, however it ends.
"""

EXEC_LINE = Command(
    "%ecs_exec",
    "[--] COMMAND",
    "Run a command in a container and return its CommandResult.",
    (*RUN, *WHERE, *ACCOUNT),
    f"""{_RUN_DETAILS}
    COMMAND begins at the first word that is no option, or behind --. It goes to the shell at the
    far end as it stands: quotes, $name and {{name}} are not touched. IPython itself takes a line
    that ends in `word?` for a question about `word`: write such a command with %%ecs_shell. A `;`
    at the end of the line hides the returned result, as in Python.
    """,
)

SHELL_CELL = Command(
    "%%ecs_shell",
    "",
    "Run the cell as a script in a container and return its CommandResult.",
    (*RUN, _SHELL, *WHERE, *ACCOUNT),
    f"""{_RUN_DETAILS}
    The script goes to the far end as it stands. Its exit code is that of its last command; begin
    it with `set -e` to stop at the first that fails.
    """,
)


@magics_class
class EcsExec(Magics):
    """Run commands in Amazon ECS containers."""

    region = Unicode(None, allow_none=True, help="AWS region; None: as AWS is configured.").tag(
        config=True
    )
    profile = Unicode(None, allow_none=True, help="Profile of the AWS configuration.").tag(
        config=True
    )
    endpoint_url = Unicode(None, allow_none=True, help="Serve all AWS calls here.").tag(config=True)
    cluster = Unicode(
        None, allow_none=True, help="Cluster of addresses that name none; None: the account's."
    ).tag(config=True)
    target = Unicode("", help="Container to run in: [CLUSTER/]NAME[:CONTAINER].").tag(config=True)
    timeout = Float(None, allow_none=True, help="End commands after so many seconds.").tag(
        config=True
    )
    raise_on_error = Bool(True, help="Raise CommandFailed when an exit code is not 0.").tag(
        config=True
    )
    bridge = Enum(
        ("thread", "nest"),
        "thread",
        help="Run on a loop of our own in a thread, or nested on the notebook's own loop.",
    ).tag(config=True)
    method = Enum(
        ("execute-command", "start-session"),
        "execute-command",
        help="The AWS API that starts sessions.",
    ).tag(config=True)

    def __init__(self, shell: Any = None, **kwargs: Any) -> None:
        self._clients: dict[tuple[Any, ...], Any] = {}
        self._choice = Choice()
        self._pinned: tuple[tuple[Any, ...], Any] | None = None
        super().__init__(shell, **kwargs)
        self._choice = Choice(self.target or None)

    @validate("target")
    def _valid_target(self, proposal: Mapping[str, Any]) -> str:
        text: str = proposal["value"].strip()
        if text:
            try:
                parse_address(text)
            except InvalidRequest as error:
                raise TraitError(f"{error}; {error.cure}") from None
        return text

    @validate("timeout")
    def _valid_timeout(self, proposal: Mapping[str, Any]) -> float | None:
        seconds: float | None = proposal["value"]
        if seconds is not None and not 0 < seconds < float("inf"):
            raise TraitError(f"{seconds} is not a number of seconds")
        return seconds

    @observe("target")
    def _target_set(self, change: Mapping[str, Any]) -> None:
        self._choice = Choice(change["new"] or None)
        self._pinned = None

    def close(self) -> None:
        """Let go of clients and targets; the magics stay usable."""
        clients, self._clients, self._pinned = self._clients, {}, None
        for client in clients.values():
            close = getattr(client, "close", None)
            if close is not None:
                close()

    # -- magics ----------------------------------------------------------------------------------

    @no_var_expand
    @needs_local_scope
    @line_magic
    @TARGET_LINE.document
    def ecs_target(self, line: str, local_ns: Mapping[str, Any] | None = None) -> Any:
        parsed = TARGET_LINE.parse(line, self._expander(local_ns))
        if parsed.help:
            sys.stdout.write(TARGET_LINE.help())
            return None
        if len(parsed.words) > 1:
            raise TARGET_LINE.error(f"one address is enough; there are {len(parsed.words)}")
        values = {**parsed.values, "target": parsed.words[0] if parsed.words else None}
        asked = Choice.from_options(values)
        settings = {name: parsed[name] for name in _SETTINGS if parsed[name]}
        if asked:
            settings.pop("cluster", None)  # it belongs to this target only
        if parsed["clear"]:
            if asked or settings or asked.container or parsed["check"]:
                raise TARGET_LINE.error("--clear stands alone")
            self.target = ""
            return None
        if asked.container and not (asked or self._choice):
            raise InvalidRequest(
                "--container alone needs a target that is set",
                cure="name it too, as in %ecs_target prod/web:nginx",
            )
        names_one = bool(asked or asked.container)
        wanted = self._choice.overridden(values) if names_one else self._choice
        key = self._settings(settings)
        if wanted and (names_one or settings or parsed["check"]):
            # Looked up before anything is changed: a slip of the pen leaves all as it was.
            target = self._find(wanted, key)
            if note := getattr(target, "note", ""):
                sys.stdout.write(f"{note}\n")
            if parsed["check"]:
                target.run("true", check=True, timeout=self.timeout, method=self.method)
            only_address = not any(wanted.words().values())
            self.target = str(wanted) if only_address else target.address
            self._choice, self._pinned = wanted, (key, target)
        for name, value in settings.items():
            setattr(self, name, value)
        if wanted:
            return self._resolve({})
        if not settings:
            sys.stdout.write("no target is set; %ecs_target CLUSTER/SERVICE:CONTAINER sets one\n")
        return None

    @no_var_expand
    @needs_local_scope
    @line_magic
    @EXEC_LINE.document
    def ecs_exec(
        self, line: str, local_ns: Mapping[str, Any] | None = None
    ) -> CommandResult | None:
        parsed = EXEC_LINE.parse(line, self._expander(local_ns))
        if parsed.help:
            sys.stdout.write(EXEC_LINE.help())
            return None
        command = parsed.rest
        if not command.strip():
            raise EXEC_LINE.error("no command is given; %ecs_exec? explains")
        result = self._run(
            EXEC_LINE, parsed, local_ns, lambda target, how: target.run(command, **how)
        )
        # IPython's own output_can_be_silenced reads the line as Python when the command is done:
        # an open bracket loses the result, and `find -exec ... \;` counts as silenced.
        silenced = command.rstrip().endswith(";") and not command.rstrip().endswith("\\;")
        return None if silenced else result

    @no_var_expand
    @needs_local_scope
    @cell_magic
    @SHELL_CELL.document
    def ecs_shell(
        self, line: str, cell: str, local_ns: Mapping[str, Any] | None = None
    ) -> CommandResult | None:
        parsed = SHELL_CELL.parse(line, self._expander(local_ns))
        if parsed.help:
            sys.stdout.write(SHELL_CELL.help())
            return None
        if parsed.rest.strip():
            raise SHELL_CELL.error(f"the script begins below this line, not with {parsed.rest!r}")
        if not cell.strip():
            raise SHELL_CELL.error("the cell is empty")
        shell = parsed["shell"] or "/bin/sh"
        return self._run(
            SHELL_CELL,
            parsed,
            local_ns,
            lambda target, how: target.script(cell, shell=shell, **how),
        )

    # -- running ---------------------------------------------------------------------------------

    def _run(
        self,
        line: Command,
        parsed: Parsed,
        local_ns: Mapping[str, Any] | None,
        start: Callable[[Any, dict[str, Any]], CommandResult],
    ) -> CommandResult:
        names = {kind: parsed[kind] for kind in ("out", "stdout", "stderr") if parsed[kind]}
        if len(set(names.values())) < len(names):
            raise line.error("one variable cannot hold two things: -o, --stdout, --stderr differ")
        stdin = self._stdin(line, parsed["stdin"], local_ns)
        raises = self.raise_on_error and not parsed["no_raise"]
        self._bind(names, None)
        screen = None if parsed["quiet"] else Screen()
        result: CommandResult | None = None
        try:
            result = start(
                self._resolve(parsed.values),
                {
                    "stdin": stdin,
                    "timeout": parsed["timeout"] or self.timeout,
                    "check": False,
                    "method": self.method,
                    "on_output": screen and screen.output,
                    "on_notice": screen and screen.notice,
                },
            )
        except BaseException as error:
            result = getattr(error, "result", None)
            if raises or result is None or not isinstance(error, CommandFailed):
                raise
        finally:
            try:
                if screen is not None:
                    screen.close()
            finally:
                self._bind(names, result)
        return result.check() if raises else result

    def _bind(self, names: Mapping[str, str], result: CommandResult | None) -> None:
        for kind, name in names.items():
            # "out" is the result, the others its texts.
            value = result if kind == "out" or result is None else getattr(result, kind)
            self._variables[name] = value

    def _stdin(self, line: Command, name: str | None, local_ns: Mapping[str, Any] | None) -> Any:
        if name is None:
            return None
        for namespace in (local_ns or {}, self._variables):
            if name in namespace:
                value = namespace[name]
                break
        else:
            raise line.error(f"--stdin: there is no variable {name!r}")
        if isinstance(value, os.PathLike) or hasattr(value, "read") or hasattr(value, "__iter__"):
            return value
        kind = type(value).__name__
        raise line.error(f"--stdin: {name} is {kind}, not str, bytes, a path, a file or iterable")

    @property
    def _variables(self) -> dict[str, Any]:
        assert self.shell is not None, "magics are made with their shell"
        variables: dict[str, Any] = self.shell.user_ns
        return variables

    def _expander(self, local_ns: Mapping[str, Any] | None) -> Callable[[str], str]:
        """IPython's ``var_expand``, but without this package's variables, and loud on failure."""

        def expand(text: str) -> str:
            names = {**self._variables, **(local_ns or {})}
            return DollarFormatter().vformat(text, (), names)

        return expand

    # -- where to run ----------------------------------------------------------------------------

    def _settings(self, values: Mapping[str, Any]) -> tuple[Any, ...]:
        """What makes one client differ from another."""
        given = tuple(values.get(name) or getattr(self, name) for name in _SETTINGS)
        # New keys in the environment mean a new client: pasting them into a cell is how people
        # go on when the old ones have expired. Only a hash is kept.
        environment = hash(tuple(sorted(kv for kv in os.environ.items() if kv[0][:4] == "AWS_")))
        return (*given, self.bridge, environment)

    def _client(self, key: tuple[Any, ...]) -> Any:
        if key not in self._clients:
            import ecs_exec_magic

            region, profile, endpoint_url, cluster, bridge, _ = key
            self._clients[key] = ecs_exec_magic.connect(
                region=region,
                profile=profile,
                endpoint_url=endpoint_url,
                cluster=cluster,
                bridge=bridge,
            )
        return self._clients[key]

    def _resolve(self, values: Mapping[str, Any]) -> Any:
        """The container that a line with these options runs in."""
        choice = self._choice.overridden(values)
        # With a name of its own the line's cluster is part of the choice, not of the client.
        key = self._settings({**values, "cluster": None})
        is_default = choice == self._choice and key == self._settings({})
        if is_default and self._pinned is not None and self._pinned[0] == key:
            return self._pinned[1]
        target = self._find(choice, key)
        if is_default:
            self._pinned = key, target
        return target

    def _find(self, choice: Choice, key: tuple[Any, ...]) -> Any:
        if not choice:
            raise InvalidRequest(
                "no target is set",
                cure="%ecs_target CLUSTER/SERVICE:CONTAINER sets one; -t names one for one line",
            )
        return self._client(key).target(choice.address, **choice.words())


_SETTINGS = ("region", "profile", "endpoint_url", "cluster")
