"""What was asked is what runs: arguments, scripts, input, time limits, interrupts."""

from __future__ import annotations

import hashlib
import io
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import ecs_exec_magic as ecs
from ecs_exec_magic.remote.wrapper import API_LIMIT, unwrap

from .conftest import Container, no_sigint, until_gone

HARD_WORDS = [
    "a b",
    "'",
    '"',
    'it\'s "so"',
    "\n",
    "two\nlines\n\n",
    "$HOME $(id) `id` ${x}",
    "\\",
    "\\n\\\\",
    "#",
    "# not a comment",
    "{{ssm:x}}",
    "{{ ssm:/a/b }} {{{{x}}}}",
    "",
    "é日本🚀",
    "*?[a]",
    "~",
    "-n",
    "--",
    "!",
    "a\tb",
    "\x01\x7f",
    "%s%%",
    " ",
    ";|&<>()",
    "\ufffd",
]


def printed(words: list[str | bytes]) -> bytes:
    return b"".join((w if isinstance(w, bytes) else w.encode()) + b"\0" for w in words)


def test_arguments_reach_the_program_unchanged(container: Container) -> None:
    result = container.run(["printf", "%s\\000", *HARD_WORDS])
    assert result.stdout_bytes == printed([*HARD_WORDS])
    assert result.exact


def test_arguments_of_any_bytes(container: Container) -> None:
    words = [bytes(range(1, 256)), b"\xff", b"\xef\xbf\xbd\n\n", b"\x80\n"]
    result = container.run(["printf", "%s\\000", *words])
    assert result.stdout_bytes == printed([*words])


def test_a_nul_is_refused_before_anything_runs(container: Container) -> None:
    for command in ("echo a\0b", ["echo", "a\0b"], ["echo", b"a\0b"]):
        with pytest.raises(ecs.InvalidRequest, match="NUL"):
            container.run(command)


def test_shell_syntax_in_a_string(container: Container) -> None:
    result = container.run("x=5; echo $((x+1)) | cat; echo '{{ssm:x}}' \"$0\" # comment")
    assert result.stdout == "6\n{{ssm:x}} sh\n"


def test_scripts(container: Container) -> None:
    body = """set -e
f() {
  echo "in f: $1"
}
f 'a b'
cat <<EOF
$((1+1)) 'quotes' {{x}}
EOF
exit 7
"""
    result = container.script(body)
    assert result.stdout == "in f: a b\n2 'quotes' {{x}}\n"
    assert result.exit_code == 7
    assert result.command == body


def test_the_api_call_shows_what_was_typed(container: Container) -> None:
    typed = "grep -c 'it''s' /etc/passwd | sort # {{x}}"
    container.run(typed)
    container.script("echo one\necho two\n")
    container.run(["echo", "a b", "$x"])
    commands = [
        call.parameters["command"]
        if call.operation == "ExecuteCommand"
        else call.parameters["Parameters"]["command"][0]
        for call in container.sandbox.counters.calls()
        if call.operation in ("ExecuteCommand", "StartSession")
    ][-3:]
    assert [unwrap(command) for command in commands] == [
        typed,
        "echo one\necho two\n",
        "echo 'a b' '$x'",
    ]
    assert all(len(command.encode()) <= API_LIMIT for command in commands)
    assert "grep -c" in commands[0]


def test_long_commands_go_in_as_input(terminal: Container) -> None:
    words = [f"word {n} é" for n in range(2000)]
    if terminal.pipes:
        with pytest.raises(ecs.InvalidRequest, match="possible"):
            terminal.run(["printf", "%s\\000", *words])
        return
    result = terminal.run(["printf", "%s\\000", *words])
    assert result.stdout_bytes == printed([*words])
    command = terminal.sandbox.counters.calls("ExecuteCommand")[-1].parameters["command"]
    raw = b"\0".join(word.encode() for word in ["printf", "%s\\000", *words])
    assert unwrap(command) == f"sha256:{hashlib.sha256(raw).hexdigest()}"
    assert len(command.encode()) <= API_LIMIT


def test_a_long_script(terminal: Container) -> None:
    if terminal.pipes:
        return
    body = "".join(f"echo 'line {n} of the script: $x é'\n" for n in range(2000))
    result = terminal.script(body + "exit 9\n")
    assert result.stdout == "".join(f"line {n} of the script: $x é\n" for n in range(2000))
    assert result.exit_code == 9
    assert result.exact


# -- input -----------------------------------------------------------------------------------------


def test_five_megabytes_of_input(terminal: Container) -> None:
    if terminal.pipes:
        return
    data = os.urandom(5_000_000)
    result = terminal.run("sha256sum", stdin=data)
    assert result.stdout.split()[0] == hashlib.sha256(data).hexdigest()


def test_every_kind_of_source(terminal: Container, tmp_path: Path) -> None:
    if terminal.pipes:
        return
    path = tmp_path / "input"
    path.write_bytes(b"\x00from a path\xff\n")

    def lines() -> Iterator[str]:
        yield "one\n"
        yield ""
        yield "two é\n"

    sources = [
        ("text é\n", "text é\n".encode()),
        (b"\x00\xff\n\r", b"\x00\xff\n\r"),
        (io.BytesIO(b"file"), b"file"),
        (io.StringIO("text file"), b"text file"),
        (lines(), "one\ntwo é\n".encode()),
        (path, path.read_bytes()),
        (b"", b""),
    ]
    for source, expected in sources:
        result = terminal.run(["cat"], stdin=source)
        assert result.stdout_bytes == expected
        assert result.exact


def test_without_input_a_command_sees_its_end_at_once(container: Container) -> None:
    assert container.run("cat; echo end").stdout == "end\n"


def test_a_command_that_never_reads_does_not_hang(terminal: Container) -> None:
    if terminal.pipes:
        return
    result = terminal.run("echo done", stdin=b"x" * 1_000_000)
    assert result.stdout == "done\n"
    assert result.exact


def test_input_is_live(terminal: Container) -> None:
    if terminal.pipes:
        return
    turn = threading.Event()

    def questions() -> Iterator[bytes]:
        yield b"one\n"
        turn.wait(60)  # goes on only when the answer to the first was seen
        yield b"two\n"

    answers = []
    with terminal.stream("while read -r x; do echo got $x; done", stdin=questions()) as stream:
        for event in stream:
            answers.append(event.data)
            turn.set()
    assert b"".join(answers) == b"got one\ngot two\n"


# -- time limits and interrupts --------------------------------------------------------------------


def test_timeout_holds_the_partial_result(container: Container) -> None:
    with pytest.raises(ecs.CommandTimeout) as caught:
        container.run("echo before; echo err >&2; sleep 500; echo after", timeout=2)
    result = caught.value.result
    assert result.stdout == "before\n"
    assert result.stderr.startswith("err\n")
    assert result.timed_out
    assert not result.ok
    assert result.exact  # what came until then is proved all the same


def test_timeout_kills_what_ignores_term(container: Container) -> None:
    with pytest.raises(ecs.CommandTimeout) as caught:
        container.run("trap '' TERM; echo on; while :; do sleep 0.1; done", timeout=2)
    assert caught.value.result.stdout == "on\n"
    assert caught.value.result.signal == "SIGKILL"


def test_timeout_ends_the_whole_group(container: Container) -> None:
    with pytest.raises(ecs.CommandTimeout):
        container.run("sleep 600 | sleep 601 | cat", timeout=0.3)
    assert container.run(until_gone("^sleep 60[01]$")).ok


def test_a_command_in_time_is_not_timed_out(container: Container) -> None:
    result = container.run("sleep 0.1; exit 143", timeout=30)
    assert (result.exit_code, result.timed_out) == (143, False)


def press_when_seen(stream_text: str = "on\n") -> tuple[list[str], object]:
    seen: list[str] = []

    def on_output(event: ecs.OutputEvent) -> None:
        seen.append(event.text)
        if "".join(seen) == stream_text:
            os.kill(os.getpid(), signal.SIGINT)

    return seen, on_output


def test_interrupt_reaches_the_command(container: Container) -> None:
    _, on_output = press_when_seen()
    code = "trap 'echo int; exit 5' INT; echo on; n=0; "
    code += "while [ $n -lt 200 ]; do n=$((n+1)); sleep 0.1; done"
    with pytest.raises(ecs.Interrupted) as caught:
        container.run(code, on_output=on_output)
    result = caught.value.result
    assert result is not None
    if no_sigint(container):
        assert (result.stdout, result.signal) == ("on\n", "SIGTERM")
    else:
        assert (result.stdout, result.exit_code) == ("on\nint\n", 5)


def test_interrupt_ends_a_plain_command(container: Container) -> None:
    _, on_output = press_when_seen()
    with pytest.raises(ecs.Interrupted) as caught:
        container.run("echo on; sleep 50", on_output=on_output)
    assert caught.value.result is not None
    assert caught.value.result.signal == ("SIGTERM" if no_sigint(container) else "SIGINT")
    assert container.run("pgrep -fx 'sleep 5[0]'").exit_code == 1


def test_the_second_interrupt_ends_the_session(container: Container) -> None:
    presses = []

    def on_output(event: ecs.OutputEvent) -> None:
        presses.append(event.text)
        os.kill(os.getpid(), signal.SIGINT)

    code = (
        "trap 'echo again' INT; echo on; n=0; while [ $n -lt 1500 ]; do n=$((n+1)); sleep 0.1; done"
    )
    start = time.monotonic()
    with pytest.raises(ecs.Interrupted) as caught:
        container.run(code, on_output=on_output)
    assert time.monotonic() - start < 100  # the command alone would take 150
    assert caught.value.result is not None
    assert caught.value.result.stdout.startswith("on\n")
    assert container.run(until_gone("echo agai[n]")).ok, (
        "the command should be gone from the container"
    )


def test_closing_a_stream_ends_the_command(container: Container) -> None:
    with container.stream("echo on; sleep 550") as stream:
        assert next(stream).data == b"on\n"
    assert container.run(until_gone("^sleep 55[0]$")).ok
    assert not stream.result or stream.result.stdout == "on\n"


def test_check_raises_with_the_whole_result(container: Container) -> None:
    with pytest.raises(ecs.CommandFailed) as caught:
        container.run("echo out; echo why >&2; exit 3", check=True)
    assert caught.value.result.exit_code == 3
    assert any("why" in line for line in caught.value._render_traceback_())
    assert len(caught.value._render_traceback_()) <= 5


def test_max_bytes(container: Container) -> None:
    result = container.run("seq 1 1000; exit 4", max_bytes=10)
    assert result.stdout == "1\n2\n3\n4\n5\n"
    assert result.truncated
    assert result.exit_code == 4
