"""The official way, for figures beside ours: the AWS CLI and its session-manager-plugin.

Knows how both are found and started, and how long that takes. Where either is not on PATH,
:func:`official` gives None, and figures stand alone.
"""

from __future__ import annotations

import contextlib
import os
import pty
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from ecs_exec_magic.client import Target

__all__ = ["ABSENT", "Official", "official"]

ABSENT = "the official way is not measured: aws or session-manager-plugin is not on PATH"
_START_LIMIT = 60.0


def official(environment: Mapping[str, str], region: str = "us-east-1") -> Official | None:
    """The official tools, led to a practice cluster; None where one of them is not on PATH.

    Args:
        environment: of the practice cluster, as ``practice.environment`` gives it.
    """
    # The CLI of the environment that runs this comes first: nothing is wrapped around it.
    path = os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", "")))
    aws = shutil.which("aws", path=path)
    plugin = shutil.which("session-manager-plugin", path=path)
    if aws is None or plugin is None:
        return None
    version = subprocess.run([plugin, "--version"], capture_output=True, text=True, check=True)
    home = tempfile.gettempdir()  # whatever this user has set up for AWS is not meant
    env = {**os.environ, **environment, "PATH": path, "HOME": home, "AWS_REGION": region}
    return Official(aws, plugin, version.stdout.strip(), env, region)


@dataclass(frozen=True)
class Official:
    """Both tools as they were found.

    Attributes:
        aws: path of the AWS CLI.
        plugin: path of the plugin.
        version: of the plugin.
        environment: that leads them to the practice cluster.
    """

    aws: str
    plugin: str
    version: str
    environment: dict[str, str]
    region: str

    def start(self, *words: str, stdin: int | None = None) -> subprocess.Popen[bytes]:
        """Start ``aws`` with these words, the plugin below it, in a group that can be ended."""
        return subprocess.Popen(
            [self.aws, "--region", self.region, *words],
            env=self.environment,
            stdin=subprocess.DEVNULL if stdin is None else stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def execute(self, target: Target, command: str, timeout: float = 600.0) -> tuple[float, bytes]:
        """``aws ecs execute-command``; the seconds it takes, and what it prints, banners too."""
        keyboard, screen = pty.openpty()  # without a terminal the plugin ends at once
        start = time.perf_counter()
        try:
            running = self.start(
                *("ecs", "execute-command", "--interactive", "--command", command),
                *("--cluster", target.cluster, "--task", target.task_id),
                *("--container", target.container),
                stdin=screen,
            )
            try:
                printed, _ = running.communicate(timeout=timeout)
            finally:
                _end(running)
            return time.perf_counter() - start, printed
        finally:
            os.close(keyboard)
            os.close(screen)

    @contextlib.contextmanager
    def forward(self, target: Target, port: int, host: str = "") -> Iterator[int]:
        """``aws ssm start-session`` for a port; gives the local port once it takes connections."""
        with socket.create_server(("127.0.0.1", 0)) as free:
            local_port = int(free.getsockname()[1])
        document = "AWS-StartPortForwardingSession" + ("ToRemoteHost" if host else "")
        parameters = f"portNumber={port},localPortNumber={local_port}"
        running = self.start(
            *("ssm", "start-session", "--target", target.session_target),
            *("--document-name", document),
            *("--parameters", parameters + (f",host={host}" if host else "")),
        )
        said: list[bytes] = []
        open_now = threading.Event()

        def read() -> None:
            assert running.stdout is not None
            for line in running.stdout:
                said.append(line)
                if b"Waiting for connections" in line:
                    open_now.set()
            open_now.set()

        reading = threading.Thread(target=read, daemon=True)
        reading.start()
        try:
            open_now.wait(_START_LIMIT)
            if running.poll() is not None or not open_now.is_set():
                raise RuntimeError(b"".join(said).decode("utf-8", "replace"))
            yield local_port
        finally:
            _end(running)
            reading.join(10)


def _end(running: subprocess.Popen[bytes]) -> None:
    """End the CLI and the plugin below it, as Ctrl-C does; killed where that is not heard."""
    for number in (signal.SIGINT, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(running.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            running.wait(10)
            return
