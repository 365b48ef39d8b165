"""Background jobs, progress and folds in real kernels, against real containers."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from .kernels import touch

if TYPE_CHECKING:
    from ecs_exec_magic.sandbox import Sandbox

    from .kernels import Kernel

pytestmark = pytest.mark.kernel

STEPS = "for n in 1 2 3; do echo step $n; sleep 1; done"
LOOP = "trap 'echo got TERM; exit 3' TERM; echo begun; while :; do sleep 0.1; done"


def test_a_job_shows_itself_in_its_own_cell_only(kernel: Kernel) -> None:
    steps = "echo step 1; echo step 2; until [ -e /tmp/go-on ]; do sleep 0.1; done; echo step 3"
    first = kernel.good(f"job = %ecs_exec --bg -o r sh -c '{steps}'")
    ((place, shown),) = first.displays.items()
    assert "running" in shown[0]
    busy = kernel.good("import time\nfor _ in range(10): print('tick'); time.sleep(0.1)")
    assert kernel.value("r is None, job.done()") == "(True, False)"
    kernel.wait(lambda: "step 2" in shown[-1])
    kernel.good("%ecs_exec --quiet touch /tmp/go-on")
    kernel.wait(lambda: "· done" in shown[-1])
    assert "step 3" in shown[-1]
    assert "exit code 0" in shown[-1]
    assert busy.stdout == "tick\n" * 10
    assert (busy.stderr, busy.displays, busy.results) == ("", {}, [])
    assert list(first.displays) == [place]
    assert first.stdout == ""
    assert kernel.value("r.stdout, r is job.result()") == "('step 1\\nstep 2\\nstep 3\\n', True)"


def test_two_jobs_beside_a_command(kernel: Kernel) -> None:
    jobs = [kernel.good(f"j{n} = %ecs_exec --bg sh -c 'echo job {n}; sleep 1'") for n in (1, 2)]
    # The container takes two sessions: a third waits, in its own cell.
    cell = kernel.good("%ecs_exec echo between")
    assert cell.stdout == "between\n"
    for number, each in enumerate(jobs, 1):
        (shown,) = each.displays.values()
        kernel.wait(lambda shown=shown: "· done" in shown[-1])  # type: ignore[misc]
        assert f"│ job {number}" in shown[-1]
        assert f"job {3 - number}\n" not in shown[-1]


def test_a_job_can_be_awaited(kernel: Kernel) -> None:
    # It ends only when the loop of the notebook has gone round while the cell awaits it.
    late = "until [ -e /tmp/beaten ]; do sleep 0.1; done; echo late"
    cell = kernel.good(
        "import asyncio\n"
        f"job = %ecs_exec --bg --quiet sh -c '{late}'\n"
        "async def beat():\n"
        "    for _ in range(4): await asyncio.sleep(0.05)\n"
        "    released = %ecs_exec --bg --quiet touch /tmp/beaten\n"
        "    return await released\n"
        "beating = asyncio.ensure_future(beat())\n"
        "r = await job\n"
        "r.stdout, (await beating).ok"
    )
    assert cell.results == ["('late\\n', True)"]
    assert cell.displays == {}


def test_its_failure_comes_with_its_result(kernel: Kernel) -> None:
    cell = kernel.good("job = %ecs_exec --bg -o r sh -c 'echo no >&2; exit 4'")
    (shown,) = cell.displays.values()
    kernel.wait(lambda: "failed" in shown[-1])
    assert "│ no" in shown[-1]
    failed = kernel.run("job.result()")
    assert failed.error is not None
    assert failed.error[0] == "CommandFailed"
    assert "stderr: no" in failed.traceback
    assert kernel.value("r.exit_code, job.done(), job.tail()") == "(4, True, '')"
    cell = kernel.good("job = %ecs_exec --bg --no-raise sh -c 'exit 4'\njob.result().exit_code")
    assert "4" in cell.results


def test_an_interrupted_job_that_is_awaited_leaves_the_kernel_alive(kernel: Kernel) -> None:
    """A KeyboardInterrupt out of a task would stop the kernel's loop."""
    body = "trap 'echo got; exit 130' INT; echo begun; while :; do sleep 0.1; done"
    cell = kernel.good(f"%%ecs_shell --bg\n{body}")
    (shown,) = cell.displays.values()
    kernel.wait(lambda: "│ begun" in shown[-1])
    cell = kernel.good(
        "import asyncio\n"
        "job = %ecs_jobs\n"
        "job = job[-1]\n"
        "job.interrupt()\n"
        "(error,) = await asyncio.gather(job, return_exceptions=True)\n"
        "type(error).__name__, error.result.stdout, job.state"
    )
    assert cell.results[-1] == "('CommandFailed', 'begun\\ngot\\n', 'interrupted')"
    assert kernel.good("%ecs_exec echo alive").stdout == "alive\n"


def test_a_capturing_cell_takes_no_views_of_others(kernel: Kernel) -> None:
    first = kernel.good("job = %ecs_exec --bg sh -c 'sleep 1; echo late'")
    (shown,) = first.displays.values()
    kernel.good("%%capture caught\nimport time; time.sleep(2.5); print('mine')")
    kernel.wait(lambda: "· done" in shown[-1])
    assert "late" in shown[-1]
    assert kernel.value("caught.stdout, len(caught.outputs)") == "('mine\\n', 0)"
    cell = kernel.run("%%capture caught\n%ecs_exec sh -c 'echo why >&2; exit 3'")
    assert "stderr: why" in cell.traceback, "the reader has not seen it yet"


def test_a_job_that_cannot_start_says_why(kernel: Kernel) -> None:
    kernel.good("r = 'old'")
    cell = kernel.run("%ecs_exec --bg -o r -t demo/nothing-like-it:x true")
    assert cell.error is not None
    assert cell.error[0] == "TargetNotFound"
    assert cell.displays == {}
    assert kernel.value("r") == "None"


def test_a_job_that_waits_for_a_place_says_so(kernel: Kernel) -> None:
    for number in (1, 2):
        kernel.good(f"j{number} = %ecs_exec --bg --quiet sh -c 'echo begun; exec sleep 600'")
    kernel.good("import time\nwhile not (j1.tail() and j2.tail()): time.sleep(0.05)")
    kernel.notice_after(0.1)
    third = kernel.good("%ecs_exec --bg true")
    (shown,) = third.displays.values()
    kernel.wait(lambda: "waiting" in shown[-1])
    kernel.notice_after(60)
    kernel.good("j1.cancel(); j2.cancel()")
    kernel.wait(lambda: "· done" in shown[-1])


def test_cancel_and_jobs(kernel: Kernel) -> None:
    kernel.grace(20)
    cell = kernel.good(f"%%ecs_shell --bg --no-raise -o r\n{LOOP}")
    (shown,) = cell.displays.values()
    kernel.wait(lambda: "│ begun" in shown[-1])
    kernel.good("job = %ecs_jobs\njob = job[-1]")
    number = kernel.value("job.number")
    (listed,) = kernel.good("%ecs_jobs").results
    assert any(line.split()[:1] == [number] and "running" in line for line in listed.splitlines())
    assert kernel.good(f"%ecs_jobs {number}").displays, "shows it, live"
    kernel.good(f"stopped = %ecs_jobs {number} --stop")
    kernel.wait(lambda: "cancelled" in shown[-1])
    assert kernel.value("job.result().stdout, job.cancel()") == "('begun\\ngot TERM\\n', False)"
    assert "has ended already" in kernel.good(f"%ecs_jobs {number} --stop").stdout
    kernel.grace(3)


def test_following_a_job(kernel: Kernel) -> None:
    kernel.good(f"job = %ecs_exec --bg sh -c '{STEPS}'")
    cell = kernel.good("%ecs_jobs {job.number} --follow")
    assert cell.stdout == "step 1\nstep 2\nstep 3\n"
    assert cell.stderr == ""
    kernel.good(f'job = %ecs_exec --bg --no-raise sh -c "{LOOP}"')
    cell = kernel.send("%ecs_jobs {job.number} -f")
    kernel.wait(lambda: "begun" in cell.stdout)
    kernel.interrupt()
    kernel.wait(lambda: cell.done)
    assert cell.error is not None
    assert cell.error[0] == "Interrupted"
    assert kernel.value("job.done()") == "False"
    kernel.good("job.cancel(); job.result()")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("%ecs_jobs 999", "there is no job 999"),
        ("%ecs_jobs one", "'one' is not the number of a job"),
        ("%ecs_jobs --stop", "--stop needs the number of a job, or --all"),
        ("%ecs_jobs 1 --stop --follow", "do not go together"),
        ("%ecs_jobs 1 --all", "numbers or --all, not both"),
        ("%ecs_exec --yes ls", "--yes goes with --all"),
        ("%ecs_exec --executor nobody --all ls", "--executor: there is no variable 'nobody'"),
        ("%ecs_exec --executor dask ls", "--executor goes with --all"),
        ("%ecs_exec --idempotent --all ls", "it goes with it"),
        ("%ecs_exec --max-parallel 0 --all ls", "'0' is not a whole number from 1 up"),
        ("%ecs_exec --hold ls", "unknown option --hold"),
        ("%ecs_exec --expand echo {{nobody}}", "there is no variable 'nobody'"),
    ],
)
def test_bad_lines_say_what_is_wrong(kernel: Kernel, line: str, said: str) -> None:
    cell = kernel.run(line)
    assert cell.status == "error"
    assert said in cell.stderr + cell.traceback


def test_progress_comes_late_is_brief_and_goes(cluster: Sandbox, kernel: Kernel) -> None:
    cell = kernel.send(
        "%ecs_exec sh -c 'echo line 1; until [ -e /tmp/enough ]; do sleep 0.1; done; echo line 2'"
    )
    kernel.wait(lambda: any(len(s) >= 3 and "line 1" in s[-1] for s in cell.displays.values()))
    touch(cluster.environment, "/tmp/enough")
    kernel.wait(lambda: cell.done)
    (shown,) = cell.displays.values()
    *told, last = shown
    assert last == "", "taken away"
    # The first after two seconds, then one a second; or later, on a busy machine.
    for number, text in enumerate(told, 2):
        passed = re.match(r"running (\d+\.\d) s", text)
        assert passed is not None
        assert float(passed[1]) >= number
    assert cell.stdout == "line 1\nline 2\n"
    assert kernel.good("%ecs_exec --quiet sleep 3").displays == {}
    try:
        kernel.good("%config EcsExec.progress_after = 60")
        assert kernel.good("%ecs_exec sleep 0.5").displays == {}
        kernel.good("%config EcsExec.progress_after = -1")
        assert kernel.good("%ecs_exec sleep 3").displays == {}
        kernel.good("%config EcsExec.progress_after = 0.1")
        failed = kernel.run("%ecs_exec sh -c 'sleep 3; exit 1'")
    finally:
        kernel.good("%config EcsExec.progress_after = 2")
    (shown,) = failed.displays.values()
    ended = re.fullmatch(r"ended after (\d+\.\d) s", shown[-1])
    assert ended is not None
    assert float(ended[1]) >= 3


def test_a_command_that_ignores_the_interrupt_is_told_of(kernel: Kernel) -> None:
    cell = kernel.send("%%ecs_shell -o r\ntrap '' INT; echo begun; while :; do sleep 0.1; done")
    kernel.wait(lambda: "begun" in cell.stdout)
    kernel.interrupt()
    kernel.wait(lambda: "a second interrupt ends its session" in cell.stderr)
    assert not cell.done
    kernel.interrupt()
    kernel.wait(lambda: cell.done)
    assert cell.error is not None
    assert cell.error[0] == "Interrupted"
    assert kernel.value("r.stdout, r.exit_code") == "('begun\\n', None)"


def test_a_chatty_command_makes_at_most_ten_messages_a_second(kernel: Kernel) -> None:
    cell = kernel.good(
        "%%ecs_shell -o r\n"
        "n=0; while [ $n -lt 3000 ]; do echo out $n; echo err $n >&2; n=$((n+1)); done; sleep 3"
    )
    kernel.good("assert r.lines[-1] == 'out 2999'")
    # Counted where they arrive: a busy machine may deliver two seconds' messages in one.
    seconds = cell.messages[-1][0] - cell.messages[0][0]
    assert len(cell.messages) <= 10 * (seconds + 1)


def test_a_long_output_is_folded(kernel: Kernel) -> None:
    cell = kernel.good("%ecs_exec -o r seq 1 1000")
    assert cell.stdout.split() == [str(n) for n in (*range(1, 201), *range(981, 1001))]
    assert cell.results[0].startswith("… 780 lines folded (")
    assert kernel.value("len(r.lines)") == "1000"
    kernel.good("%config EcsExec.fold_lines = 0")
    try:
        cell = kernel.good("%ecs_exec -o r seq 1 1000")
        assert len(cell.stdout.split()) == 1000
    finally:
        kernel.good("%config EcsExec.fold_lines = 200")


def test_many_containers_in_one_cell(kernel: Kernel) -> None:
    cell = kernel.good("%ecs_exec --all -o fleet sh -c 'hostname; echo x >&2'")
    assert cell.stdout.count("── demo/") == 3
    assert cell.stdout.count("stderr: x") == 3
    assert kernel.value("fleet.ok, len(fleet)") == "(True, 3)"
    failed = kernel.run("%ecs_exec --all -o fleet sh -c 'exit 3'")
    assert failed.error is not None
    assert failed.error[0] == "FleetFailed"
    assert kernel.value("len(fleet.failed)") == "3"
    job = kernel.good("job = %ecs_exec --all --bg --stdout texts hostname")
    (shown,) = job.displays.values()
    kernel.wait(lambda: "· done" in shown[-1])
    assert kernel.value("len(texts), job.result().ok") == "(3, True)"


def test_an_executor_is_a_variable_of_the_notebook(kernel: Kernel) -> None:
    kernel.good("dask = 3")
    cell = kernel.run("%ecs_exec --all --idempotent --executor dask hostname")
    assert cell.error is not None
    assert cell.error[0] == "InvalidRequest"
    assert cell.error[1].startswith("executor")


def test_values_in_commands(kernel: Kernel) -> None:
    kernel.good("file = \"it's $HOME; x\"\nfiles = ['a b', 'c']")
    cell = kernel.good("%ecs_exec --expand printf '%s|' {{file}} {{files}} {file} $file")
    assert cell.stdout == "it's $HOME; x|a b|c|{file}|"
    cell = kernel.good("%%ecs_shell --expand\nprintf '%s' {{file}}")
    assert cell.stdout == "it's $HOME; x"
    cell = kernel.good("%%ecs_shell\necho {{file}}")
    assert cell.stdout == "{{file}}\n"


def test_a_reload_ends_jobs_and_leaves_nothing_stale(kernel: Kernel) -> None:
    kernel.good("old = %ecs_exec --bg sh -c \"trap 'exit 3' TERM; while :; do sleep 0.1; done\"")
    kernel.good("%reload_ext ecs_exec_magic")
    # It waits for 5 s at most.
    assert kernel.value("old.wait(30), old.state") == "(True, 'cancelled')"
    assert kernel.good("%ecs_jobs").results == ["no jobs; --bg starts one"]
    kernel.good("%ecs_target demo/web:nginx")
    assert kernel.good("%ecs_exec echo again").stdout == "again\n"
