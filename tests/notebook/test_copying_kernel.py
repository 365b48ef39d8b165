"""%ecs_cp in a real kernel, against a real container: there and back, watched, and ended."""

from __future__ import annotations

import hashlib
import random
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from ecs_exec_magic import sandbox

from ..runtimes import WITHOUT_ENGINE
from .kernels import Kernel

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.kernel


@pytest.fixture(scope="module")
def kernel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kernel]:
    with sandbox.start(pace="fast", runtime=WITHOUT_ENGINE) as cluster:
        kernel = Kernel(dict(cluster.environment), str(tmp_path_factory.mktemp("ipython")))
        try:
            kernel.good("%load_ext ecs_exec_magic")
            kernel.good("%ecs_target demo/web:nginx")
            kernel.good("%config EcsExec.progress_after = 0.2")
            yield kernel
        finally:
            kernel.close()


def tree(top: Path) -> dict[str, str]:
    """SHA-256 of every file, by its place in the tree."""
    return {
        str(path.relative_to(top)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(top.rglob("*"))
        if path.is_file()
    }


def test_a_directory_there_and_back_is_the_same(kernel: Kernel, tmp_path: Path) -> None:
    (tmp_path / "one" / "sub").mkdir(parents=True)
    (tmp_path / "one" / "sub" / "noise").write_bytes(random.Random(1).randbytes(300_000))
    (tmp_path / "one" / "all bytes").write_bytes(bytes(range(256)) * 10)
    put = kernel.good(f"%ecs_cp {tmp_path}/one :/tmp/kernel-tree")
    assert "2 files" in put.results[0]
    assert "sha256 agrees" in put.results[0]
    kernel.good(f"r = %ecs_cp :/tmp/kernel-tree {tmp_path}/two")
    assert tree(tmp_path / "two") == tree(tmp_path / "one")
    assert kernel.value("r.files, r.verified") == "(2, 'sha256')"


def test_the_bar_is_shown_and_a_key_leaves_nothing(kernel: Kernel, tmp_path: Path) -> None:
    kernel.good("%ecs_exec --quiet rm -rf /tmp/k; mkdir /tmp/k; echo old >/tmp/k/x")
    with open(tmp_path / "big", "wb") as file:
        for _ in range(30):
            file.write(random.Random(2).randbytes(1_000_000))
    cell = kernel.send(f"%ecs_cp {tmp_path}/big :/tmp/k/x")
    kernel.wait(lambda: any("% of 28.6 MiB" in text for d in cell.displays.values() for text in d))
    kernel.interrupt()
    kernel.wait(lambda: cell.done, 60)
    assert cell.error is not None
    assert cell.error[0] in ("Interrupted", "KeyboardInterrupt")
    assert (
        kernel.value(
            "list((lambda r: r.lines)(get_ipython().run_line_magic("
            "'ecs_exec', '--quiet ls -A /tmp/k; cat /tmp/k/x')))"
        )
        == "['x', 'old']"
    )
    last = kernel.good("%ecs_history -n 1 --all-notebooks").results[0]
    assert "exit code 0" in last


def test_an_error_is_a_few_lines(kernel: Kernel, tmp_path: Path) -> None:
    cell = kernel.run(f"%ecs_cp :/nowhere/x {tmp_path}")
    assert cell.error is not None
    assert cell.error[0] == "CopyFailed"
    assert "/nowhere/x" in cell.traceback
    assert "No such file" in cell.traceback
    assert cell.traceback.count("\n") < 8
    assert list(tmp_path.iterdir()) == []


def test_it_is_in_the_history(kernel: Kernel, tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"recorded")
    kernel.good(f"%ecs_cp {tmp_path}/f :/tmp/recorded")
    listed = kernel.good("h = %ecs_history -n 1\nh").results[0]
    assert "%ecs_cp" in listed
    assert "copied" in listed
    assert kernel.value("h[-1].kind, h[-1].ok, h[-1].exact") == "('copy', True, True)"
    whole = kernel.good("r = %ecs_history last\nr").results[0]
    assert f"sha256: {hashlib.sha256(b'recorded').hexdigest()}" in whole
    assert "bytes: 8" in whole
    assert "path: /tmp/recorded" in whole
    kernel.run(f"%ecs_cp :/nowhere {tmp_path}/g")
    assert "CopyFailed" in kernel.good("%ecs_history -n 1 --failed").results[0]


def test_in_the_background(kernel: Kernel, tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"x" * 100_000)
    cell = kernel.good(f"job = %ecs_cp --bg {tmp_path}/f :/tmp/behind -o r")
    kernel.wait(lambda: any("· done" in text for d in cell.displays.values() for text in d), 60)
    assert kernel.value("r.bytes, job.state, job.result() is r") == "(100000, 'done', True)"
    assert "%ecs_cp" in kernel.good("%ecs_jobs").results[0]
    assert "copied" in kernel.good("%ecs_history -n 1").results[0]


def test_a_copy_in_the_background_can_be_ended(kernel: Kernel, tmp_path: Path) -> None:
    kernel.good("%ecs_exec --quiet rm -rf /tmp/k; mkdir /tmp/k; echo old >/tmp/k/x")
    with open(tmp_path / "big", "wb") as file:
        for _ in range(30):
            file.write(random.Random(2).randbytes(1_000_000))
    cell = kernel.good(f"job = %ecs_cp --bg {tmp_path}/big :/tmp/k/x")
    kernel.wait(lambda: any("% of 28.6 MiB" in text for d in cell.displays.values() for text in d))
    kernel.good("%ecs_jobs --stop --all")
    assert kernel.value("job.wait(60), job.state") == "(True, 'cancelled')"
    assert "CopyFailed: the copy was ended" in kernel.value("job.facts()")
    assert "old" in kernel.good("%ecs_exec ls -A /tmp/k; cat /tmp/k/x").stdout
    assert kernel.good("%ecs_exec ls -A /tmp/k").stdout == "x\n"


def test_awaited_in_a_cell(kernel: Kernel, tmp_path: Path) -> None:
    kernel.good(
        "import ecs_exec_magic as ecs\n"
        "t = ecs.connect().target('demo/web:nginx')\n"
        "told = []\n"
        "await t.write_bytes_async('/tmp/awaited', b'abc', mode=0o600)\n"
        "data = await t.read_bytes_async('/tmp/awaited')\n"
        f"got = await t.get_async('/tmp/awaited', '{tmp_path}/x', "
        "on_progress=lambda *both: told.append(both))\n"
        f"put = await t.put_async('{tmp_path}/x', '/tmp/awaited2')"
    )
    assert (
        kernel.value("data, got.files, put.verified, told[-1]") == "(b'abc', 1, 'sha256', (3, 3))"
    )
    kernel.good(
        "import asyncio, os\n"
        f"open('{tmp_path}/big', 'wb').write(os.urandom(20_000_000)) and None\n"
        f"task = asyncio.ensure_future(t.put_async('{tmp_path}/big', '/tmp/awaited', "
        "on_progress=lambda done, total: done > 50_000 and task.cancel()))\n"
        "try:\n"
        "    await task\n"
        "except asyncio.CancelledError:\n"
        "    said = 'cancelled'"
    )
    assert kernel.value("said") == "'cancelled'"
    assert kernel.good("%ecs_exec cat /tmp/awaited; ls -A /tmp | grep ecs-cp || :").stdout == "abc"
