"""Serves a container's web root where no real web server can.

Knows files below one directory. Never follows a link out of it: what a command in a container
writes must not show files of the host.
"""

from __future__ import annotations

import mimetypes
import os
import stat
from typing import TYPE_CHECKING

from aiohttp import web

if TYPE_CHECKING:
    import socket
    from pathlib import Path

__all__ = ["PageServer"]

_FALLBACK = (
    "<html>\r\n<head><title>{0}</title></head>\r\n<body>\r\n<center><h1>{0}</h1></center>\r\n"
    "<hr><center>nginx/1.27.3</center>\r\n</body>\r\n</html>\r\n"
)


class PageServer:
    """A static web server for one directory."""

    def __init__(self, root: Path) -> None:
        self._root = os.path.realpath(root)
        self._runner: web.ServerRunner | None = None

    async def start(self, listener: socket.socket) -> None:
        """Serve on a listening socket, which is closed at the end."""
        self._runner = web.ServerRunner(web.Server(self._serve), shutdown_timeout=0.1)
        await self._runner.setup()
        await web.SockSite(self._runner, listener).start()

    async def stop(self) -> None:
        """Stop listening."""
        if self._runner is not None:
            await self._runner.cleanup()

    async def _serve(self, request: web.BaseRequest) -> web.Response:
        if request.method not in ("GET", "HEAD"):
            return _error(405, "405 Not Allowed")
        try:
            path, body = self._read(request.path)
        except PermissionError:
            return _error(403, "403 Forbidden")
        except (OSError, ValueError):
            return _error(404, "404 Not Found")
        kind = mimetypes.guess_type(path)[0] or "application/octet-stream"
        return web.Response(body=body, headers={"Content-Type": kind, "Server": "nginx/1.27.3"})

    def _read(self, url_path: str) -> tuple[str, bytes]:
        """Read a small local file; blocking is no matter here."""
        path = os.path.realpath(os.path.join(self._root, url_path.lstrip("/")))
        if os.path.isdir(path):
            path = os.path.realpath(os.path.join(path, "index.html"))
        if not path.startswith(self._root + os.sep):
            raise PermissionError
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        with os.fdopen(handle, "rb") as file:
            if not stat.S_ISREG(os.fstat(handle).st_mode):
                raise PermissionError
            return path, file.read()


def _error(status: int, title: str) -> web.Response:
    return web.Response(
        status=status,
        text=_FALLBACK.format(title),
        content_type="text/html",
        headers={"Server": "nginx/1.27.3"},
    )
