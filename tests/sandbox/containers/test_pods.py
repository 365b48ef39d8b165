"""Pods on the host's own rungs."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import sys
from pathlib import Path

import pytest

from ecs_exec_magic.sandbox.containers import StartError
from ecs_exec_magic.sandbox.pods import ContainerSpec, Pod, PodError
from ecs_exec_magic.sandbox.runtimes import LocalRuntime

from .helpers import fetch, marked, read_all, run, sh, spawn, spec, until


async def test_the_main_process_and_its_end(rung: LocalRuntime, tmp_path: Path) -> None:
    output: dict[str, bytes] = {}
    exits: list[tuple[str, int]] = []

    def on_output(name: str, data: bytes) -> None:
        assert not any(name == ended for ended, _ in exits)
        output[name] = output.get(name, b"") + data

    script = "echo $COLOUR; echo warn >&2; sleep 300 & read x; exit 7"
    pod = Pod(
        tmp_path / "pod",
        rung,
        [spec("one", "sh", "-c", script), spec("killed", "sh", "-c", "kill -9 $$")],
        on_output=on_output,
        on_exit=lambda name, code: exits.append((name, code)),
    )
    await pod.start()
    await until(lambda: len(exits) == 2)
    assert sorted(exits) == [("killed", 137), ("one", 7)]
    assert sorted(output["one"].split()) == [b"blue", b"warn"]
    with pytest.raises(StartError, match="stopped"):
        await spawn(pod.container("one"), ["true"])
    assert await pod.stop(5) == {"one": 7, "killed": 137}
    assert len(exits) == 2
    assert list(tmp_path.iterdir()) == []


async def test_the_exit_codes_of_a_stop(rung: LocalRuntime, tmp_path: Path) -> None:
    exits: list[str] = []
    ready: set[str] = set()

    async def codes_of(grace: float, *specs: ContainerSpec) -> dict[str, int]:
        pod = Pod(
            tmp_path / "pod",
            rung,
            specs,
            on_output=lambda name, _data: ready.add(name),
            on_exit=lambda name, _code: exits.append(name),
        )
        await pod.start()
        await until(lambda: ready >= {each.name for each in specs if each.command})
        codes = await pod.stop(grace)
        assert exits == [] and list(tmp_path.iterdir()) == []
        assert await pod.stop(grace) == codes
        return codes

    polite = spec("polite", "sh", "-c", "trap 'exit 4' TERM; echo; while :; do sleep 0.05; done")
    usual = spec("usual", "sh", "-c", "echo; exec sleep 300")
    assert await codes_of(600, polite, usual, spec("idle")) == {
        "polite": 4, "usual": 143, "idle": 143,
    }  # fmt: skip
    deaf = spec("deaf", "sh", "-c", "trap '' TERM; echo; while :; do sleep 0.05; done")
    assert await codes_of(1, deaf) == {"deaf": 137}


async def test_a_stop_that_can_wait_no_longer(rung: LocalRuntime, tmp_path: Path) -> None:
    ready = asyncio.Event()
    deaf = spec("deaf", "sh", "-c", "trap '' TERM; echo; while :; do sleep 0.05; done")
    pod = Pod(tmp_path / "pod", rung, [deaf], on_output=lambda _name, _data: ready.set())
    await pod.start()
    await asyncio.wait_for(ready.wait(), 20)
    patient = asyncio.ensure_future(pod.stop(600))
    await asyncio.sleep(0)
    assert await asyncio.wait_for(pod.stop(0), 20) == {"deaf": 137}
    assert await patient == {"deaf": 137}
    assert list(tmp_path.iterdir()) == []


async def test_a_port_that_two_containers_want(isolated: LocalRuntime, tmp_path: Path) -> None:
    pod = Pod(
        tmp_path / "pod",
        isolated,
        [spec(name, image="nginx", read_only=True) for name in ("a", "b")],
    )
    await pod.start()
    try:
        await pod.container("a").start()
        with pytest.raises(StartError, match="in use"):
            await pod.container("b").start()
    finally:
        await pod.stop(0)
    assert list(tmp_path.iterdir()) == []


async def test_a_command_that_is_not_there(rung: LocalRuntime, tmp_path: Path) -> None:
    pod = Pod(tmp_path / "pod", rung, [spec("good", "sleep", "300"), spec("bad", "nonesuch", "x")])
    with pytest.raises(PodError) as caught:
        await pod.start()
    assert caught.value.container == "bad"
    assert str(caught.value).startswith("CannotStartContainerError: ")
    assert 'exec: "nonesuch": executable file not found in $PATH' in str(caught.value)
    assert list(tmp_path.iterdir()) == []


async def test_containers_share_the_network_and_nothing_else(
    isolated: LocalRuntime, tmp_path: Path
) -> None:
    said: list[bytes] = []
    pod = Pod(
        tmp_path / "pod",
        isolated,
        [spec("a", "/usr/bin/perl", "-e", _PERL_SERVER, ports=(8099,)), spec("b"), spec("c")],
        on_output=lambda _name, data: said.append(data),
    )
    await pod.start()
    try:
        await until(lambda: b"".join(said) == b"up\n")
        a, b = pod.container("a"), pod.container("b")
        client = "use IO::Socket::INET; $s = IO::Socket::INET->new('127.0.0.1:8099') or die; "
        code, out, _ = await run(b, ["/usr/bin/perl", "-e", client + "print <$s>"])
        assert (code, out) == (0, b"hello\n")
        with await b.connect(8099) as made:
            assert await asyncio.get_running_loop().sock_recv(made, 9) == b"hello\n"
        assert await fetch(pod.host_ports["a", 8099]) == b"hello\n"
        with pytest.raises(OSError, match="refused"):
            await b.connect(8098)
        for container in (a, b):
            assert await sh(container, "hostname; id -u; echo $COLOUR") == "ip-10-0-7-8\n0\nblue\n"
        await sh(a, "echo mine >/root/x")
        assert await sh(b, "ls /root") == ""
        assert "perl" in await sh(a, "cat /proc/[0-9]*/cmdline")
        assert "perl" not in await sh(b, "cat /proc/[0-9]*/cmdline")
        assert str(tmp_path) not in await sh(b, "cat /proc/[0-9]*/cmdline | tr '\\0' ' '")
        assert int(await sh(b, "ls -d /proc/[0-9]* | wc -l")) < 8
        await sh(b, "sh -c 'sh -c \"exit 0\" & exec sleep 0.1'")

        async def reaped() -> bool:
            return " Z" not in await sh(b, "ps -eo pid,stat")

        await until(reaped)
        assert int(await sh(b, "ls /proc/self/fd | wc -l")) == 4  # 0, 1, 2 and its own
    finally:
        await pod.stop(0)
    assert list(tmp_path.iterdir()) == []
    assert str(tmp_path) not in Path("/proc/self/mounts").read_text()


_PERL_SERVER = (
    "use IO::Socket::INET; $| = 1; $s = IO::Socket::INET->new(LocalAddr => '127.0.0.1:8099',"
    ' Listen => 5, ReuseAddr => 1) or die; print "up\\n";'
    ' while ($c = $s->accept) { print $c "hello\\n"; close $c }'
)


async def test_a_read_only_root(isolated: LocalRuntime, tmp_path: Path) -> None:
    pod = Pod(tmp_path / "pod", isolated, [spec("ro", read_only=True), spec("rw")])
    await pod.start()
    try:
        for place in ("/x", "/tmp/x", "/root/x", "/etc/hosts"):
            code, _, err = await run(pod.container("ro"), ["sh", "-c", f"echo >>{place}"])
            assert code and b"Read-only file system" in err
            assert (await run(pod.container("rw"), ["sh", "-c", f"echo >>{place}"]))[0] == 0
        again = "mount -o remount,rw,bind / 2>/dev/null || echo never"
        assert await sh(pod.container("ro"), again) == "never\n"
        words = ["sh", "-c", "echo out; echo err >&2; exit 3"]
        assert await run(pod.container("ro"), words, "merged") == (3, b"out\nerr\n", b"")
        assert await sh(pod.container("ro"), "echo x >/dev/shm/x && cat /dev/shm/x") == "x\n"
    finally:
        await pod.stop(0)


async def test_the_web_server_shows_what_commands_write(rung: LocalRuntime, tmp_path: Path) -> None:
    output: list[bytes] = []
    pod = Pod(
        tmp_path / "pod",
        rung,
        [spec("web", image="public.ecr.aws/nginx/nginx:1.27", ports=(80,)), spec("side")],
        on_output=lambda _name, data: output.append(data),
    )
    await pod.start()
    try:
        assert not (tmp_path / "pod").exists()  # nothing runs before it is needed
        port = pod.host_ports["web", 80]
        assert b"Welcome to nginx" in await fetch(port)
        web = pod.container("web")
        root = os.path.join(web.workdir, "usr/share/nginx/html")
        await sh(web, f"echo changed >{root}/index.html")
        assert (await fetch(port)).endswith(b"changed\n")
        assert b" 404 " in (await fetch(port, "/nonesuch")).split(b"\r\n")[0]
        if rung.isolated:
            inside = "curl -s localhost/ 2>/dev/null || wget -qO- localhost/"
            assert await sh(pod.container("side"), inside) == "changed\n"
            assert await sh(web, "ps -eo args") and "nginx" in await sh(web, "ps -eo args")
            await until(lambda: b"GET /nonesuch" in b"".join(output))
    finally:
        assert (await pod.stop(60))["web"] == 0
    with pytest.raises(OSError):
        await fetch(port)


async def test_a_read_only_web_server_still_serves(isolated: LocalRuntime, tmp_path: Path) -> None:
    web = spec("web", image="nginx", ports=(8080,), read_only=True)
    pod = Pod(tmp_path / "pod", isolated, [web, spec("side")])
    await pod.start()
    try:
        assert b"Welcome" in await fetch(pod.host_ports["web", 8080])
        assert "Welcome" in await sh(pod.container("side"), "curl -s localhost:8080")
    finally:
        await pod.stop(0)


async def test_a_terminal(rung: LocalRuntime, tmp_path: Path) -> None:
    pod = Pod(tmp_path / "pod", rung, [spec("c")])
    await pod.start()
    try:
        script = "stty size; read x; stty size; echo got $x; sleep 300 & exit 5"
        process = await spawn(pod.container("c"), ["sh", "-c", script], "terminal")
        master = process.files[0]
        data = b""

        async def seen(text: bytes) -> bool:
            nonlocal data
            with contextlib.suppress(BlockingIOError):
                data += os.read(master, 4096)
            return text in data

        await until(lambda: seen(b"0 0\r\n"))
        await process.resize(33, 99)
        os.write(master, b"typed\n")
        data += await read_all(master)
        assert b"typed\r\n33 99\r\ngot typed\r\n" in data
        assert os.waitstatus_to_exitcode(await process.ended) == 5
    finally:
        await pod.stop(0)


async def test_programs_on_the_path(rung: LocalRuntime, tmp_path: Path) -> None:
    pod = Pod(tmp_path / "pod", rung, [spec("c")])
    await pod.start()
    try:
        container = pod.container("c")
        assert await container.has("cat") and await container.has("/bin/sh")
        assert not await container.has("nonesuch") and not await container.has("")
    finally:
        await pod.stop(0)


async def test_nothing_of_a_container_outlives_it(rung: LocalRuntime, tmp_path: Path) -> None:
    marker = f"4545{os.getpid()}"
    pod = Pod(tmp_path / "pod", rung, [spec("c", "sh", "-c", f"setsid sleep {marker} & wait")])
    await pod.start()
    script = f"mkdir x.d x.d/y; chmod 0 x.d; setsid setsid sleep {marker} & sleep {marker}"
    process = await spawn(pod.container("c"), ["sh", "-c", script])
    await until(lambda: len(marked(marker)) >= 3)
    await pod.stop(0)
    assert marked(marker) == []
    assert list(tmp_path.iterdir()) == []
    assert process.ended.done()
    for handle in process.files:
        # Its shell may see what it waits for end before it is its own turn.
        assert await read_all(handle) in (b"", b"Killed\n")


@pytest.mark.skipif(sys.platform != "linux", reason="counts descriptors in /proc")
async def test_no_descriptor_is_lost(rung: LocalRuntime, tmp_path: Path) -> None:
    def count() -> int:
        return len(os.listdir("/proc/self/fd"))

    async def whole() -> None:
        pod = Pod(tmp_path / "pod", rung, [spec("c", "sleep", "300", ports=(81,)), spec("d")])
        await pod.start()
        assert await sh(pod.container("d"), "echo x") == "x\n"
        await pod.stop(0)

    await whole()
    gc.collect()  # what other tests of this process have left behind is not to end in between
    before = count()
    for _ in range(3):
        await whole()
    gc.collect()
    assert count() <= before
