"""The provisioning form in a real browser, on a practice cluster: from nothing to exec and back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from playwright.sync_api import expect

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

    from .conftest import Open
    from .lab import Notebook

pytestmark = pytest.mark.timeout(300)

CELL = "%load_ext ecs_exec_magic\n%ecs_provision"
TALL = 2100  # so that a screenshot of the cell has all of it


def shown(opened: Open, **how: Any) -> tuple[Notebook, Locator]:
    notebook = opened(CELL, height=TALL, **how)
    notebook.run_all()
    notebook.done(0)
    form = notebook.output(0)
    expect(form.get_by_label("Name", exact=True)).to_be_visible()
    return notebook, form


def button(form: Locator, name: str) -> Locator:
    return form.get_by_role("button", name=name)


def tab_to(page: Page, wanted: Locator, key: str = "Tab") -> None:
    """Move the keyboard there as somebody without a mouse does."""
    for _ in range(40):
        if wanted.evaluate("element => element === document.activeElement"):
            return
        page.keyboard.press(key)
    raise AssertionError(f"{wanted} is not reached by {key}")


def fits(form: Locator) -> None:
    """Nothing is cut off at the right or has to be scrolled to."""
    wide = form.evaluate(
        """output => {
            const edge = output.getBoundingClientRect().right + 1;
            return [...output.querySelectorAll('button, input, select, textarea, td, pre, li')]
                .filter(each => each.checkVisibility())
                .filter(each => each.getBoundingClientRect().right > edge)
                .map(each => each.outerHTML.slice(0, 100));
        }"""
    )
    assert wide == []


def test_by_keyboard_from_a_name_to_a_container_and_back(opened: Open) -> None:
    notebook, form = shown(opened)
    page = notebook.page
    name = form.get_by_label("Name", exact=True)
    expect(button(form, "Apply")).to_be_disabled()
    expect(form.get_by_text("type a name")).to_be_visible()
    notebook.shot("provision-empty", 0)

    name.focus()
    page.keyboard.type("key shop")
    expect(form.get_by_text("letters, digits, - and _ only")).to_be_visible()
    expect(button(form, "Apply")).to_be_disabled()
    notebook.shot("provision-mistake", 0)
    page.keyboard.press("Control+A")
    page.keyboard.type("keyshop")
    expect(form.get_by_text("letters, digits, - and _ only")).to_be_hidden()

    tab_to(page, button(form, "Logging and encryption"))
    page.keyboard.press("Space")
    tab_to(page, form.get_by_label("KMS key", exact=True))
    page.keyboard.type("new")
    tab_to(page, button(form, "Tags"))
    page.keyboard.press("Enter")
    tab_to(page, form.get_by_label("Tags", exact=True))
    page.keyboard.type("team=shop")
    expect(form.get_by_text("KMS key: by the month")).to_be_visible()
    expect(form.locator("code", has_text="%ecs_provision keyshop")).to_have_text(
        "%ecs_provision keyshop --kms-key new --tags team=shop"
    )
    notebook.shot("provision-plan", 0)

    tab_to(page, button(form, "Apply"))
    page.keyboard.press("Space")
    expect(form.get_by_text("is this notebook's target now")).to_be_visible()
    notebook.shot("provision-made", 0)
    assert notebook.execute("%ecs_exec echo $((6 * 7))").startswith("42")

    button(form, "Clean up").focus()
    page.keyboard.press("Space")
    expect(button(form, "Keep everything")).to_be_focused()
    notebook.shot("provision-question", 0)
    page.keyboard.press("Space")
    expect(button(form, "Keep everything")).to_be_hidden()
    expect(button(form, "Clean up")).to_be_focused()
    page.keyboard.press("Space")
    expect(button(form, "Keep everything")).to_be_focused()
    tab_to(page, button(form, "Delete "), "Shift+Tab")
    page.keyboard.press("Space")
    expect(form.get_by_text("All that was made for keyshop is deleted")).to_be_visible()
    notebook.shot("provision-deleted", 0)
    target = "get_ipython().magics_manager.registry['EcsExec'].target"
    assert notebook.execute(f"print(repr({target}))") == "''\n"
    fits(form)


def test_a_bucket_with_sessions_in_it_in_the_dark(opened: Open) -> None:
    notebook, form = shown(opened, dark=True, width=800)
    form.get_by_label("Name", exact=True).press_sequentially("darkshop")
    for section in ("What runs", "Where", "Logging and encryption", "Roles"):
        button(form, section).click()
    form.get_by_label("Sessions are").select_option(label="kept in a log group and a bucket")
    expect(form.get_by_text("a name is needed: one that is there")).to_be_visible()
    expect(form.get_by_text("see Bucket", exact=True)).to_be_visible()
    notebook.shot("provision-dark-bucket", 0)
    form.get_by_label("Bucket", exact=True).fill("darkshop-sessions")
    form.get_by_label("CPU").select_option(label="1 vCPU")
    expect(form.get_by_label("Memory").locator("option").first).to_have_text("2 GiB")
    expect(button(form, "Apply")).to_be_enabled()
    form.get_by_text("trust of both roles").click()
    fits(form)
    notebook.shot("provision-dark-plan", 0)
    for section in ("What runs", "Where", "Logging and encryption", "Roles"):
        button(form, section).click()
    button(form, "Apply").click()
    expect(form.get_by_text("is this notebook's target now")).to_be_visible()
    assert "sessions" in notebook.execute("%ecs_exec echo sessions")

    put = (
        "import boto3; boto3.client('s3').put_object("
        "Bucket='darkshop-sessions', Key='exec-output/one', Body=b'x')"
    )
    notebook.execute(put)
    button(form, "Clean up").click()
    button(form, "Delete ").click()
    expect(form.get_by_text("Save what you need, and tick its deletion below")).to_be_visible()
    expect(button(form, "Keep everything")).to_be_focused()
    notebook.shot("provision-dark-objects", 0)
    fits(form)
    form.get_by_label("Delete the objects in the bucket, too").check()
    button(form, "Delete ").click()
    expect(form.get_by_text("All that was made for darkshop is deleted")).to_be_visible()
    notebook.shot("provision-dark-deleted", 0)


def test_what_is_in_the_way_and_what_fails_on_the_way(opened: Open) -> None:
    notebook, form = shown(opened, width=900)
    notebook.execute("import boto3; boto3.client('ecs').create_cluster(clusterName='taken')")
    form.get_by_label("Name", exact=True).press_sequentially("taken")
    expect(form.get_by_text("something is in the way: see the plan")).to_be_visible()
    expect(button(form, "Apply")).to_be_disabled()
    notebook.shot("provision-conflict", 0)

    # The plan is shown, and then the account changes under it.
    form.get_by_label("Name", exact=True).fill("later")
    expect(button(form, "Apply")).to_be_enabled()
    notebook.execute("boto3.client('ecs').create_cluster(clusterName='later')")
    button(form, "Apply").click()
    expect(button(form, "Go on")).to_be_enabled()
    notebook.shot("provision-failed", 0)
    notebook.execute("boto3.client('ecs').delete_cluster(cluster='later')")
    button(form, "Go on").click()
    expect(form.get_by_text("is this notebook's target now")).to_be_visible()
    notebook.shot("provision-gone-on", 0)
