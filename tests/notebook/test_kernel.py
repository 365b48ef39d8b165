"""The magics in real kernels, against real containers of the practice cluster."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import nbformat
import papermill
import pytest
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from papermill.exceptions import PapermillExecutionError

from ecs_exec_magic import demo, sandbox

from ..runtimes import WITHOUT_ENGINE
from .kernels import Kernel, own_sockets, text_of, touch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.kernel

ROOT = Path(__file__).parents[2]
QUICKSTART = ROOT / "notebooks" / "01_quickstart.ipynb"
BRIDGES = ("thread", "nest")


@pytest.fixture(scope="module")
def environment() -> Iterator[dict[str, str]]:
    cluster = sandbox.start(pace="fast", runtime=WITHOUT_ENGINE)
    try:
        yield dict(cluster.environment)
    finally:
        cluster.stop()


@pytest.fixture(scope="module")
def kernels(
    environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[str], Kernel]]:
    """One kernel for each bridge; tests leave them usable, as users' mistakes do."""
    running: dict[str, Kernel] = {}

    def get(bridge: str) -> Kernel:
        if bridge not in running:
            kernel = Kernel(environment, str(tmp_path_factory.mktemp("ipython")))
            running[bridge] = kernel
            kernel.load()
            kernel.good(f"%config EcsExec.bridge = {bridge!r}")
            kernel.good("%ecs_target demo/web:nginx")
        return running[bridge]

    try:
        yield get
    finally:
        for kernel in running.values():
            kernel.close()


@pytest.fixture(params=BRIDGES)
def kernel(request: pytest.FixtureRequest, kernels: Callable[[str], Kernel]) -> Kernel:
    return kernels(request.param)


# -- running -------------------------------------------------------------------------------------


def test_fifty_runs_in_a_row_in_one_cell(kernel: Kernel) -> None:
    cell = kernel.good(
        "codes = []\n"
        "for number in range(50):\n"
        "    r = %ecs_exec --quiet --no-raise sh -c 'echo a; exit 7'\n"
        "    codes.append((r.exit_code, r.stdout, r.exact))\n"
        "sorted(set(codes))"
    )
    assert cell.results == ["[(7, 'a\\n', True)]"]
    assert kernel.value("len(codes)") == "50"


def test_fifty_queued_cells_lose_nothing(kernel: Kernel) -> None:
    """Run All: every cell is queued before the first has begun."""
    cells = [
        kernel.send(
            f"%ecs_exec -o r{number} echo cell {number}"
            if number % 2
            else f"%%ecs_shell -o r{number}\necho cell {number}\necho error {number} >&2"
        )
        for number in range(50)
    ]
    kernel.wait(lambda: all(cell.done for cell in cells), 150)
    for number, cell in enumerate(cells):
        assert cell.status == "ok", cell
        assert cell.stdout == f"cell {number}\n"
        assert cell.stderr == ("" if number % 2 else f"error {number}\n")
        assert len(cell.results) == 1
        assert "exit code 0" in cell.results[0]
    kernel.good("assert all(globals()[f'r{number}'].exact for number in range(50))")


def test_a_failure_stops_run_all(kernel: Kernel, tmp_path: Path) -> None:
    kernel.good("third = None")
    # The first one waits until the others are queued.
    queued = f"{tmp_path}/queued"
    one = f"import os, time\nwhile not os.path.exists({queued!r}): time.sleep(0.05)\n"
    first, second, third = (
        kernel.send(source)
        for source in (f"{one}%ecs_exec echo one", "%ecs_exec sh -c 'exit 3'", "third = 'ran'")
    )
    (tmp_path / "queued").touch()
    kernel.wait(lambda: first.done and second.done and third.done)
    assert (first.status, second.status) == ("ok", "error")
    assert second.error is not None
    assert second.error[0] == "CommandFailed"
    assert "exit code 3" in second.error[1]
    assert len(second.traceback.splitlines()) <= 5
    assert third.status == "aborted"
    assert kernel.value("third") == "None"


def test_magics_beside_await(kernel: Kernel) -> None:
    """A cell with a top-level await runs as a coroutine of the notebook's loop."""
    cell = kernel.good(
        "import asyncio\n"
        "await asyncio.sleep(0)\n"
        "r = %ecs_exec echo in a coroutine\n"
        "await asyncio.sleep(0)\n"
        "r.stdout"
    )
    assert cell.stdout == "in a coroutine\n"
    assert cell.results == [repr("in a coroutine\n")]


def test_output_comes_while_the_command_runs(kernel: Kernel, environment: dict[str, str]) -> None:
    kernel.good("%ecs_exec --quiet rm -f /tmp/seen")
    wait = "until [ -e /tmp/seen ]; do sleep 0.1; done"
    cell = kernel.send(f"%ecs_exec -o r sh -c 'echo begun; {wait}; echo ended'")
    kernel.wait(lambda: "begun" in cell.stdout)
    assert "ended" not in cell.stdout
    assert not cell.done
    touch(environment, "/tmp/seen")
    kernel.wait(lambda: cell.done)
    assert cell.stdout == "begun\nended\n"


def test_streams_keep_their_order(kernel: Kernel, environment: dict[str, str]) -> None:
    """Each line waits until the one before is seen: at the far end two pipelines carry them."""
    lines = [f"{name} {n}\n" for n in (1, 2, 3) for name in ("out", "err")]
    kernel.good("%ecs_exec --quiet rm -f /tmp/seen-*")
    cell = kernel.send(
        "%%ecs_shell\n"
        "seen() { until [ -e /tmp/seen-$1-$n ]; do sleep 0.1; done; }\n"
        "for n in 1 2 3; do echo out $n; seen out; echo err $n >&2; seen err; done"
    )
    for count, line in enumerate(lines, 1):
        kernel.wait(lambda: len(cell.streams) >= count)  # noqa: B023 - called at once
        touch(environment, f"/tmp/seen-{line.strip().replace(' ', '-')}")
    kernel.wait(lambda: cell.done)
    assert [text for _, text in cell.streams] == lines


def test_a_chatty_command_makes_few_messages(kernel: Kernel) -> None:
    began = time.monotonic()
    cell = kernel.good(
        "%%ecs_shell -o r\n"
        "n=0; while [ $n -lt 190 ]; do echo out $n; echo err $n >&2; n=$((n+1)); done"
    )
    elapsed = time.monotonic() - began
    assert cell.stdout == "".join(f"out {n}\n" for n in range(190))
    assert cell.stderr == "".join(f"err {n}\n" for n in range(190))
    assert len(cell.streams) <= 10 * (elapsed + 1)


def test_large_output_is_whole_in_the_result_only(kernel: Kernel) -> None:
    cell = kernel.good(
        f"%%ecs_shell -o r\nn=0; while [ $n -lt 6000 ]; do\necho '{'x' * 90}' $n; n=$((n+1)); done"
    )
    assert len(cell.stdout) < 300 * 1024
    assert cell.stdout.endswith(" 5999\n")
    assert any("folded" in text for text in cell.results)
    assert kernel.value("len(r.lines), r.exact, r.lines[-1][-5:]") == "(6000, True, ' 5999')"


def test_capture_and_bytes(kernel: Kernel) -> None:
    kernel.good("%%capture shown\n%ecs_exec -o r printf '\\033[2J\\033[31mred\\377'")
    assert kernel.value("r.stdout_bytes") == repr(b"\x1b[2J\x1b[31mred\xff")
    assert kernel.value("shown.stdout") == repr("\x1b[31mred\N{REPLACEMENT CHARACTER}\x1b[0m")


def test_stdin(kernel: Kernel) -> None:
    kernel.good("import io\ndata = bytes(range(256)) * 40\nsource = io.BytesIO(data)")
    kernel.good("pieces = [data[:99], data[99:]]\ntext = 'grün'")
    for name in ("data", "source", "pieces"):
        kernel.good(f"%ecs_exec --quiet --stdin {name} -o r cat")
        assert kernel.value("r.stdout_bytes == data, r.exact") == "(True, True)"
    kernel.good("%ecs_exec --quiet --stdin text -o r cat")
    assert kernel.value("r.stdout") == "'grün'"


def test_a_timeout_keeps_what_came(kernel: Kernel) -> None:
    cell = kernel.run("%ecs_exec -o r --timeout 5 sh -c 'echo begun; sleep 100'")
    assert cell.error is not None
    assert cell.error[0] == "CommandTimeout"
    assert kernel.value("r.timed_out, r.stdout") == "(True, 'begun\\n')"
    assert kernel.good("%ecs_exec echo next").stdout == "next\n"


def test_errors_are_short(kernel: Kernel) -> None:
    cell = kernel.run("%ecs_exec -t demo/nothing-like-it:x ls")
    assert cell.error is not None
    assert cell.error[0] == "TargetNotFound"
    assert len(cell.traceback.splitlines()) <= 5
    assert "Traceback" not in cell.traceback


# -- interrupts ----------------------------------------------------------------------------------

# The far end says so when the signal arrives, and goes on for a moment before it ends.
PATIENT = (
    "trap 'echo got INT; sleep 0.3; echo bye; exit 130' INT; "
    "echo begun; while :; do sleep 0.2; done"
)


@pytest.mark.parametrize("before", ["", "import asyncio\nawait asyncio.sleep(0)\n"])
@pytest.mark.parametrize("magic", ["line", "script"])
def test_an_interrupt_reaches_the_far_end(kernel: Kernel, before: str, magic: str) -> None:
    kernel.good(f"script = {PATIENT!r}\nr = 'old'; after = None")
    if magic == "line":
        source = f'{before}%ecs_exec -o r sh -c "{PATIENT}"\nafter = "ran"'
    else:
        body = "get_ipython().run_cell_magic('ecs_shell', '-o r', script)"
        source = f'{before}{body}\nafter = "ran"'
    cell, queued = kernel.send(source), kernel.send("queued = 'ran'")
    kernel.wait(lambda: "begun" in cell.stdout)
    kernel.interrupt()
    kernel.wait(lambda: cell.done and queued.done)
    assert cell.status == "error"
    assert cell.error is not None
    assert cell.error[0] == "Interrupted"
    assert queued.status == "aborted"
    assert kernel.value("after") == "None"
    assert kernel.value("r.stdout") == repr("begun\ngot INT\nbye\n")
    assert kernel.good("%ecs_exec echo next").stdout == "next\n"


def test_a_second_interrupt_ends_what_ignores_the_first(kernel: Kernel) -> None:
    deaf = "trap '' INT; echo begun; while :; do sleep 0.2; done"
    cell = kernel.send(f'%ecs_exec -o r sh -c "{deaf}"')
    kernel.wait(lambda: "begun" in cell.stdout)
    kernel.interrupt()
    kernel.wait(lambda: "a second interrupt ends its session" in cell.stderr)
    assert not cell.done
    kernel.interrupt()
    kernel.wait(lambda: cell.done)
    assert cell.error is not None
    assert kernel.good("%ecs_exec echo next").stdout == "next\n"


# -- without a kernel ----------------------------------------------------------------------------

PLAIN = """
import asyncio
from IPython.core.interactiveshell import InteractiveShell
from traitlets.config import Config
config = Config()
config.HistoryManager.enabled = False
shell = InteractiveShell.instance(config=config)
shell.run_line_magic("load_ext", "ecs_exec_magic")
shell.run_line_magic("config", "EcsExec.bridge = {bridge!r}")

def work():
    shell.run_line_magic("ecs_target", "demo/web:nginx")
    for number in range(3):
        result = shell.run_line_magic("ecs_exec", f"--quiet echo {{number}}")
        assert (result.stdout, result.exact) == (f"{{number}}\\n", True), result

async def inside():
    work()

{call}
shell.run_line_magic("unload_ext", "ecs_exec_magic")
print("worked")
"""


@pytest.mark.parametrize("bridge", BRIDGES)
@pytest.mark.parametrize(
    "call", ["work()", "asyncio.run(inside())", "work()\nasyncio.run(inside())\nwork()"]
)
def test_inside_and_outside_of_a_running_loop(
    environment: dict[str, str], bridge: str, call: str
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PLAIN.format(bridge=bridge, call=call)],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("worked\n")
    assert "never retrieved" not in done.stderr
    assert "never awaited" not in done.stderr


# -- whole notebooks -----------------------------------------------------------------------------


@pytest.fixture
def aws(environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)


def _text(book: Any) -> str:
    return "".join(text_of(cell) for cell in book.cells)


def _write(path: Path, *sources: str) -> Path:
    new: Any = nbformat.v4
    book = new.new_notebook(cells=[new.new_code_cell(source) for source in sources])
    book.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3"}
    path.write_text(new.writes(book))
    return path


@pytest.fixture
def sockets() -> Iterator[Any]:
    with tempfile.TemporaryDirectory(prefix="ecs") as place:
        yield own_sockets(place)


def test_the_quickstart_runs_headless(aws: None, tmp_path: Path, sockets: Any) -> None:
    read: Any = nbformat.read
    book = read(QUICKSTART, as_version=4)
    place = {"metadata": {"path": str(tmp_path)}}
    NotebookClient(book, timeout=120, config=sockets, resources=place).execute()
    text = _text(book)
    assert "<h1>Written from a notebook</h1>" in text
    assert text.index("Written from a notebook") > text.index("index.html")
    assert "exit code: 2" in text
    assert "\n42" in text
    assert "left out: /etc/missing" in text
    assert re.search(r"Mounted on|Use%|Capacity", text)


def test_papermill_runs_the_quickstart(aws: None, tmp_path: Path, sockets: Any) -> None:
    done = papermill.execute_notebook(
        QUICKSTART,
        tmp_path / "out.ipynb",
        parameters={"address": "demo/web:nginx"},
        progress_bar=False,
        kernel_name="python3",
        config=sockets,
        cwd=tmp_path,
    )
    assert "Written from a notebook" in _text(done)


def test_papermill_fails_with_a_failing_command(aws: None, tmp_path: Path, sockets: Any) -> None:
    path = _write(
        tmp_path / "in.ipynb",
        "%load_ext ecs_exec_magic",
        "%ecs_exec -t demo/web:nginx sh -c 'echo why >&2; exit 9'",
        "print('never')",
    )
    with pytest.raises(PapermillExecutionError) as caught:
        papermill.execute_notebook(
            path,
            tmp_path / "out.ipynb",
            progress_bar=False,
            kernel_name="python3",
            config=sockets,
            cwd=tmp_path,
        )
    assert caught.value.ename == "CommandFailed"
    assert "exit code 9" in str(caught.value)
    assert "why" in str(caught.value)


def test_nbclient_can_allow_an_error_by_its_name(aws: None, tmp_path: Path, sockets: Any) -> None:
    read: Any = nbformat.read
    path = _write(
        tmp_path / "in.ipynb",
        "%load_ext ecs_exec_magic",
        "%ecs_exec -t demo/web:nginx false",
        "print('went on')",
    )
    with pytest.raises(CellExecutionError, match="CommandFailed"):
        NotebookClient(read(path, as_version=4), timeout=120, config=sockets).execute()
    book = read(path, as_version=4)
    how = {"allow_error_names": ["CommandFailed"], "config": sockets}
    NotebookClient(book, timeout=120, **how).execute()
    assert "went on" in _text(book)


def test_the_demo_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / QUICKSTART.name
    shutil.copy(QUICKSTART, path)
    assert demo.main(path) == 0
    shown = capsys.readouterr().out
    assert "<h1>Written from a notebook</h1>" in shown
    assert "[1/" in shown
    assert (tmp_path / "01_quickstart.executed.html").stat().st_size > 10_000
