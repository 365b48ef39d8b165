"""The terminal widget without a browser: its messages, against the practice cluster."""

from __future__ import annotations

import itertools
import threading
from typing import TYPE_CHECKING, Any

import pytest
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output
from traitlets.config import Config

from ecs_exec_magic import sandbox
from ecs_exec_magic.aws.slots import slots
from ecs_exec_magic.errors import InvalidRequest
from ecs_exec_magic.journal import Journal
from ecs_exec_magic.notebook import extension
from ecs_exec_magic.notebook.widgets import Terminal
from ecs_exec_magic.notebook.widgets.parts import VIEW
from ecs_exec_magic.notebook.workspace import Workspace

from ...runtimes import WITHOUT_ENGINE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from ecs_exec_magic.sandbox import Sandbox


class Page:
    """A view of a terminal as the page has it; it shows and acknowledges at once if told to."""

    def __init__(self, terminal: Any, name: str, *, reads: bool = True) -> None:
        self.terminal = terminal
        self.name = name
        self.reads = reads
        self.position: int | None = None
        self.shown = b""
        self.before = b""
        self._news = threading.Condition()

    def says(self, kind: str, buffer: bytes | None = None, **content: Any) -> None:
        """A message to the kernel, as ipywidgets hands it on."""
        buffers = [] if buffer is None else [memoryview(buffer)]
        self.terminal._handle_custom_msg({"kind": kind, "view": self.name, **content}, buffers)

    def hello(self, columns: int = 80, rows: int = 24) -> Page:
        where: dict[str, Any] = {"from": self.position, "columns": columns, "rows": rows}
        self.says("hello", **where)
        return self

    def types(self, text: str) -> None:
        self.says("keys", text.encode())

    def hears(self, content: Any, buffers: Any) -> None:
        if content["kind"] == "replay" and content["view"] == self.name:
            before, data = buffers
            if content["clear"]:
                self.shown, self.before, self.position = b"", before, content["at"]
            else:
                assert content["at"] == self.position
        elif content["kind"] == "output" and self.position is not None:
            (data,) = buffers
            assert content["at"] == self.position  # nothing is missing, and nothing comes twice
        else:
            return
        with self._news:
            self.position = (self.position or 0) + len(data)
            self.shown += data
            self._news.notify_all()
        if self.reads:
            self.says("ack", at=self.position)

    def sees(self, what: str, seconds: float = 60) -> None:
        self.until(lambda: what.encode() in self.shown, seconds)

    def until(self, condition: Callable[[], bool], seconds: float = 60) -> None:
        with self._news:
            met = self._news.wait_for(condition, seconds)
        assert met, (self.terminal.status, self.shown[-500:])

    def until_state(self, state: str) -> None:
        self.until_status(lambda status: bool(status["state"] == state))

    def until_status(self, condition: Callable[[Any], bool]) -> None:
        reached = threading.Event()

        def look(_: Any) -> None:
            if condition(self.terminal.status):
                reached.set()

        self.terminal.observe(look, "status")
        try:
            look(None)
            assert reached.wait(60), (self.terminal.status, self.shown[-500:])
        finally:
            self.terminal.unobserve(look, "status")


@pytest.fixture(scope="module")
def _cluster() -> Iterator[Sandbox]:
    with sandbox.start(pace="fast", runtime=WITHOUT_ENGINE) as cluster:
        yield cluster


@pytest.fixture
def cluster(_cluster: Sandbox) -> Iterator[Sandbox]:
    yield _cluster
    _cluster.faults.clear()


@pytest.fixture
def notebook(
    cluster: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[InteractiveShell]:
    """A shell in this process whose magics reach the practice cluster."""
    monkeypatch.chdir(tmp_path)
    for name, value in cluster.environment.items():
        monkeypatch.setenv(name, value)
    config = Config()
    config.HistoryManager.enabled = False
    InteractiveShell.clear_instance()
    shell = InteractiveShell.instance(config=config)
    extension.load(shell)
    try:
        yield shell
    finally:
        extension.unload(shell)
        InteractiveShell.clear_instance()
        assert cluster.wait_idle()


@pytest.fixture
def pages(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Page]]:
    """Makes views; what a terminal sends goes to all of its."""
    there: list[Page] = []
    names = itertools.count()

    def send(terminal: Any, content: Any, buffers: Any = None) -> None:
        for page in there:
            if page.terminal is terminal:
                page.hears(content, buffers)

    monkeypatch.setattr(Terminal, "send", send)

    def make(terminal: Any, **how: Any) -> Page:
        there.append(Page(terminal, f"view{next(names)}", **how))
        return there[-1]

    yield make
    for terminal in {page.terminal for page in there}:
        terminal.close()


def opened(terminal: Any, pages: Callable[..., Page], **how: Any) -> Page:
    page = pages(terminal, **how).hello(100, 30)
    page.until_state("open")
    page.sees("# ")
    page.types("PS1='> '; stty -echo\r")
    page.sees("\n> ")
    return page


def entries(directory: Path) -> list[Any]:
    return Journal(directory / ".ecs-exec").read()


@pytest.mark.usefixtures("notebook")
def test_a_session_from_first_look_to_its_end(pages: Callable[..., Page], tmp_path: Path) -> None:
    terminal = Terminal("demo/worker")
    assert terminal.state == "new"  # nobody looks: nothing is opened
    assert terminal.status["where"] == "demo/worker"
    assert "%%ecs_shell" in terminal.text()
    page = opened(terminal, pages)
    assert terminal.owner == page.name
    assert terminal.status["address"].startswith("demo/")
    assert terminal.status["address"].endswith(":worker")
    page.types("stty size; printf '\\001\\377\\303\\251|\\n'\r")
    page.sees("30 100")
    page.until(lambda: b"\x01\xff\xc3\xa9|\r\n" in page.shown)
    page.says("size", columns=71, rows=19)
    page.types("while [ \"$(stty size)\" != '19 71' ]; do sleep 0.05; done; echo n''ow\r")
    page.sees("now")
    # In one process: a shell may miss the key while it starts one.
    page.types("sh -c 'echo o''n; exec sleep 100'; echo it went on\r")
    page.sees("> on\r\n")
    mark = len(page.shown)
    page.types("\x03")
    page.until(lambda: b"> " in page.shown[mark:])
    page.types("echo b''ack\r")
    page.sees("back")
    assert b"it went on" not in page.shown
    page.types("exit 3\r")
    page.until_state("ended")
    assert terminal.status["lines"] == [
        "The program has ended; ECS Exec does not tell with which exit status."
    ]
    (entry,) = entries(tmp_path)
    assert (entry.kind, entry.command, entry.outcome) == ("terminal", "/bin/sh", "closed")
    assert entry.session_id.startswith("ecs-execute-command-")
    assert not list((tmp_path / ".ecs-exec").rglob("*.out"))  # what is shown is not kept


@pytest.mark.usefixtures("notebook")
def test_another_session_in_the_same_place(pages: Callable[..., Page], tmp_path: Path) -> None:
    terminal = Terminal("demo/worker")
    page = opened(terminal, pages)
    page.types("printf '\\033[?1049h\\033[?2004h'; echo f''irst; exit\r")
    page.until_state("ended")
    page.says("again", columns=90, rows=20)
    page.until_state("open")
    assert b"\x1b[?2004l\x1b[?1049l" in page.shown.partition(b"first")[2]
    mark = len(page.shown)
    page.until(lambda: b"# " in page.shown[mark - 2 :])
    page.types("stty size\r")
    page.sees("20 90")
    assert b"first" in page.shown  # scrollback stays
    page.says("again", columns=90, rows=20)  # it is not over: nothing happens
    page.says("close")
    page.until_state("ended")
    assert terminal.status["lines"] == ["You ended the session."]
    assert len(entries(tmp_path)) == 2


@pytest.mark.usefixtures("notebook")
def test_who_comes_later_sees_what_was_shown(pages: Callable[..., Page]) -> None:
    terminal = Terminal("demo/worker")
    first = opened(terminal, pages)
    first.types("echo e''arlier\r")
    first.until(lambda: first.shown.endswith(b"earlier\r\n> "))
    second = pages(terminal).hello(60, 15)
    assert second.shown == first.shown
    assert terminal.owner == second.name
    second.types("stty size\r")  # the size is that of the view that is used
    first.sees("15 60")
    first.says("size", columns=100, rows=30)
    assert terminal.owner == first.name
    second.says("bye")
    first.types("stty size; echo d''one\r")
    first.until(lambda: first.shown.endswith(b"done\r\n> "))
    assert first.shown.count(b"30 100") == 1
    # A page that had lost some of it gets just that again.
    lost = second.position = (second.position or 0) - 5
    second.shown = second.shown[:-5]
    second.hello()
    assert second.shown == first.shown
    assert second.position is not None
    assert second.position > lost


@pytest.mark.usefixtures("notebook")
def test_a_far_end_without_end_is_held_back_and_goes_on(pages: Callable[..., Page]) -> None:
    terminal = Terminal("demo/worker")
    page = opened(terminal, pages)
    page.reads = False
    page.types("yes | head -n 200000; echo d''one\r")  # 600 kB with its carriage returns
    page.until(lambda: len(page.shown) > 64 * 1024)
    held = page.position
    # With what is under way it is far from all; nobody reads, so it cannot become all.
    assert b"done" not in page.shown
    gone, page = page, pages(terminal)
    page.hello()
    assert page.position is not None
    assert held is not None
    assert page.position >= held
    page.sees("done")
    assert page.shown.count(b"y\r\n") > 80_000  # of the rest nothing is kept
    assert len(gone.shown) > 64 * 1024


@pytest.mark.usefixtures("notebook")
def test_ctrl_c_in_a_flood(pages: Callable[..., Page]) -> None:
    terminal = Terminal("demo/worker")
    page = opened(terminal, pages)
    page.types("yes\r")
    page.until(lambda: len(page.shown) > 100_000)
    page.types("\x03")
    # A window on each of two stages, what the agent has read, and what pipes and terminal hold.
    mark = len(page.shown)
    page.until(lambda: page.shown.endswith(b"> "))
    page.types("echo a''live\r")
    page.sees("alive")
    assert len(page.shown) - mark < 8 * 1024 * 1024
    assert len(terminal._feed.replay().data) < 512 * 1024


@pytest.mark.usefixtures("notebook")
def test_a_cut_connection_is_resumed_and_a_lost_one_told(
    cluster: Sandbox, pages: Callable[..., Page], tmp_path: Path
) -> None:
    terminal = Terminal("demo/worker")
    page = opened(terminal, pages)
    cluster.faults.cut()
    page.types("echo still h''ere\r")
    page.sees("still here")
    assert terminal.state == "open"
    cluster.faults.lose_resume = True
    cluster.faults.cut()
    page.until_state("lost")
    assert "is lost" in terminal.status["lines"][0]
    page.types("nobody takes this\r")
    cluster.faults.clear()
    page.says("again", columns=80, rows=24)
    page.until_state("open")
    page.types("echo n''ew; exit\r")
    page.sees("new")
    page.until_state("ended")
    lost, new = entries(tmp_path)
    assert (lost.outcome, new.outcome) == ("SessionLost", "closed")


@pytest.mark.usefixtures("notebook")
@pytest.mark.parametrize(
    ("target", "how", "says"),
    [
        ("demo/nothing", {}, "nothing"),
        ("demo/worker", {"shell": "/bin/nope"}, "/bin/nope"),
        ("demo/worker", {"shell": "nope", "script": "x"}, "takes a script"),
    ],
    ids=["target", "program", "script"],
)
def test_what_cannot_be_opened_says_why(
    pages: Callable[..., Page], target: str, how: dict[str, Any], says: str
) -> None:
    terminal = Terminal(target, **how)
    page = pages(terminal).hello()
    page.until_state("failed")
    lines = terminal.status["lines"]
    assert says in lines[0]
    assert len(lines) > 1  # a cause or a cure
    states: list[str] = []
    terminal.observe(lambda change: states.append(change["new"]["state"]), "status")
    page.says("again", columns=80, rows=24)
    page.until_state("failed")
    assert states[0] == "connecting"


def test_without_a_target_it_is_said_at_once(notebook: InteractiveShell) -> None:
    with pytest.raises(InvalidRequest, match="no target is set"):
        Terminal()
    with pytest.raises(InvalidRequest, match="no program"):
        Terminal("demo/worker", shell=" ")
    extension.unload(notebook)
    with pytest.raises(InvalidRequest, match="not loaded"):
        Terminal("demo/worker")


def test_a_target_of_the_python_api(notebook: InteractiveShell, pages: Callable[..., Page]) -> None:
    import ecs_exec_magic as ecs

    extension.unload(notebook)
    target = ecs.connect().target("demo/worker")
    terminal = Terminal(target, "tty; exec cat")
    page = pages(terminal).hello()
    page.sees("/dev/pts/")
    page.types("abc\r\x04")
    page.until_state("ended")
    assert b"abc" in page.shown


@pytest.mark.usefixtures("notebook")
def test_a_session_waits_for_a_free_place_and_can_be_given_up(
    cluster: Sandbox, pages: Callable[..., Page], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slots, "_notice_after", 0.01)
    first, second = (opened(Terminal("demo/worker"), pages) for _ in range(2))
    third, fourth = (pages(Terminal("demo/worker")).hello() for _ in range(2))
    for page in (third, fourth):
        page.until_state("connecting")
        page.until_status(lambda status: bool(status["lines"]))
        assert "waiting for one of them to end" in page.terminal.status["lines"][0]
    third.says("close")
    third.until_state("ended")
    first.says("close")
    fourth.until_state("open")
    assert second.terminal.state == "open"


def test_unloading_ends_it_and_closing_takes_it_away(
    notebook: InteractiveShell, cluster: Sandbox, pages: Callable[..., Page]
) -> None:
    kept, gone = Terminal("demo/worker"), Terminal("demo/worker")
    page, other = opened(kept, pages), opened(gone, pages)
    gone.close()
    other.types("too late\r")
    extension.unload(notebook)
    assert kept.state == "closed"
    page.says("again", columns=80, rows=24)
    assert kept.state == "closed"
    assert cluster.wait_idle()


@pytest.mark.usefixtures("notebook")
def test_messages_that_make_no_sense_do_no_harm(pages: Callable[..., Page]) -> None:
    terminal = Terminal("demo/worker")
    page = pages(terminal)
    page.says("nonsense")
    page.says("keys", b"before it is open")
    page.says("ack", at=10**9)
    page.says("close")
    assert terminal.state == "new"
    page = opened(terminal, pages)
    page.says("size", columns=0, rows=10**9)
    page.types("stty size\r")
    page.sees("1000 1")


def test_in_a_notebook_the_line_shows_it_and_is_done(
    notebook: InteractiveShell, pages: Callable[..., Page], monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Any] = []
    begun = Terminal.__init__

    def init(terminal: Any, *args: Any, **how: Any) -> None:
        begun(terminal, *args, **how)
        made.append(terminal)

    monkeypatch.setattr(Terminal, "__init__", init)
    monkeypatch.setattr(Workspace, "in_kernel", True)
    monkeypatch.setattr(Workspace, "headless", False)
    parent = {"metadata": {"cellId": "c1"}}
    monkeypatch.setattr(InteractiveShell, "get_parent", lambda _: parent, raising=False)
    notebook.execution_count = 7
    with capture_output() as shown:
        notebook.run_line_magic("ecs_target", "demo/worker")
        assert notebook.run_line_magic("ecs_shell", "") is None
        notebook.run_line_magic("ecs_shell", "-t demo/web:nginx -- echo 'in a cell'; sleep 100")
    first, second = made
    bundle = shown.outputs[-1].data
    assert bundle[VIEW]["model_id"] == second.model_id
    assert bundle["text/plain"] == second.text()
    assert "demo/web:nginx" in second.text()
    assert first.state == second.state == "new"  # nobody looks yet
    # What is set later changes nothing for it.
    with capture_output():
        notebook.run_line_magic("ecs_target", "demo/web:sidecar")
    page = pages(first).hello()
    page.until_state("open")
    assert first.status["address"].endswith(":worker")
    other = pages(second).hello()
    other.sees("in a cell")
    # The cell runs again: what it has shown is gone, and nobody could end it any more.
    notebook.execution_count = 8
    with capture_output():
        notebook.run_line_magic("ecs_shell", "")
    assert first.state == second.state == "closed"
    assert len(made) == 3
    assert made[2].state == "new"


@pytest.mark.usefixtures("notebook")
def test_secrets_in_errors_are_masked(pages: Callable[..., Page]) -> None:
    terminal = Terminal("demo/worker", shell="/bin/nope --password=hunter2hunter2")
    page = pages(terminal).hello()
    page.until_state("failed")
    assert "hunter2" not in str(terminal.status)
    assert "hunter2" not in terminal.text()
