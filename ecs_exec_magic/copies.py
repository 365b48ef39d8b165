"""Files of one container, in blocking and awaitable calls.

Knows how a copy is run in this thread, in another one, and ended. Never knows how bytes travel.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from . import files
from .portal import ThreadBridge
from .runner import Request
from .running import RunningCommand

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Sequence

    from .files import CopyResult
    from .portal import Bridge
    from .results import CommandResult, OutputEvent
    from .runner import Method

__all__ = ["Copies", "Copying"]

T = TypeVar("T")


class Copying(Generic[T]):
    """A copy in a thread of its own, as work on an event loop."""

    def __init__(self, behind: files.Behind[T]) -> None:
        self._behind = behind
        self._interrupted = False

    async def run(self) -> T:
        """Copy to the end; when this is cancelled, the copy has ended before it returns."""
        here = asyncio.get_running_loop()
        future: asyncio.Future[T] = here.create_future()

        def settle(result: Any, error: BaseException | None) -> None:
            if future.done():
                return
            if error is None:
                future.set_result(result)
            else:
                future.set_exception(error)

        self._behind.start(lambda *end: here.call_soon_threadsafe(settle, *end))
        try:
            return await asyncio.shield(future)
        except asyncio.CancelledError:
            self._behind.end()
            await asyncio.wait({future})
            if not future.cancelled():
                future.exception()  # that it was ended is no news
            raise

    async def interrupt(self) -> None:
        """End it."""
        self._interrupted = True
        self._behind.end()

    async def stop(self) -> None:
        """End it."""
        self._behind.end()

    @property
    def interrupted(self) -> bool:
        """Whether :meth:`interrupt` was called."""
        return self._interrupted

    def so_far(self) -> files.Amount:
        """How much has been done, from any thread."""
        return self._behind.amount


class Copies:
    """The part of a target that copies files."""

    if TYPE_CHECKING:

        def _run(
            self,
            request: Request,
            check: bool,
            on_output: Callable[[OutputEvent], object] | None,
            on_notice: Callable[[str], object] | None,
            on_tick: Callable[[], object] | None,
        ) -> CommandResult: ...

        def _watched(
            self,
            bridge: Bridge,
            request: Request,
            check: bool,
            on_output: Callable[[OutputEvent], object] | None,
            on_notice: Callable[[str], object] | None,
            on_tick: Callable[[], object] | None,
        ) -> CommandResult: ...

    def put(
        self,
        local: str | os.PathLike[str],
        remote: str | bytes | os.PathLike[str],
        *,
        on_progress: Callable[[int, int | None], object] | None = None,
        on_notice: Callable[[str], object] | None = None,
        on_tick: Callable[[], object] | None = None,
    ) -> CopyResult:
        """Copy a file or directory into the container, with modes and times.

        Where it goes is as with ``cp -R``: into a directory that is there, under its own name.
        What is at the destination is replaced only when all has come and the checksums agree.

        Args:
            local: a file or directory; ``dir/.`` means what is in it. A link is followed here, and
                copied as a link within a directory.
            remote: a path in the container, from its working directory if it does not begin with /.
            on_progress: called in another thread with the bytes sent, and with those to send.

        Raises:
            CopyFailed: either end could not do it; in its own words.
            SessionLost: also after several sessions; it goes on where it stopped between them.
        """
        how = {"on_notice": on_notice, "on_tick": on_tick}
        return files.put(self._blocking, local, remote, on_progress=on_progress, **how)

    def get(
        self,
        remote: str | bytes | os.PathLike[str],
        local: str | os.PathLike[str] = ".",
        *,
        method: Method = "execute-command",
        on_progress: Callable[[int, int | None], object] | None = None,
        on_notice: Callable[[str], object] | None = None,
        on_tick: Callable[[], object] | None = None,
    ) -> CopyResult:
        """Copy a file or directory out of the container; the rest is as for :meth:`put`.

        Args:
            on_progress: called in this thread with the bytes that came, and with those to come;
                of a directory nobody knows these.
        """
        how = {"method": method, "on_notice": on_notice, "on_tick": on_tick}
        return files.get(self._blocking, remote, local, on_progress=on_progress, **how)

    def read_bytes(
        self, remote: str | bytes | os.PathLike[str], *, method: Method = "execute-command"
    ) -> bytes:
        """The content of a file, exactly.

        Raises:
            CopyFailed: it cannot be read.
        """
        return files.read_bytes(self._blocking, remote, method=method)

    def write_bytes(
        self, remote: str | bytes | os.PathLike[str], data: bytes, *, mode: int | None = None
    ) -> CopyResult:
        """Make or replace a file.

        Args:
            mode: permission bits; None keeps those of the file that is there, else 0o644.

        Raises:
            CopyFailed: it cannot be written; what was there is as it was.
        """
        return files.write_bytes(self._blocking, remote, data, mode=mode)

    def listdir(
        self,
        remote: str | bytes | os.PathLike[str] = ".",
        *,
        slashes: bool = False,
        method: Method = "execute-command",
    ) -> list[str]:
        """Names in a directory, sorted, as :func:`os.listdir` gives them.

        Args:
            slashes: those of directories, and of links to them, end with ``/``.

        Raises:
            CopyFailed: it is none, or cannot be read.
        """
        return files.listdir(self._blocking, remote, slashes=slashes, method=method)

    async def put_async(
        self,
        local: str | os.PathLike[str],
        remote: str | bytes | os.PathLike[str],
        *,
        on_progress: Callable[[int, int | None], object] | None = None,
        on_notice: Callable[[str], object] | None = None,
    ) -> CopyResult:
        """:meth:`put`, awaitable; cancelling it ends the copy, and leaves nothing of it.

        ``on_progress`` and ``on_notice`` are called on the caller's loop.
        """

        def copy(run: Any, **how: Any) -> CopyResult:
            return files.put(run, local, remote, **how)

        return await self._behind(copy, on_progress, on_notice)

    async def get_async(
        self,
        remote: str | bytes | os.PathLike[str],
        local: str | os.PathLike[str] = ".",
        *,
        method: Method = "execute-command",
        on_progress: Callable[[int, int | None], object] | None = None,
        on_notice: Callable[[str], object] | None = None,
    ) -> CopyResult:
        """:meth:`get`, awaitable, as :meth:`put_async` is."""

        def copy(run: Any, **how: Any) -> CopyResult:
            return files.get(run, remote, local, method=method, **how)

        return await self._behind(copy, on_progress, on_notice)

    async def read_bytes_async(
        self, remote: str | bytes | os.PathLike[str], *, method: Method = "execute-command"
    ) -> bytes:
        """:meth:`read_bytes`, awaitable."""

        def copy(run: Any, *, on_progress: Any, **how: Any) -> bytes:
            return files.read_bytes(run, remote, method=method, **how)

        return await self._behind(copy)

    async def write_bytes_async(
        self, remote: str | bytes | os.PathLike[str], data: bytes, *, mode: int | None = None
    ) -> CopyResult:
        """:meth:`write_bytes`, awaitable."""

        def copy(run: Any, *, on_progress: Any, **how: Any) -> CopyResult:
            return files.write_bytes(run, remote, data, mode=mode, **how)

        return await self._behind(copy)

    def start_put(
        self,
        local: str | os.PathLike[str],
        remote: str | bytes | os.PathLike[str],
        **hooks: Any,
    ) -> RunningCommand[CopyResult]:
        """Start :meth:`put` and return at once; the hooks are those of :meth:`start`."""

        def copy(run: Any, **how: Any) -> CopyResult:
            return files.put(run, local, remote, **how)

        return self._started(copy, **hooks)

    def start_get(
        self,
        remote: str | bytes | os.PathLike[str],
        local: str | os.PathLike[str] = ".",
        *,
        method: Method = "execute-command",
        **hooks: Any,
    ) -> RunningCommand[CopyResult]:
        """Start :meth:`get` and return at once; the hooks are those of :meth:`start`."""

        def copy(run: Any, **how: Any) -> CopyResult:
            return files.get(run, remote, local, method=method, **how)

        return self._started(copy, **hooks)

    def _blocking(self, command: Sequence[str | bytes], **how: Any) -> CommandResult:
        """Run a copy's command, watched by the caller's thread."""
        return self._run(_request(command, how), False, *_hooks(how))

    def _started(
        self,
        copy: Callable[..., CopyResult],
        *,
        on_notice: Callable[[str], object] | None = None,
        on_done: Callable[[], object] | None = None,
        on_tick: Callable[[], object] | None = None,
    ) -> RunningCommand[CopyResult]:
        behind = files.Behind(lambda **how: copy(self._in_thread, on_notice=on_notice, **how))
        return RunningCommand(Copying(behind), check=False, on_done=on_done, on_tick=on_tick)

    async def _behind(
        self,
        copy: Callable[..., T],
        on_progress: Callable[[int, int | None], object] | None = None,
        on_notice: Callable[[str], object] | None = None,
    ) -> T:
        here = asyncio.get_running_loop()

        def work(*, on_progress: Any, on_tick: Any) -> T:
            def told(done: int, total: int | None) -> None:
                on_progress(done, total)
                if asked is not None:
                    here.call_soon_threadsafe(asked, done, total)

            hooks = {
                "on_notice": on_notice
                and (lambda text: here.call_soon_threadsafe(on_notice, text)),
                "on_tick": on_tick,
            }
            return copy(self._in_thread, on_progress=told, **hooks)

        asked = on_progress
        return await Copying(files.Behind(work)).run()

    def _in_thread(self, command: Sequence[str | bytes], **how: Any) -> CommandResult:
        """The same in a thread of this package, whatever the client's bridge."""
        return self._watched(ThreadBridge(), _request(command, how), False, *_hooks(how))


def _hooks(how: dict[str, Any]) -> list[Any]:
    return [how.get(name) for name in ("on_output", "on_notice", "on_tick")]


def _request(command: Sequence[str | bytes], how: dict[str, Any]) -> Request:
    plain = {name: value for name, value in how.items() if not name.startswith("on_")}
    # Its output is wanted whole, and soon.
    return Request(command, bulk=plain.get("method") == "start-session", **plain)
