"""Which practice clusters run on this machine, and how to speak to them.

Knows the files that tell of them, readable by their owner only. Never knows what they serve.
"""

from __future__ import annotations

import contextlib
import json
import os
import stat
import tempfile
import urllib.error
import urllib.request
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from .admin import HEADER, PREFIX

__all__ = ["Entry", "Refused", "RegistryError", "ask", "find", "forget", "living", "note", "noted"]

_PATTERN = "sandbox-*.json"
_LIMIT = 5.0  # seconds for an answer


class RegistryError(Exception):
    """The files cannot be kept, or there is no telling which cluster is meant; one line."""


class Refused(Exception):
    """A cluster did not do what it was asked for; one line."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A running practice cluster.

    Attributes:
        port: its one port on 127.0.0.1.
        pid: its process.
        secret: opens its own routes.
        environment: variables for its users.
        runtime: how its containers are isolated.
        proxy_environment: variables for programs that do not know ``AWS_ENDPOINT_URL``.
    """

    port: int
    pid: int
    secret: str = field(repr=False)
    environment: dict[str, str]
    runtime: str
    proxy_environment: dict[str, str] = field(default_factory=dict)

    @property
    def url(self) -> str:
        """The endpoint URL."""
        return f"http://127.0.0.1:{self.port}"


def _directory(*, make: bool = False) -> Path | None:
    """Where the files are, if it is there; nobody else may read or write there.

    Raises:
        RegistryError: the directory is not ours alone.
    """
    user = os.getuid()
    base = os.environ.get("XDG_RUNTIME_DIR", "")
    if base and os.path.isdir(base) and os.stat(base).st_uid == user:
        path = Path(base, "ecs-exec-magic")
    else:
        path = Path(tempfile.gettempdir(), f".ecs-exec-magic-{user}")
    if make:
        with contextlib.suppress(FileExistsError):
            path.mkdir(mode=0o700)
    try:
        found = path.lstat()
    except FileNotFoundError:
        return None
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != user or found.st_mode & 0o077:
        raise RegistryError(f"{path} is not a directory of yours alone; remove it")
    return path


def note(entry: Entry) -> None:
    """Tell of a cluster that has just begun.

    Raises:
        RegistryError: that is not possible safely.
        OSError: nor at all.
    """
    data = json.dumps(asdict(entry)).encode()
    while True:
        directory = _directory(make=True)
        if directory is None:
            continue
        try:
            handle, name = tempfile.mkstemp(dir=directory)  # for its owner only
        except FileNotFoundError:  # another cluster has ended in this moment and tidied up
            continue
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        os.replace(name, directory / f"sandbox-{entry.port}.json")
        return


def forget(entry: Entry) -> None:
    """Remove the file of a cluster, if it is still its own, and the directory with the last."""
    directory = _directory()
    if directory is None:
        return
    path = directory / f"sandbox-{entry.port}.json"
    if _read(path) == entry:
        path.unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        directory.rmdir()


def _read(path: Path) -> Entry | None:
    try:
        return Entry(**json.loads(path.read_bytes()))
    except (OSError, ValueError, TypeError):
        return None


def living() -> list[Entry]:
    """Every cluster that runs, by port; what tells of others is removed.

    Raises:
        RegistryError: the files are not ours alone.
    """
    directory = _directory()
    if directory is None:
        return []
    found = []
    for path in directory.glob(_PATTERN):
        entry = _read(path)
        if entry is None:
            path.unlink(missing_ok=True)
        elif _answers(entry):
            found.append(entry)
        else:
            forget(entry)
    with contextlib.suppress(OSError):
        directory.rmdir()
    return sorted(found, key=lambda entry: entry.port)


def noted() -> list[Entry]:
    """Every cluster that files tell of, whether or not it runs."""
    directory = _directory()
    there = map(_read, directory.glob(_PATTERN) if directory is not None else ())
    return [entry for entry in there if entry is not None]


def find(port: int | None, usual: int) -> Entry:
    """The cluster at a port; without one the only cluster there is, or that at the usual port.

    Raises:
        RegistryError: there is none, or no telling which is meant.
    """
    there = living()
    for entry in there:
        if entry.port == port or (port is None and (len(there) == 1 or entry.port == usual)):
            return entry
    if not there:
        raise RegistryError("no practice cluster runs; ecs-exec-magic sandbox up starts one")
    ports = ", ".join(str(entry.port) for entry in there)
    if port is not None:
        raise RegistryError(f"no practice cluster runs at port {port}; there is one at {ports}")
    raise RegistryError(f"several practice clusters run; --port says which: {ports}")


def _answers(entry: Entry) -> bool:
    try:
        ask(entry, "status")
    except TimeoutError:
        return True  # busy, but there
    except (Refused, OSError):
        return False
    return True


def ask(entry: Entry, route: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
    """Ask a cluster something at one of its own routes.

    Raises:
        Refused: it says no, and why.
        OSError: it is not there, or does not answer in time (TimeoutError).
    """
    request = urllib.request.Request(
        f"{entry.url}{PREFIX}/{route}",
        data=None if body is None else json.dumps(body).encode(),
        headers={HEADER: entry.secret, "Content-Type": "application/json"},
    )
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=_LIMIT) as response:
            answer = json.loads(response.read())
    except urllib.error.HTTPError as error:
        with error:
            try:
                reason = json.loads(error.read())["error"]
            except (ValueError, KeyError, TypeError):
                reason = f"it answers {error.code}"
        raise Refused(str(reason)) from None
    except urllib.error.URLError as error:
        reason = error.reason
        raise reason if isinstance(reason, OSError) else OSError(str(reason)) from None
    except ValueError:
        raise Refused("what answers there is no practice cluster") from None
    if not isinstance(answer, dict):
        raise Refused("what answers there is no practice cluster")
    return answer
