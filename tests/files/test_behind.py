"""Copies in other threads: they can be awaited, watched and ended, and leave nothing then."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

import pytest

import ecs_exec_magic as ecs
from ecs_exec_magic.client import Target

from .conftest import temporaries

NOISE = random.Random(8).randbytes(300_000)


def test_awaited(target: Target, tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(NOISE)
    told: list[tuple[int, int | None]] = []

    async def both_ways() -> bytes:
        put = await target.put_async(
            tmp_path / "x", "/tmp/t/x", on_progress=lambda *both: told.append(both)
        )
        assert put.bytes == len(NOISE)
        got, read = await asyncio.gather(
            target.get_async("/tmp/t/x", tmp_path / "y"),
            target.read_bytes_async("/tmp/t/x", method="start-session"),
        )
        assert got.sha256 == put.sha256 != ""
        await target.write_bytes_async("/tmp/t/z", b"z", mode=0o600)
        return read

    assert asyncio.run(both_ways()) == NOISE
    assert (tmp_path / "y").read_bytes() == NOISE
    assert target.read_bytes("/tmp/t/z") == b"z"
    assert told[-1] == (len(NOISE), len(NOISE))
    with pytest.raises(ecs.CopyFailed, match="No such file"):
        asyncio.run(target.read_bytes_async("/nowhere"))


def test_cancelled_while_it_is_awaited(target: Target, tmp_path: Path) -> None:
    (tmp_path / "big").write_bytes(NOISE * 40)
    target.write_bytes("/tmp/t/x", b"old")

    async def cancelled() -> None:
        begun = asyncio.Event()
        copy = asyncio.ensure_future(
            target.put_async(
                tmp_path / "big", "/tmp/t/x", on_progress=lambda done, total: begun.set()
            )
        )
        await begun.wait()
        copy.cancel()
        with pytest.raises(asyncio.CancelledError):
            await copy

    asyncio.run(cancelled())
    assert target.listdir("/tmp/t") == ["x"]
    assert target.read_bytes("/tmp/t/x") == b"old"
    assert temporaries(target) == []


def test_started_and_ended(target: Target, tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(NOISE)
    job = target.start_put(tmp_path / "x", "/tmp/t/x")
    assert job.result(120).bytes == len(NOISE)
    assert job.state == "done"
    target.run(
        "for n in 1 2 3 4 5 6 7 8; do cat /tmp/t/x; done >/tmp/t/big; cd /tmp/t; "
        "cat big big big >bigger",
        check=True,
    )
    job = target.start_get("/tmp/t/bigger", tmp_path / "y")
    while not str(job.so_far()):
        assert not job.wait(0.01)
    assert job.cancel()
    assert job.wait(120)
    assert job.state == "cancelled"
    with pytest.raises(ecs.CopyFailed, match="was ended"):
        job.result()
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


def test_names_with_slashes(target: Target) -> None:
    target.run("cd /tmp/t; mkdir d .h; touch f; ln -s d l; ln -s nowhere n", check=True)
    assert target.listdir("/tmp/t", slashes=True) == [".h/", "d/", "f", "l/", "n"]
    assert target.listdir("/tmp/t") == [".h", "d", "f", "l", "n"]
