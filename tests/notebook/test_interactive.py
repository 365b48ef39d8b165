"""``%ecs_shell`` in a real IPython in a pseudo-terminal, against the practice cluster."""

from __future__ import annotations

import os
import re
import signal
import sys
import termios
import time
from typing import TYPE_CHECKING, Any

import pytest

from ecs_exec_magic import sandbox
from ecs_exec_magic.errors import InvalidRequest
from ecs_exec_magic.journal import Journal

from ..runtimes import WITHOUT_ENGINE
from .terminals import Typist, plain

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from IPython.core.interactiveshell import InteractiveShell

    from ecs_exec_magic.sandbox import Sandbox

    from .conftest import World

IPYTHON = [sys.executable, "-m", "IPython", "--no-banner", "--no-confirm-exit"]
ICANON = termios.ICANON | termios.ECHO | termios.ISIG


@pytest.fixture(scope="module")
def _cluster() -> Iterator[Sandbox]:
    with sandbox.start(pace="fast", runtime=WITHOUT_ENGINE) as cluster:
        yield cluster


@pytest.fixture
def cluster(_cluster: Sandbox) -> Iterator[Sandbox]:
    yield _cluster
    _cluster.faults.clear()


@pytest.fixture(scope="module")
def _typist(_cluster: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """One IPython for many tests; a new one when a test has ended it."""
    running: list[IPython] = []

    def get() -> IPython:
        if not running or running[-1].process.poll() is not None:
            home = tmp_path_factory.mktemp("ipython")
            running.append(IPython(_cluster, home))
        return running[-1]

    try:
        yield get
    finally:
        for each in running:
            each.close()


@pytest.fixture
def ipython(_typist: Callable[[], IPython], cluster: Sandbox) -> Iterator[IPython]:
    there = _typist()
    yield there
    if not there.at_prompt:  # one that failed must not spoil the next
        there.close()


class IPython(Typist):
    """An IPython with the extension loaded, at its prompt.

    Attributes:
        at_prompt: nothing has been typed since its last prompt.
    """

    def __init__(self, cluster: Sandbox, home: Path) -> None:
        environment = {
            **cluster.environment,
            "IPYTHONDIR": str(home),
            "PROMPT_TOOLKIT_NO_CPR": "1",
            "PYTHONWARNINGS": "error",
        }
        super().__init__(IPYTHON, environment, columns=90, rows=25)
        self.cooked = self.attributes()
        self._prompts = self._seen = 0
        self.at_prompt = False
        self.home = home
        self.prompt()
        self.python(f"%cd -q {home}")  # where runs are recorded
        self.python("%load_ext ecs_exec_magic")
        self.python("%ecs_target demo/worker")
        self.python("import os, signal, termios; before = termios.tcgetattr(0)")

    def prompt(self, seconds: float = 60.0) -> None:
        """Wait for IPython's next prompt."""
        self.sees(rf"In \[{self._prompts + 1}\]: ", self._seen, seconds)
        self._prompts += 1
        self._seen = len(self.data)
        self.at_prompt = True

    def type(self, keys: str | bytes) -> None:
        self.at_prompt = False
        super().type(keys)

    def python(self, code: str) -> str:
        """Run a line and return what it showed."""
        start = len(self.data)
        self.line(code)
        self.prompt()
        return plain(bytes(self.data[start:])).decode("utf-8", "replace")

    def enter(self, options: str = "") -> int:
        """Open a session and wait for the prompt of its shell; returns where it began."""
        start = len(self.data)
        self.line(f"%ecs_shell {options}")
        self.sees(r"Enter ~ \. ends a session that hangs\n[\s\S]*# ", start)
        return start

    def is_raw(self) -> bool:
        return not self.attributes()[3] & ICANON

    def is_as_before(self) -> bool:
        shown = self.python("termios.tcgetattr(0) == before")
        return re.search(r"Out\[\d+\]: True", shown) is not None


# -- in use --------------------------------------------------------------------------------------


def test_a_shell_as_if_it_ran_here(ipython: IPython) -> None:
    start = ipython.enter()
    ipython.until(ipython.is_raw)
    ipython.line("tty; echo $((6*7)).$TERM")
    ipython.sees(r"\n/dev/pts/\d+\n42\.xterm-256color\n# ", start)
    ipython.line("stty size")
    ipython.sees(r"\n25 90\n# ", start)
    ipython.resize(71, 19)
    ipython.line("while [ \"$(stty size)\" != '19 71' ]; do sleep 0.05; done; echo now; stty size")
    ipython.sees(r"\nnow\n19 71\n# ", start)
    ipython.resize(90, 25)
    ipython.line("exit 3")
    ipython.prompt()
    shown = plain(bytes(ipython.data[start:]))
    assert b"ended" not in shown.replace(b"ends", b"")  # who ends it knows that it has ended
    assert ipython.is_as_before()


def test_a_session_is_recorded_and_what_is_typed_in_it_is_not(ipython: IPython) -> None:
    start = ipython.enter()
    ipython.line("ech''o typed")
    ipython.sees(r"\ntyped\n# ", start)
    ipython.line("exit 3")
    ipython.prompt()
    shown = ipython.python("%ecs_shell --shell /bin/nope")
    assert "StartFailed" in shown
    opened, refused = Journal(ipython.home / ".ecs-exec").read()[-2:]
    assert (opened.kind, opened.command, opened.outcome, opened.ok) == (
        "terminal",
        "/bin/sh",
        "closed",
        None,
    )
    assert opened.session_id.startswith("ecs-execute-command-")
    assert opened.request_id
    assert opened.target is not None
    assert opened.target.container == "worker"
    assert (refused.command, refused.error, refused.ok) == ("/bin/nope", "StartFailed", False)
    assert "typed" not in (ipython.home / ".ecs-exec" / "history.jsonl").read_text()


def test_the_interrupt_key_is_the_far_end_s(ipython: IPython) -> None:
    start = ipython.enter()
    # In one process: a shell may miss the key while it starts one.
    ipython.line("sh -c 'echo o\"\"n; exec sleep 1000'; echo went on")
    ipython.sees(r"\non\n", start)
    ipython.type(b"\x03")
    ipython.sees(r"\n\^C\n# ", start)
    ipython.line("sh -c 'echo tw\"\"o; exec sleep 1001'")
    ipython.sees(r"\ntwo\n", start)
    ipython.type(b"\x1a")
    ipython.sees(r"Stopped[^\n]*\n# ", start)
    ipython.line("kill -KILL %1; ech''o back")
    ipython.sees(r"\nback\n", start)
    shown = plain(bytes(ipython.data[start:]))
    assert b"KeyboardInterrupt" not in shown
    assert b"\nwent on\n" not in shown
    ipython.line("exec true")  # a shell with stopped jobs does not just exit
    ipython.prompt()
    assert ipython.is_as_before()


def test_every_byte_passes_both_ways(ipython: IPython) -> None:
    start = ipython.enter()
    ipython.line("stty raw -echo; echo re''ady; head -c 4096 | od -An -v -tu1; stty sane")
    ipython.sees("ready", start)
    # Without a tilde at the beginning of a line, which is ours.
    keys = bytes(n for n in range(256) if n != 0x7E) * 16
    ipython.type(keys + b"~" * 16)
    ipython.sees(r"# \Z", start)
    text = plain(bytes(ipython.data[start:])).partition(b"ready")[2].rpartition(b"#")[0]
    assert bytes(int(number) for number in text.split()) == keys + b"~" * 16
    ipython.type(b"\x04")
    ipython.prompt()


def test_long_output_passes_without_loss(ipython: IPython) -> None:
    start = ipython.enter()
    ipython.line("yes | head -n 100000 | cat -n; seq 100001 200000; echo do''ne")
    # The screen as a whole is looked through only once: it is megabytes.
    ipython.until(lambda: ipython.data.endswith(b"\ndone\r\n# "), 120)
    shown = plain(bytes(ipython.data[start:])).decode().partition("do''ne\n")[2]
    lines = shown.splitlines()
    assert [line.split() for line in lines[:100000]] == [[str(n), "y"] for n in range(1, 100001)]
    assert lines[100000:200000] == [str(n) for n in range(100001, 200001)]
    assert lines[200000] == "done"
    ipython.line("exit")
    ipython.prompt()


def test_the_interrupt_key_ends_output_without_end(ipython: IPython) -> None:
    start = ipython.enter()
    ipython.line("yes")
    ipython.until(lambda: len(ipython.data) - start > 500_000)
    ipython.type(b"\x03")
    ipython.until(lambda: ipython.data.endswith(b"# "))
    ipython.line("echo st''ill here")
    ipython.until(lambda: b"still here\r\n" in ipython.data[-100:])
    ipython.line("exit")
    ipython.prompt()
    assert ipython.is_as_before()


def test_a_screen_that_takes_nothing_holds_the_far_end_back(ipython: IPython) -> None:
    start = ipython.enter()
    ipython.line("yes | cat -n")
    ipython.until(lambda: len(ipython.data) - start > 100_000)
    ipython.reads.clear()
    stands = -1
    while stands != len(ipython.data):  # the last read may still be under way
        stands = len(ipython.data)
        time.sleep(0.3)
    # The way out works all the same, and the screen is put right when it reads again.
    ipython.type(b"\r~.")
    ipython.until(lambda: bool(ipython.attributes()[3] & termios.ICANON))
    ipython.reads.set()
    ipython.sees(r"\nthe session was ended with ~\.\n", start)
    ipython.prompt()
    shown = plain(bytes(ipython.data[start:])).partition(b"cat -n\n")[2].split(b"\n")
    numbers = [int(line.split()[0]) for line in shown if re.fullmatch(rb" *\d+\ty", line)]
    assert numbers == list(range(1, len(numbers) + 1))
    assert ipython.is_as_before()


def test_a_command_of_the_line(ipython: IPython) -> None:
    shown = ipython.python("%ecs_shell -- echo \"a  b\" $((6*7)) '{before}' | tr a-z A-Z")
    assert "\nA  B 42 {BEFORE}\n" in shown
    shown = ipython.python(
        "%ecs_shell --shell bash -t demo/web:nginx -- echo ${BASH_VERSION:+bash}"
    )
    assert "\nbash\n" in shown
    shown = ipython.python("x = %ecs_shell true")
    assert "Error" not in shown
    assert "None" in ipython.python("print(x)")


def test_keys_that_were_typed_ahead_arrive(cluster: Sandbox, ipython: IPython) -> None:
    # What is typed in the moment of the Enter key goes to IPython's next prompt; later, here: while
    # the session is asked for, and before the far end takes any keys.
    cluster.faults.throttle = {"ExecuteCommand": 1}
    cluster.faults.terminal_delay = 0.5
    start = len(ipython.data)
    ipython.line("%ecs_shell")
    ipython.sees("trying again", start)
    assert not ipython.is_raw()
    ipython.line("echo fir''st")
    ipython.sees(r"Enter ~ \.", start)
    ipython.line("echo sec''ond; exit")
    ipython.sees(r"\nfirst\n[\s\S]*second\n", start)
    ipython.prompt()
    assert ipython.is_as_before()


def test_the_cell_of_the_same_name_still_runs_scripts(ipython: IPython) -> None:
    shown = ipython.python("get_ipython().run_cell_magic('ecs_shell', '', 'echo from a script').ok")
    assert "from a script" in shown
    assert re.search(r"Out\[\d+\]: True", shown)


# -- the ways out --------------------------------------------------------------------------------


def test_a_tilde_and_a_dot(ipython: IPython) -> None:
    start = ipython.enter()
    ipython.line("echo '~.' a~.; cat")
    ipython.sees(r"\n~\. a~\.\n", start)
    ipython.line("~~.")
    ipython.sees(r"~\.\n~\.\n", start)
    ipython.type("~.")
    ipython.sees(r"the session was ended with ~\.\n", start)
    ipython.prompt()
    assert ipython.is_as_before()


def test_a_far_end_that_has_fallen_silent(cluster: Sandbox, ipython: IPython) -> None:
    start = ipython.enter()
    cluster.faults.stall_output = cluster.faults.stall_input = True
    ipython.type("lost keys\r" * 50 + "~.")
    ipython.sees(r"the session was ended with ~\.\n", start)
    ipython.prompt()
    assert ipython.is_as_before()


def test_a_session_that_is_cut_for_good(cluster: Sandbox, ipython: IPython) -> None:
    start = ipython.enter()
    # As an editor leaves it: another screen, no cursor, a mouse that reports.
    ipython.line("printf '\\033[?1049h\\033[?25l\\033[?1000h\\033[31mtext'; cat")
    ipython.sees("mtext[\\s\\S]*text", start)
    cut = len(ipython.data)
    cluster.faults.lose_resume = True
    cluster.faults.cut()
    ipython.prompt()
    raw = bytes(ipython.data[cut:])
    for undo in (b"\x1b[0m", b"\x1b[?25h", b"\x1b[?1000l", b"\x1b[?1049l"):
        assert undo in raw.partition(b"SessionLost")[0]
    said = plain(raw).decode()
    assert re.search(
        r"^SessionLost: the session in demo/\w+:worker is lost: timed out$", said, re.M
    )
    assert "Traceback" not in said
    assert "cause" not in said
    assert ipython.is_as_before()


def test_a_cut_that_is_healed_is_not_seen(cluster: Sandbox, ipython: IPython) -> None:
    start = ipython.enter()
    cluster.faults.cut()
    ipython.line("echo af''ter")
    ipython.sees(r"\nafter\n# ", start)
    cluster.faults.cut(close=True)
    ipython.line("seq 3; exit")
    ipython.sees(r"\n1\n2\n3\n", start)
    ipython.prompt()
    assert "SessionLost" not in plain(bytes(ipython.data[start:])).decode()


def test_a_program_that_is_not_in_the_image(ipython: IPython) -> None:
    shown = ipython.python("%ecs_shell --shell /bin/nope")
    assert "StartFailed: the agent could not start the command" in shown
    assert "Traceback" not in shown
    assert ipython.is_as_before()


def test_an_interrupt_from_outside_is_one_line(ipython: IPython) -> None:
    start = ipython.enter()
    ipython.process.send_signal(signal.SIGINT)
    ipython.prompt()
    said = plain(bytes(ipython.data[start:])).decode()
    assert re.search(r"^Interrupted: the session was ended by SIGINT$", said, re.M)
    assert ipython.is_as_before()


def test_an_interrupt_while_it_opens(cluster: Sandbox, ipython: IPython) -> None:
    cluster.faults.throttle = {"ExecuteCommand": 1000}
    start = len(ipython.data)
    ipython.line("%ecs_shell")
    ipython.sees("trying again", start)
    ipython.type(b"\x03")
    ipython.sees(r"Interrupted: no session was opened\n", start)
    ipython.prompt()
    assert b"Traceback" not in ipython.data[start:]
    assert ipython.is_as_before()


@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP", "SIGQUIT"])
def test_a_signal_that_ends_the_process(name: str, cluster: Sandbox, ipython: IPython) -> None:
    start = ipython.enter()
    ipython.line("printf '\\033[?1049h\\033[?25l'; echo o''n; sleep 1000")
    ipython.sees(r"on\n", start)
    assert ipython.is_raw()
    number = getattr(signal, name)
    os.kill(ipython.process.pid, number)
    ipython.until(lambda: ipython.process.poll() is not None)
    assert ipython.process.returncode == -number
    ipython.sees(rf"the session was ended by {name}\n", start)
    assert ipython.attributes() == ipython.cooked
    for undo in (b"\x1b[?25h", b"\x1b[?1049l"):
        assert undo in ipython.data[start:]
    # Nobody is left at the far end.
    assert cluster.wait_idle()


def test_a_window_that_is_closed(cluster: Sandbox, ipython: IPython) -> None:
    ipython.enter()
    ipython.hang_up()
    ipython.until(lambda: ipython.process.poll() is not None)
    assert ipython.process.returncode == -signal.SIGHUP
    assert cluster.wait_idle()


def test_stopped_and_continued(ipython: IPython) -> None:
    start = ipython.enter()
    ipython.line("printf '\\033[?1000h'; echo o''n")
    ipython.sees(r"\non\n# ", start)
    assert ipython.is_raw()
    pid = ipython.process.pid
    stopped = len(ipython.data)
    os.kill(pid, signal.SIGSTOP)
    os.kill(pid, signal.SIGCONT)
    ipython.line("echo mo''re")
    ipython.sees(r"\nmore\n# ", start)
    # A process that leads its session is not stopped by SIGTSTP, as nobody could continue it: it
    # goes through the same steps all the same.
    os.kill(pid, signal.SIGTSTP)
    ipython.until(lambda: b"\x1b[?1000l" in ipython.data[stopped:])
    ipython.until(lambda: b"\x1b[?1000h" in ipython.data[stopped:])
    ipython.until(ipython.is_raw)
    ipython.line("echo ag''ain; printf '\\033[?1000l'")
    ipython.sees(r"\nagain\n# ", start)
    ipython.line("exit")
    ipython.prompt()
    assert ipython.is_as_before()


# -- under a shell with jobs ---------------------------------------------------------------------


def test_a_job_of_a_shell(cluster: Sandbox, tmp_path: Path) -> None:
    environment = {
        **cluster.environment,
        "IPYTHONDIR": str(tmp_path),
        "PROMPT_TOOLKIT_NO_CPR": "1",
        "PS1": "sh> ",
    }
    there = Typist(["bash", "--norc", "--noediting", "-i"], environment, columns=90, rows=25)
    try:
        there.sees("sh> ")
        cooked = there.attributes()
        there.line(" ".join([*IPYTHON, "--ext=ecs_exec_magic", "-i"]))
        there.sees(r"In \[1\]: ")
        there.line("import os; print('I am', os.getpid())")
        pid = int(there.sees(r"\nI am (\d+)\n")[1])
        there.line("%ecs_shell -t demo/worker")
        there.sees(r"a session that hangs\n[\s\S]*# ")
        there.line("echo o''ne")
        there.sees(r"\none\n# ")
        # Stopped: the shell has its terminal as it was.
        mark = len(there.data)
        os.kill(pid, signal.SIGTSTP)
        there.sees(r"Stopped[\s\S]*sh> ", mark)
        assert there.attributes() == cooked
        # In the background it cannot read keys, and takes none from the shell.
        mark = len(there.data)
        there.line("bg")
        there.sees(r" &\n[\s\S]*sh> ", mark)
        there.line("echo a; echo b")
        there.sees(r"\na\nb\n", mark)
        assert there.attributes() == cooked
        there.line("fg")
        there.until(lambda: not there.attributes()[3] & ICANON)
        there.line("echo t''wo")
        there.sees(r"\ntwo\n# ", mark)
        there.line("exit")
        there.sees(r"In \[3\]: ", mark)
        mark = len(there.data)
        there.line("exit")
        there.sees("sh> ", mark)
        assert there.attributes() == cooked
    finally:
        there.close()
    assert cluster.wait_idle()


# -- where there is no terminal ------------------------------------------------------------------


def test_without_a_terminal_it_says_what_to_do(
    shell: InteractiveShell, world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(InvalidRequest) as caught:
        shell.run_line_magic("ecs_shell", "-t demo/web")
    assert "%%ecs_shell" in caught.value.cure
    assert not world.clients  # AWS is not asked for nothing
    shell.run_line_magic("ecs_shell", "--help")
    assert "Enter ~ ." in capsys.readouterr().out


def test_a_line_with_a_mistake(shell: InteractiveShell) -> None:
    from IPython.core.error import UsageError

    with pytest.raises(UsageError, match=r"unknown option --timeout"):
        shell.run_line_magic("ecs_shell", "--timeout 3")
    with pytest.raises(UsageError, match="--shell needs a value"):
        shell.run_line_magic("ecs_shell", "--shell")


@pytest.mark.parametrize(
    ("stdin", "stdout"), [("tty", "pipe"), ("pipe", "tty")], ids=["output", "input"]
)
def test_both_ends_must_be_terminals(
    cluster: Sandbox, tmp_path: Path, stdin: str, stdout: str
) -> None:
    environment = {**cluster.environment, "IPYTHONDIR": str(tmp_path)}
    redirect = "| cat" if stdout == "pipe" else "< /dev/null"
    code = "get_ipython().run_line_magic('ecs_shell', '-t demo/worker')"
    command = " ".join([*IPYTHON, "--ext=ecs_exec_magic", "-c", f'"{code}"', redirect])
    there = Typist(["sh", "-c", command], environment, columns=200, rows=25)
    try:
        there.sees("InvalidRequest: %ecs_shell needs a terminal of its own, and there is none here")
        there.sees("cell that begins with %%ecs_shell")
    finally:
        there.close()
