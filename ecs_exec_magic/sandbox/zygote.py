"""The helper process that starts commands inside one practice container.

Knows namespaces, terminals, pipes and fork. Never knows the network, AWS or the rest of this
package: it is run as a script by a bare interpreter (``python -I -S``), loads everything before it
enters the container, and needs nothing from the container's file system.

It has one socket, file descriptor 0, and speaks frames of four length bytes and JSON. Requests:
``spawn`` (argv, env, cwd, mode) answered with the process id and descriptors, ``kill`` (pid,
signal). It reports each end of a process by itself. When its socket closes it ends what it started.

Being single-threaded it can fork safely, and its children are born inside the container's process
namespace. A process that has been reaped can no longer be killed by mistake.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import json
import os
import select
import signal
import socket
import struct
import sys
import termios
from typing import Any

__all__ = ["main"]

_LIBC = ctypes.CDLL(None, use_errno=True)
_NAMESPACES = ("user", "pid", "net", "ipc", "uts", "mnt")
_PR_CAPBSET_DROP = 24
_PR_SET_CHILD_SUBREAPER = 36
_RESET_SIGNALS = (
    signal.SIGCHLD,
    signal.SIGHUP,
    signal.SIGINT,
    signal.SIGPIPE,
    signal.SIGTERM,
    signal.SIGXFSZ,
)
"""Signals this process or its interpreter handles or ignores; a command begins without that."""
_KEPT_CAPABILITIES = {0, 1, 3, 4, 5, 6, 7, 8, 10, 13, 18, 27, 29, 31}
"""What container engines leave to root. Above all not CAP_SYS_ADMIN (21), with which a command
could make the host's read-only directories writable."""


def _check(result: int, what: str) -> None:
    if result != 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{what}: {os.strerror(code)}")


def _enter(pid: str) -> None:
    """Join every namespace of the container's first process, and its root directory."""
    handles = [(n, os.open(f"/proc/{pid}/ns/{n}", os.O_RDONLY)) for n in _NAMESPACES]
    root = os.open(f"/proc/{pid}/root", os.O_RDONLY | os.O_DIRECTORY)
    for name, handle in handles:
        _check(_LIBC.setns(handle, 0), f"joining the {name} namespace")
        os.close(handle)
    os.fchdir(root)
    os.chroot(".")
    os.close(root)
    _raise_loopback()
    for capability in range(64):
        if capability not in _KEPT_CAPABILITIES:
            _LIBC.prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0)


def _raise_loopback() -> None:
    """Bring ``lo`` up, as bubblewrap does by itself and ``unshare`` does not."""
    get_flags, set_flags, up = 0x8913, 0x8914, 0x1
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as handle:
        answer = fcntl.ioctl(handle, get_flags, struct.pack("16sH14x", b"lo", 0))
        flags = struct.unpack("16sH14x", answer)[1]
        if not flags & up:
            fcntl.ioctl(handle, set_flags, struct.pack("16sH14x", b"lo", flags | up))


def _look_up(name: str, path: str) -> str:
    """Find an executable as Go's exec.LookPath does; a name with a slash is taken as it is."""
    if "/" in name:
        return name
    for directory in path.split(":"):
        candidate = f"{directory or '.'}/{name}"
        if os.path.isfile(candidate) and os.access(candidate, os.X_OK):
            return candidate
    raise FileNotFoundError(f'exec: "{name}": executable file not found in $PATH')


def _run_child(
    files: tuple[int, int, int], executable: str, request: dict[str, Any], terminal: bool
) -> None:
    """In the child: become the command. Returns only by an exception."""
    os.setsid() if terminal else os.setpgid(0, 0)
    for target, source in enumerate(files):
        os.dup2(source, target)
    if terminal:
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    for number in _RESET_SIGNALS:
        signal.signal(number, signal.SIG_DFL)
    os.chdir(request["cwd"])
    os.execve(executable, request["argv"], request["env"])


def _open_files(mode: str) -> tuple[tuple[int, int, int], list[int], list[int]]:
    """Return the child's three files, those to hand over, and those to close after the fork."""
    if mode == "terminal":
        master, slave = os.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 0, 0, 0, 0))
        return (slave, slave, slave), [master], [slave]
    null = os.open(os.devnull, os.O_RDWR)
    if mode == "separate":
        out_read, out_write = os.pipe()
        err_read, err_write = os.pipe()
        return (null, out_write, err_write), [out_read, err_read], [null, out_write, err_write]
    name = f"/tmp/.session-{os.getpid()}-{os.urandom(6).hex()}"  # a file, as the agent uses
    write = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o600)
    read = os.open(name, os.O_RDONLY)
    os.unlink(name)
    return (null, write, write), [read], [null, write]


def _spawn(request: dict[str, Any]) -> tuple[int, list[int]]:
    executable = _look_up(request["argv"][0], request["env"].get("PATH", ""))
    files, given, closed = _open_files(request["mode"])
    report_read, report_write = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            _run_child(files, executable, request, request["mode"] == "terminal")
        except OSError as error:
            os.write(report_write, str(error.errno).encode())
        except ValueError:  # a NUL byte
            os.write(report_write, str(errno.EINVAL).encode())
        finally:
            os._exit(127)
    os.close(report_write)
    for handle in closed:
        os.close(handle)
    failure = os.read(report_read, 16)  # empty once the exec has closed the other end
    os.close(report_read)
    if failure:
        os.waitpid(pid, 0)
        for handle in given:
            os.close(handle)
        reason = os.strerror(int(failure))
        raise OSError(int(failure), f"fork/exec {executable}: {reason[:1].lower()}{reason[1:]}")
    return pid, given


class _Server:
    def __init__(self, link: socket.socket) -> None:
        self.link = link
        self.pending = bytearray()
        self.children: set[int] = set()

    def send(self, message: dict[str, Any], handles: list[int] | None = None) -> None:
        data = json.dumps(message).encode()
        data = struct.pack(">I", len(data)) + data
        if handles:
            sent = socket.send_fds(self.link, [data], handles)
            data = data[sent:]
        self.link.sendall(data)

    def answer(self, request: dict[str, Any]) -> None:
        if request["op"] == "kill":
            if request["pid"] in self.children:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(request["pid"], request["signal"])
            return
        try:
            pid, handles = _spawn(request)
        except (OSError, ValueError) as error:
            text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
            self.send({"id": request["id"], "error": text, "fds": 0})
            return
        self.children.add(pid)
        self.send({"id": request["id"], "pid": pid, "fds": len(handles)}, handles)
        for handle in handles:
            os.close(handle)

    def reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if pid in self.children:
                self.children.discard(pid)
                self.send({"exit": pid, "status": status, "fds": 0})

    def serve(self, wake: int) -> None:
        self.send({"ready": True, "fds": 0})
        while True:
            sources: list[Any] = [self.link, wake]
            ready, _, _ = select.select(sources, [], [])
            if wake in ready:
                os.read(wake, 4096)
                self.reap()
            if self.link in ready:
                data = self.link.recv(1 << 16)
                if not data:
                    return
                self.pending += data
            while len(self.pending) >= 4:
                size = struct.unpack_from(">I", self.pending)[0]
                if len(self.pending) < 4 + size:
                    break
                request = json.loads(self.pending[4 : 4 + size])
                del self.pending[: 4 + size]
                self.answer(request)


def _descendants() -> list[int]:
    """Every process below this one, where there is a /proc to ask."""
    parents: dict[int, list[int]] = {}
    try:
        names = os.listdir("/proc")
    except OSError:
        return []
    for name in names:
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat", "rb") as file:
                    parent = int(file.read().rpartition(b")")[2].split()[1])
            except (OSError, IndexError, ValueError):
                continue
            parents.setdefault(parent, []).append(int(name))
    found: list[int] = []
    todo = [os.getpid()]
    while todo:
        below = parents.get(todo.pop(), [])
        found += below
        todo += below
    return found


def _end_everything(children: set[int], inside: bool) -> None:
    """Kill what was started here; in a container the end of its first process does the rest."""
    for _ in range(20):
        targets = set(children) if inside else set(_descendants()) | children
        if not targets:
            return
        for pid in targets:
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        while True:
            try:
                pid, _status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                children.clear()
                break
            if pid == 0:
                select.select([], [], [], 0.005)
                break
            children.discard(pid)


def main(arguments: list[str]) -> int:
    """Run until the socket closes. One argument: the process whose namespaces to join, or ``-``."""
    link = socket.socket(fileno=os.dup(0))
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    os.dup2(null, 1)
    wake_read, wake_write = os.pipe()
    os.set_blocking(wake_write, False)
    signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # the owner ends us by closing the socket
    inside = arguments[0] != "-"
    if inside:
        _enter(arguments[0])
    elif sys.platform == "linux":
        _LIBC.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    server = _Server(link)
    try:
        server.serve(wake_read)
    except (BrokenPipeError, ConnectionResetError):
        pass
    except OSError as error:
        if error.errno not in (errno.EPIPE, errno.ECONNRESET, errno.ENOTCONN):
            raise
    finally:
        _end_everything(server.children, inside)
        if inside:  # should the owner have died, nobody else ends the container
            with contextlib.suppress(OSError):
                os.kill(int(arguments[0]), signal.SIGKILL)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
