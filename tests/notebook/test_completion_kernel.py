"""Completion and ``%ecs_tasks`` in a real kernel, against the practice cluster."""

from __future__ import annotations

import time
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
    home = tmp_path_factory.mktemp("home")
    (home / "config").write_text("[profile ops]\n[profile 'night shift']\n")
    files = {
        "AWS_CONFIG_FILE": str(home / "config"),
        "AWS_SHARED_CREDENTIALS_FILE": str(home / "credentials"),
    }
    with sandbox.start(pace="fast", runtime=WITHOUT_ENGINE) as cluster:
        kernel = Kernel({**cluster.environment, **files}, str(tmp_path_factory.mktemp("ipython")))
        try:
            kernel.good("%load_ext ecs_exec_magic\ndata = b'x'\nnumber = 5")
            yield kernel
        finally:
            kernel.close()


def completed(kernel: Kernel, marked: str, until: set[str]) -> list[str]:
    """Complete again and again, as people do when an answer was slow, until all of that came."""
    end = time.monotonic() + 40
    while True:
        made = kernel.complete(marked)
        if until <= set(made):
            return made
        assert time.monotonic() < end, (marked, made)


@pytest.mark.parametrize(
    ("marked", "expected"),
    [
        ("%ecs_exec --ti¦", ["%ecs_exec --timeout"]),
        ("%%ecs_shell --sh¦\nls", ["%%ecs_shell --shell\nls"]),
        ("%ecs_target ¦", ["%ecs_target demo/"]),
        ("%ecs_target d¦", ["%ecs_target demo/"]),
        ("%ecs_target demo/w¦", ["%ecs_target demo/web", "%ecs_target demo/worker"]),
        ("%ecs_target demo/web:¦", ["%ecs_target demo/web:nginx", "%ecs_target demo/web:sidecar"]),
        ("%ecs_exec -t demo/web:s¦ ls -l", ["%ecs_exec -t demo/web:sidecar ls -l"]),
        ("%ecs_exec --target=demo/web:s¦ ls", ["%ecs_exec --target=demo/web:sidecar ls"]),
        ("%ecs_exec -tdemo/web:s¦ ls", ["%ecs_exec -tdemo/web:sidecar ls"]),
        ("%ecs_exec -t 'demo/wor¦' ls", ["%ecs_exec -t 'demo/worker' ls"]),
        ("%ecs_exec --cluster=¦", ["%ecs_exec --cluster=demo"]),
        ("%ecs_exec --cluster=de¦ ls", ["%ecs_exec --cluster=demo ls"]),
        ("%ecs_exec --cluster demo --service wo¦", ["%ecs_exec --cluster demo --service worker"]),
        ("%ecs_exec --service wo¦ --cluster demo", ["%ecs_exec --service worker --cluster demo"]),
        ("r = %ecs_exec -t demo/worker:¦", ["r = %ecs_exec -t demo/worker:worker"]),
        ("%%ecs_shell -t demo/web:n¦\nls", ["%%ecs_shell -t demo/web:nginx\nls"]),
        ("if data:\n    r = %ecs_exec -t demo/no¦ ls\n2", None),
        ("1\n%ecs_tasks demo/ag¦\n2", ["1\n%ecs_tasks demo/agent-down\n2"]),
        ("%ecs_exec --region eu-west-¦", [f"%ecs_exec --region eu-west-{n}" for n in (1, 2, 3)]),
        ("%ecs_exec --profile o¦ ls", ["%ecs_exec --profile ops ls"]),
        ("%ecs_exec --profile n¦ ls", ["%ecs_exec --profile night\\ shift ls"]),
        ("%ecs_exec --stdin ¦", ["%ecs_exec --stdin data"]),
        ("%ecs_exec -o n¦ ls", ["%ecs_exec -o number ls"]),
        ("%ecs_sandbox --pace ¦", ["%ecs_sandbox --pace real", "%ecs_sandbox --pace fast"]),
    ],
)
def test_the_reply_makes_the_right_line(
    kernel: Kernel, marked: str, expected: list[str] | None
) -> None:
    if expected is None:
        expected = [marked.replace("no¦", "no-exec")]
    made = completed(kernel, marked, set(expected))
    assert made == expected, "nothing else is offered beside"


def test_word_by_word_to_a_command_that_runs(kernel: Kernel) -> None:
    line = "%ecs_exec -t ¦"
    for step in ("demo/", "demo/web", "demo/web:sidecar"):
        line = f"%ecs_exec -t {step}"
        (made,) = {line} & set(completed(kernel, f"{line[:-2]}¦", {line}))
    assert kernel.good(f"{made} echo here").stdout.splitlines()[-1] == "here"
    kernel.good("%ecs_target demo/web:nginx")
    line = "%ecs_exec --container ¦ ls"
    expected = [line.replace("¦", name) for name in ("nginx", "sidecar")]
    assert completed(kernel, line, set(expected)) == expected
    kernel.good("%ecs_target --clear")


def test_the_script_of_a_cell_is_the_far_ends(kernel: Kernel) -> None:
    completed(kernel, "%ecs_exec -t demo/w¦", {"%ecs_exec -t demo/web"})
    for marked in ("%%ecs_shell -t demo/web:nginx\nls demo/w¦", "%ecs_exec ls demo/w¦"):
        assert marked.replace("¦", "eb") not in kernel.complete(marked)


def test_tasks_are_a_table_and_a_list(kernel: Kernel) -> None:
    cell = kernel.good("tasks = %ecs_tasks\ntasks")
    (shown,) = cell.results
    assert shown.startswith("7 tasks in demo (us-east-1) at ")
    assert "exec off: not enabled when the task was started" in shown
    assert max(map(len, shown.splitlines())) <= 100
    kernel.good("%ecs_exec -t {tasks[0].address} -o r echo found")
    assert kernel.value("r.stdout") == repr("found\n")
    assert kernel.good("%ecs_tasks demo/web").results[0].startswith("3 tasks in demo/web")
    cell = kernel.run("%ecs_tasks dmo")
    assert cell.traceback.splitlines()[-1] == "cure:  did you mean demo?"


def test_check_in_one_line(kernel: Kernel) -> None:
    shown = kernel.good("%ecs_target demo/worker:worker --check").stdout.splitlines()[-1]
    assert "runs commands: `true` was back in " in shown
    kernel.good("%ecs_target --clear")
    cell = kernel.run("%ecs_target demo/agent-down --check")
    assert cell.error is not None
    assert cell.error[0] == "AgentNotConnected"
    assert len(cell.traceback.splitlines()) <= 5


def test_reload_and_unload(kernel: Kernel) -> None:
    kernel.good("%reload_ext ecs_exec_magic\n%reload_ext ecs_exec_magic")
    assert completed(kernel, "%ecs_tasks d¦", {"%ecs_tasks demo"}) == ["%ecs_tasks demo"]
    kernel.good("%unload_ext ecs_exec_magic")
    assert "%ecs_tasks demo" not in kernel.complete("%ecs_tasks d¦")
    kernel.good("%load_ext ecs_exec_magic")
    assert completed(kernel, "%ecs_tasks d¦", {"%ecs_tasks demo"}) == ["%ecs_tasks demo"]


def test_without_account_and_region(kernel: Kernel) -> None:
    kernel.good(
        "import os\n"
        "kept = {name: os.environ.pop(name) for name in list(os.environ) if name[:4] == 'AWS_'}\n"
        "os.environ['AWS_EC2_METADATA_DISABLED'] = 'true'"
    )
    try:
        for marked in ("%ecs_exec -t de¦", "%ecs_tasks ¦", "%ecs_exec --service w¦"):
            assert not {marked.replace("¦", name) for name in ("mo/", "demo", "eb")} & set(
                kernel.complete(marked)
            )
        assert kernel.complete("%ecs_exec --ti¦") == ["%ecs_exec --timeout"]
    finally:
        cell = kernel.good("os.environ.update(kept)")
    assert cell.stderr == cell.stdout == ""
