"""The notebooks of this repository, as papermill runs them against the practice cluster."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import nbformat
import papermill
import pytest
from papermill.exceptions import PapermillExecutionError

from ecs_exec_magic import sandbox

from ..runtimes import WITHOUT_ENGINE
from .kernels import own_sockets, text_of

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.kernel

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"


@pytest.fixture(scope="module")
def environment() -> Iterator[dict[str, str]]:
    with sandbox.start(pace="fast", runtime=WITHOUT_ENGINE) as cluster:
        yield dict(cluster.environment)


@pytest.fixture(autouse=True)
def aws(environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)


def execute(name: str, place: Path, **parameters: Any) -> Any:
    """Run a notebook in a directory; the executed notebook, which is written in any case."""
    with tempfile.TemporaryDirectory(prefix="ecs") as sockets:
        papermill.execute_notebook(
            NOTEBOOKS / name,
            place / "out.ipynb",
            parameters=parameters,
            progress_bar=False,
            kernel_name="python3",
            cwd=place,
            config=own_sockets(sockets),
        )
    return read(place)


def read(place: Path) -> Any:
    book: Any = nbformat.read  # untyped
    return book(place / "out.ipynb", as_version=4)


def shown(book: Any, cell_id: str) -> str:
    """What a cell shows, as text."""
    (cell,) = (each for each in book.cells if each.get("id") == cell_id)
    return text_of(cell)


def ran(book: Any) -> list[str]:
    """Ids of the cells that have run to their end."""
    return [
        cell.id
        for cell in book.cells
        if cell.cell_type == "code" and cell.metadata.papermill.status == "completed"
    ]


def failed(place: Path) -> list[str]:
    return [
        cell.id
        for cell in read(place).cells
        if cell.cell_type == "code" and cell.metadata.papermill.status == "failed"
    ]


# -- the runbook ---------------------------------------------------------------------------------


def test_a_healthy_service_passes_the_runbook(tmp_path: Path) -> None:
    book = execute("02_runbook.ipynb", tmp_path, max_disk_percent=100)
    assert "is healthy: 3 containers were looked at" in shown(book, "verdict")
    assert "0 of 3 containers were short" in shown(book, "disk-act")
    assert shown(book, "tasks").count("nginx") >= 3
    assert "'threads'" in shown(book, "memory-look")
    assert "3 containers:" in shown(book, "config")
    assert (tmp_path / ".ecs-exec" / "history.jsonl").stat().st_mode & 0o777 == 0o600


def test_findings_are_acted_upon_and_fail_the_run(tmp_path: Path) -> None:
    with pytest.raises(PapermillExecutionError) as caught:
        execute("02_runbook.ipynb", tmp_path, max_disk_percent=-1, min_memory_mb=1 << 40)
    assert caught.value.ename == "AssertionError"
    assert "6 findings in demo/web:nginx" in str(caught.value)
    assert failed(tmp_path) == ["verdict"]
    book = read(tmp_path)
    assert "3 of 3 containers were short of disk space" in shown(book, "disk-act")
    assert "MB of memory left" in shown(book, "verdict")


def test_a_missing_line_of_configuration_stops_it_there(tmp_path: Path) -> None:
    with pytest.raises(PapermillExecutionError) as caught:
        execute("02_runbook.ipynb", tmp_path, max_disk_percent=100, config_line="no such line")
    assert caught.value.ename == "FleetFailed"
    assert "'no such line' /etc/nginx/nginx.conf" in str(caught.value)
    assert "exit code 1" in str(caught.value)
    assert failed(tmp_path) == ["config"]
    assert "verdict" not in ran(read(tmp_path))


def test_another_service_and_a_wrong_one(tmp_path: Path) -> None:
    book = execute(
        "02_runbook.ipynb",
        tmp_path,
        service="demo/worker",
        max_disk_percent=100,
        config_file="/etc/passwd",
        config_line="root",
    )
    assert "demo/worker is healthy: 2 containers" in shown(book, "verdict")
    with pytest.raises(PapermillExecutionError) as caught:
        execute("02_runbook.ipynb", tmp_path, service="demo/wroker")
    assert caught.value.ename == "TargetNotFound"
    assert "did you mean demo/worker" in str(caught.value)
    assert failed(tmp_path) == ["tasks"]


# -- the training --------------------------------------------------------------------------------


def lesson(place: Path, *, solved: bool) -> Any:
    """Run the training as a learner would: with its own solutions, or with nothing done."""
    book: Any = nbformat.read(NOTEBOOKS / "03_training.ipynb", as_version=4)  # type: ignore[no-untyped-call]
    if solved:
        cells = {cell.id: cell for cell in book.cells}
        for name, cell in cells.items():
            if name.startswith("exercise-"):
                told = cells[name.replace("exercise", "solution")].source
                cell.source = told.partition("```python\n")[2].partition("\n```")[0]
    nbformat.write(book, place / "lesson.ipynb")  # type: ignore[no-untyped-call]
    return execute(str(place / "lesson.ipynb"), place)


def checks(book: Any) -> list[str]:
    return [
        each.id for each in book.cells if each.id.startswith("check-") and each.id[-1].isdigit()
    ]


def test_the_solutions_of_the_training_are_right(tmp_path: Path) -> None:
    book = lesson(tmp_path, solved=True)
    assert len(checks(book)) == 8
    for each in checks(book):
        assert shown(book, each).endswith("solved\n"), shown(book, each)
        assert "✗" not in shown(book, each)
    assert shown(book, "check-all").count("fail ") == 0
    assert "role.channel" in shown(book, "check-broken")
    assert "✓ nothing of the plan is left" in shown(book, "gone")


def test_the_training_says_what_is_not_done(tmp_path: Path) -> None:
    book = lesson(tmp_path, solved=False)
    for each in checks(book):
        assert shown(book, each).endswith("not yet\n"), shown(book, each)
        assert "✗" in shown(book, each)
    # Whoever only reads is left with nothing to pay for.
    assert "✓ nothing of the plan is left" in shown(book, "gone")


# -- the incident --------------------------------------------------------------------------------


def test_the_incident_is_found_repaired_and_reported(tmp_path: Path) -> None:
    book = execute("04_incident.ipynb", tmp_path)
    assert "1 answer: <h1>502 Bad Gateway</h1>" in shown(book, "ask")
    assert "2 answer: <!DOCTYPE html>" in shown(book, "ask")
    assert "+<h1>502 Bad Gateway</h1>" in shown(book, "compare")
    assert "all 3 tasks answer alike again" in shown(book, "verify")
    assert "hunter2" not in shown(book, "logs")
    report = (tmp_path / "incident.md").read_text("utf-8")
    for part in ("502 Bad Gateway", "tail -n 20 /var/log/app.log", "upstream timed out", "cksum"):
        assert part in report
    assert "hunter2" not in report
    assert "hunter2" not in (tmp_path / ".ecs-exec" / "history.jsonl").read_text("utf-8")


def test_the_incident_as_a_page(tmp_path: Path) -> None:
    execute("04_incident.ipynb", tmp_path, report="incident.html")
    page = (tmp_path / "incident.html").read_text("utf-8")
    assert page.startswith(("<!DOCTYPE html>", "<!doctype html>"))
    assert "&lt;h1&gt;502 Bad Gateway&lt;/h1&gt;" in page


def test_without_an_incident_it_says_so(tmp_path: Path) -> None:
    with pytest.raises(PapermillExecutionError, match="this is another incident"):
        execute("04_incident.ipynb", tmp_path, stage_incident=False)
    assert failed(tmp_path) == ["odd"]
