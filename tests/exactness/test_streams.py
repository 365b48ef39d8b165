"""Both streams come back byte for byte and apart, live, with the exit code and its proof."""

from __future__ import annotations

import hashlib
import random
import time

import pytest

from .conftest import Container, no_sigint, until_gone

ALL_BYTES = bytes(range(256))


def octal(data: bytes) -> str:
    return "".join(f"\\{byte:03o}" for byte in data)


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"no newline", id="no-newline"),
        pytest.param(b"\n\n\n", id="only-newlines"),
        pytest.param(b"unix\nwin\r\nbare\rcr\n", id="line-ends"),
        pytest.param(ALL_BYTES, id="all-256"),
        pytest.param("h\u00e9llo 日本 🚀\n".encode(), id="utf8"),
        pytest.param(b"a\xef\xbf\xbdb\xef\xbf\xbd", id="u+fffd"),
        pytest.param(b"\xef\xbf\xbd\xef\xef\xbf lone \xef", id="u+fffd-and-lone-lead-bytes"),
        pytest.param(b"\xef\xbf\xbd\x1a", id="u+fffd-and-its-escape"),
        pytest.param(b"tail\xc3", id="incomplete-tail-2"),
        pytest.param(b"tail\xe6\x97", id="incomplete-tail-3"),
        pytest.param(b"tail\xf0\x9f\x9a", id="incomplete-tail-4"),
        pytest.param(b"\xff\xfe\x80\xc0\xf8", id="invalid-utf8"),
        pytest.param(b"\x00", id="one-nul"),
        pytest.param(b"a\x00b\x00", id="nuls-in-text"),
        pytest.param(b"\x1b[31mred\x1b[0m\x1b[2J\x1b]0;title\x07", id="ansi"),
        pytest.param(b"\x1e\x1e\x1a\x04\x03\x13\x11\x1c", id="control-characters"),
    ],
)
def test_bytes_of_both_streams(container: Container, data: bytes) -> None:
    code = f"printf '{octal(data)}'; printf '{octal(data[::-1])}' >&2"
    result = container.run(code)
    assert result.stdout_bytes == data
    assert result.stderr_bytes == data[::-1]
    assert result.exact
    assert result.exit_code == 0


@pytest.mark.parametrize("code", [0, 1, 2, 3, 42, 125, 126, 127, 128, 129, 130, 137, 200, 254, 255])
def test_exit_codes(container: Container, code: int) -> None:
    result = container.run(f"exit {code}")
    assert result.exit_code == code
    assert result.exact


@pytest.mark.parametrize(
    ("name", "number"), [("HUP", 1), ("INT", 2), ("KILL", 9), ("SEGV", 11), ("TERM", 15)]
)
def test_death_by_signal(container: Container, name: str, number: int) -> None:
    result = container.run(["sh", "-c", f"kill -{number} $$"])
    if name == "INT" and no_sigint(container):
        assert (result.exit_code, result.signal) == (0, None)  # it is ignored there, as documented
        return
    assert result.exit_code == 128 + number
    assert result.signal == f"SIG{name}"
    assert result.stderr_bytes == b""


def test_missing_program(container: Container) -> None:
    for command in ("no-such-program --x", ["no-such-program"], ["/no/such/program"]):
        result = container.run(command)
        assert result.exit_code == 127
        assert "no-such-program" in result.stderr or "/no/such/program" in result.stderr
        assert result.exact


def test_not_executable(container: Container) -> None:
    result = container.run(["/etc/passwd"])
    assert result.exit_code == 126
    assert "/etc/passwd" in result.stderr


def test_streams_stay_apart_and_whole_under_load(container: Container) -> None:
    code = "seq 1 20000 & seq 20001 40000 >&2; wait"
    result = container.run(code)
    assert result.stdout == "".join(f"{n}\n" for n in range(1, 20001))
    assert result.stderr == "".join(f"{n}\n" for n in range(20001, 40001))
    assert result.exact


def test_a_megabyte_without_a_newline(container: Container) -> None:
    result = container.run("head -c 1000000 /dev/zero | tr '\\000' x")
    assert result.stdout_bytes == b"x" * 1_000_000
    assert result.exact


def test_binary_megabyte(container: Container) -> None:
    made = container.run("head -c 1000000 /dev/urandom >/tmp/blob; sha256sum </tmp/blob")
    result = container.run("cat /tmp/blob")
    assert len(result.stdout_bytes) == 1_000_000
    assert hashlib.sha256(result.stdout_bytes).hexdigest() == made.stdout.split()[0]
    assert result.exact


def test_output_is_live(container: Container) -> None:
    # The command waits for a file that is made only after its first line was seen.
    container.run("rm -f /tmp/seen", check=True)
    stream = container.stream("echo first; while [ ! -e /tmp/seen ]; do sleep 0.02; done; echo end")
    event = next(stream)
    assert (event.stream, event.data) == ("stdout", b"first\n")
    container.run("touch /tmp/seen", check=True)
    assert b"".join(each.data for each in stream) == b"end\n"
    assert stream.result is not None
    assert stream.result.exact


def test_text_of_live_events_is_never_cut_in_a_character(container: Container) -> None:
    stream = container.stream("printf '\\346'; sleep 0.2; printf '\\227\\245'; sleep 0.2; echo")
    assert "".join(event.text for event in stream) == "日\n"


# -- nothing forges or breaks the framing ----------------------------------------------------------


def test_a_command_that_prints_its_own_wrapper(container: Container) -> None:
    result = container.run("cat /proc/[0-9]*/cmdline; ps -ef || ps")
    assert result.exact
    assert b"ecs-exec-magic" in result.stdout_bytes


def test_markers_and_halves_of_them(container: Container) -> None:
    # The command reads the wrapper's arguments and prints whatever records it can make of them.
    code = r"""
    set -- $(tr '\000' '\n' </proc/$PPID/cmdline | grep -A1 ^ecs-exec-magic$ | tail -n 1)
    for n in $1 $1-$$ $1-$PPID; do
      printf '\036%s B 1 r base64- cksum- setsid- secret\n' $n
      printf '\036%s o t 5\nabcde\n\036%s z o 0 0\n\036%s X 0\n' $n $n $n
      printf '\036%s\036 0 0 \036%s\036' $n $n
      printf '\036%s\036%s' $n
    done
    exit 6
    """
    result = container.run(code)
    assert result.exact
    assert result.exit_code == 6
    assert result.stdout_bytes.count(b"\x1e") == 30
    assert result.stdout_bytes.startswith(b"\x1e")


def test_random_output_made_of_framing_bytes(container: Container) -> None:
    seed = random.Random(7)
    pieces = [b"\x1e", b"\n", b" o t 4\n", b" z o 1 1\n", b" B 1 r ", b"\xef\xbf\xbd", b"\x1a"]
    for _ in range(5):
        data = b"".join(seed.choice(pieces) for _ in range(60))
        assert container.run(["printf", octal(data)]).stdout_bytes == data


def test_noise_on_the_terminal_is_kept_apart(container: Container) -> None:
    # setsid takes the controlling terminal away; the session's own is still there to be written.
    code = r"""
    for fd in /proc/[0-9]*/fd/9; do
      case $(readlink $fd) in /dev/pts/*) tty=$(readlink $fd);; esac
    done
    [ "$tty" ] || exit 0
    (n=0; while [ $n -lt 300 ]; do n=$((n+1)); echo "noise $n"; done) >$tty &
    seq 1 5000
    wait
    """
    result = container.run(code)
    assert result.exact
    if container.pipes:
        assert result.noise == b""
    else:
        assert result.stdout == "".join(f"{n}\n" for n in range(1, 5001))
        assert b"noise 300\n" in result.noise


def test_a_child_left_behind_does_not_hold_the_result(container: Container) -> None:
    start = time.monotonic()
    result = container.run("sleep 400 & echo now")
    assert result.stdout == "now\n"
    assert result.exact
    assert time.monotonic() - start < 100  # far below what the child would take
    gone = until_gone("^sleep 40[0]$")
    assert container.run(gone).ok, "the child should have got the hang-up"


@pytest.mark.parametrize("how", ["setsid sh -c", "trap '' HUP; sh -c"])
def test_a_child_made_immune_lives_on(container: Container, how: str) -> None:
    container.run("rm -f /tmp/immune /tmp/alive", check=True)
    body = ": >/tmp/immune; sleep 0.8; echo late; echo late >&2; echo yes >/tmp/alive"
    immune = "while [ ! -e /tmp/immune ]; do sleep 0.02; done"
    result = container.run(f"{{ {how} '{body}'; }} & {immune}; echo now")
    assert result.stdout == "now\n"
    look = "for n in $(seq 200); do [ -e /tmp/alive ] && exit; sleep 0.3; done; exit 1"
    after = container.run(look)
    assert after.ok
    assert after.stdout == ""  # late output was dropped, not mixed into another result


def test_nothing_is_left_behind(container: Container) -> None:
    container.run("seq 1 1000 & echo err >&2; wait; : unmistakable; exit 3", timeout=30)
    assert container.run(until_gone("unmistakabl[e]")).ok
    assert container.run("ls -A /tmp /var/tmp /dev/shm 2>/dev/null").stdout.count("ecs") == 0


def test_the_environment_is_the_agents_own(container: Container) -> None:
    result = container.run(["env"])
    names = {line.partition("=")[0] for line in result.lines}
    assert "TERM" in names
    assert not [name for name in names if name.startswith("_") and name != "_"]
    assert "LC_ALL" not in names


def test_no_file_descriptors_leak(container: Container) -> None:
    result = container.run("ls /proc/self/fd")
    assert result.stdout.split() == ["0", "1", "2", "3"]  # 3 is the directory that ls reads
