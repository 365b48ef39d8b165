"""The practice cluster's own routes: its state, its faults, its end.

Knows who may ask, by a secret that no web page can guess or send. Never knows AWS.
"""

from __future__ import annotations

import json
import secrets
from typing import TYPE_CHECKING, Any, Protocol

from .faults import ACTIONS, Faults

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from aiohttp import web

__all__ = ["HEADER", "PREFIX", "Controls", "add_routes", "set_fault"]

PREFIX = "/_sandbox"
"""No bucket can have this name, so the path means nothing to S3."""

HEADER = "X-Sandbox-Secret"
"""A browser asks before it sends a header of its own to another origin; nobody answers."""


class Controls(Protocol):
    """What the routes act on."""

    secret: str
    faults: Faults
    on_stop: Callable[[], object] | None

    def status(self) -> dict[str, Any]:
        """What runs, in plain values."""

    async def act(self, name: str, value: str) -> str:
        """Do something at once; raises ValueError."""


def add_routes(app: web.Application, controls: Controls) -> None:
    """Add the routes to the one port's application."""
    from aiohttp import web

    def guarded(
        answer: Callable[[dict[str, Any]], Awaitable[dict[str, Any]]],
    ) -> Callable[[web.Request], Awaitable[web.Response]]:
        async def handle(request: web.Request) -> web.Response:
            given = request.headers.get(HEADER, "").encode("utf-8", "surrogateescape")
            if not secrets.compare_digest(given, controls.secret.encode()):
                return web.json_response({"error": "this needs the secret"}, status=403)
            try:
                body = json.loads(await request.read() or b"{}")
                if not isinstance(body, dict):
                    raise ValueError("an object is expected")
                return web.json_response(await answer(body))
            except ValueError as error:
                return web.json_response({"error": str(error)}, status=400)

        return handle

    async def status(_body: dict[str, Any]) -> dict[str, Any]:
        return controls.status()

    async def fault(body: dict[str, Any]) -> dict[str, Any]:
        return await set_fault(controls, body)

    async def stop(_body: dict[str, Any]) -> dict[str, Any]:
        if controls.on_stop is None:
            raise ValueError("it was started from Python, and ends there")
        controls.on_stop()
        return {}

    app.router.add_get(f"{PREFIX}/status", guarded(status))
    app.router.add_post(f"{PREFIX}/fault", guarded(fault))
    app.router.add_post(f"{PREFIX}/stop", guarded(stop))


async def set_fault(controls: Controls, body: dict[str, Any]) -> dict[str, Any]:
    """Set, clear or do what a body asks for; returns what is on afterwards.

    Args:
        controls: whose faults.
        body: ``name`` and ``value`` set a switch or do something at once; ``clear`` with a true
            value switches off ``name``, or all; anything else changes nothing.

    Raises:
        ValueError: a name or a value that does not exist.
    """
    name, value = str(body.get("name") or ""), str(body.get("value") or "")
    name = name.replace("-", "_")
    done = ""
    if body.get("clear"):
        controls.faults.clear(name or None)
    elif name in ACTIONS:
        done = await controls.act(name, value)
    elif name:
        controls.faults.set(name, value)
    return {"faults": controls.faults.active(), "done": done}
