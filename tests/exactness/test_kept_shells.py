"""Command after command in one shell: each is exact, and together they say what a script says."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from typing import Any
from unittest import mock

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import ecs_exec_magic as ecs
from ecs_exec_magic.channel.connection import Connection
from ecs_exec_magic.shell import WarmShell

from .conftest import SHELLS, WAYS, Container, opened, until_gone
from .test_commands import HARD_WORDS, printed
from .test_streams import ALL_BYTES, octal


# A kept shell needs a terminal: it is not offered without one.
@pytest.fixture(scope="session", params=[each for each in WAYS if each != "pipes"])
def way(request: pytest.FixtureRequest, cluster: Any) -> str:
    return opened(cluster, str(request.param))


@pytest.fixture
def shell(container: Container) -> Iterator[WarmShell]:
    with container.target.shell() as shell:
        yield shell


def test_state_is_kept(shell: WarmShell) -> None:
    shell.run("cd /tmp; n=5; f() { echo \"f $1\"; return 4; }; alias a='echo aliased'", check=True)
    assert shell.run("pwd; echo $n").stdout == "/tmp\n5\n"
    result = shell.run("f 'x  y'")
    assert (result.stdout, result.exit_code, result.exact) == ("f x  y\n", 4, True)
    assert shell.run("echo $?").stdout == "4\n"
    assert shell.run(["f", "$n *"]).stdout == "f $n *\n"
    assert shell.run("read x; echo $?").stdout == "1\n"  # it has no input
    assert shell.commands == 6


def test_each_command_has_its_own_streams(shell: WarmShell) -> None:
    for code in (0, 1, 7, 255):
        result = shell.run(f"printf out{code}; printf err{code} >&2; (exit {code})")
        assert (result.stdout, result.stderr, result.exit_code) == (
            f"out{code}",
            f"err{code}",
            code,
        )
        assert result.exact
        assert result.noise == b""


@pytest.mark.parametrize("data", [b"", b"\n\n", ALL_BYTES * 3, b"\xef\xbf\xbd" * 9, b"a\0b"])
def test_bytes(shell: WarmShell, data: bytes) -> None:
    result = shell.run(f"printf '{octal(data)}'; printf '{octal(data[::-1])}' >&2")
    assert result.stdout_bytes == data
    assert result.stderr_bytes == data[::-1]
    assert result.exact


@pytest.mark.parametrize("pause", ["", "sleep 0.2; "], ids=["at-once", "later"])
def test_much_of_what_terminals_take_for_broken(shell: WarmShell, pause: str) -> None:
    line = "\ufffd abc\n"
    loop = f"n=0; while [ $n -lt 900 ]; do printf '{octal(line.encode())}'; n=$((n+1)); done"
    result = shell.run(f"{pause}{loop}; {{ {loop}; }} >&2")
    assert result.exact
    assert (result.stdout, result.stderr) == (line * 900, line * 900)


def test_arguments_reach_the_program_unchanged(shell: WarmShell) -> None:
    result = shell.run(["printf", "%s\\000", *HARD_WORDS, b"\xff\x81\x88"])
    assert result.stdout_bytes == printed([*HARD_WORDS, b"\xff\x81\x88"])


def test_much_output(shell: WarmShell) -> None:
    result = shell.run("seq 1 200000 >&2; seq 1 100000")
    assert result.stdout == "".join(f"{n}\n" for n in range(1, 100001))
    assert result.stderr == "".join(f"{n}\n" for n in range(1, 200001))
    assert result.exact


@pytest.mark.parametrize("data", [b"", b"text\n", b"a\0b", ALL_BYTES * 300], ids=len)
def test_input(shell: WarmShell, data: bytes) -> None:
    for _ in range(2):
        assert shell.run("cat", stdin=data).stdout_bytes == data
        assert shell.run("cat").stdout_bytes == b""
    assert shell.run(["cat"], stdin=iter([data, data])).stdout_bytes == data * 2


def test_input_that_is_not_read(shell: WarmShell) -> None:
    data = ALL_BYTES * 600  # more than all pipes and windows between here and there hold
    for _ in range(4):
        assert shell.run("true", stdin=data).ok
        assert shell.run("head -c1", stdin=data).stdout_bytes == data[:1]
        assert shell.run("read x; echo $x", stdin="one\ntwo\n").stdout == "one\n"
        assert shell.run("echo $x; cat").stdout == "one\n"


def test_mistakes_do_not_end_the_shell(shell: WarmShell) -> None:
    shell.run("x=kept")
    for wrong in ("if", "echo '", "(", "done", "nonesuch", "break", "cat <<EOF"):
        result = shell.run(wrong)
        assert result.exact, wrong
    assert shell.run("echo $x").stdout == "kept\n"


@pytest.mark.parametrize("last", ["exit 7", "set -e; (exit 7)", "exec sh -c 'exit 7'", "kill $$"])
def test_what_ends_a_script_ends_the_shell(shell: WarmShell, last: str) -> None:
    shell.run("trap 'echo bye' EXIT")
    result = shell.run(f"echo before; {last}")
    assert result.stdout.startswith("before\n")
    assert result.exit_code == (143 if last.startswith("kill") else 7)
    assert result.exact
    assert "ended with exit code" in shell.over
    with pytest.raises(ecs.SessionLost, match="is over") as caught:
        shell.run("echo again")
    assert "not run" in caught.value.cure
    assert not caught.value.result


def test_options_of_the_shell_do_not_confuse_it(shell: WarmShell) -> None:
    for options in ("set -x", "set -v", "set -u", "set -f", "IFS=0123456789", "set -a; set -m"):
        shell.run(options)
        result = shell.run("printf '%s' a; exit_me() { return 3; }; exit_me")
        assert (result.stdout, result.exit_code, result.exact) == ("a", 3, True)


def test_what_prints_all_of_its_own(shell: WarmShell) -> None:
    shell.run("x=1")
    for command in (
        "set",
        "set -x; set",
        "cat /proc/$$/environ /proc/$PPID/cmdline",
        "trap; fc -l",
    ):
        assert shell.run(command).exact, command
    assert shell.run("echo $x").stdout == "1\n"


def test_output_that_was_led_away(shell: WarmShell) -> None:
    assert shell.run("exec 5>&1 >/tmp/led; echo away").stdout == ""
    assert shell.run("echo too").stdout == ""
    assert shell.run("exec >&5 5>&-; cat /tmp/led; rm /tmp/led").stdout == "away\ntoo\n"


def test_what_a_child_prints_between_commands_comes_with_the_next(shell: WarmShell) -> None:
    shell.run("rm -f /tmp/go /tmp/said")
    start = "while [ ! -e /tmp/go ]; do sleep 0.05; done; echo late; : >/tmp/said"
    assert shell.run(f"{{ {start}; }} & echo now").stdout == "now\n"
    said = shell.run("touch /tmp/go").stdout
    said += shell.run("while [ ! -e /tmp/said ]; do sleep 0.05; done").stdout
    after = shell.run("echo end").stdout
    # Whether it comes with the one or the other is a race; that it comes once is not.
    assert (said + after).replace("late\n", "", 1) == "end\n"


def test_timeout_keeps_a_shell_whose_command_ends(shell: WarmShell) -> None:
    shell.run("x=kept")
    with pytest.raises(ecs.CommandTimeout) as caught:
        shell.run("echo on; sleep 500", timeout=2)
    assert (caught.value.result.stdout, caught.value.result.exact) == ("on\n", True)
    assert shell.run("echo $x").stdout == "kept\n"


def test_timeout_ends_a_shell_that_does_not(shell: WarmShell) -> None:
    with pytest.raises(ecs.CommandTimeout) as caught:
        shell.run("echo on; while :; do sleep 0.1; done", timeout=2)
    assert caught.value.result.stdout == "on\n"
    assert "outlived" in caught.value.result.missing
    assert "outlived" in shell.over


def test_interrupt_keeps_the_shell(shell: WarmShell) -> None:
    shell.run("x=kept")

    def press(event: ecs.OutputEvent) -> None:
        os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(ecs.Interrupted) as caught:
        shell.run("echo on; sleep 50", on_output=press)
    assert caught.value.result is not None
    assert caught.value.result.signal == "SIGINT"
    assert shell.run("echo $x").stdout == "kept\n"


def test_nothing_is_left_behind(container: Container) -> None:
    if container.pipes:
        return
    with container.target.shell() as shell:
        shell.run("sleep 630 & sleep 0.1")
    assert container.run(until_gone("^sleep 63[0]$")).ok


# Sizes around that of a piece, in which what wakes the pump may be cut in two.
WRITES = st.tuples(
    st.sampled_from("12"), st.sampled_from([1, 770, 790, 800, 900, 5000]), st.sampled_from([0, 2])
)


@pytest.mark.parametrize("name", SHELLS)
@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    commands=st.lists(st.lists(WRITES, min_size=1, max_size=5), min_size=1, max_size=8),
    soon=st.sampled_from([0.0, 0.002, 0.005, 0.01]),
    between=st.sampled_from([0.0, 0.002, 1.0]),
    cut=st.sampled_from([0, 1, 6]),
)
def test_it_is_exact_whenever_it_is_asked_for_its_output(
    cluster: object,
    name: str,
    commands: list[list[tuple[str, int, int]]],
    soon: float,
    between: float,
    cut: int,
) -> None:
    target = cluster[2][name]  # type: ignore[index]
    send, one = Connection.send, asyncio.Lock()

    async def in_two_messages(self: Connection, data: bytes) -> None:
        async with one:
            await send(self, data[:cut])
            await asyncio.sleep(0.002)
            await send(self, data[cut:])

    with (
        mock.patch.multiple("ecs_exec_magic.remote.shell", SOON=soon, BETWEEN=between),
        mock.patch.object(Connection, "send", in_two_messages if cut else send),
        target.shell() as shell,
    ):
        shell.run('w() { printf "%0*d" $1 0; [ $2 = 0 ] || sleep 0.00$2; }')
        for writes in commands:
            script = "; ".join([f"w {n} {pause} >&{to}" for to, n, pause in writes])
            result = shell.run(script, timeout=120)
            assert result.exact
            for to, got in (("1", result.stdout), ("2", result.stderr)):
                assert got == "0" * sum(n for stream, n, _ in writes if stream == to)
            assert not shell.over


PIECES = [
    "cd /",
    "cd /usr",
    "pwd",
    "x=1",
    "x=$((x+1)); echo $x",
    "echo $x",
    "echo out; echo err >&2",
    "printf no-newline",
    "false",
    "true",
    "echo $?",
    "f() { echo in f $1; return 3; }",
    "f 'a b'",
    "unset -f f",
    "set -- p q; echo $#",
    "echo $# $1",
    "[ $# -gt 0 ] && shift; echo $#",
    "for i in 1 2 3; do echo $i; done",
    "umask 027; umask",
    "export E=é; env | grep ^E=",
    "(x=9; exit 5)",
    "trap 'echo trapped' USR1; kill -USR1 $$",
    "cat <<EOF\nhere $x\nEOF",
    "echo a |\n  tr a b",
    "sleep 0 & wait $!; echo $?",
    "set -f; echo *; set +f",
    "case $x in 1) echo one;; *) echo other;; esac",
    "exit 6",
]


@pytest.mark.parametrize("name", SHELLS)
@settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(commands=st.lists(st.sampled_from(PIECES), min_size=1, max_size=12))
def test_it_says_what_a_plain_shell_says(cluster: object, name: str, commands: list[str]) -> None:
    target = cluster[2][name]  # type: ignore[index]
    words = [shutil.which("busybox") or "", "ash"] if name == "ash" else [SHELLS[name]]
    script = "\n".join(commands) + "\n"
    plain = subprocess.run(
        [*words, "-s"],
        cwd="/",
        input=script.encode(),
        capture_output=True,
        timeout=150,
        check=False,
    )
    stdout, code = b"", 0
    with target.shell() as shell:
        for command in commands:
            result = shell.run(command)
            assert result.exact
            stdout += result.stdout_bytes
            code = result.exit_code
            if shell.over:
                break
    assert (stdout, code) == (plain.stdout, plain.returncode)
