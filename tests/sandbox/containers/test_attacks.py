"""Pods when things go wrong half way."""

from __future__ import annotations

import asyncio
import os
import random
import signal
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ecs_exec_magic.sandbox.containers import Process, StartError
from ecs_exec_magic.sandbox.pods import Pod
from ecs_exec_magic.sandbox.runtimes import LocalRuntime, ProcessRuntime

from .helpers import marked, read_all, run, sh, spawn, spec, until


async def test_a_start_or_stop_cut_off_anywhere_leaves_nothing(
    rung: LocalRuntime, tmp_path: Path
) -> None:
    marker = f"4646{os.getpid()}"
    chance = random.Random(7)
    for _ in range(12):
        pod = Pod(
            tmp_path / "pod",
            rung,
            [spec("a", "sleep", marker, ports=(80,)), spec("b", "sleep", marker), spec("c")],
        )
        start = asyncio.ensure_future(pod.start())
        exec_ = asyncio.ensure_future(run(pod.container("c"), ["sleep", marker]))
        await asyncio.sleep(chance.uniform(0, 0.1))
        start.cancel()
        exec_.cancel()
        stop = asyncio.ensure_future(pod.stop(0))
        await asyncio.sleep(chance.uniform(0, 0.02))
        stop.cancel()
        await asyncio.gather(start, exec_, stop, return_exceptions=True)
        await pod.stop(0)
        assert marked(marker) == [] and list(tmp_path.iterdir()) == []
        with pytest.raises(StartError):
            await pod.container("c").start()


async def test_a_spawn_that_nobody_waits_for_is_ended(rung: LocalRuntime, tmp_path: Path) -> None:
    marker = f"4747{os.getpid()}"
    pod = Pod(tmp_path / "pod", rung, [spec("c")])
    container = pod.container("c")
    await container.start()
    try:
        for count in range(8):
            task = asyncio.ensure_future(spawn(container, ["sleep", marker]))
            for _ in range(count):
                await asyncio.sleep(0)
            task.cancel()
            (result,) = await asyncio.gather(task, return_exceptions=True)
            if isinstance(result, Process):  # it was faster
                await container.kill(result, signal.SIGKILL)
                for handle in result.files:
                    os.close(handle)
        assert await sh(container, "echo on") == "on\n"
        await until(lambda: not marked(marker))
    finally:
        await pod.stop(0)


async def test_two_hundred_at_once(rung: LocalRuntime, tmp_path: Path) -> None:
    pod = Pod(tmp_path / "pod", rung, [spec("c")])
    try:
        padding = "x" * 20_000  # more than the socket holds at once
        results = await asyncio.gather(
            *(
                run(pod.container("c"), ["sh", "-c", f"echo {n}; exit {n % 7}", padding])
                for n in range(200)
            )
        )
        assert results == [(n % 7, f"{n}\n".encode(), b"") for n in range(200)]
    finally:
        await pod.stop(0)


async def test_on_exit_is_called_once_however_a_stop_races_with_it(
    rung: LocalRuntime, tmp_path: Path
) -> None:
    for pause in (0.0, 0.01, 0.03, 0.05, 0.08):
        exits: list[int] = []
        pod = Pod(
            tmp_path / "pod",
            rung,
            [spec("c", "sh", "-c", "sleep 0.03; exit 9")],
            on_exit=lambda _name, code, exits=exits: exits.append(code),  # type: ignore[misc]  # a default binds the loop's list
        )
        await pod.start()
        await asyncio.sleep(pause)
        codes = await pod.stop(60)
        assert codes["c"] in (9, 143) and exits in ([], [9])


@pytest.mark.parametrize("victim", ["server", "container"])
async def test_a_killed_helper_is_noticed(rung: LocalRuntime, tmp_path: Path, victim: str) -> None:
    exits: list[tuple[str, int]] = []
    pod = Pod(
        tmp_path / "pod",
        rung,
        [spec("c", "sleep", "300"), spec("d")],
        on_exit=lambda name, code: exits.append((name, code)),
    )
    await pod.start()
    server = rung.server._process
    assert server is not None
    try:
        if victim == "server":
            server.send_signal(signal.SIGKILL)
            await until(lambda: server.poll() is not None)
            assert await sh(pod.container("d"), "echo on") == "on\n"  # by another server
            assert exits == []
        else:
            children = Path(f"/proc/{server.pid}/task/{server.pid}/children").read_text().split()
            for child in children:
                os.kill(int(child), signal.SIGKILL)
            await until(lambda: bool(exits))
            assert exits == [("c", 137)]
    finally:
        codes = await pod.stop(0)
    assert codes["c"] in ((137,) if exits else (137, 143)) and list(tmp_path.iterdir()) == []


ODD = st.text(st.characters(exclude_categories=[]), max_size=20)
BYTES = st.binary(max_size=20).map(os.fsdecode)


@pytest.mark.timeout(300)
@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(st.one_of(ODD, BYTES), max_size=4), st.dictionaries(ODD, BYTES, max_size=3))
def test_odd_words_and_variables(
    tmp_path_factory: pytest.TempPathFactory, words: list[str], variables: dict[str, str]
) -> None:
    async def go() -> None:
        pod = Pod(tmp_path_factory.mktemp("odd") / "pod", ProcessRuntime(), [spec("c")])
        container = pod.container("c")
        try:
            await container.start()
            env = {**variables, **container.environment()}
            argv = ["printf", "%s\\0", *words]
            try:
                process = await container.spawn(argv, env, "separate")
            except StartError as error:
                assert "invalid argument" in str(error)
                texts = [*words, *variables, *variables.values()]
                assert any("\0" in t or not _encodes(t) for t in texts) or any(
                    "=" in name or not name for name in variables
                )
                return
            out, err = await asyncio.gather(*(read_all(handle) for handle in process.files))
            expected = b"".join(os.fsencode(word) + b"\0" for word in words) or b"\0"
            assert (out, err) == (expected, b"")
        finally:
            await pod.stop(0)

    asyncio.run(go())


def _encodes(text: str) -> bool:
    try:
        os.fsencode(text)
    except UnicodeEncodeError:
        return False
    return True


async def test_no_words_at_all(rung: LocalRuntime, tmp_path: Path) -> None:
    pod = Pod(tmp_path / "pod", rung, [spec("c")])
    try:
        with pytest.raises(StartError):
            await spawn(pod.container("c"), [])
        with pytest.raises(StartError, match="executable file not found"):
            await spawn(pod.container("c"), [""])
        with pytest.raises(StartError, match="no such file or directory"):
            await spawn(pod.container("c"), ["/nonesuch"])
        with pytest.raises(StartError, match="permission denied"):
            await spawn(pod.container("c"), ["/"])
    finally:
        await pod.stop(0)
