"""``ecs-exec-magic sandbox``: the practice cluster from a command line.

Knows its options and what it prints. Never knows what a cluster serves.
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import json
import os
import queue
import re
import signal
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

from . import registry
from .environment import SHELLS, exports
from .faults import explanations
from .pace import PACES
from .running import Sandbox, start
from .runtimes import SandboxUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["PORT", "RUNTIMES", "add_arguments", "run"]

PORT = 4670
"""Where a practice cluster is found when nobody says otherwise."""

RUNTIMES = ("auto", "docker", "podman", "bwrap", "unshare", "process")

_REGION = re.compile(r"[a-z]{2}(-[a-z]+)+-[0-9]")
_STOP_LIMIT = 60.0  # seconds
_ENDINGS = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the ``sandbox`` sub-commands and their options."""
    commands = parser.add_subparsers(dest="sandbox_command", required=True, metavar="COMMAND")
    _add_up(commands.add_parser("up", help="start a practice cluster and print its environment"))
    status = commands.add_parser("status", help="tell what runs")
    down = commands.add_parser("down", help="end a practice cluster")
    env = commands.add_parser(
        "env", help='print the environment: eval "$(ecs-exec-magic sandbox env)"'
    )
    env.add_argument("--shell", choices=SHELLS, default="bash", help="whose words to use")
    env.add_argument(
        "--proxy",
        action="store_true",
        help="lead programs there, too, that do not know AWS_ENDPOINT_URL",
    )
    fault = commands.add_parser("fault", help="break something on purpose")
    fault.add_argument("name", nargs="?", metavar="NAME", help="what; --list tells all there are")
    fault.add_argument("value", nargs="?", metavar="VALUE", default="", help="how much of it")
    fault.add_argument("--clear", action="store_true", help="mend NAME, or everything")
    fault.add_argument("--list", action="store_true", help="explain every fault")
    for each in (status, down, env, fault):
        each.add_argument("--port", type=_port, help="of the cluster, where there are several")
        each.add_argument("--json", action="store_true", help="print one line of JSON instead")


def _add_up(up: argparse.ArgumentParser) -> None:
    up.add_argument(
        "--port",
        type=_port,
        default=PORT,
        help=f"port on 127.0.0.1 (default: {PORT}; 0: a free one)",
    )
    up.add_argument(
        "--pace",
        choices=tuple(PACES),
        default="real",
        help="real keeps the waits of the agent and of AWS, fast leaves them out",
    )
    up.add_argument(
        "--runtime", choices=RUNTIMES, default="auto", help="how containers are isolated"
    )
    content = up.add_mutually_exclusive_group()
    content.add_argument(
        "--seed-cluster",
        dest="seed_cluster",
        action="store_true",
        default=True,
        help="begin with cluster demo (default)",
    )
    content.add_argument(
        "--empty", dest="seed_cluster", action="store_false", help="begin with nothing"
    )
    up.add_argument("--iam", action="store_true", help="let IAM policies decide who may do what")
    up.add_argument(
        "--idle-timeout",
        type=_seconds,
        default=1200.0,
        metavar="S",
        help="end a session after so many seconds without traffic (default: 1200, as AWS does)",
    )
    up.add_argument("--region", type=_region, default="us-east-1", help="where cluster demo is")
    up.add_argument(
        "--seed", type=int, default=0, metavar="N", help="decides where fault rates strike"
    )
    up.add_argument("--json", action="store_true", help="print one line of JSON instead")
    # For programs that start one for themselves.
    up.add_argument("--attach", action="store_true", help=argparse.SUPPRESS)
    up.add_argument("--until-eof", action="store_true", help=argparse.SUPPRESS)


def _port(text: str) -> int:
    if text.isascii() and text.isdigit() and int(text) < 65536:
        return int(text)
    raise argparse.ArgumentTypeError(f"{text!r} is not a port")


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if 0 < seconds < float("inf"):
        return seconds
    raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds")


def _region(text: str) -> str:
    if _REGION.fullmatch(text):
        return text
    raise argparse.ArgumentTypeError(f"{text!r} is not a region")


def run(namespace: argparse.Namespace) -> int:
    """Do what the line says; return the exit status: 0, or 1 with one line on stderr."""
    command: Callable[[argparse.Namespace], int] = {
        "up": _up,
        "status": _status,
        "down": _down,
        "env": _env,
        "fault": _fault,
    }[namespace.sandbox_command]
    try:
        return command(namespace)
    except BrokenPipeError:  # whoever read what we print has had enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (registry.RegistryError, registry.Refused, SandboxUnavailable, OSError) as error:
        return _fail(str(error))
    except (ValueError, OverflowError) as error:
        return _fail(str(error))


def _fail(message: str) -> int:
    sys.stderr.write(f"ecs-exec-magic sandbox: {' '.join(message.split())}\n")
    return 1


def _print(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


# -- up --------------------------------------------------------------------------------------------


def _up(namespace: argparse.Namespace) -> int:
    """Run until a signal, ``down``, or the end of stdin where that is asked for.

    A signal while it starts is kept until it has started: cut off half way, it would leave traces.
    One that comes after it was asked to end changes nothing: the process ends as it was to.
    """
    stop = _Stop()
    former: dict[int, Any] = {
        number: signal.signal(number, lambda *_: stop.set()) for number in _ENDINGS
    }
    _forget_accounts()
    try:
        if namespace.attach and (there := _running_at(namespace.port)) is not None:
            _announce(there, namespace.json, attached=True)
            return 0
        if namespace.until_eof:
            threading.Thread(target=_wait_for_eof, args=(stop,), daemon=True).start()
        return _serve(namespace, stop)
    finally:
        for number, handler in former.items():
            signal.signal(number, signal.SIG_IGN if stop.is_set() else handler)


class _Stop:
    """An event that a handler of signals may set.

    A handler runs in the middle of what its thread does. A threading.Event for which that thread
    waits can be locked just then, for ever; the queue's put is made for it.
    """

    def __init__(self) -> None:
        self._asked = False
        self._wake: queue.SimpleQueue[None] = queue.SimpleQueue()

    def set(self) -> None:
        self._asked = True
        self._wake.put(None)

    def is_set(self) -> bool:
        return self._asked

    def wait(self, seconds: float) -> bool:
        """Wait at most so long; whether it is set."""
        if not self._asked:
            with contextlib.suppress(queue.Empty):
                self._wake.get(timeout=seconds)
        return self._asked


def _forget_accounts() -> None:
    """Nothing of the user's AWS configuration is to matter here: it may even be broken."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        del os.environ[name]
    os.environ["AWS_CONFIG_FILE"] = os.environ["AWS_SHARED_CREDENTIALS_FILE"] = os.devnull


def _serve(namespace: argparse.Namespace, stop: _Stop) -> int:
    try:
        sandbox = _start(namespace, namespace.port)
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise
        if not (namespace.attach and namespace.port == PORT):
            return _fail(_taken(namespace.port))
        sandbox = _start(namespace, 0)  # somebody else's, on a machine of many users
    with sandbox:
        sandbox.on_stop = stop.set
        entry = _entry(sandbox)
        registry.note(entry)
        try:
            if sandbox.warning:
                sys.stderr.write(f"ecs-exec-magic sandbox: warning: {sandbox.warning}\n")
                sys.stderr.flush()
            if not stop.is_set():
                _announce(entry, namespace.json)
            while not stop.wait(0.5):  # a wait without limit could not be interrupted everywhere
                pass
            sandbox.stop()
        finally:
            registry.forget(entry)
    return 0


def _start(namespace: argparse.Namespace, port: int) -> Sandbox:
    return start(
        port,
        namespace.pace,
        namespace.runtime,
        namespace.seed_cluster,
        iam=namespace.iam,
        region=namespace.region,
        idle_timeout=namespace.idle_timeout,
        fault_seed=namespace.seed,
    )


def _entry(sandbox: Sandbox) -> registry.Entry:
    return registry.Entry(
        sandbox.port,
        os.getpid(),
        sandbox.secret,
        sandbox.environment,
        sandbox.runtime,
        sandbox.proxy_environment,
    )


def _running_at(port: int) -> registry.Entry | None:
    return next((entry for entry in registry.living() if entry.port == port), None)


def _taken(port: int) -> str:
    there = _running_at(port)
    if there is None:
        return f"port {port} is taken by another program; --port 0 takes a free one"
    return (
        f"a practice cluster already runs at {there.url} (process {there.pid}); "
        "ecs-exec-magic sandbox env tells its environment, sandbox down ends it"
    )


def _announce(entry: registry.Entry, as_json: bool, *, attached: bool = False) -> None:
    if as_json:
        line = {
            "url": entry.url,
            "environment": entry.environment,
            "runtime": entry.runtime,
            "pid": entry.pid,
            "attached": attached,
        }
        _print(json.dumps(line))
        return
    _print(exports(entry.environment, "bash"))
    _print(f"# isolation: {entry.runtime}; stop with Ctrl-C or ecs-exec-magic sandbox down")


def _wait_for_eof(stop: _Stop) -> None:
    # Not sys.stdin: a thread that holds its lock would keep the interpreter from ending.
    try:
        while os.read(0, 1024):
            pass
    except OSError:
        pass
    stop.set()


# -- what speaks to one that runs ------------------------------------------------------------------


def _find(namespace: argparse.Namespace) -> registry.Entry:
    return registry.find(namespace.port, PORT)


def _status(namespace: argparse.Namespace) -> int:
    state = registry.ask(_find(namespace), "status")
    if namespace.json:
        _print(json.dumps(state))
        return 0
    faults = ", ".join(f"{name}={_words(value)}" for name, value in state["faults"].items())
    for name, value in (
        ("url", state["url"]),
        ("process", state["pid"]),
        ("up for", f"{state['uptime']:.0f} s"),
        ("isolation", state["runtime"]),
        ("pace", state["pace"]),
        ("iam", "on" if state["iam"] else "off"),
        ("region", state["region"]),
        ("clusters", state["clusters"]),
        ("tasks", state["tasks"]),
        ("sessions", state["sessions"]),
        ("faults", faults or "none"),
    ):
        _print(f"{name:<10}{value}")
    return 0


def _down(namespace: argparse.Namespace) -> int:
    entry = _find(namespace)
    registry.ask(entry, "stop", {})
    end = time.monotonic() + _STOP_LIMIT
    while entry in registry.noted():
        if time.monotonic() > end:
            return _fail(f"process {entry.pid} has not ended after {_STOP_LIMIT:.0f} s")
        time.sleep(0.05)
    _print(json.dumps({"stopped": entry.url}) if namespace.json else f"{entry.url} has ended")
    return 0


def _env(namespace: argparse.Namespace) -> int:
    entry = _find(namespace)
    environment = entry.proxy_environment if namespace.proxy else entry.environment
    _print(json.dumps(environment) if namespace.json else exports(environment, namespace.shell))
    return 0


def _fault(namespace: argparse.Namespace) -> int:
    if namespace.list:
        rows = dict(explanations())
        if namespace.json:
            _print(json.dumps(rows))
            return 0
        width = max(map(len, rows)) + 2
        _print("\n".join(f"{name:<{width}}{text}" for name, text in rows.items()))
        return 0
    if namespace.clear and namespace.value:
        raise ValueError("--clear takes no value")
    body = {"name": namespace.name, "value": namespace.value, "clear": namespace.clear}
    answer = registry.ask(_find(namespace), "fault", body)
    if namespace.json:
        _print(json.dumps(answer))
        return 0
    if answer["done"]:
        _print(answer["done"])
    for name, value in answer["faults"].items():
        _print(f"{name} = {_words(value)}")
    if not answer["done"] and not answer["faults"]:
        _print("nothing is broken")
    return 0


def _words(value: Any) -> str:
    """The value of a fault as the command line takes it."""
    if isinstance(value, dict):
        return ",".join(f"{name}={count}" for name, count in value.items())
    if isinstance(value, list):
        return ",".join(map(str, value))
    return "on" if value is True else str(value)
