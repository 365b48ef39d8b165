"""``%ecs_cp`` in a shell."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from IPython.core.error import UsageError

import ecs_exec_magic as ecs
from ecs_exec_magic.files import Amount, CopyResult
from ecs_exec_magic.notebook.copying import CP_LINE

from .conftest import FakeTarget, World
from .test_completion import patient, words  # noqa: F401 - a fixture

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

Calls = list[tuple[str, str, str, str]]


@pytest.fixture
def copies(monkeypatch: pytest.MonkeyPatch) -> Calls:
    calls: Calls = []

    def copying(name: str) -> Any:
        def copy(self: FakeTarget, source: str, to: str, **how: Any) -> CopyResult:
            calls.append((name, f"{self.cluster}:{self.container}", source, to))
            how["on_progress"](50, 100)
            if "fail" in source:
                raise ecs.CopyFailed("No space left on device", cure="make room")
            return CopyResult(to, 1, 100, 60, 0.5, "sha256", ("x: a device",))

        return copy

    for name in ("put", "get"):
        monkeypatch.setattr(FakeTarget, name, copying(name), raising=False)
    return calls


def test_both_ways(shell: InteractiveShell, world: World, copies: Calls) -> None:
    shell.run_line_magic("ecs_target", "demo/web:nginx")
    result = shell.run_line_magic("ecs_cp", "'a b' :/tmp/")
    assert str(result) == "1 file, 100 B in 0.5 s (sha256 agrees): /tmp/; 1 not copied"
    shell.run_line_magic("ecs_cp", "prod/web:side:/etc/hosts . -o got")
    assert shell.user_ns["got"].verified == "sha256"
    shell.run_line_magic("ecs_cp", "-t demo/web:x x :y")
    assert [call[0] for call in copies] == ["put", "get", "put"]
    assert [call[2:] for call in copies] == [("a b", "/tmp/"), ("/etc/hosts", "."), ("x", "y")]
    assert [call[1].split(":")[1] for call in copies] == ["nginx", "side", "x"]


def test_variables_are_filled_in(shell: InteractiveShell, world: World, copies: Calls) -> None:
    shell.user_ns["name"] = "report.csv"
    shell.run_line_magic("ecs_cp", "{name} web:nginx:/srv/{name}")
    assert copies[0][2:] == ("report.csv", "/srv/report.csv")


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("", "FROM and TO"),
        ("a", "FROM and TO"),
        ("a b c", "FROM and TO"),
        ("a b", "neither"),
        ("web:/a :/b", "both"),
        ("-t web a web:/b", "twice"),
        ("--nope a :/b", "unknown option"),
    ],
)
def test_lines_that_are_none(
    shell: InteractiveShell, world: World, copies: Calls, line: str, says: str
) -> None:
    shell.run_line_magic("ecs_target", "demo/web:nginx")
    with pytest.raises(UsageError, match=says):
        shell.run_line_magic("ecs_cp", line)
    assert copies == []


def test_an_error_passes(shell: InteractiveShell, world: World, copies: Calls) -> None:
    with pytest.raises(ecs.CopyFailed, match="No space"):
        shell.run_line_magic("ecs_cp", "-t web:nginx fail :/x")
    with pytest.raises(ecs.InvalidRequest, match="s3"):
        shell.run_line_magic("ecs_cp", "s3://b/k :/x")
    with pytest.raises(ecs.InvalidRequest, match="no target"):
        shell.run_line_magic("ecs_cp", "x :/x")


def test_what_is_said(
    shell: InteractiveShell, world: World, copies: Calls, capsys: pytest.CaptureFixture[str]
) -> None:
    shell.run_line_magic("ecs_cp", "x web:nginx:/x --quiet")
    assert capsys.readouterr() == ("", "")
    shell.run_line_magic("ecs_cp", "x web:nginx:/x")
    assert capsys.readouterr() == ("", "not copied: x: a device\n")
    shell.run_line_magic("ecs_cp", "--help")
    assert "TARGET:/PATH" in capsys.readouterr().out


def test_the_bar() -> None:
    amount = Amount()
    assert str(amount) == ""
    amount.told(512, None)
    assert str(amount) == "512 B"
    amount.told(512, 1024)
    assert str(amount) == "██████████░░░░░░░░░░ 50% of 1.0 KiB"


def test_paths_are_completed(
    shell: InteractiveShell,
    world: World,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    asked: list[tuple[str, str]] = []

    def listdir(self: FakeTarget, directory: str, *, slashes: bool) -> list[str]:
        assert slashes
        asked.append((self.container, directory))
        return [".hidden", "hosts", "home/", "a b"]

    monkeypatch.setattr(FakeTarget, "listdir", listdir, raising=False)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "reports").mkdir()
    (tmp_path / "reports" / "x.csv").touch()
    (tmp_path / "read me").touch()
    shell.run_line_magic("ecs_target", "demo/web:nginx")
    assert words(shell, "%ecs_cp re¦") == {"reports/", "read\\ me"}
    assert words(shell, "%ecs_cp reports/¦") == {"reports/x.csv"}
    assert words(shell, "%ecs_cp ./rep¦ :/x") == {"./reports/"}
    assert words(shell, "%ecs_cp x :/etc/ho¦") == {":/etc/hosts", ":/etc/home/"}
    assert words(shell, "%ecs_cp web:side:/etc/.¦ x") == {"web:side:/etc/.hidden"}
    assert words(shell, "%ecs_cp :ho¦") == {":hosts", ":home/"}
    assert asked == [("nginx", "/etc/"), ("side", "/etc/"), ("nginx", ".")]
    assert "prod/" in words(shell, "%ecs_cp x pr¦")


def test_the_page_explains_every_option() -> None:
    page = (Path(__file__).parents[2] / "docs" / "files.md").read_text("utf-8")
    for option in CP_LINE.options[:4]:
        assert f"`{option.name}" in page
