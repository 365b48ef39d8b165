"""The terminal in a cell, as somebody at the keyboard has it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from playwright.sync_api import Locator

    from .conftest import Open
    from .lab import Lab, Notebook

pytestmark = pytest.mark.timeout(240)

LOAD = "%load_ext ecs_exec_magic\n%ecs_target demo/web:nginx"
# What xterm has in its buffer, the scrollback too; lines that were wrapped are whole again.
_TEXT = """(screen) => {
    const buffer = screen.closest('.ecs-terminal').terminal.buffer.active;
    let text = '';
    for (let y = 0; y < buffer.length; y++) {
        const line = buffer.getLine(y);
        text += (line.isWrapped ? '' : '\\n') + line.translateToString(true);
    }
    return text;
}"""


class Screen:
    """The terminal of one cell.

    Attributes:
        box: all of it.
    """

    def __init__(self, notebook: Notebook, index: int = 1, number: int = 0) -> None:
        self.notebook = notebook
        self.page = notebook.page
        self.box = notebook.output(index).locator(".ecs-terminal").nth(number)

    @property
    def text(self) -> str:
        """Everything, with the scrollback."""
        text: str = self.box.locator(".xterm-screen").evaluate(_TEXT)
        return text

    @property
    def size(self) -> tuple[int, int]:
        """Columns and rows."""
        size = self.box.evaluate("(box) => [box.terminal.cols, box.terminal.rows]")
        return size[0], size[1]

    @property
    def said(self) -> Locator:
        return self.box.get_by_role("status")

    def button(self, name: str) -> Locator:
        return self.box.get_by_role("button", name=name)

    def is_state(self, state: str) -> Screen:
        self.page.wait_for_function(
            "([box, state]) => box.dataset.state === state",
            arg=[self.box.element_handle(), state],
        )
        return self

    def sees(self, text: str, *, after: str = "") -> None:
        """Wait until a text stands there, behind another one."""
        self.page.wait_for_function(
            f"""([screen, text, after]) => {{
                const all = ({_TEXT})(screen);
                const from = after ? all.lastIndexOf(after) : 0;
                return from >= 0 && all.indexOf(text, from) >= 0;
            }}""",
            arg=[self.box.locator(".xterm-screen").element_handle(), text, after],
        )

    def ends_with(self, text: str) -> None:
        """Wait until the last that stands there is a text."""
        self.page.wait_for_function(
            f"([screen, text]) => ({_TEXT})(screen).trimEnd().endsWith(text)",
            arg=[self.box.locator(".xterm-screen").element_handle(), text],
        )

    def types(self, text: str) -> None:
        self.page.keyboard.type(text)

    def far_end_has_its_size(self) -> None:
        """Wait until what prints sizes at the far end prints the one that it has itself."""
        self.page.wait_for_function(
            f"""([screen, box]) => {{
                const {{rows, cols}} = box.terminal;
                return ({_TEXT})(screen).trimEnd().endsWith(`\\n${{rows}} ${{cols}}`);
            }}""",
            arg=[self.box.locator(".xterm-screen").element_handle(), self.box.element_handle()],
        )

    def line(self, text: str) -> None:
        """Type a line at the shell's prompt, which has to come first if a command has just run.

        What is typed before it is echoed before it, and then the output does not begin a line.
        """
        self.ends_with("\n#")
        self.types(f"{text}\n")

    def focus(self) -> None:
        self.box.locator(".xterm-screen").click()
        self.page.wait_for_function(
            "(box) => box.contains(document.activeElement)", arg=self.box.element_handle()
        )


@pytest.fixture
def terminal(opened: Open) -> Callable[..., Screen]:
    """Opens a notebook with a terminal in its second cell, at the prompt of its shell."""

    def open_it(line: str = "%ecs_shell", *cells: str, **how: object) -> Screen:
        notebook = opened(LOAD, line, *cells, **how)
        notebook.run(0)
        notebook.done(0)
        notebook.run(1)
        screen = Screen(notebook).is_state("open")
        screen.focus()
        screen.sees("# ")
        return screen

    return open_it


def test_a_shell_with_colours_in_both_themes(terminal: Callable[..., Screen]) -> None:
    screen = terminal()
    screen.line("ls --color=always -d /bin /etc /usr; printf '\\033[1;31mr''ed\\033[0m\\n'")
    screen.sees("\nred")
    red = screen.box.locator(".xterm-rows span", has_text="red").last
    assert red.evaluate("(span) => getComputedStyle(span).fontWeight") == "700"
    light = red.evaluate("(span) => getComputedStyle(span).color")
    screen.line("for i in 0 1 2 3 4 5 6 7; do printf '\\033[3%sm colour %s \\033[9%sm bright '\\\n"
                "'\\033[0;4%sm back \\033[0m\\n' $i $i $i $i; done")  # fmt: skip
    screen.sees("colour 7  bright  back")
    assert "demo/" in screen.box.get_attribute("aria-label")  # type: ignore[operator]
    screen.notebook.shot("terminal-light", 1)
    screen.notebook.theme(True)
    screen.page.wait_for_function(
        "([span, was]) => getComputedStyle(span).color !== was", arg=[red.element_handle(), light]
    )
    screen.notebook.shot("terminal-dark", 1)


def test_full_screen_programs(terminal: Callable[..., Screen]) -> None:
    screen = terminal()
    screen.line("rm -f /tmp/poem; busybox vi /tmp/poem")
    screen.sees("~\n~\n~")
    screen.types("isome words\x1b")  # Escape belongs to the program, and no shortcut is run
    screen.page.keyboard.press("Escape")
    screen.notebook.shot("terminal-vi", 1)
    screen.types(":wq\n")
    screen.line("cat /tmp/poem")
    screen.sees("\nsome words")
    screen.line("busybox top")
    screen.sees("PID")
    screen.notebook.shot("terminal-top", 1)
    screen.types("q")
    screen.line("echo a''lso back")
    screen.sees("\nalso back")
    # The notebook has noticed nothing: no cell was made, run or deleted by these keys.
    assert screen.page.locator(".jp-Notebook-cell").count() == 2


def test_a_flood_leaves_page_and_kernel_alive(terminal: Callable[..., Screen]) -> None:
    screen = terminal()
    screen.line("yes | head -n 200000; echo d''one")
    screen.sees("y\ny\ny")
    assert screen.notebook.execute("print(6 * 7)") == "42\n"
    screen.sees("\ndone")
    screen.line("yes")
    screen.ends_with("y\ny\ny")  # what stood above has left the scrollback before one can look
    assert screen.notebook.execute("print(6 * 7)") == "42\n"
    assert screen.page.evaluate("() => new Promise((done) => requestAnimationFrame(() => done(1)))")
    screen.page.keyboard.press("Control+c")
    screen.line("echo st''opped")
    screen.sees("\nstopped")
    screen.notebook.shot("terminal-flood", 1)


def test_the_size_follows_the_cell(terminal: Callable[..., Screen]) -> None:
    screen = terminal()
    columns, rows = screen.size
    assert rows == 24
    screen.line("while sleep 0.1; do stty size; done")  # it may have several on its way
    screen.far_end_has_its_size()
    screen.page.set_viewport_size({"width": 700, "height": 900})
    screen.page.wait_for_function(
        "([box, was]) => box.terminal.cols < was", arg=[screen.box.element_handle(), columns]
    )
    screen.far_end_has_its_size()
    handle = screen.box.locator(".ecs-terminal-screen").bounding_box()
    assert handle is not None
    x, y = handle["x"] + handle["width"] - 4, handle["y"] + handle["height"] - 4
    screen.page.mouse.move(x, y)
    screen.page.mouse.down()
    screen.page.mouse.move(x, y - 150, steps=5)
    screen.page.mouse.up()
    screen.page.wait_for_function(
        "(box) => box.terminal.rows < 24", arg=screen.box.element_handle()
    )
    screen.far_end_has_its_size()
    screen.notebook.shot("terminal-narrow")


def test_how_it_ends_and_begins_anew(terminal: Callable[..., Screen], lab: Lab) -> None:
    screen = terminal()
    screen.line("echo f''irst; exit 3")
    screen.is_state("ended")
    assert "The program has ended" in screen.said.inner_text()
    screen.notebook.shot("terminal-ended", 1)
    screen.button("New session").click()
    screen.is_state("open")
    screen.line("echo s''econd")
    screen.sees("\nsecond")
    assert "\nfirst" in screen.text
    lab.cluster.faults.cut()  # resumed, and nothing is to be seen of it
    screen.line("echo th''ird; cat")  # no prompt comes before that of the next session
    screen.sees("\nthird")
    try:
        lab.cluster.faults.lose_resume = True
        lab.cluster.faults.cut()
        screen.is_state("lost")
        assert "is lost" in screen.said.inner_text()
        screen.notebook.shot("terminal-lost", 1)
    finally:
        lab.cluster.faults.clear()
    screen.button("New session").press("Enter")
    screen.is_state("open")
    screen.line("echo f''ourth")
    screen.sees("\nfourth")
    screen.button("End").click()
    screen.is_state("ended")
    assert "You ended the session" in screen.said.inner_text()


def test_what_cannot_be_opened_says_why(opened: Open) -> None:
    notebook = opened(LOAD, "%ecs_shell --shell /bin/nope", dark=True)
    notebook.run_all()
    screen = Screen(notebook).is_state("failed")
    assert "/bin/nope" in screen.said.inner_text()
    assert screen.button("New session").is_visible()
    notebook.shot("terminal-failed", 1)


def test_a_page_that_is_loaded_again_shows_what_was_there(
    terminal: Callable[..., Screen],
) -> None:
    screen = terminal()
    screen.line("printf '\\033[c'; cat > /tmp/answers")  # a question, which is answered once
    screen.sees("[?1;2c")
    screen.types("\n")
    screen.page.keyboard.press("Control+d")
    screen.line("echo be''fore")
    screen.sees("\nbefore")
    notebook = screen.notebook
    notebook.page.evaluate("() => jupyterapp.commands.execute('docmanager:save')")
    notebook.load()
    screen = Screen(notebook).is_state("open")
    screen.sees("\nbefore")
    screen.focus()
    screen.line("echo af''ter")
    screen.sees("\nafter")
    notebook.shot("terminal-reloaded", 1)
    assert screen.text.count("[?1;2c") == 1
    # Another view beside it shows the same, and both go on.
    notebook.page.evaluate("() => jupyterapp.commands.execute('notebook:create-output-view')")
    other = Screen(notebook)
    other.box = notebook.page.locator(".jp-LinkedOutputView .ecs-terminal")
    other.is_state("open")
    other.sees("\nafter")
    other.page.wait_for_function(
        "() => jupyterapp.shell.currentWidget.node.querySelector('.jp-LinkedOutputView')"
    )
    assert other.size[1] == 24  # it was made before it was shown
    other.focus()
    other.line("echo t''wice")
    other.sees("\ntwice")
    screen.sees("\ntwice")
    notebook.shot("terminal-twice")
    notebook.page.evaluate("() => jupyterapp.shell.currentWidget.close()")


def test_keyboard_and_clipboard(terminal: Callable[..., Screen]) -> None:
    screen = terminal()
    page = screen.page
    page.evaluate("(text) => navigator.clipboard.writeText(text)", "echo pa''sted")
    page.keyboard.press("Control+v")
    page.keyboard.press("Enter")
    screen.sees("\npasted")
    page.evaluate("(text) => navigator.clipboard.writeText(text)", "echo a''gain")
    screen.ends_with("\n#")
    page.keyboard.press("Control+Shift+V")
    page.keyboard.press("Enter")
    screen.sees("\nagain")
    screen.box.evaluate("(box) => box.terminal.selectAll()")
    page.keyboard.press("Control+Shift+C")
    page.wait_for_function(
        "() => navigator.clipboard.readText().then((text) => text.includes('pasted'))"
    )
    # Tab is the far end's; the way out is a key of its own, and from there Tab goes on.
    focused = "() => document.activeElement.textContent"
    page.keyboard.press("Tab")
    assert "xterm" in page.evaluate("() => document.activeElement.className")
    page.keyboard.press("Control+Shift+F6")
    assert page.evaluate(focused) == "End"
    page.keyboard.press("Shift+Tab")
    assert page.evaluate(focused) == "Screen reader"
    page.keyboard.press("Enter")
    assert screen.button("Screen reader").get_attribute("aria-pressed") == "true"
    page.keyboard.press("Tab")
    screen.notebook.shot("terminal-focus", 1)
    page.keyboard.press("Enter")
    screen.is_state("ended")
    assert page.locator(".jp-Notebook-cell").count() == 2


def test_a_busy_kernel_and_one_that_is_gone(terminal: Callable[..., Screen]) -> None:
    screen = terminal("%ecs_shell", "import time\ntime.sleep(8)")
    notebook = screen.notebook
    notebook.run(2)
    notebook.page.wait_for_function(
        "() => jupyterapp.shell.currentWidget.sessionContext.session.kernel.status === 'busy'"
    )
    screen.focus()
    screen.line("echo l''ate")
    screen.sees("\nlate")  # with the cell running, or after it: nothing is lost
    notebook.done(2)
    notebook.page.evaluate(
        "() => jupyterapp.shell.currentWidget.sessionContext.session.kernel.restart()"
    )
    screen.is_state("closed")
    assert "The kernel is gone" in screen.said.inner_text()
    notebook.shot("terminal-gone", 1)
    notebook.idle()


def test_a_cell_that_runs_again_has_one_session(terminal: Callable[..., Screen]) -> None:
    screen = terminal()
    for _ in range(3):  # a container takes two
        old = screen.box.element_handle()
        screen.notebook.run(1)
        screen.page.wait_for_function("(old) => !old.isConnected", arg=old)
        screen = Screen(screen.notebook).is_state("open")
    screen.focus()
    screen.line("echo th''ere")
    screen.sees("\nthere")
