"""The wrapper on a real pty, with a reader that damages text as the agent does (PROTOCOL 6.5, 6.6).

A little harness of its own, below all sessions: it shows the wrapper and the decoder alone, in
images that lack this or that tool.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import select
import signal
import subprocess
import termios
import time
from dataclasses import dataclass, field
from pathlib import Path

from ecs_exec_magic.remote.decoder import (
    Begin,
    Credit,
    Damage,
    Noise,
    PlainExit,
    Proof,
    RecordReader,
    Stream,
    StreamData,
)
from ecs_exec_magic.remote.wrapper import split, wrap
from ecs_exec_magic.sandbox.damage import OutputFilter

TOOLS = (
    "base64 cat cksum dd env head ls md5sum nohup od printf ps sed seq setsid sha256sum sleep stty "
    "tee tr true tty yes"
).split()


@dataclass
class Seen:
    """What came back."""

    begin: Begin | None = None
    stdout: bytes = b""
    stderr: bytes = b""
    words: list[str] | None = None
    proofs: dict[str, bool] = field(default_factory=dict)
    noise: bytes = b""
    damage: list[str] = field(default_factory=list)
    plain: int | None = None
    wire: bytes = b""
    status: int | None = None


def image(directory: Path, shell: str, *, without: tuple[str, ...] = ()) -> str:
    """A PATH that has only these tools, of the host's coreutils, and the shell as ``sh``."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "sh").symlink_to(shell)
    for tool in TOOLS:
        if tool not in without:
            source = next(p for p in (f"/usr/bin/{tool}", f"/bin/{tool}") if os.path.exists(p))
            (directory / tool).symlink_to(source)
    return str(directory)


def run(
    command: str | list[str | bytes],
    path: str,
    *,
    typed: bytes = b"",
    timeout: float | None = None,
    limit: float = 60.0,
    farewell: bytes = b"\n",
) -> Seen:
    """Run a command under the wrapper.

    ``typed`` is sent as soon as the wrapper is ready, ``farewell`` when both streams have come.
    """
    wrapped = wrap(command, timeout=timeout, stdin=b"I " in typed)
    master, slave = pty.openpty()

    def in_child() -> None:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)

    process = subprocess.Popen(
        split(wrapped.api_command),
        executable=f"{path}/sh",
        stdin=slave,
        stdout=slave,
        stderr=slave,
        env={"PATH": path, "TERM": "xterm-256color"},
        start_new_session=True,
        preexec_fn=in_child,
    )
    os.close(slave)
    seen = Seen()
    reader, damager = RecordReader(wrapped.nonce), OutputFilter()
    streams: dict[str, Stream] = {}
    output = {"o": b"", "e": b""}
    pending = b""
    end = time.monotonic() + limit
    try:
        while True:
            readable, writable, _ = select.select([master], [master] if pending else [], [], 0.5)
            assert time.monotonic() < end, f"the wrapper hangs: {seen}"
            if writable:
                pending = pending[os.write(master, pending[:1024]) :]
            if not readable:
                continue
            try:
                data = os.read(master, 1024)
            except OSError:
                break
            seen.wire += data
            for record in reader.feed(damager.feed(data)):
                match record:
                    case Begin():
                        seen.begin = record
                        streams = {n: Stream(record.mark, record.checksum) for n in "oe"}
                        pending += wrapped.payload + typed
                    case StreamData(name, piece):
                        output[name] += streams[name].feed(piece)
                    case Proof(name):
                        seen.proofs[name] = streams[name].proves(record)
                        if len(seen.proofs) == 2:
                            pending += farewell
                    case Credit():
                        pass
                    case Noise(piece) if (
                        len(seen.proofs) < 2
                    ):  # a cooked terminal echoes the farewell
                        seen.noise += piece
                    case Damage(reason):
                        seen.damage.append(reason)
                    case PlainExit(code):
                        seen.plain = code
    finally:
        os.close(master)
        with contextlib.suppress(ProcessLookupError):
            if process.poll() is None:
                time.sleep(0.1)
                process.kill()
        seen.status = process.wait()
    for name, stream in streams.items():
        output[name] += stream.flush()
    seen.stdout, seen.stderr = output["o"], output["e"]
    seen.words = streams["o"].words if streams else None
    return seen
