"""Commands in containers, waited for."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

from ecs_exec_magic.sandbox.containers import Container, Process
from ecs_exec_magic.sandbox.pods import ContainerSpec

PATIENCE = 60.0  # seconds


def spec(
    name: str,
    *command: str,
    image: str = "practice/plain",
    ports: tuple[int, ...] = (),
    read_only: bool = False,
) -> ContainerSpec:
    return ContainerSpec(
        name,
        image,
        "ip-10-0-7-8",
        "10.0.7.8",
        {"COLOUR": "blue"},
        command=command or None,
        ports=ports,
        read_only=read_only,
    )


async def read_all(handle: int) -> bytes:
    """Read a pipe or a terminal to its end, and close it."""
    loop = asyncio.get_running_loop()
    data, more = b"", asyncio.Event()
    loop.add_reader(handle, more.set)
    try:
        while True:
            try:
                piece = os.read(handle, 1 << 16)
            except BlockingIOError:
                more.clear()
                await asyncio.wait_for(more.wait(), PATIENCE)
                continue
            except OSError:  # the terminal's last holder has gone
                return data
            if not piece:
                return data
            data += piece
    finally:
        loop.remove_reader(handle)
        os.close(handle)


async def spawn(container: Container, argv: Sequence[str], mode: str = "separate") -> Process:
    await container.start()
    return await container.spawn(argv, container.environment(), mode)


async def run(
    container: Container, argv: Sequence[str], mode: str = "separate"
) -> tuple[int, bytes, bytes]:
    """Run a command; return its exit code and what it wrote."""
    process = await spawn(container, argv, mode)
    if mode == "merged":
        await asyncio.wait_for(process.ended, PATIENCE)
        with os.fdopen(process.files[0], "rb") as file:
            return os.waitstatus_to_exitcode(process.ended.result()), file.read(), b""
    streams = await asyncio.gather(*(read_all(handle) for handle in process.files))
    status = await asyncio.wait_for(process.ended, PATIENCE)
    return os.waitstatus_to_exitcode(status), streams[0], streams[1] if streams[1:] else b""


async def sh(container: Container, script: str) -> str:
    """Run a script that must succeed; return its output."""
    code, out, err = await run(container, ["sh", "-c", script])
    assert (code, err) == (0, b""), (code, out, err)
    return out.decode()


async def until(condition: Callable[[], bool | Awaitable[bool]]) -> None:
    """Wait for a condition."""
    deadline = asyncio.get_running_loop().time() + PATIENCE
    while True:
        answer = condition()
        if answer if isinstance(answer, bool) else await answer:
            return
        assert asyncio.get_running_loop().time() < deadline, "it did not come"
        await asyncio.sleep(0.01)


def marked(marker: str) -> list[str]:
    """Processes of this host whose arguments name the marker."""
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                command = Path("/proc", name, "cmdline").read_bytes()
            except OSError:
                continue
            if marker.encode() in command:
                found.append(name)
    return found


async def fetch(port: int, path: str = "/") -> bytes:
    """GET a page of this host."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(f"GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n".encode())
        return await asyncio.wait_for(reader.read(), PATIENCE)
    finally:
        writer.close()
        await writer.wait_closed()
