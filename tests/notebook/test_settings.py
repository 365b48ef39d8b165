"""Settings: where they come from, which wins, and what is said of wrong ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from IPython.utils.capture import capture_output
from traitlets import TraitError

from ecs_exec_magic.errors import InvalidRequest
from ecs_exec_magic.notebook import extension
from ecs_exec_magic.notebook.settings import Settings, project_settings

PROMISED = (
    "region profile endpoint_url target timeout raise_on_error progress_after fold_lines bridge "
    "max_parallel confirm"
).split()


def project(directory: Path, text: str) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "pyproject.toml").write_text(text, "utf-8")
    return directory


def test_every_promised_setting_is_there_and_explained() -> None:
    traits = Settings.class_traits(config=True)
    assert set(PROMISED) <= set(traits)
    assert all(trait.help for trait in traits.values())


def test_config_lists_them(shell: Any) -> None:
    with capture_output() as shown:
        shell.run_line_magic("config", "EcsExec")
    for name in PROMISED:
        assert f"EcsExec.{name}=" in shown.stdout
    shell.run_line_magic("config", "EcsExec.fold_lines = 7")
    assert shell.magics_manager.registry["EcsExec"].fold_lines == 7


def test_the_nearest_project_counts(tmp_path: Path) -> None:
    project(tmp_path, '[tool.ecs-exec-magic]\ntarget = "demo/web"\nregion = "eu-west-1"\n')
    inner = project(tmp_path / "a", "[tool.ecs-exec-magic]\nfold-lines = 5\ntimeout = 3\n")
    (inner / "b").mkdir()
    assert project_settings(inner / "b") == {"fold_lines": 5, "timeout": 3.0}
    bare = project(tmp_path / "c", "[project]\nname = 'x'\n")
    assert project_settings(bare) == {}
    assert project_settings(tmp_path) == {"target": "demo/web", "region": "eu-west-1"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[tool.ecs-exec-magic]\nregoin = 'x'\n", "sets regoin, which is no setting"),
        ("[tool.ecs-exec-magic]\ntimeout = -1\n", "timeout: -1.0 is not a number of seconds"),
        ("[tool.ecs-exec-magic]\nfold_lines = -1\n", "fold_lines: -1 is not a number of lines"),
        ("[tool.ecs-exec-magic]\nmax_parallel = 0\n", "max_parallel: 0 containers at once"),
        ("[tool.ecs-exec-magic]\nbridge = 'bifrost'\n", "bridge: "),
        ("[tool.ecs-exec-magic]\nconfirm = 'maybe'\n", "confirm: "),
        ("[tool]\necs-exec-magic = 5\n", "is not a table"),
        ("tool = 5\n", "is not a table"),
        ("not toml", "cannot be read"),
    ],
)
def test_what_is_wrong_in_a_project_is_named(tmp_path: Path, text: str, said: str) -> None:
    project(tmp_path, text)
    with pytest.raises(InvalidRequest, match=said) as caught:
        project_settings(tmp_path)
    assert "pyproject.toml" in str(caught.value)


def test_the_users_configuration_wins_over_the_project(
    shell: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project(tmp_path, "[tool.ecs-exec-magic]\ntimeout = 3\nfold_lines = 9\ntarget = 'demo/web:a'\n")
    monkeypatch.chdir(tmp_path)
    shell.config.EcsExec.timeout = 8
    extension.load(shell)
    magics = shell.magics_manager.registry["EcsExec"]
    assert (magics.timeout, magics.fold_lines, magics.target) == (8.0, 9, "demo/web:a")
    assert magics.workspace.choice.address == "demo/web:a"
    shell.run_line_magic("config", "EcsExec.fold_lines = 1")
    assert magics.fold_lines == 1
    # IPython keeps what %config has set, over a reload too.
    extension.load(shell)
    assert shell.magics_manager.registry["EcsExec"].fold_lines == 1


def test_a_wrong_project_fails_the_load_and_leaves_nothing(
    shell: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project(tmp_path, "[tool.ecs-exec-magic]\nnonsense = 3\n")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InvalidRequest, match="nonsense"):
        extension.load(shell)
    assert "ecs_exec" not in shell.magics_manager.magics["line"]


def test_values_are_checked_when_they_are_set(shell: Any) -> None:
    magics = shell.magics_manager.registry["EcsExec"]
    for name, value in (("fold_lines", -1), ("max_parallel", 0), ("timeout", float("nan"))):
        with pytest.raises(TraitError):
            setattr(magics, name, value)
