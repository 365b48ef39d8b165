"""The run panel without a browser, on a practice cluster."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from IPython.core.interactiveshell import InteractiveShell
from traitlets.config import Config

from ecs_exec_magic import sandbox as package
from ecs_exec_magic.notebook import extension
from ecs_exec_magic.notebook.widgets import enter
from ecs_exec_magic.notebook.widgets.run_panel import RunPanel
from ecs_exec_magic.notebook.workspace import Workspace
from ecs_exec_magic.runner import Job
from ecs_exec_magic.sandbox import Sandbox

from ...runtimes import WITHOUT_ENGINE


@pytest.fixture(scope="module")
def cluster() -> Iterator[Sandbox]:
    with package.start(pace="fast", runtime=WITHOUT_ENGINE) as sandbox:
        yield sandbox


@pytest.fixture
def space(cluster: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Workspace]:
    monkeypatch.chdir(tmp_path)
    for name, value in cluster.environment.items():
        monkeypatch.setenv(name, value)
    config = Config()
    config.HistoryManager.enabled = False
    InteractiveShell.clear_instance()
    shell: Any = InteractiveShell.instance(config=config)
    extension.load(shell)
    try:
        yield shell.magics_manager.registry["EcsExec"].workspace
    finally:
        extension.unload(shell)
        InteractiveShell.clear_instance()


@pytest.fixture
def panel(space: Workspace) -> Iterator[RunPanel]:
    space.settings.target = "demo/worker"
    panel = RunPanel(space)
    yield panel
    panel.stop()
    assert panel.wait(60)
    panel.close()


def until(condition: Callable[[], object]) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.02)


def plain(markup: str) -> str:
    return re.sub(r"<[^>]*>", "", markup)


def test_a_command_its_output_its_end_and_the_line_that_repeats_it(
    panel: RunPanel, space: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(enter, "WAIT", 60)
    # What a fast typist's front end sends: the end of the text comes behind the Enter key.
    panel._field.value = "echo ou"
    panel._field._handle_custom_msg({"event": "submit"}, [])
    panel._field.value = "echo out; echo '<b>err</b>' >&2; exit 3"
    assert panel.wait(60)
    assert (panel.result.exit_code, panel.result.stdout) == (3, "out\n")
    assert "out" in plain(panel._output.value)
    assert "&lt;b&gt;err" in panel._output.value and "<b>err" not in panel._output.value
    assert "exit code 3" in panel._outcome.value
    assert panel.line == "%ecs_exec -t demo/worker:worker -- " + panel._field.value
    assert "Copy" in panel._repeat.value
    assert panel._button.description == "Run"
    journal = space.journal()
    assert journal is not None
    assert [(r.command, r.exit_code) for r in journal.read()] == [(panel._field.value, 3)]
    assert [job.state for job in space.jobs] == ["failed"]


def test_enter_on_a_text_that_has_come_already(panel: RunPanel) -> None:
    panel._field.value = "echo same"
    for _ in range(2):
        panel._field._handle_custom_msg({"event": "submit"}, [])
        until(lambda: panel.result is not None and panel.result.stdout == "same\n")
        assert panel.wait(60)
        panel.result = None


def test_output_is_shown_while_it_comes_and_stop_ends_the_command(
    panel: RunPanel, monkeypatch: pytest.MonkeyPatch
) -> None:
    # On a busy machine 3 s are little between SIGTERM and the end of the session.
    monkeypatch.setattr(Job.stop, "__defaults__", (20.0,))
    panel.run("echo begun; sleep 100")
    until(lambda: "begun" in panel._output.value)
    assert panel._button.description == "Stop"
    assert "running in demo/" in panel._outcome.value
    panel.run("echo second")  # while one runs, no other begins
    panel._button.click()
    assert panel.wait(60)
    assert "SIGTERM" in panel._outcome.value
    assert "second" not in panel._output.value
    panel._field.value = "echo third"
    panel._button.click()
    until(lambda: panel.result.stdout == "third\n")
    assert panel.wait(60)


def test_stop_before_it_has_begun(panel: RunPanel, cluster: Sandbox) -> None:
    panel.run("sleep 100")
    panel.stop()
    assert panel.wait(60)
    assert panel.result is None or not panel.result.ok


def test_in_all_that_are_picked(panel: RunPanel, space: Workspace) -> None:
    client = space.client_of({})
    addresses = [target.address for target in client.targets("demo/web:nginx")]
    space.pick(addresses)
    panel.show_target()
    assert panel._button.description == "Run in 3"
    panel.run("echo $((6 * 7))")
    assert panel.wait(60)
    assert list(panel.result) == addresses and panel.result.ok
    assert panel._output.value.count(">42<") == 3
    assert panel.line == "%ecs_exec -t demo/web:nginx --all -- echo $((6 * 7))"
    # Two of the three are no set that a line could name.
    mixed = [addresses[0], client.target("demo/worker").address]
    space.pick(mixed)
    panel.run("true")
    assert panel.wait(60)
    assert panel.line == "%ecs_exec --all -- true"


def test_what_goes_wrong_is_said_in_place(panel: RunPanel, space: Workspace) -> None:
    space.settings.target = "demo/no-such"
    panel.run("true")
    assert panel.wait(60)
    assert "no-such" in panel._outcome.value and "→" in panel._outcome.value
    assert panel._button.description == "Run"
    space.settings.target = ""
    panel.run("true")
    assert panel.wait(60)
    assert "no target is set" in panel._outcome.value


def test_an_empty_field_runs_nothing(panel: RunPanel) -> None:
    panel.run("   ")
    panel._button.click()
    until(lambda: panel._enter._pressed is None)
    assert panel.wait(0)
    assert panel._outcome.value == ""


def test_a_click_takes_the_text_that_comes_behind_it(
    panel: RunPanel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(enter, "WAIT", 60)
    panel._field.value = "echo the one of before"
    panel._button.click()
    panel._field.value = "echo what was typed"
    until(lambda: panel.result is not None)
    assert panel.wait(60)
    assert panel.result.stdout == "what was typed\n"


def test_secrets_are_masked_and_not_offered_again(panel: RunPanel) -> None:
    panel.run(f"echo aws_secret_access_key={'x1Y' * 13}z; echo PASSWORD=hunter2hunter2")
    assert panel.wait(60)
    assert "hunter2" in panel.result.stdout
    shown = panel._output.value + panel._outcome.value + panel._repeat.value
    assert "hunter2" not in shown and "x1Yx1Y" not in shown
    assert panel._field.options == ()


def test_commands_of_before_are_offered(panel: RunPanel, space: Workspace) -> None:
    panel.run("echo one")
    assert panel.wait(60)
    panel.run("echo two")
    assert panel.wait(60)
    again = RunPanel(space)
    assert again._memory.idle(30)
    again.run("echo three")  # at the latest now: a busy machine may have been slow to read them
    assert again.wait(60)
    assert again._field.options == ("echo three", "echo two", "echo one")
    assert panel._field.options == ("echo two", "echo one")
    again.close()


def test_nothing_touches_the_field_while_somebody_may_type(panel: RunPanel) -> None:
    # Any change of the control makes a front end show the kernel's text again: what is being typed
    # is lost.
    changed: list[str] = []
    panel.run("sleep 0.2; echo one")
    panel._field.observe(lambda change: changed.append(change["name"]))
    assert panel.wait(60)
    panel._space.settings.target = "demo/web:nginx"
    panel.show_target()
    assert changed == []


def test_much_output_is_folded_and_the_message_stays_small(panel: RunPanel) -> None:
    panel.run("seq 100000")
    assert panel.wait(60)
    assert panel.result.lines[-1] == "100000"
    shown = panel._output.value
    assert "folded" in shown and "100000" in shown
    assert len(shown) < 64 * 1024


def test_closed_it_says_nothing_more_and_the_command_goes_on(
    panel: RunPanel, space: Workspace
) -> None:
    panel.run("echo begun; until [ -e /tmp/closed ]; do sleep 0.1; done; echo done")
    until(lambda: "begun" in panel._output.value)
    panel.close()
    (job,) = space.jobs
    space.client_of({}).target("demo/worker").run("touch /tmp/closed")
    assert job.wait(60)
    assert job.so_far().stdout == "begun\ndone\n"
    assert "done" not in panel._output.value
