"""Picking and running in a real JupyterLab, with keyboard and mouse."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

if TYPE_CHECKING:
    from collections.abc import Callable

    from playwright.sync_api import Locator

    from .conftest import Open
    from .lab import Notebook

pytestmark = pytest.mark.timeout(240)


@pytest.fixture
def picking(opened: Open) -> Callable[..., tuple[Notebook, Locator]]:
    """Opens a notebook with a picker that has listed what runs."""

    def picking(line: str = "%ecs_pick", *more: str, **how: object) -> tuple[Notebook, Locator]:
        notebook = opened("%load_ext ecs_exec_magic", line, *more, **how)
        notebook.run(0)
        notebook.done(0)
        notebook.run(1)
        notebook.done(1)
        output = notebook.output(1)
        expect(output.locator("select[multiple] option")).to_have_count(10)
        return notebook, output

    return picking


def target(notebook: Notebook) -> str:
    code = (
        "magics = get_ipython().magics_manager.registry['EcsExec']\n"
        "print(magics.target, *magics.workspace.picked)"
    )
    return notebook.execute(code).strip()


def test_pick_by_typing_and_run_with_the_keyboard_alone(
    picking: Callable[..., tuple[Notebook, Locator]],
) -> None:
    notebook, output = picking("%ecs_pick", "r = %ecs_exec hostname\nprint(r.target.address)")
    keys = notebook.page.keyboard
    output.get_by_label("Filter").focus()
    keys.type("sidecar")
    expect(output.locator("select[multiple] option")).to_have_count(3)
    keys.press("Enter")
    expect(output).to_contain_text("is this notebook's target")
    assert target(notebook).endswith(":sidecar")
    notebook.shot("picker-typed", 1)

    # Tab leads on: over the list and what stands below it to the command.
    for _ in range(8):
        keys.press("Tab")
        if notebook.page.evaluate("() => document.activeElement.matches('.ecs-code input')"):
            break
    keys.type("echo seen; ls /nowhere; exit 4")
    keys.press("Enter")
    expect(output).to_contain_text("exit code 4")
    expect(output.locator(".ecs-output")).to_contain_text("seen")
    expect(output.locator(".ecs-stderr")).to_contain_text("/nowhere")
    line = "%ecs_exec -t demo/web:sidecar -- echo seen; ls /nowhere; exit 4"
    expect(output.locator(".ecs-line code")).to_have_text(line)
    output.get_by_role("button", name="Copy").press("Enter")
    expect(output.get_by_role("button", name="Copied")).to_be_visible()
    assert notebook.page.evaluate("() => navigator.clipboard.readText()") == line
    notebook.shot("picker-run", 1)

    # What was picked is what the next cell means.
    notebook.run(2)
    notebook.done(2)
    expect(notebook.output(2)).to_contain_text(":sidecar")


def test_several_are_picked_with_the_mouse(
    picking: Callable[..., tuple[Notebook, Locator]],
) -> None:
    notebook, output = picking("%ecs_pick", "%ecs_exec --all hostname", dark=True)
    options = output.locator("select[multiple] option")
    notebook.page.wait_for_timeout(600)  # a list that has just changed takes no click
    options.nth(0).click()
    options.nth(2).click(modifiers=["Shift"])
    expect(output).to_contain_text("3 containers are picked")
    expect(output.get_by_role("button", name="Run in 3")).to_be_visible()
    output.get_by_label("Command").fill("hostname")
    output.get_by_role("button", name="Run in 3").click()
    expect(output).to_contain_text("3 ok")
    notebook.shot("picker-several-dark", 1)
    notebook.run(2)
    notebook.done(2)
    expect(notebook.output(2)).to_contain_text("3 ok")


def test_one_that_is_off_says_why_and_the_choice_stays(
    picking: Callable[..., tuple[Notebook, Locator]],
) -> None:
    notebook, output = picking("%ecs_pick --default demo/worker")
    assert target(notebook) == "demo/worker"
    output.get_by_label("Filter").fill("agent")
    options = output.locator("select[multiple] option")
    expect(options).to_have_count(1)
    notebook.page.wait_for_timeout(600)
    options.first.click()
    expect(output).to_contain_text("the exec agent of")
    expect(output).to_contain_text("→")
    assert target(notebook) == "demo/worker"
    notebook.shot("picker-off", 1)
    output.get_by_label("Filter").fill("no such thing")
    expect(options).to_have_count(0)
    notebook.shot("picker-empty", 1)


def test_stop_ends_a_command_and_a_narrow_cell_does_not_overflow(
    picking: Callable[..., tuple[Notebook, Locator]],
) -> None:
    notebook, output = picking("%ecs_pick --default demo/worker", width=700)
    # On a busy machine 3 s are little between SIGTERM and the end of the session.
    notebook.execute("from ecs_exec_magic.runner import Job\nJob.stop.__defaults__ = (20.0,)")
    field = output.get_by_label("Command")
    field.fill("i=0; while sleep 0.2; do i=$((i+1)); echo line $i; done")
    field.press("Enter")
    expect(output.locator(".ecs-output")).to_contain_text("line 2")
    notebook.shot("picker-running-narrow", 1)
    output.get_by_role("button", name="Stop").click()
    expect(output).to_contain_text("SIGTERM")
    expect(output.get_by_role("button", name="Run")).to_be_enabled()
    over = notebook.page.evaluate(
        "() => [...document.querySelectorAll('.ecs-panel')].map(e => e.scrollWidth - e.clientWidth)"
    )
    assert max(over) <= 1, over
    notebook.shot("picker-stopped-narrow", 1)


def test_run_all_without_a_click_fails_with_one_clear_line(opened: Open) -> None:
    notebook = opened(
        "%load_ext ecs_exec_magic", "%ecs_pick --no-run", "%ecs_exec true", "print(7)"
    )
    notebook.run_all()
    notebook.done(2)
    expect(notebook.output(2)).to_contain_text("no target is set")
    text = notebook.output(2).inner_text()
    assert "%ecs_pick" in text
    assert len(text.strip().splitlines()) <= 5, text
    assert notebook.output(3).count() == 0 or not notebook.output(3).inner_text()


def test_what_the_notebook_says_without_widgets(
    picking: Callable[..., tuple[Notebook, Locator]],
) -> None:
    # A picker waits a second for what runs; on a busy machine that takes longer.
    notebook, _ = picking("p = %ecs_pick\nassert p.wait(60)\np")
    outputs = notebook.page.evaluate(
        "() => jupyterapp.shell.currentWidget.content.widgets[1].model.outputs.toJSON()"
    )
    (bundle,) = [each["data"] for each in outputs if "data" in each]
    assert "application/vnd.jupyter.widget-view+json" in bundle
    assert "nginx, sidecar" in bundle["text/plain"], json.dumps(outputs)[:500]
    assert "no target yet" in bundle["text/plain"]
