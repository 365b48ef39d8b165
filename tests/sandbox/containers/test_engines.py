"""Pods and whole sandboxes on real engines."""

from __future__ import annotations

import asyncio
import hashlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import docker
import pytest

import ecs_exec_magic as ecs
from ecs_exec_magic import sandbox as package
from ecs_exec_magic.sandbox import SandboxUnavailable
from ecs_exec_magic.sandbox.containers import StartError
from ecs_exec_magic.sandbox.engine import EngineRuntime, connect
from ecs_exec_magic.sandbox.pods import Pod, PodError
from ecs_exec_magic.sandbox.runtimes import Runtime, choose

from .helpers import fetch, marked, read_all, run, sh, spawn, spec, until


def left(runtime: Runtime) -> list[dict[str, Any]]:
    """Every container the engine has."""
    assert isinstance(runtime, EngineRuntime)
    found: list[dict[str, Any]] = runtime.engine.api.containers(all=True)
    return found


async def test_a_task_of_several_containers(engine: Runtime, tmp_path: Path) -> None:
    output: dict[str, bytes] = {}
    exits: list[tuple[str, int]] = []
    pod = Pod(
        tmp_path / "pod",
        engine,
        [
            spec("web", image="public.ecr.aws/nginx/nginx:1.27", ports=(80,)),
            spec("main", "sh", "-c", "echo out; echo err >&2; read x; exit 7"),
            spec("side"),
        ],
        on_output=lambda name, data: output.update({name: output.get(name, b"") + data}),
        on_exit=lambda name, code: exits.append((name, code)),
    )
    await pod.start()
    try:
        await until(lambda: exits == [("main", 7)])
        assert sorted(output["main"].split()) == [b"err", b"out"]
        assert b"Welcome to nginx" in await fetch(pod.host_ports["web", 80])
        web, side = pod.container("web"), pod.container("side")
        await sh(web, "echo changed >/usr/share/nginx/html/index.html")
        assert (await fetch(pod.host_ports["web", 80])).endswith(b"changed\n")
        assert await sh(side, "curl -s localhost") == "changed\n"
        assert await sh(side, "hostname; id -u; echo $COLOUR; pwd") == "ip-10-0-7-8\n0\nblue\n/\n"
        assert await side.has("cat") and not await side.has("nonesuch")
        with pytest.raises(StartError, match='"nonesuch": executable file not found in \\$PATH'):
            await spawn(side, ["nonesuch"])
        with pytest.raises(StartError, match="stopped"):
            await spawn(pod.container("main"), ["true"])
    finally:
        codes = await pod.stop(60)
    assert codes == {"web": 0, "main": 7, "side": 143}
    assert left(engine) == [] and exits == [("main", 7)]


async def test_a_read_only_container_that_does_not_end_when_asked(
    engine: Runtime, tmp_path: Path
) -> None:
    pod = Pod(tmp_path / "pod", engine, [spec("ro", "sleep", "300", read_only=True)])
    await pod.start()
    try:
        code, _, err = await run(pod.container("ro"), ["sh", "-c", "echo >/etc/x"])
        assert code and b"Read-only file system" in err
    finally:
        codes = await pod.stop(1)
    assert codes == {"ro": 137}
    assert left(engine) == []


async def test_commands(engine: Runtime, tmp_path: Path) -> None:
    pod = Pod(tmp_path / "pod", engine, [spec("c")])
    container = pod.container("c")
    try:
        words = ["sh", "-c", "echo out; echo err >&2; exit 3"]
        assert await run(container, words) == (3, b"out\n", b"err\n")
        assert await run(container, words, "merged") == (3, b"out\nerr\n", b"")
        noise = ["sh", "-c", "head -c 3000000 /dev/urandom | tee /tmp/x; sha256sum </tmp/x >&2"]
        _, out, err = await run(container, noise)
        assert hashlib.sha256(out).hexdigest().encode() == err.split()[0]
        odd = ["printf", "%s|", "a b", "", "$x", "'", "\u00e9\n", "-n"]
        assert (await run(container, odd))[1] == "a b||$x|'|\u00e9\n|-n|".encode()
        with pytest.raises(StartError, match="invalid argument"):
            await spawn(container, ["echo", "\0"])
        with pytest.raises(StartError, match="no such file"):
            await spawn(container, ["/nonesuch"])
        many = await asyncio.gather(*(run(container, ["echo", str(n)]) for n in range(20)))
        assert many == [(0, f"{n}\n".encode(), b"") for n in range(20)]
    finally:
        await pod.stop(0)
    assert left(engine) == []


async def test_a_terminal_and_signals(engine: Runtime, tmp_path: Path) -> None:
    pod = Pod(tmp_path / "pod", engine, [spec("c")])
    container = pod.container("c")
    marker = f"4848{os.getpid()}"
    try:
        script = "read x; stty size; echo got $x $TERM; exit 5"
        await container.start()
        env = {**container.environment(), "TERM": "xterm-256color"}
        process = await container.spawn(["sh", "-c", script], env, "terminal")
        await process.resize(33, 99)
        os.write(process.files[0], b"\x10typed\n")  # what an engine would detach at
        data = await read_all(process.files[0])
        assert b"33 99\r\ngot \x10typed xterm-256color\r\n" in data
        assert os.waitstatus_to_exitcode(await process.ended) == 5

        process = await container.spawn(["sleep", marker], env, "terminal")
        await container.kill(process, signal.SIGINT)
        assert await read_all(process.files[0]) == b""
        assert os.waitstatus_to_exitcode(await process.ended) == 130

        process = await container.spawn(["sleep", marker], env, "terminal")
        assert marked(marker)
        os.close(process.files[0])  # the terminal hangs up
        await process.ended
        await until(lambda: not marked(marker))
    finally:
        await pod.stop(0)


async def test_what_cannot_start(engine: Runtime, tmp_path: Path) -> None:
    pod = Pod(tmp_path / "pod", engine, [spec("good", "sleep", "300"), spec("bad", "nonesuch")])
    with pytest.raises(PodError, match="CannotStartContainerError") as caught:
        await pod.start()
    assert caught.value.container == "bad"
    assert 'exec: "nonesuch": executable file not found in $PATH' in str(caught.value)
    assert left(engine) == []


async def test_a_cut_off_start_leaves_nothing(engine: Runtime, tmp_path: Path) -> None:
    for pause in (0.0, 0.05, 0.2):
        pod = Pod(tmp_path / "pod", engine, [spec("a", "sleep", "300"), spec("b")])
        start = asyncio.ensure_future(pod.start())
        await asyncio.sleep(pause)
        start.cancel()
        await asyncio.gather(start, return_exceptions=True)
        await pod.stop(0)
        assert left(engine) == []


async def test_a_removed_container_is_an_exit(engine: Runtime, tmp_path: Path) -> None:
    exits: list[int] = []
    pod = Pod(
        tmp_path / "pod",
        engine,
        [spec("c", "sleep", "300")],
        on_exit=lambda _name, code: exits.append(code),
    )
    await pod.start()
    assert isinstance(engine, EngineRuntime)
    engine.engine.api.remove_container(left(engine)[0]["Id"], force=True)
    await until(lambda: exits == [137])
    assert await pod.stop(1) == {"c": 137}


def test_what_a_killed_sandbox_left_is_removed(engine_name: str) -> None:
    script = (
        "import asyncio, os, pathlib, signal\n"
        "from ecs_exec_magic.sandbox.runtimes import choose\n"
        "from ecs_exec_magic.sandbox.pods import ContainerSpec, Pod\n"
        f"runtime = choose({engine_name!r}, pull=False)\n"
        "spec = ContainerSpec('c', 'plain', 'h', '10.0.0.1', command=('sleep', '300'))\n"
        "asyncio.run(Pod(pathlib.Path('x'), runtime, [spec]).start())\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == -9
    client = docker.DockerClient(os.environ["DOCKER_HOST"], version="1.41")
    try:
        assert len(client.containers.list()) == 1
        connect(engine_name, pull=False).close()
        assert client.containers.list(all=True) == []
    finally:
        client.close()


def test_an_engine_is_asked_for_by_its_name(engine_name: str) -> None:
    other = {"docker": "podman", "podman": "docker"}[engine_name]
    with pytest.raises(SandboxUnavailable, match=f"is {engine_name.title()}"):
        choose(other)


@pytest.fixture
def client(engine_name: str) -> Iterator[ecs.Client]:
    """Our client, on a sandbox whose containers are an engine's."""
    with package.start(pace="fast", runtime=engine_name) as sandbox:
        assert sandbox.runtime == engine_name
        session = boto3.Session("AKIATEST", "secret", region_name="us-east-1")
        yield ecs.connect(session=session, endpoint_url=sandbox.url)


def vanishes(marker: str) -> None:
    """Wait until no process has the marker."""
    deadline = time.monotonic() + 20
    while marked(marker):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_our_client_is_exact_on_an_engine(client: ecs.Client) -> None:
    target = client.target("demo/worker")
    every = target.run(["printf", "".join(f"\\{n:03o}" for n in range(256)) * 20])
    assert every.stdout_bytes == bytes(range(256)) * 20 and every.exact
    both = target.run("echo out; echo err >&2; exit 42")
    assert (both.stdout, both.stderr, both.exit_code, both.exact) == ("out\n", "err\n", 42, True)
    assert target.run("cat", stdin=b"\0\r\n\x04\x03" * 999).stdout_bytes == b"\0\r\n\x04\x03" * 999
    marker = f"4949{os.getpid()}"
    with pytest.raises(ecs.CommandTimeout) as caught:
        target.run(f"echo early; sleep {marker}", timeout=1)
    result = caught.value.result
    assert result.stdout == "early\n" and result.timed_out
    vanishes(marker)
    stream = target.stream(f"echo up; exec sleep {marker}")
    assert next(stream).data == b"up\n"
    stream.close()  # the interrupt
    vanishes(marker)
