"""The matrix's own bookkeeping: what is pinned, what counts as passed, and who takes part."""

from __future__ import annotations

import re
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from . import __main__ as matrix
from .__main__ import NEEDED, Outcome, VersionSet, named, table

NOTEBOOK = Path(__file__).parents[1] / "notebook"
SETS = {each.pins.stem: each for each in named([])}


def test_the_sets_are_those_of_the_platforms() -> None:
    assert set(SETS) == {"colab", "databricks", "newest", "sagemaker"}
    assert [each.pins.stem for each in named(["newest", "colab"])] == ["newest", "colab"]


def test_an_unknown_set_is_refused_with_the_choice() -> None:
    with pytest.raises(SystemExit, match="no set colob; there are colab, databricks"):
        named(["colob"])


@pytest.mark.parametrize("name", SETS)
def test_pins_are_exact_dated_and_in_order(name: str) -> None:
    text = SETS[name].pins.read_text("utf-8")
    pins = [line for line in text.splitlines() if not line.startswith("#")]
    assert all(re.fullmatch(r"[A-Za-z0-9_.-]+==[0-9][0-9a-z.]*", pin) for pin in pins)
    assert pins == sorted(pins, key=str.lower)
    if name != "newest":
        assert re.search(r"\b20\d\d-\d\d-\d\d\b", text), "from when are they?"
        assert {"ipython", "ipykernel", "ipywidgets"} <= {pin.partition("==")[0] for pin in pins}


def test_kernel_tests_need_nothing_of_the_extra_lab() -> None:
    assert not {"jupyterlab", "ecs-exec-magic"} & set(NEEDED.read_text("utf-8").split())


def test_whoever_starts_a_kernel_takes_part() -> None:
    """A test of kernels that has no marker runs on the newest versions only."""
    seen = 0
    for path in NOTEBOOK.glob("test_*.py"):
        text = path.read_text("utf-8")
        if "from .kernels import" in text:
            assert "pytest.mark.kernel" in text, f"{path.name} lacks the marker"
            seen += 1
    assert seen > 1


REPORT = '<testsuites><testsuite tests="{}" failures="{}" errors="{}" skipped="{}"/></testsuites>'


class Played:
    """Stands for the commands that a set would run: pytest writes a report, pip and venv do not."""

    def __init__(self, report: str = "", codes: tuple[int, ...] = (0,)) -> None:
        self.report = report
        self.codes = list(codes)
        self.commands: list[list[str]] = []

    def __call__(self, command: list[str]) -> bool:
        self.commands.append(list(map(str, command)))
        for word in map(str, command):
            name, _, file = word.partition("=")
            if name == "--junitxml" and self.report:
                Path(file).write_text(self.report)
        if "venv" in command:
            Path(command[-1]).mkdir()
        return not (self.codes.pop(0) if len(self.codes) > 1 else self.codes[0])

    def words(self) -> list[str]:
        return [word for command in self.commands for word in command]


@pytest.fixture
def one(tmp_path: Path) -> VersionSet:
    (tmp_path / "some.txt").write_text("# of somewhere\nipython==1.0\n")
    (each,) = named([], tmp_path, tmp_path)
    return VersionSet(each.pins, tmp_path / "venv")


@pytest.mark.parametrize(
    ("counts", "code", "outcome"),
    [
        ((9, 0, 0, 0), 0, (True, "9 passed")),
        ((9, 0, 0, 2), 0, (True, "7 passed, 2 skipped")),
        ((9, 2, 1, 1), 1, (False, "5 passed, 2 failed, 1 broken, 1 skipped")),
        ((3, 0, 0, 3), 0, (False, "0 passed, 3 skipped")),
        ((0, 0, 0, 0), 5, (False, "0 passed")),
        ((9, 0, 0, 0), 2, (False, "9 passed")),
    ],
)
def test_what_counts_as_passed(
    one: VersionSet,
    monkeypatch: pytest.MonkeyPatch,
    counts: tuple[int, ...],
    code: int,
    outcome: tuple[bool, str],
) -> None:
    one.venv.mkdir()
    monkeypatch.setattr(matrix, "_run", Played(REPORT.format(*counts), (code,)))
    assert one.test() == outcome


def test_a_report_of_an_earlier_run_does_not_count(
    one: VersionSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    one.venv.mkdir()
    (one.venv / "report.xml").write_text(REPORT.format(9, 0, 0, 0))
    monkeypatch.setattr(matrix, "_run", Played())
    assert one.test() == (False, "pytest ended without a report")


def test_an_environment_is_made_once_and_anew_when_its_pins_change(
    one: VersionSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    played = Played()
    monkeypatch.setattr(matrix, "_run", played)
    assert one.install()
    assert len(played.commands) == 2
    assert str(one.pins) in played.words()
    assert "--upgrade" not in played.words()
    assert one.install()
    assert len(played.commands) == 2
    (one.venv / "old").touch()
    one.pins.write_text("ipython==1.1\n")
    assert one.install()
    assert len(played.commands) == 4
    assert not (one.venv / "old").exists()


def test_what_is_not_pinned_is_brought_up_to_date(
    one: VersionSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    played = Played()
    monkeypatch.setattr(matrix, "_run", played)
    one.pins.write_text("# nothing\n\n")
    assert one.install() and one.install()
    assert len(played.commands) == 3
    assert played.words().count("--upgrade") == 2


def test_a_set_that_cannot_be_installed_fails_and_is_not_taken_for_made(
    one: VersionSet, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(matrix, "named", lambda names: [one])
    for codes in ((0, 1), (0, 1), (1,)):
        played = Played(codes=codes)
        monkeypatch.setattr(matrix, "_run", played)
        assert matrix.main([]) == 1
        last = capsys.readouterr().out.splitlines()[-1]
        assert last.startswith("some") and "FAILED: it cannot be installed" in last
        assert "pytest" not in played.words()
        if codes == (1,):
            assert len(played.commands) == 1


def test_one_failing_set_fails_all(
    one: VersionSet, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    outcomes = {"a": True, "b": True}

    class Set:
        def __init__(self, name: str) -> None:
            self.name = name

        def run(self) -> Outcome:
            return Outcome(self.name, outcomes[self.name], "x", ("3", "8", "6", "7"), (1.4, 62))

    monkeypatch.setattr(matrix, "named", lambda names: [Set(name) for name in names])
    assert matrix.main(["a", "b"]) == 0
    outcomes["a"] = False
    assert matrix.main(["a", "b"]) == 1
    assert "FAILED: x" in capsys.readouterr().out


def test_the_table_has_a_line_for_each_set() -> None:
    rows = [
        Outcome("colab", True, "12 passed", ("3.11.7", "7.34.0", "6.17.1", "7.7.1"), (44.6, 60)),
        Outcome("b", False, "it cannot be installed"),
    ]
    assert table(rows).splitlines() == [
        "set    python  ipython  ipykernel  ipywidgets  install  tests  outcome",
        "colab  3.11.7  7.34.0   6.17.1     7.7.1       45 s     60 s   passed: 12 passed",
        "b" + " " * 62 + "FAILED: it cannot be installed",
    ]


def test_versions_are_those_of_the_environment(one: VersionSet) -> None:
    (one.venv / "bin").mkdir(parents=True)
    python = one.venv / "bin" / "python"
    python.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    python.chmod(0o755)
    wanted = [version(name) for name in ("ipython", "ipykernel", "ipywidgets")]
    assert one.versions() == (sys.version.split()[0], *wanted)
