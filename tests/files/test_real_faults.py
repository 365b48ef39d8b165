"""Disks that are full, files that may not be touched, keys that are pressed: all of them real."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import boto3
import pytest

import ecs_exec_magic as ecs
from ecs_exec_magic import sandbox as package
from ecs_exec_magic.client import Target
from ecs_exec_magic.files import fetching, sending
from ecs_exec_magic.sandbox import Sandbox

from .conftest import emptied, temporaries

NOISE = random.Random(5).randbytes(400_000)

COPY = """\
import json, os, sys, boto3
import ecs_exec_magic as ecs
url, address, way, source, to = sys.argv[1:]
session = boto3.Session("AKIATEST", "secret", region_name="us-east-1")
target = ecs.connect(endpoint_url=url, session=session).target(address)
def begun(*_):
    if "MARK" in os.environ:
        open(os.environ["MARK"], "w").close()
try:
    said = {"copied": str(getattr(target, way)(source, to, on_progress=begun))}
except ecs.EcsExecError as error:
    said = {"kind": type(error).__name__, "said": str(error), "cure": error.cure}
except KeyboardInterrupt as error:
    said = {"kind": "KeyboardInterrupt", "said": str(error), "cure": ""}
here = to if os.path.isdir(to) else os.path.dirname(to)
said["there"] = sorted(os.listdir(here)) if os.path.isdir(here) else []
print(json.dumps(said))
"""
"""A copy in a process of its own, and what its directory has when it has ended."""

SMALL_DISK = """\
mount -t tmpfs -o size=300k none "$1" && printf old >"$1/x" && shift && exec "$@"
"""
UNPRIVILEGED = "--bounding-set=-dac_override,-dac_read_search"


def command(sandbox: Sandbox, target: Target, *words: str) -> list[str]:
    return [sys.executable, "-c", COPY, sandbox.url, target.address, *words]


def copied(words: Sequence[str], **environment: str) -> dict[str, Any]:
    """What a copy in another process says."""
    done = subprocess.run(
        words, env={**os.environ, **environment}, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    said: dict[str, Any] = json.loads(done.stdout)
    return said


def on_a_small_disk(where: Path, words: Sequence[str]) -> list[str]:
    """The words that run this where a directory is a file system of 300 KiB, with a file x."""
    where.mkdir()
    own = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", SMALL_DISK, "sh"]
    return [*own, str(where), *words]


def as_nobody_special(words: Sequence[str]) -> list[str]:
    """The words that run this without root's power over modes."""
    return [*(["setpriv", UNPRIVILEGED] if os.geteuid() == 0 else []), *words]


@pytest.fixture(scope="module")
def small() -> Iterator[Target]:
    """A container whose /dev is a file system of one MiB."""
    with package.start(pace="fast", runtime="unshare") as sandbox:
        session = boto3.Session("AKIATEST", "secret", region_name="us-east-1")
        yield ecs.connect(endpoint_url=sandbox.url, session=session).target("demo/worker")


@pytest.fixture
def humble(target: Target) -> Iterator[Target]:
    """A container in which root has no power over modes."""
    yield from with_shell(target, f"exec setpriv {UNPRIVILEGED} /bin/dash")


@pytest.fixture
def poor(target: Target) -> Iterator[Target]:
    """A container whose image has neither tar nor base64."""
    target.run(
        "mkdir -p /opt/lack; for tool in tar base64; do "
        "printf '#!/bin/dash\\nexit 127\\n' >/opt/lack/$tool; chmod +x /opt/lack/$tool; done",
        check=True,
    )
    yield from with_shell(target, "PATH=/opt/lack:$PATH exec /bin/dash")


def with_shell(target: Target, line: str) -> Iterator[Target]:
    """A container whose sh is a line of another shell, with the arguments behind it."""
    code = f'#!/bin/dash\n{line} "$@"\n'
    # Moved there in one step: what runs meanwhile starts shells of its own.
    where = "/usr/local/bin/sh"
    target.write_bytes(f"{where}.new", code.encode(), mode=0o755)
    target.run(f"mv {where}.new {where}", check=True)
    try:
        yield emptied(target)
    finally:
        target.run(["rm", where], check=True)


# -- a full disk -----------------------------------------------------------------------------------


@pytest.mark.parametrize("what", ["noise", "text", "tree"])
def test_no_room_there(small: Target, tmp_path: Path, what: str) -> None:
    assert int(small.run("df -k /dev | tail -n 1").stdout.split()[1]) == 1024
    small.write_bytes("/dev/x", b"old")
    if what == "noise":
        (tmp_path / "x").write_bytes(random.Random(5).randbytes(1_200_000))
    elif what == "text":  # it fits as it comes, and not when it is unpacked
        (tmp_path / "x").write_bytes(b"one and the same line\n" * 100_000)
    else:
        (tmp_path / "x").mkdir()
        for n in range(4):
            (tmp_path / "x" / f"{n}").write_bytes(b"another line\n" * 30_000)
    to = "/dev/y" if what == "tree" else "/dev/x"
    with pytest.raises(ecs.CopyFailed, match="No space left") as caught:
        small.put(tmp_path / "x", to)
    assert "make room" in caught.value.cure
    assert small.read_bytes("/dev/x") == b"old"
    assert "y" not in small.listdir("/dev")
    assert not [name for name in small.listdir("/dev") if name.startswith(".ecs-cp")]


@pytest.mark.parametrize("what", ["file", "tree"])
def test_no_room_here(cluster: Sandbox, target: Target, tmp_path: Path, what: str) -> None:
    target.run("mkdir /tmp/t/d", check=True)
    target.write_bytes("/tmp/t/x", NOISE)
    target.write_bytes("/tmp/t/d/x", NOISE)
    disk = tmp_path / "disk"
    source, to = ("/tmp/t/x", f"{disk}/x") if what == "file" else ("/tmp/t/d", f"{disk}/d")
    said = copied(on_a_small_disk(disk, command(cluster, target, "get", source, to)))
    assert said["kind"] == "CopyFailed"
    assert "No space left" in said["said"]
    assert "make room" in said["cure"]
    assert said["there"] == ["x"]


def test_no_room_to_pack(cluster: Sandbox, target: Target, tmp_path: Path) -> None:
    """A tree is packed in a temporary directory, which may be full as well."""
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "noise").write_bytes(NOISE)
    disk = tmp_path / "disk"
    words = command(cluster, target, "put", str(tmp_path / "tree"), "/tmp/t/tree")
    said = copied(on_a_small_disk(disk, words), TMPDIR=str(disk))
    assert said["kind"] == "CopyFailed"
    assert "No space left" in said["said"]
    assert target.listdir("/tmp/t") == []


# -- what may not be touched -----------------------------------------------------------------------


def test_permission_denied_there(humble: Target, tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"new")
    humble.run(
        "mkdir -p /tmp/t/d/sub; echo old >/tmp/t/d/x; echo no >/tmp/t/d/sub/secret; "
        "chmod 000 /tmp/t/d/sub/secret; chmod 500 /tmp/t/d",
        check=True,
    )
    for refused in (
        lambda: humble.put(tmp_path / "x", "/tmp/t/d/x"),
        lambda: humble.get("/tmp/t/d/sub/secret", tmp_path / "y"),
        lambda: humble.get("/tmp/t/d", tmp_path / "y"),
        lambda: humble.read_bytes("/tmp/t/d/sub/secret", method="start-session"),
    ):
        with pytest.raises(ecs.CopyFailed, match="Permission denied") as caught:
            refused()
        assert "the user in the container may not" in caught.value.cause
        assert caught.value.cure
    assert humble.read_bytes("/tmp/t/d/x") == b"old\n"
    assert os.listdir(tmp_path) == ["x"]
    assert temporaries(humble) == []


def test_a_read_only_file_system_there(target: Target) -> None:
    if target.run("echo >/usr/bin/x").ok:
        pytest.fail("/usr/bin of the practice container is to be read-only")
    with pytest.raises(ecs.CopyFailed, match="Read-only file system") as caught:
        target.write_bytes("/usr/bin/x", b"x")
    assert "volume" in caught.value.cure


@pytest.mark.parametrize("what", ["a directory", "a file", "within a tree"])
def test_permission_denied_here(
    cluster: Sandbox, target: Target, tmp_path: Path, what: str
) -> None:
    place = tmp_path / "place"
    place.mkdir()
    (place / "x").write_bytes(b"old")
    if what == "a directory":
        target.write_bytes("/tmp/t/x", b"new")
        place.chmod(0o500)
        words = command(cluster, target, "get", "/tmp/t/x", str(place / "x"))
    else:
        (place / "x").chmod(0)
        source = place / "x" if what == "a file" else place
        words = command(cluster, target, "put", str(source), "/tmp/t/new")
    said = copied(as_nobody_special(words))
    assert said["kind"] == "CopyFailed"
    assert "Permission denied" in said["said"]
    assert said["cure"]
    assert sorted(os.listdir(place)) == ["x"]
    assert target.listdir("/tmp/t") == (["x"] if what == "a directory" else [])
    if what == "a directory":
        assert (place / "x").read_bytes() == b"old"
    place.chmod(0o700)


# -- what changes while it is copied ---------------------------------------------------------------


HELD = """\
#!/bin/bash
PATH=/usr/bin:/bin
set -o pipefail
case "$*" in
"-cf - -C /tmp/t/d ."|"-c 1500000 /tmp/t/x")
{tool} "$@" | {{
head -c 400000
while [ ! -e /tmp/t/go ]; do sleep 0.02; done
cat
}};;
*) {tool} "$@";;
esac
"""
"""A tool that reads the sources no further than their first part until it may."""


@pytest.fixture
def held(target: Target) -> Iterator[Target]:
    """A container in which a copy waits in the middle of its source."""
    tools = {tool: f"/usr/local/bin/{tool}" for tool in ("tar", "head")}
    for tool, path in tools.items():
        target.write_bytes(path, HELD.format(tool=tool).encode(), mode=0o755)
    yield target
    target.run(["rm", *tools.values()], check=True)


def test_sources_that_vanish_or_shrink_there(held: Target, tmp_path: Path) -> None:
    held.run(
        "mkdir /tmp/t/d; for n in 1 2 3; do head -c 600000 /dev/urandom >/tmp/t/d/$n; done; "
        "head -c 1500000 /dev/urandom >/tmp/t/x",
        check=True,
    )

    def at_first(code: str) -> Any:
        told: list[bool] = []

        def begun(done: int, total: int | None) -> None:
            if done and not told:
                told.append(True)
                held.run(f"{code}; touch /tmp/t/go", check=True)

        return begun

    with pytest.raises(ecs.CopyFailed) as caught:
        held.get("/tmp/t/d", tmp_path / "d", on_progress=at_first("rm /tmp/t/d/*"))
    assert "removed" in str(caught.value) or "No such file" in str(caught.value)
    held.run("rm /tmp/t/go", check=True)
    with pytest.raises(ecs.CopyFailed, match="of 1500000 bytes") as caught:
        held.get("/tmp/t/x", tmp_path / "x", on_progress=at_first(": >/tmp/t/x"))
    assert "shorter" in caught.value.cause
    assert os.listdir(tmp_path) == []


def test_a_tree_that_vanishes_here(target: Target, tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    for n in range(3):
        (tmp_path / "d" / f"{n}").write_bytes(NOISE)

    def run(words: Any, **how: Any) -> Any:
        shutil.rmtree(tmp_path / "d", ignore_errors=True)
        return target.run(words, **how)

    with pytest.raises(ecs.CopyFailed, match="No such file"):
        sending.put(run, tmp_path / "d", "/tmp/t/d")
    assert target.listdir("/tmp/t") == []


def test_files_of_the_kernel_that_claim_to_be_longer(target: Target, tmp_path: Path) -> None:
    """Some have fewer bytes than they say: nothing has shrunk, and that is all there is."""
    target.write_bytes("/tmp/t/x", b"0123456789")

    def run(words: Any, **how: Any) -> Any:
        take = how["on_output"]

        def longer(event: Any) -> None:
            data = event.data.replace(b" 644 10 ", b" 644 4096 ")
            take(type(event)(event.stream, data, ""))

        return target.run(words, **{**how, "on_output": longer})

    assert fetching.read_bytes(run, "/tmp/t/x") == b"0123456789"


# -- the key ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["put", "get"])
def test_a_pressed_key_leaves_what_was_there(
    cluster: Sandbox, target: Target, tmp_path: Path, way: str
) -> None:
    whole = random.Random(6).randbytes(6_000_000)
    place = tmp_path / "place"
    place.mkdir()
    if way == "put":
        (tmp_path / "big").write_bytes(whole)
        target.write_bytes("/tmp/t/x", b"old")
        words = command(cluster, target, "put", str(tmp_path / "big"), "/tmp/t/x")
    else:
        target.run("head -c 6000000 /dev/urandom >/tmp/t/x", check=True)
        (place / "x").write_bytes(b"old")
        words = command(cluster, target, "get", "/tmp/t/x", str(place / "x"))
    mark = tmp_path / "mark"
    child = subprocess.Popen(
        words, env={**os.environ, "MARK": str(mark)}, stdout=subprocess.PIPE, text=True
    )
    try:
        end = time.monotonic() + 60
        while not mark.exists():
            assert child.poll() is None, "it has ended before the key was pressed"
            assert time.monotonic() < end
            time.sleep(0.01)
        child.send_signal(signal.SIGINT)
        said = json.loads(child.communicate(timeout=60)[0])
    finally:
        child.kill()
        child.wait()
    assert said.get("kind") in ("Interrupted", "KeyboardInterrupt"), said
    assert target.listdir("/tmp/t") == ["x"]
    assert temporaries(target) == []
    if way == "put":
        assert target.read_bytes("/tmp/t/x") == b"old"
    else:
        assert os.listdir(place) == ["x"]
        assert (place / "x").read_bytes() == b"old"


# -- an image that lacks tools ---------------------------------------------------------------------


def test_an_image_without_tar_and_base64(poor: Target, tmp_path: Path) -> None:
    """All is slower, and all is there."""
    assert poor.run("echo | base64").exit_code == 127
    (tmp_path / "d" / "sub").mkdir(parents=True)
    (tmp_path / "d" / "sub" / "x").write_bytes(NOISE[:50_000])
    (tmp_path / "d" / "text").write_bytes(b"line\n" * 5000)
    poor.put(tmp_path / "d", "/tmp/t/d")
    for method in ("execute-command", "start-session"):
        back = poor.get("/tmp/t/d", tmp_path / method, method=method)
        assert back.verified == "sha256"
        assert (tmp_path / method / "sub" / "x").read_bytes() == NOISE[:50_000]
        assert (tmp_path / method / "text").read_bytes() == b"line\n" * 5000
    assert temporaries(poor) == []
