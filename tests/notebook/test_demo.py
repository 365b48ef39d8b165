"""The demo: cells appear as they run, and its exit code says whether they all did."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import nbformat
import pytest

from ecs_exec_magic import demo, sandbox
from ecs_exec_magic.errors import InvalidRequest

if TYPE_CHECKING:
    from collections.abc import Callable

QUICKSTART = Path(__file__).parents[2] / "notebooks" / "01_quickstart.ipynb"


class FakeCluster:
    def __init__(self) -> None:
        self.environment = {"PRACTICE": "yes"}
        self.stopped = False

    def stop(self) -> None:
        self.stopped = True


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> FakeCluster:
    cluster = FakeCluster()
    monkeypatch.setattr(sandbox, "start", lambda **options: cluster, raising=False)
    return cluster


@pytest.fixture
def notebook(tmp_path: Path) -> Callable[..., Path]:
    def write(*sources: str) -> Path:
        new: Any = nbformat.v4
        cells = [
            new.new_markdown_cell(source[1:].strip())
            if source.startswith("#")
            else new.new_code_cell(source)
            for source in sources
        ]
        path = tmp_path / "some.ipynb"
        path.write_text(nbformat.writes(new.new_notebook(cells=cells)))  # type: ignore[no-untyped-call]  # nbformat is untyped
        return path

    return write


def test_cells_and_their_output_are_shown(
    cluster: FakeCluster, notebook: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    path = notebook(
        "# Some **bold** `%%ecs_shell`",
        "import os, sys\nprint('practice: ' + os.environ['PRACTICE'])\nprint(sys.executable)",
        "6 * 7",
    )
    assert demo.main(path) == 0
    shown = capsys.readouterr().out
    for text in (
        "Some bold %%ecs_shell\n",
        "[1/2] import os, sys\n      print(",
        "practice: yes\n",
        f"{sys.executable}\n",
        "[2/2] 6 * 7",
        "\n42\n",
        "2 cells ran in",
        "ecs-exec-magic lab",
    ):
        assert text in shown
    assert cluster.stopped
    page = path.with_name("some.executed.html").read_text()
    assert "practice: yes" in page
    original: Any = nbformat.read(path, as_version=4)  # type: ignore[no-untyped-call]  # as above
    assert all(not cell.outputs for cell in original.cells if cell.cell_type == "code")


def test_a_failing_cell_fails_the_demo(
    cluster: FakeCluster, notebook: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    path = notebook("print('one')", "raise ValueError('on purpose')", "print('th' + 'ree')")
    assert demo.run(str(path)) == 1
    shown = capsys.readouterr().out
    assert "one\n" in shown
    assert "ValueError: on purpose" in shown
    assert "three" not in shown
    assert "a cell failed" in shown
    assert cluster.stopped
    assert "on purpose" in path.with_name("some.executed.html").read_text()


def test_what_is_missing_is_said(cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InvalidRequest, match="there is no notebook"):
        demo.run("nowhere.ipynb")
    with pytest.raises(InvalidRequest, match="one notebook is expected"):
        demo.run("a", "b")
    with pytest.raises(InvalidRequest, match="one notebook is expected"):
        demo.run("--what")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(InvalidRequest, match="this needs nbclient") as caught:
        demo.main(QUICKSTART)
    assert "ecs-exec-magic[lab]" in caught.value.cure


def test_lab_gets_the_notebook_and_the_cluster(
    cluster: FakeCluster, notebook: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    started: dict[str, Any] = {}

    class Lab:
        waits = 0

        def __init__(self, command: list[str], env: dict[str, str]) -> None:
            started.update(command=command, env=env)

        def __enter__(self) -> Lab:
            return self

        def __exit__(self, *_: object) -> None:
            return None

        def wait(self) -> int:
            assert not cluster.stopped
            self.waits += 1
            if self.waits == 1:
                raise KeyboardInterrupt  # JupyterLab asks whether that was meant
            return 5

    monkeypatch.setattr("subprocess.Popen", Lab)
    monkeypatch.setenv("AWS_PROFILE", "the-real-one")
    path = notebook("1")
    assert demo.run("--live", str(path), "--", "--no-browser") == 5
    assert started["command"][:5] == [sys.executable, "-m", "jupyterlab", str(path), "--no-browser"]
    assert started["env"]["PRACTICE"] == "yes"
    assert "AWS_PROFILE" not in started["env"], "the demo must not reach a real account"
    assert cluster.stopped


def test_the_quickstart_is_clean() -> None:
    book: Any = nbformat.read(QUICKSTART, as_version=4)  # type: ignore[no-untyped-call]  # as above
    nbformat.validate(book)
    codes = [cell for cell in book.cells if cell.cell_type == "code"]
    assert all(not cell.outputs and cell.execution_count is None for cell in codes)
    assert [cell for cell in codes if "parameters" in cell.metadata.get("tags", [])] == codes[:1]
    assert len({cell.id for cell in book.cells}) == len(book.cells)
    later = "\n".join(cell.source for cell in codes[1:])
    assert "demo/" not in later, "the address stands in the parameters alone"
