"""Files and trees come back as they were, in every image, and go where cp would put them."""

from __future__ import annotations

import os
import random
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import ecs_exec_magic as ecs
from ecs_exec_magic.client import Target

from .conftest import seen, temporaries

NAMES = st.binary(min_size=1, max_size=12).map(
    lambda raw: raw.replace(b"\0", b"-").replace(b"/", b"\n")
) | st.sampled_from([b"-rf", b"--", b"a b", b"'q'\"", b"$(x)", b"*", b"\xff\xfe", "é日".encode()])
NAMES = NAMES.filter(lambda name: name not in (b".", b".."))
CONTENTS = st.binary(max_size=300) | st.sampled_from([b"\0", b"line\n", b""]).map(
    lambda line: line * 3000
)
FILES = st.tuples(st.just("file"), CONTENTS, st.sampled_from([0o600, 0o644, 0o755, 0o400]))
LINKS = st.tuples(st.just("link"), st.sampled_from([b"nowhere", b"a b", b"./x/y", b"\xff"]))
TREES = st.recursive(
    st.dictionaries(NAMES, FILES | LINKS, max_size=4),
    lambda inner: st.dictionaries(NAMES, inner | FILES | LINKS, max_size=4),
    max_leaves=8,
)
SLOW = settings(
    max_examples=4,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


def grow(top: bytes, tree: object) -> None:
    os.mkdir(top)
    assert isinstance(tree, dict)
    for name, what in tree.items():
        path = os.path.join(top, name)
        if isinstance(what, dict):
            grow(path, what)
        elif what[0] == "link":
            os.symlink(what[1], path)
        else:
            Path(os.fsdecode(path)).write_bytes(what[1])
            os.chmod(path, what[2])
            os.utime(path, (1_600_000_000, 1_600_000_000 + len(what[1])))


@SLOW
@given(tree=TREES)
def test_trees_round_trip(image: Target, tree: object) -> None:
    with tempfile.TemporaryDirectory() as name:
        top = Path(name)
        grow(os.fsencode(top / "one"), tree)
        image.run("rm -rf /tmp/t/one", check=True)
        put = image.put(top / "one", "/tmp/t/one")
        assert put.path == "/tmp/t/one"
        got = image.get("/tmp/t/one", top / "two")
        assert seen(top / "two") == seen(top / "one")
        assert (put.files, put.bytes) == (got.files, got.bytes)
        assert not put.skipped
        assert not got.skipped
    assert temporaries(image) == []


@pytest.mark.parametrize("method", ["execute-command", "start-session"])
def test_files_round_trip(image: Target, tmp_path: Path, method: Any) -> None:
    contents = {
        "empty": b"",
        "all": bytes(range(256)) * 40,
        "noise": random.Random(7).randbytes(100_000),
        "text": b"".join(b"%d GET /index.html 200\n" % n for n in range(5000)),
    }
    for name, data in contents.items():
        path = tmp_path / name
        path.write_bytes(data)
        path.chmod(0o640)
        os.utime(path, (1_500_000_000, 1_500_000_001))
        put = image.put(path, "/tmp/t/")
        assert put.path == f"/tmp/t/{name}"
        got = image.get(f"/tmp/t/{name}", tmp_path / "back", method=method)
        assert (tmp_path / "back").read_bytes() == data
        assert put.verified == got.verified != ""
        status = (tmp_path / "back").stat()
        assert (status.st_mode & 0o777, status.st_mtime) == (0o640, 1_500_000_001)
        if name == "text" and image.run("echo x | gzip -c").ok:
            assert got.wire_bytes < len(data) / 4
            assert put.wire_bytes < len(data) / 4


def test_bytes_and_listing(image: Target) -> None:
    data = bytes(range(256)) * 3
    for name in ("-n", "a b", "new\nline", ".hidden", "é"):
        image.write_bytes(f"/tmp/t/{name}", data)
        assert image.read_bytes(f"/tmp/t/{name}") == data
    assert image.listdir("/tmp/t") == sorted(["-n", "a b", "new\nline", ".hidden", "é"])
    image.run("chmod 751 '/tmp/t/a b'; mkdir /tmp/t/none", check=True)
    image.write_bytes("/tmp/t/a b", b"x")
    assert image.run("ls -l '/tmp/t/a b'").stdout.startswith("-rwxr-x--x")
    image.write_bytes("/tmp/t/a b", b"x", mode=0o600)
    assert image.run("ls -l '/tmp/t/a b'").stdout.startswith("-rw-------")
    assert image.listdir("/tmp/t/none") == []
    assert b"cpu" in image.read_bytes("/proc/cpuinfo")  # whose size is said to be 0


def test_where_a_file_goes_is_as_with_cp(target: Target, tmp_path: Path) -> None:
    (tmp_path / "f").write_text("f")
    target.run("mkdir /tmp/t/d /tmp/t/e; ln -s d /tmp/t/l", check=True)
    assert target.put(tmp_path / "f", "/tmp/t/d").path == "/tmp/t/d/f"
    assert target.put(tmp_path / "f", "/tmp/t/new").path == "/tmp/t/new"
    assert target.put(tmp_path / "f", "/tmp/t/l/").path == "/tmp/t/l/f"
    (tmp_path / "in").mkdir()
    assert target.get("/tmp/t/new", tmp_path / "in").path == str(tmp_path / "in" / "new")
    with pytest.raises(ecs.CopyFailed, match="not a directory"):
        target.put(tmp_path / "f", "/tmp/t/nope/")
    with pytest.raises(ecs.CopyFailed, match="not a directory"):
        target.get("/tmp/t/new", f"{tmp_path}/nope/")
    target.run("mkdir /tmp/t/e/f", check=True)
    with pytest.raises(ecs.CopyFailed, match="directory"):
        target.put(tmp_path / "f", "/tmp/t/e")
    assert temporaries(target) == []


def test_where_a_directory_goes_is_as_with_cp(image: Target, tmp_path: Path) -> None:
    one = tmp_path / "one"
    (one / "sub").mkdir(parents=True)
    (one / "sub" / "x").write_text("new")
    assert image.put(one, "/tmp/t/two/").path == "/tmp/t/two"
    assert image.put(one, "/tmp/t/two").path == "/tmp/t/two/one"
    image.run("echo old >/tmp/t/two/sub/x; echo kept >/tmp/t/two/sub/y", check=True)
    assert image.put(f"{one}/.", "/tmp/t/two").path == "/tmp/t/two"
    assert image.run("cat /tmp/t/two/sub/x /tmp/t/two/sub/y").stdout == "newkept\n"
    (one / "sub" / "y").write_text("local")
    back = image.get("/tmp/t/two/.", one)
    assert back.path == str(one)
    assert (one / "sub" / "y").read_text() == "kept\n"
    assert (one / "one" / "sub" / "x").read_text() == "new"
    assert temporaries(image) == []


def test_conflicts_change_nothing(image: Target, tmp_path: Path) -> None:
    one = tmp_path / "one"
    (one / "a").mkdir(parents=True)
    (one / "z").write_text("z")
    image.run("mkdir -p /tmp/t/one/z; echo a >/tmp/t/one/a; echo b >/tmp/t/b", check=True)
    before = image.run("ls -lR /tmp/t").stdout
    with pytest.raises(ecs.CopyFailed, match="directory"):
        image.put(one, "/tmp/t")
    with pytest.raises(ecs.CopyFailed, match="not a directory"):
        image.put(one, "/tmp/t/b")
    assert image.run("ls -lR /tmp/t").stdout == before
    here = seen(tmp_path)
    with pytest.raises(ecs.CopyFailed, match="directory"):
        image.get("/tmp/t/one", tmp_path)
    assert seen(tmp_path) == here
    assert temporaries(image) == []


def test_nothing_is_written_through_links(image: Target, tmp_path: Path) -> None:
    image.run("mkdir /tmp/t/out /tmp/t/in; ln -s ../out /tmp/t/in/one; ln -s ../out/f /tmp/t/in/f")
    one = tmp_path / "one"
    one.mkdir()
    (one / "x").write_text("x")
    (tmp_path / "f").write_text("f")
    with pytest.raises(ecs.CopyFailed, match=r"link|not a directory"):
        image.put(one, "/tmp/t/in")
    image.put(tmp_path / "f", "/tmp/t/in/f")
    assert image.listdir("/tmp/t/out") == []
    assert image.read_bytes("/tmp/t/in/f") == b"f"
    (tmp_path / "out").mkdir()
    (tmp_path / "to").mkdir()
    (tmp_path / "to" / "in").symlink_to(tmp_path / "out")
    with pytest.raises(ecs.CopyFailed, match="link"):
        image.get("/tmp/t/in", tmp_path / "to")
    assert list((tmp_path / "out").iterdir()) == []
    image.run("ln -s /etc /tmp/t/in/abs; ln -s ../../x /tmp/t/in/up; mkfifo /tmp/t/in/pipe || :")
    got = image.get("/tmp/t/in", tmp_path / "safe")
    assert not (tmp_path / "safe" / "abs").is_symlink()
    assert not (tmp_path / "safe" / "up").is_symlink()
    assert len(got.skipped) >= 3
