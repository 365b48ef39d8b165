"""The fork server that makes practice containers and starts commands in them.

Knows namespaces, terminals, pipes and fork. Never knows AWS, sessions or the rest of this package:
it is run as a script by a bare interpreter (``python -I -S``), loads everything before it enters a
container, and needs nothing from the container's file system.

File descriptor 0 is a socket that carries frames of four length bytes and JSON, and descriptors.
Each request to the server brings a socket of its own and is served by a fork, so that a thousand
containers share the pages of one interpreter:

* ``network``: make a task's user and network namespaces and hand them out;
* ``socket``: a socket of such a network, connected or listening;
* ``container``: make a container and serve ``spawn`` (argv, env, cwd, mode), ``kill`` (pid, signal)
  and ``which`` (program, path); each end of a process is reported. When its socket closes it ends
  what it started, and the container.

A container's fork is single-threaded, so it can fork safely; its children are born inside the
container's process namespace. A process that has been reaped can no longer be killed by mistake.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import gc
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
_NAMESPACES = ("pid", "ipc", "uts", "mnt")
_CLONE_NEWNS, _CLONE_NEWUTS, _CLONE_NEWIPC = 0x20000, 0x4000000, 0x8000000
_CLONE_NEWUSER, _CLONE_NEWPID, _CLONE_NEWNET = 0x10000000, 0x20000000, 0x40000000
_PR_SET_PDEATHSIG = 1
_PR_CAPBSET_DROP = 24
_PR_SET_CHILD_SUBREAPER = 36
_ENCLOSE_LIMIT = 15.0  # seconds
_READY = b"ready\n"
_INFO, _OPTIONS = 3, 4
"""Where a keeper tells the container's first process, if it is another, and reads its options."""
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


class _Channel:
    """Frames with descriptors over a socket; blocking."""

    def __init__(self, link: socket.socket) -> None:
        self.link = link
        self._pending = bytearray()
        self._handles: list[int] = []

    def send(self, message: dict[str, Any], handles: list[int] | None = None) -> None:
        data = json.dumps({**message, "fds": len(handles or ())}).encode()
        data = struct.pack(">I", len(data)) + data
        if handles:
            sent = socket.send_fds(self.link, [data], handles)
            data = data[sent:]
        self.link.sendall(data)

    def close(self) -> None:
        self.link.close()
        for handle in self._handles:
            os.close(handle)

    def receive(self) -> list[tuple[dict[str, Any], list[int]]] | None:
        """Wait for something; return whole messages with their descriptors, None at the end."""
        data, handles, _flags, _address = socket.recv_fds(self.link, 1 << 16, 16)
        if not data:
            return None
        for handle in handles:
            os.set_inheritable(handle, False)
        self._handles += handles
        self._pending += data
        messages = []
        while len(self._pending) >= 4:
            size = struct.unpack_from(">I", self._pending)[0]
            if len(self._pending) < 4 + size:
                break
            message = json.loads(self._pending[4 : 4 + size])
            del self._pending[: 4 + size]
            count = message["fds"]
            messages.append((message, self._handles[:count]))
            del self._handles[:count]
        return messages


def _join(handle: int, what: str) -> None:
    _check(_LIBC.setns(handle, 0), f"joining the {what} namespace")
    os.close(handle)


def _join_network(handles: list[int]) -> None:
    for handle, name in zip(handles, ("user", "net"), strict=True):
        _join(handle, name)


def _make_network() -> list[int]:
    """Enter new user and network namespaces; only this user is known in it, as root."""
    user, group = os.geteuid(), os.getegid()
    _check(_LIBC.unshare(_CLONE_NEWUSER | _CLONE_NEWNET), "making a user namespace")
    for name, text in (
        ("setgroups", "deny"),
        ("uid_map", f"0 {user} 1"),
        ("gid_map", f"0 {group} 1"),
    ):
        with open(f"/proc/self/{name}", "w") as file:
            file.write(text)
    _raise_loopback()
    return [os.open(f"/proc/self/ns/{name}", os.O_RDONLY) for name in ("user", "net")]


def _make_socket(kind: str, port: int) -> socket.socket:
    handle = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    if kind == "connect":
        handle.settimeout(5)
        handle.connect(("127.0.0.1", port))
        handle.settimeout(None)
    else:
        handle.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        handle.bind(("0.0.0.0", port))
        handle.listen(128)
    return handle


def _filled_pipe(words: list[str]) -> int:
    """A pipe to read words from, each with a NUL after it; they fit into its buffer."""
    read, write = os.pipe()
    os.write(write, b"".join(os.fsencode(word) + b"\0" for word in words))
    os.close(write)
    return fcntl.fcntl(read, fcntl.F_DUPFD_CLOEXEC, _OPTIONS + 1)


def _start_keeper(request: dict[str, Any]) -> tuple[int, int, int, int]:
    """Start what makes the container; return it and pipes to its input, its output, its info."""
    in_read, in_write = os.pipe()
    out_read, out_write = os.pipe()
    info_read, info_write = os.pipe()
    own = request["namespaces"]
    if own:  # the next child, alone, becomes the first process of a namespace
        _check(_LIBC.unshare(_CLONE_NEWPID), "making a process namespace")
    pid = os.fork()
    if pid == 0:
        try:
            for source, target in ((in_read, 0), (out_write, 1), (out_write, 2)):
                os.dup2(source, target)
            info = fcntl.fcntl(info_write, fcntl.F_DUPFD_CLOEXEC, _OPTIONS + 1)
            options = _filled_pipe(request["options"])
            os.dup2(info, _INFO)
            os.dup2(options, _OPTIONS)
            os.setsid()  # a ^C at the owner's terminal must not reach it
            for number in _RESET_SIGNALS:
                signal.signal(number, signal.SIG_DFL)
            if own:
                flags = _CLONE_NEWNS | _CLONE_NEWIPC | _CLONE_NEWUTS
                _check(_LIBC.unshare(flags), "making a mount namespace")
            _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
            os.execve(request["argv"][0], request["argv"], request["env"])
        except OSError as error:
            os.write(2, f"{error.strerror or error}\n".encode())
        finally:
            os._exit(127)
    for handle in (in_read, out_write, info_write):
        os.close(handle)
    return pid, in_write, out_read, info_read


def _enclose(request: dict[str, Any]) -> tuple[str, int]:
    """Make the container; return the process whose namespaces are to be joined, and its keeper."""
    keeper, _ender, report, info = _start_keeper(request)
    said = b""
    while not said.endswith(_READY):
        ready, _, _ = select.select([report], [], [], _ENCLOSE_LIMIT)
        piece = os.read(report, 4096) if ready else b""
        if not piece:
            os.kill(keeper, signal.SIGKILL)
            os.waitpid(keeper, 0)
            lines = said.decode("utf-8", "replace").strip().splitlines()
            raise OSError(lines[-1] if lines else "no reason given")
        said += piece
    os.close(report)
    told = b""
    while not request["namespaces"] and (piece := os.read(info, 4096)):
        told += piece
    os.close(info)
    return str(json.loads(told)["child-pid"] if told else keeper), keeper


def _enter(pid: str) -> None:
    """Join the namespaces of the container's first process, and its root directory."""
    handles = [(n, os.open(f"/proc/{pid}/ns/{n}", os.O_RDONLY)) for n in _NAMESPACES]
    root = os.open(f"/proc/{pid}/root", os.O_RDONLY | os.O_DIRECTORY)
    for name, handle in handles:
        _join(handle, name)
    os.fchdir(root)
    os.chroot(".")
    os.close(root)
    for capability in range(64):
        if capability not in _KEPT_CAPABILITIES:
            _LIBC.prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0)


def _raise_loopback() -> None:
    """Bring ``lo`` up: a new network namespace has it down."""
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
    if sys.platform == "linux":  # should even this helper be killed
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
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
    read, write = _open_scratch()  # a file, as the agent uses
    return (null, write, write), [read], [null, write]


def _open_scratch() -> tuple[int, int]:
    """A file without a name: to read from, and to append to."""
    directory = "/tmp" if os.access("/tmp", os.W_OK) else "/dev/shm"
    name = f"{directory}/.session-{os.getpid()}-{os.urandom(6).hex()}"
    write = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o600)
    read = os.open(name, os.O_RDONLY)
    os.unlink(name)
    return read, write


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


class _Container:
    """Serves one container until its socket closes or the container is gone."""

    def __init__(self, channel: _Channel, keeper: int) -> None:
        self.channel = channel
        self.keeper = keeper
        self.children: set[int] = set()
        self._wake, wake = os.pipe()
        os.set_blocking(wake, False)
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)

    def answer(self, request: dict[str, Any]) -> None:
        if request["op"] == "kill":
            if request["pid"] in self.children:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(request["pid"], request["signal"])
            return
        answer: dict[str, Any] = {"id": request["id"]}
        try:
            if request["op"] == "which":
                self.channel.send({**answer, "path": _look_up(request["program"], request["path"])})
                return
            pid, handles = _spawn(request)
        except (OSError, ValueError) as error:
            text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
            self.channel.send({**answer, "error": text})
            return
        self.children.add(pid)
        self.channel.send({**answer, "pid": pid}, handles)
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
            if pid == self.keeper:
                self.keeper = 0
            elif pid in self.children:
                self.children.discard(pid)
                self.channel.send({"exit": pid, "status": status})

    def serve(self) -> None:
        enclosed = self.keeper != 0
        self.channel.send({"ready": True})
        self.reap()  # what ended before the signal had a handler
        while self.keeper or not enclosed:
            link = self.channel.link.fileno()
            ready, _, _ = select.select([link, self._wake], [], [])
            if self._wake in ready:
                os.read(self._wake, 4096)
                self.reap()
            if link in ready:
                messages = self.channel.receive()
                if messages is None:
                    return
                for request, _handles in messages:
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


def _serve_container(channel: _Channel, request: dict[str, Any], handles: list[int]) -> None:
    entry, keeper = "", 0
    if request["argv"]:
        _join_network(handles)
        entry, keeper = _enclose(request)
    elif sys.platform == "linux":
        _LIBC.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    container = _Container(channel, keeper)
    try:
        if entry:
            _enter(entry)
        container.serve()
    except (BrokenPipeError, ConnectionResetError):
        pass
    finally:
        _end_everything(container.children, bool(entry))
        if container.keeper:  # while it runs, the entry's id cannot mean another process
            with contextlib.suppress(OSError):
                os.kill(int(entry), signal.SIGKILL)
            os.waitpid(container.keeper, 0)


def _serve(channel: _Channel, request: dict[str, Any], handles: list[int]) -> None:
    """In a fork of its own: do what is asked for."""
    try:
        if request["op"] == "network":
            channel.send({"ready": True}, _make_network())
        elif request["op"] == "socket":
            _join_network(handles)
            with _make_socket(request["kind"], request["port"]) as made:
                channel.send({"ready": True}, [made.fileno()])
        else:
            _serve_container(channel, request, handles)
    except OSError as error:
        with contextlib.suppress(OSError):
            channel.send({"error": error.strerror or str(error)})


def main() -> int:
    """Serve until the socket closes."""
    server = _Channel(socket.socket(fileno=os.dup(0)))
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    os.dup2(null, 1)
    os.close(null)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # the owner ends us by closing the socket
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for the forks
    gc.freeze()  # a collection in a fork would copy every page
    while (messages := server.receive()) is not None:
        while messages:
            request, handles = messages.pop(0)
            link = socket.socket(fileno=handles.pop(0))
            try:
                pid = os.fork()
            except OSError as error:
                with contextlib.suppress(OSError):
                    _Channel(link).send({"error": error.strerror or str(error)})
                pid = -1
            if pid == 0:
                server.close()
                for _request, others in messages:
                    for handle in others:
                        os.close(handle)
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                try:
                    _serve(_Channel(link), request, handles)
                except BaseException:  # noqa: BLE001  # nothing may run on in the fork
                    sys.excepthook(*sys.exc_info())
                finally:
                    os._exit(0)
            link.close()
            for handle in handles:
                os.close(handle)
    return 0


if __name__ == "__main__":
    sys.exit(main())
