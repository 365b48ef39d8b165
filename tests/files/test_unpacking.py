"""No archive writes outside of its directory, whatever is in it."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import tarfile
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import ecs_exec_magic as ecs
from ecs_exec_magic.files.trees import install
from ecs_exec_magic.files.unpacking import escapes, inside, unpack

PARTS = st.sampled_from(["a", "b", "..", ".", "", "a/b", "/etc", "/", "../..", "a/../..", "l"])
PATHS = st.lists(PARTS, min_size=1, max_size=4).map("/".join)
KINDS = [tarfile.REGTYPE, tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE]
MEMBERS = st.tuples(PATHS, st.sampled_from(KINDS), PATHS)


def archive(members: list[tuple[str, bytes, str]]) -> io.BytesIO:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as tar:
        for name, kind, link in members:
            info = tarfile.TarInfo(name or "x")
            info.type, info.linkname, info.mode = kind, link, 0o755
            data = b"evil" if kind == tarfile.REGTYPE else b""
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    file.seek(0)
    return file


@settings(max_examples=300, deadline=None)
@given(st.lists(MEMBERS, min_size=1, max_size=6))
def test_nothing_is_written_outside(members: list[tuple[str, bytes, str]]) -> None:
    with tempfile.TemporaryDirectory() as name:
        top = Path(name)
        (top / "a").write_text("untouched")
        before = {path: path.lstat().st_mtime_ns for path in top.iterdir()}
        with contextlib.suppress(ecs.CopyFailed, OSError):
            unpack(archive(members), top / "tree", tar=True)
        assert (top / "a").read_text() == "untouched"
        after = {p: p.lstat().st_mtime_ns for p in top.iterdir() if p.name != "tree"}
        assert after == before
        real = os.path.realpath(top / "tree")
        for directory, below, names in os.walk(top / "tree"):
            for each in [*below, *names]:
                path = os.path.join(directory, each)
                try:
                    os.stat(path)
                except OSError as error:
                    if error.errno == errno.ELOOP:  # it leads nowhere, and realpath has no word
                        continue
                path = os.path.realpath(path)
                assert path == real or path.startswith(f"{real}/"), "a link leads out"


@pytest.mark.parametrize("name", ["/etc/passwd", "../x", "a/../../x", "a/.."])
def test_names_that_lead_out_are_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(ecs.CopyFailed, match="outside"):
        inside(name)
    with pytest.raises(ecs.CopyFailed, match="outside"):
        unpack(archive([(name, tarfile.REGTYPE, "")]), tmp_path / "t", tar=True)


@pytest.mark.parametrize(
    ("link", "place", "out"),
    [
        ("x", ("l",), False),
        ("../x", ("l",), True),
        ("../x", ("d", "l"), False),
        ("../../x", ("d", "l"), True),
        ("/x", ("d", "l"), True),
        ("a/../../x", ("d", "l"), True),
        ("./../x", ("d", "l"), False),
    ],
)
def test_links_that_lead_out(link: str, place: tuple[str, ...], out: bool) -> None:
    assert escapes(link, place) is out


def test_a_file_behind_a_link_of_the_same_archive(tmp_path: Path) -> None:
    evil = archive([("l", tarfile.SYMTYPE, "."), ("l/x", tarfile.REGTYPE, "")])
    with pytest.raises(ecs.CopyFailed, match="twice"):
        unpack(evil, tmp_path / "t", tar=True)


@pytest.mark.parametrize("data", [b"", b"garbage" * 200])
def test_what_is_no_archive(data: bytes, tmp_path: Path) -> None:
    with pytest.raises(ecs.CopyFailed):
        unpack(io.BytesIO(data), tmp_path / "t", tar=True)


@pytest.mark.parametrize("data", [b"x 1 2 3 4\n", b"f 644 9 - 1\nab", b"no\n", b"d 755 4 - 3\n../"])
def test_plain_entries_that_are_none(data: bytes, tmp_path: Path) -> None:
    with pytest.raises(ecs.CopyFailed):
        unpack(io.BytesIO(data), tmp_path / "t", tar=False)


def test_a_tree_is_put_in_place_whole(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    (tree / "d").mkdir(parents=True)
    (tree / "d").chmod(0o500)
    install(tree, tmp_path / "final")
    assert (tmp_path / "final" / "d").stat().st_mode & 0o777 == 0o500
    assert not tree.exists()
