"""Cells of real kernels beside each other, interrupted, loaded anew; notebooks run by commands."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import threading
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import nbformat
import pytest
from packaging.version import Version

import ecs_exec_magic
from ecs_exec_magic import sandbox

from ..runtimes import WITHOUT_ENGINE
from .kernels import Kernel, Subshell, text_of, touch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytestmark = pytest.mark.kernel

BRIDGES = ("thread", "nest")
PLAIN = ""
AWAITING = "import asyncio\nawait asyncio.sleep(0)\n"


@pytest.fixture(scope="module")
def environment() -> Iterator[dict[str, str]]:
    with sandbox.start(pace="fast", runtime=WITHOUT_ENGINE) as cluster:
        yield dict(cluster.environment)


@pytest.fixture(scope="module")
def started(
    environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[str], Kernel]]:
    running: dict[str, Kernel] = {}

    def get(bridge: str) -> Kernel:
        if bridge not in running:
            kernel = Kernel(environment, str(tmp_path_factory.mktemp("ipython")))
            running[bridge] = kernel
            kernel.load()
            kernel.good(f"%config EcsExec.bridge = {bridge!r}")
        return running[bridge]

    try:
        yield get
    finally:
        for kernel in running.values():
            kernel.close()


@pytest.fixture(params=BRIDGES)
def kernel(request: pytest.FixtureRequest, started: Callable[[str], Kernel]) -> Kernel:
    kernel = started(request.param)
    kernel.good("%ecs_target demo/web:nginx")
    return kernel


@pytest.fixture
def aws(environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """The practice cluster for this process, too."""
    for name, value in environment.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def fresh(environment: dict[str, str], tmp_path: Path) -> Iterator[Kernel]:
    """A kernel that has loaded nothing."""
    kernel = Kernel(environment, str(tmp_path / "ipython"))
    try:
        yield kernel
    finally:
        kernel.close()


def test_the_kernel_has_the_versions_that_are_tested(kernel: Kernel) -> None:
    names = ("ipykernel", "ipython", "ipywidgets", "traitlets")
    kernel.good("from importlib.metadata import version")
    assert kernel.value(f"[version(n) for n in {names}]") == repr([version(n) for n in names])
    # ipykernel is the kernel, whichever version is found in site-packages.
    assert kernel.value("__import__('ipykernel').__version__") == repr(version("ipykernel"))
    assert kernel.value("__import__('IPython').__version__") == repr(version("ipython"))


@pytest.mark.parametrize("magic", ["%ecs_exec", "%%ecs_shell", "%ecs_target"])
def test_a_question_mark_shows_the_help(kernel: Kernel, magic: str) -> None:
    shown = kernel.good(
        f"get_ipython().run_line_magic('pinfo', {magic!r})\n"
        "print(get_ipython().payload_manager.read_payload()[-1]['data']['text/plain'])"
    ).stdout
    assert f"{magic} [OPTIONS]" in shown
    assert "--container NAME" in shown


# -- which cell gets what ------------------------------------------------------------------------


@pytest.mark.parametrize("before", [PLAIN, AWAITING])
def test_a_queued_cell_gets_nothing_of_the_one_before(kernel: Kernel, before: str) -> None:
    """Both streams end without a newline, at the very end."""
    script = "for n in 1 2 3; do echo out $n; echo err $n >&2; sleep 0.1; done"
    first = kernel.send(f"{before}r = %ecs_exec sh -c '{script}; printf o; printf e >&2'")
    second = kernel.send("print('mine')")
    third = kernel.send("%ecs_exec --no-raise sh -c 'echo third; echo wrong >&2; exit 3'")
    kernel.wait(lambda: first.done and second.done and third.done)
    assert first.stdout == "out 1\nout 2\nout 3\no"
    assert first.stderr == "err 1\nerr 2\nerr 3\ne"
    assert (second.stdout, second.stderr, second.results) == ("mine\n", "", [])
    assert (third.stdout, third.stderr) == ("third\n", "wrong\n")
    assert (first.results, len(third.results)) == ([], 1)


def test_a_command_that_was_given_up_says_nothing_to_the_next_cell(kernel: Kernel) -> None:
    """It goes on to print for as long as the far end lets it."""
    deaf = "trap '' INT TERM HUP; echo begun; while :; do echo tick; sleep 0.1; done"
    cell = kernel.run(f'%ecs_exec -o r --timeout 5 sh -c "{deaf}"')
    assert cell.error is not None
    assert cell.error[0] == "CommandTimeout"
    assert "begun" in cell.stdout
    quiet = kernel.good("import time\nfor n in range(10): print(n); time.sleep(0.1)")
    assert (quiet.stdout, quiet.stderr) == ("".join(f"{n}\n" for n in range(10)), "")
    assert kernel.good("%ecs_exec echo next").stdout == "next\n"


def test_two_cells_at_once_keep_their_output_apart(
    kernel: Kernel, environment: dict[str, str]
) -> None:
    if not Subshell.possible(kernel):
        pytest.skip(f"ipykernel {version('ipykernel')} runs one cell after the other")
    subshell = Subshell(kernel)
    say = "echo {0} $n; echo {0} $n >&2; sleep 0.2"
    # Neither goes on before the other has begun; nor do they end in one moment, for ipykernel 7.4
    # then loses a value (its display hook has one message for all threads).
    meet = "touch /tmp/{0}; until [ -e /tmp/{1} ]; do sleep 0.1; done"
    script = f"n=1; {say}; {meet}; for n in 2 3 4; do {say}; done"
    stay = "until [ -e /tmp/end ]; do sleep 0.1; done"
    one = f"%ecs_exec -o a sh -c '{script.format('a', 'b')}'"
    other = f"%ecs_exec -o b sh -c '{script.format('b', 'a')}; {stay}'"
    for first, second in ((kernel.send, subshell.send), (subshell.send, kernel.send)):
        kernel.good("%ecs_exec --quiet rm -f /tmp/a /tmp/b /tmp/end")
        a = first(one)
        kernel.wait(lambda: "a 1" in a.stdout)  # noqa: B023 - called at once
        b = second(other)
        kernel.wait(lambda: a.done)  # noqa: B023 - called at once
        assert not b.done
        touch(environment, "/tmp/end")
        kernel.wait(lambda: b.done)  # noqa: B023 - called at once
        for cell, name in ((a, "a"), (b, "b")):
            assert cell.status == "ok"
            assert cell.stdout == "".join(f"{name} {n}\n" for n in (1, 2, 3, 4))
            assert cell.stderr == cell.stdout
            assert len(cell.results) == 1
        assert kernel.value("a.stdout[:4], b.stdout[:4]") == r"('a 1\n', 'b 1\n')"


def test_a_click_comes_behind_its_text_and_waits_for_no_cell(kernel: Kernel) -> None:
    if not Subshell.possible(kernel):
        pytest.skip(f"ipykernel {version('ipykernel')} runs one cell after the other")
    kernel.good("from ecs_exec_magic.notebook.widgets import RunPanel\n%ecs_target demo/worker")
    kernel.good("panel = RunPanel()")
    field, button = (
        kernel.value(f"panel.{name}.comm.comm_id").strip("'") for name in ("_field", "_button")
    )
    subshell = Subshell(kernel)
    # What the page was last told of the button, it was told from there.
    told = subshell.send("panel._button.tooltip = 'told'")
    kernel.wait(lambda: told.done)
    for word in ("first", "second"):
        busy = kernel.send(
            "import time\nprint('begun')\nend = time.monotonic() + 60\n"
            f"while f'{{panel.result}}' != '{word}' and time.monotonic() < end: time.sleep(0.05)\n"
            "print(panel.result)"
        )
        kernel.wait(lambda: "begun" in busy.stdout)  # noqa: B023 - called at once
        state = {"value": f"printf {word}"}
        subshell.tell(field, {"method": "update", "state": state, "buffer_paths": []})
        subshell.tell(button, {"method": "custom", "content": {"event": "click"}})
        kernel.wait(lambda: busy.done)  # noqa: B023 - called at once
        assert busy.stdout == f"begun\n{word}\n"
        kernel.good("assert panel.wait(60)")  # until then the button means Stop
    kernel.good("panel.close()")


# -- interrupts beyond commands ------------------------------------------------------------------


@contextlib.contextmanager
def deaf_endpoint() -> Iterator[tuple[str, threading.Event]]:
    """An endpoint that takes connections and never answers; and whether it took one."""
    called = threading.Event()
    taken: list[socket.socket] = []

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                taken.append(server.accept()[0])
                called.set()

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.getsockname()[1]}", called
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join()
            for each in taken:
                each.close()


@pytest.mark.parametrize("before", [PLAIN, AWAITING])
def test_looking_a_target_up_can_be_interrupted(kernel: Kernel, before: str) -> None:
    kernel.good("after = None")
    with deaf_endpoint() as (url, called):
        cell = kernel.send(f"{before}%ecs_target --endpoint-url {url} demo/web\nafter = 'ran'")
        kernel.wait(called.is_set)
        kernel.interrupt()
        kernel.wait(lambda: cell.done, 25)  # boto3 itself would wait for 30 s
    assert cell.status == "error"
    assert cell.error is not None
    assert cell.error[0] == "Interrupted"
    assert len(cell.traceback.splitlines()) == 1
    assert kernel.value("after") == "None"
    assert kernel.good("%ecs_exec echo next").stdout == "next\n"


def test_an_awaited_command_can_be_interrupted(kernel: Kernel, aws: None) -> None:
    """The kernel's own interrupt of an await goes unnoticed while nothing wakes the loop."""
    kernel.good(
        "import ecs_exec_magic as ecs\n"
        "bridge = get_ipython().magics_manager.registry['EcsExec'].bridge\n"
        "target = ecs.connect(bridge=bridge).target('demo/web:nginx')\n"
        "after = None"
    )
    file = f"/tmp/{kernel.value('bridge')[1:-1]}"
    alive = f"while :; do echo x >>{file}; sleep 0.1; done"
    cell = kernel.send(f"await target.run_async({alive!r})\nafter = 'ran'")
    target = ecs_exec_magic.connect().target("demo/web:nginx")
    kernel.wait(lambda: int(target.run(f"cat {file} | wc -l").stdout) > 20)
    assert not cell.done
    kernel.interrupt()
    kernel.wait(lambda: cell.done)
    assert cell.error is not None
    assert cell.error[0] in ("CancelledError", "KeyboardInterrupt")
    assert kernel.value("after") == "None"
    stands_still = f"a=$(wc -c <{file}); sleep 1; [ $a = $(wc -c <{file}) ]"
    kernel.wait(lambda: target.run(stands_still).ok)


# -- where the user has applied nest_asyncio ------------------------------------------------------


def test_commands_beside_a_nest_asyncio_of_the_users_own(fresh: Kernel) -> None:
    """It comes with every platform; on ipykernel 7.1 and later its own nested runs lose cells."""
    fresh.good("import nest_asyncio\nnest_asyncio.apply()\n%load_ext ecs_exec_magic")
    fresh.good("%ecs_target demo/web:nginx")
    cells = [
        fresh.send(f"{before}%ecs_exec echo {n}") for n, before in enumerate([PLAIN, AWAITING] * 4)
    ]
    fresh.wait(lambda: all(cell.done for cell in cells))
    assert [cell.stdout for cell in cells] == [f"{n}\n" for n in range(8)]
    for before in (PLAIN, AWAITING):
        cell = fresh.send(f"{before}%ecs_exec sh -c 'echo begun; sleep 100'")
        fresh.wait(lambda: "begun" in cell.stdout)  # noqa: B023 - called at once
        fresh.interrupt()
        fresh.wait(lambda: cell.done)  # noqa: B023 - called at once
        assert cell.error is not None
        assert cell.error[0] == "Interrupted"
    fresh.good("%config EcsExec.bridge = 'nest'")
    nested = fresh.run("%ecs_exec echo nested")
    if Version(version("ipykernel")) < Version("7.1"):
        assert nested.stdout == "nested\n"
    else:
        assert nested.error is not None
        assert nested.error[0] == "BridgeError"
        assert "loses the next queued cell" in nested.traceback


# -- loaded anew, and unloaded -------------------------------------------------------------------

OURS = "[type(c).__name__ for c in get_ipython().configurables if type(c).__name__[:3] == 'Ecs']"
THREADS = "sorted(t.name for t in __import__('threading').enumerate())"


def test_a_reload_leaves_one_of_each(fresh: Kernel) -> None:
    fresh.good("%load_ext ecs_exec_magic")
    once = fresh.value(OURS)
    assert "EcsExec" in once
    fresh.good("%ecs_target demo/worker\n%config EcsExec.timeout = 33")
    fresh.good("%ecs_exec -o r echo before")
    fresh.good("%reload_ext ecs_exec_magic")
    assert fresh.value(OURS) == once
    fresh.good(
        "manager = get_ipython().magics_manager\n"
        "for table in manager.magics.values():\n"
        "    for name, magic in table.items():\n"
        "        if name.startswith('ecs_'):\n"
        "            owner = magic.__self__\n"
        "            assert owner is manager.registry[type(owner).__name__], name\n"
        "            assert owner in get_ipython().configurables, name"
    )
    # IPython keeps what %config sets, for those to come; the target was set otherwise, and is gone.
    assert fresh.good("%config EcsExec.timeout").results == ["33.0"]
    assert "no target is set" in fresh.good("%ecs_target").stdout
    fresh.good("%ecs_target demo/web:nginx")
    fresh.good("%config EcsExec.timeout = 1")
    cell = fresh.run("%ecs_exec sleep 30")
    assert cell.error is not None
    assert cell.error[0] == "CommandTimeout"
    assert fresh.value("r.stdout") == repr("before\n")


def test_unloading_leaves_no_thread(fresh: Kernel) -> None:
    before = fresh.value(THREADS)
    fresh.good("%load_ext ecs_exec_magic")
    assert fresh.value(THREADS) == before
    for _ in range(2):
        fresh.good("%ecs_exec -t demo/web:nginx -o r echo here")
        assert fresh.value(THREADS) != before
        fresh.good("%unload_ext ecs_exec_magic")
        fresh.good(
            "import time\n"
            "end = time.monotonic() + 60\n"
            f"while {THREADS} != {before} and time.monotonic() < end: time.sleep(0.05)"
        )
        assert fresh.value(THREADS) == before
        assert fresh.value("r.stdout") == repr("here\n")
        assert fresh.run("%ecs_exec echo gone").status == "error"
        fresh.good("%load_ext ecs_exec_magic")


# -- notebooks run by commands -------------------------------------------------------------------


def write(path: Path, *sources: str, parameters: str = "") -> Path:
    new: Any = nbformat.v4
    cells = [new.new_code_cell(source) for source in sources]
    if parameters:
        cells.insert(0, new.new_code_cell(parameters, metadata={"tags": ["parameters"]}))
    book = new.new_notebook(cells=cells)
    book.metadata["kernelspec"] = {"name": "python3", "display_name": "x", "language": "python"}
    path.write_text(new.writes(book))
    return path


def command(
    environment: dict[str, str], module: str, *arguments: str | Path
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", module, *map(str, arguments)],
        env={**os.environ, **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )


def read(path: Path) -> list[Any]:
    """The code cells of a notebook, without the one that papermill adds to tell of an error."""
    load: Any = nbformat.read
    cells = [cell for cell in load(path, as_version=4).cells if cell.cell_type == "code"]
    return [
        cell for cell in cells if "papermill-error-cell-tag" not in cell.metadata.get("tags", ())
    ]


@pytest.mark.parametrize(
    ("line", "ename", "says"),
    [
        ("%ecs_exec sh -c 'echo why >&2; exit 9'", "CommandFailed", ("exit code 9", "why")),
        ("%ecs_exec --timeout 5 sh -c 'echo far; sleep 100'", "CommandTimeout", ("far",)),
        ("%ecs_exec -t demo/nothing-like-it ls", "TargetNotFound", ("nothing-like-it",)),
        # IPython shows the mistakes of a line on stderr, and tells papermill nothing of them.
        ("%ecs_exec --tiemout 1 ls", "", ("did you mean --timeout?",)),
    ],
)
def test_papermill_stops_at_the_cell_that_fails(
    environment: dict[str, str], tmp_path: Path, line: str, ename: str, says: tuple[str, ...]
) -> None:
    source = write(
        tmp_path / "in.ipynb",
        "%load_ext ecs_exec_magic\n%ecs_target demo/web:nginx",
        "%ecs_exec --help",  # argparse would leave the kernel here, and papermill see success
        "%ecs_exec echo as it should",
        line,
        "print('never')",
    )
    done = command(environment, "papermill", source, tmp_path / "out.ipynb", "--no-progress-bar")
    assert done.returncode == 1, done.stderr
    *before, failed, never = read(tmp_path / "out.ipynb")
    assert all(cell.execution_count for cell in before)
    assert text_of(before[-1]).startswith("as it should\n")
    assert (never.execution_count, never.outputs) == (None, [])
    errors = [each for each in failed.outputs if each.output_type == "error"]
    if not ename:
        said = text_of(failed)
        assert says[0] in said
        assert errors == []
        return
    (error,) = errors
    assert error.ename == ename
    for word in says:
        assert word in done.stderr
        assert word in "".join((error.evalue, *error.traceback))


def test_papermill_feeds_every_option(environment: dict[str, str], tmp_path: Path) -> None:
    """Nothing of what the notebook itself names exists: it runs on its parameters alone."""
    keys = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")  # boto3 leaves them for a profile named
    profile = ["[profile practice]", *(f"{key.lower()} = {environment[key]}" for key in keys)]
    (tmp_path / "aws").write_text("\n".join(profile))
    values: dict[str, Any] = {
        "cluster": "demo",
        "service": "web",
        "family": "worker",
        "container": "nginx",
        "seconds": 20,
        "name": "found",
        "shell": "/bin/sh",
        "region": environment["AWS_REGION"],
        "profile": "practice",
        "endpoint": environment["AWS_ENDPOINT_URL"],
        "given": "data",
    }
    path = write(
        tmp_path / "in.ipynb",
        "%load_ext ecs_exec_magic\ndata = 'from the notebook'",
        "%ecs_exec -t {cluster}/{service}:{container} --timeout {seconds} -o {name}"
        " --stdout {name}_out --stderr {name}_err --stdin {given} sh -c 'cat; echo err >&2'",
        "assert (found.stdout, found_out, found_err) == (data, data, 'err\\n')",
        "%%ecs_shell --cluster {cluster} --service {service} --container={container}"
        " --shell {shell} -o {name}\necho $0; echo '{name}'",
        "assert found.stdout == f'{shell}\\n{{name}}\\n', found.stdout\n"
        "assert (found.target.service, found.target.container) == ('web', 'nginx')\n"
        "task = found.target.task_id",
        "%ecs_exec --cluster {cluster} --task {task} --container {container} -o {name} true",
        "assert found.target.task_id == task",
        "%ecs_exec --cluster {cluster} --family {family} -o {name} true",
        "assert found.target.service == 'worker'",
        "%ecs_exec -t {cluster}/{service}:{container} --region {region} --profile {profile}"
        " --endpoint-url {endpoint} -o {name} true",
        "assert (found.target.region, found.ok) == (region, True)",
        "%ecs_target {cluster}/{service}:{container} --region {region}\n"
        "%config EcsExec.timeout = seconds\n"
        "%ecs_exec -o {name} true",
        "assert found.target.cluster == cluster",
        parameters="\n".join(f"{name} = None" for name in values),
    )
    given = [word for name, value in values.items() for word in ("-p", name, str(value))]
    done = command(
        {**environment, "AWS_CONFIG_FILE": str(tmp_path / "aws")},
        "papermill",
        path,
        tmp_path / "out.ipynb",
        "--no-progress-bar",
        *given,
    )
    assert done.returncode == 0, done.stderr
    assert all(cell.execution_count for cell in read(tmp_path / "out.ipynb"))


def test_nbconvert_fails_with_a_failing_command(
    environment: dict[str, str], tmp_path: Path
) -> None:
    path = write(
        tmp_path / "in.ipynb",
        "%load_ext ecs_exec_magic",
        "%ecs_exec -t demo/web:nginx sh -c 'echo why >&2; exit 9'",
    )
    how = ("--to", "notebook", "--execute", "--output", "out")
    done = command(environment, "nbconvert", *how, path)
    assert done.returncode == 1, done.stderr
    assert "CommandFailed" in done.stderr
    assert "exit code 9" in done.stderr
    assert "why" in done.stderr
