"""The wrapper alone, in images that lack tools: what it does then, by name."""

from __future__ import annotations

from pathlib import Path

import pytest

from . import farside

SHELLS = ["/bin/dash", "/bin/bash"]
CODE = r"printf 'hi \303\251\357\277\275\n\000x'; echo err >&2; exit 3"
OUT = b"hi \xc3\xa9\xef\xbf\xbd\n\x00x"


@pytest.fixture(params=SHELLS, ids=["dash", "bash"])
def shell(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.mark.parametrize(
    ("without", "transport", "encoder", "checksum"),
    [
        ((), "r", "base64", "cksum"),
        (("stty",), "c", "base64", "cksum"),
        (("base64",), "r", "od", "cksum"),
        (("sed",), "r", "base64", "cksum"),
        (("cksum",), "r", "base64", "sha256sum"),
        (("cksum", "sha256sum"), "r", "base64", "md5sum"),
        (("stty", "base64", "cksum"), "c", "od", "sha256sum"),
        (("setsid",), "r", "base64", "cksum"),
    ],
    ids=lambda value: "+".join(value) if isinstance(value, tuple) else None,
)
def test_exact_without(
    shell: str,
    tmp_path: Path,
    without: tuple[str, ...],
    transport: str,
    encoder: str,
    checksum: str,
) -> None:
    seen = farside.run(CODE, farside.image(tmp_path / "bin", shell, without=without))
    assert seen.begin is not None
    assert (seen.begin.transport, seen.begin.encoder) == (transport, encoder)
    assert seen.begin.checksum == checksum
    assert (seen.stdout, seen.stderr) == (OUT, b"err\n")
    assert seen.words == ["3", "0"]
    assert seen.proofs == {"o": True, "e": True}
    assert seen.noise == b""


@pytest.mark.parametrize("without", [("cksum", "sha256sum", "md5sum"), ("tee",)], ids="+".join)
def test_whole_but_unproved_without(shell: str, tmp_path: Path, without: tuple[str, ...]) -> None:
    seen = farside.run(CODE, farside.image(tmp_path / "bin", shell, without=without))
    assert (seen.stdout, seen.stderr, seen.words) == (OUT, b"err\n", ["3", "0"])
    assert seen.begin is not None
    assert seen.begin.checksum == ""
    assert seen.proofs == {"o": False, "e": False}


@pytest.mark.parametrize(
    ("without", "transport"),
    [(("dd",), "n"), (("base64", "od"), "n"), (("dd", "stty"), "m")],
    ids=lambda value: "+".join(value) if isinstance(value, tuple) else None,
)
def test_merged_without(
    shell: str, tmp_path: Path, without: tuple[str, ...], transport: str
) -> None:
    seen = farside.run(
        "echo out; echo err >&2; exit 3", farside.image(tmp_path / "bin", shell, without=without)
    )
    assert seen.begin is not None
    assert seen.begin.transport == transport
    assert seen.plain == 3
    ends = b"\r\n" if transport == "m" else b"\n"
    assert seen.noise == b"out" + ends + b"err" + ends


def test_text_stays_readable_in_the_session_log(shell: str, tmp_path: Path) -> None:
    lines = b"".join(b"line %d of the log: caf\xc3\xa9 \xef\xbf\xbd\n" % n for n in range(500))
    code = "n=0; while [ $n -lt 500 ]; do printf 'line %d of the log: caf\\303\\251 "
    code += "\\357\\277\\275\\n' $n; n=$((n+1)); done"
    seen = farside.run(code, farside.image(tmp_path / "bin", shell))
    assert seen.stdout == lines
    readable = sum(b"line %d of the log: caf\xc3\xa9 \x1a\n" % n in seen.wire for n in range(500))
    assert readable >= 490  # all but the few that a frame's edge cuts


@pytest.mark.parametrize("without", [(), ("setsid",)], ids=["setsid", "without-setsid"])
@pytest.mark.parametrize("name", ["INT", "TERM", "KILL"])
def test_signals(shell: str, tmp_path: Path, without: tuple[str, ...], name: str) -> None:
    path = farside.image(tmp_path / "bin", shell, without=without)
    number = {"INT": 130, "TERM": 143, "KILL": 137}[name]
    # Typed only once the command runs: exec'd, so that one process stands for it.
    seen = farside.run(["sleep", "25"], path, typed=b"S %s\n" % name.encode())
    assert seen.words == [str(number), "0"]
    assert seen.proofs == {"o": True, "e": True}


@pytest.mark.parametrize("without", [(), ("setsid",)], ids=["setsid", "without-setsid"])
def test_the_far_ends_own_time_limit(shell: str, tmp_path: Path, without: tuple[str, ...]) -> None:
    path = farside.image(tmp_path / "bin", shell, without=without)
    seen = farside.run("sleep 25 | cat; exit 4", path, timeout=0.3)
    assert seen.words == ["143", "1"]
    seen = farside.run("exit 4", path, timeout=20)
    assert seen.words is not None
    assert seen.words[0] == "4"
    assert seen.words[1] != "1"


@pytest.mark.parametrize("attempt", range(10))
def test_a_signal_at_the_very_start(shell: str, tmp_path: Path, attempt: int) -> None:
    path = farside.image(tmp_path / "bin", shell)
    code = 'trap "echo int; exit 5" INT; echo go; sleep 20 & wait'
    seen = farside.run(code, path, typed=b"S INT\n")
    assert seen.words in (["5", "0"], ["130", "0"])
    assert seen.proofs == {"o": True, "e": True}


def test_input_between_control_lines(shell: str, tmp_path: Path) -> None:
    data = bytes(range(256)) * 8
    typed = b"I 2048\n" + data + b"I 3\nabcI 0\nE\n"
    seen = farside.run(["cat"], farside.image(tmp_path / "bin", shell), typed=typed)
    assert seen.stdout == data + b"abc"
    assert seen.proofs == {"o": True, "e": True}


def test_a_command_that_kills_its_wrapper_never_looks_whole(shell: str, tmp_path: Path) -> None:
    seen = farside.run("echo x; kill -9 $PPID; sleep 20", farside.image(tmp_path / "bin", shell))
    assert seen.words is None


def test_it_stays_until_it_is_told_that_all_has_come(shell: str, tmp_path: Path) -> None:
    path = farside.image(tmp_path / "bin", shell)
    with pytest.raises(AssertionError, match="the wrapper hangs"):
        farside.run("echo x", path, farewell=b"", limit=2)
    seen = farside.run("echo x", path)
    assert seen.stdout == b"x\n"
    assert seen.proofs == {"o": True, "e": True}


def test_it_does_not_stay_for_ever(shell: str, tmp_path: Path) -> None:
    path = farside.image(tmp_path / "bin", shell, without=("sleep",))
    (tmp_path / "bin" / "sleep").write_text("#!/bin/sh\n")
    (tmp_path / "bin" / "sleep").chmod(0o755)
    seen = farside.run("echo x", path, farewell=b"", limit=60)
    assert seen.stdout == b"x\n"
    assert seen.proofs == {"o": True, "e": True}
