"""``--keep`` in a real kernel: one shell over many cells, and gone with the notebook."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from .kernels import practising

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from ecs_exec_magic.sandbox import Sandbox

    from .kernels import Kernel

pytestmark = pytest.mark.kernel


@pytest.fixture(params=["thread", "nest"])
def kernel(request: pytest.FixtureRequest, cluster: Sandbox, tmp_path: Path) -> Iterator[Kernel]:
    with practising(cluster, tmp_path / "ipython") as kernel:
        kernel.good(f"%config EcsExec.bridge = {request.param!r}")
        yield kernel


def test_what_a_cell_sets_is_there_in_the_next(cluster: Sandbox, kernel: Kernel) -> None:
    before = cluster.status()["sessions"]
    assert kernel.good("%ecs_exec --keep cd /tmp; n=1; f() { echo f $n; }").stdout == ""
    assert kernel.good("%%ecs_shell --keep\nn=$((n+1))\npwd; f").stdout == "/tmp\nf 2\n"
    failed = kernel.run("%ecs_exec --keep echo out; echo err >&2; (exit 3)")
    assert failed.error is not None and failed.error[0] == "CommandFailed"
    assert (failed.stdout, failed.stderr) == ("out\n", "err\n")
    cell = "await __import__('asyncio').sleep(0)\n%ecs_exec --keep f"
    assert kernel.good(cell).stdout == "f 2\n"
    assert cluster.status()["sessions"] == before + 1
    listed = kernel.good("%ecs_jobs").results[0]
    assert "idle" in listed
    assert "kept shell, 4 commands" in listed
    kernel.shut_down()  # a kernel that is killed would free no place in the container


def test_an_interrupt_ends_the_command_and_not_the_shell(kernel: Kernel) -> None:
    kernel.good("%ecs_exec --keep n=1")
    cell = kernel.send("%ecs_exec --keep echo on; sleep 50")
    kernel.wait(lambda: "on" in cell.stdout)
    kernel.interrupt()
    kernel.wait(lambda: cell.done)
    assert cell.status == "error"
    assert kernel.good("%ecs_exec --keep echo $n").stdout == "1\n"
    kernel.shut_down()


@pytest.mark.parametrize("end", ["stop", "unload", "shut_down", "restart"])
def test_its_session_ends_with_it(cluster: Sandbox, kernel: Kernel, end: str) -> None:
    before = cluster.status()["sessions"]
    kernel.good("%ecs_exec --keep true")
    assert cluster.status()["sessions"] == before + 1
    if end == "stop":
        kernel.good("_ = %ecs_jobs --stop 1")
    elif end == "unload":
        kernel.good("%unload_ext ecs_exec_magic")
    else:
        getattr(kernel, end)()
    kernel.wait(lambda: cluster.status()["sessions"] == before)
