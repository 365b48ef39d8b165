"""The terminal widget's built files are what js/ and its lock file give."""

from __future__ import annotations

import filecmp
import hashlib
import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

import ecs_exec_magic

ROOT = Path(__file__).parents[1]
SOURCES = ROOT / "js"
BUILT = Path(ecs_exec_magic.__file__).parent / "notebook" / "widgets" / "static"
REQUIRED = "ECS_TEST_JS"
"""Set where a missing npm is a failure: in CI."""


def sums(paths: list[Path]) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


def test_the_built_files_were_built_from_these_sources() -> None:
    manifest = json.loads((SOURCES / "manifest.json").read_text("utf-8"))
    sources = [path for path in SOURCES.iterdir() if path.suffix in (".js", ".css", ".json")]
    said = "run `make js`, and commit what it changes"
    assert manifest["sources"] == sums([p for p in sources if p.name != "manifest.json"]), said
    assert manifest["built"] == sums(list(BUILT.iterdir())), said
    assert {"package-lock.json", "terminal.js"} <= manifest["sources"].keys()
    assert manifest["built"].keys() == {"terminal.mjs", "terminal.css", "LICENSES.txt"}


def test_the_lock_file_pins_by_checksum_and_names_no_host() -> None:
    lock = json.loads((SOURCES / "package-lock.json").read_text("utf-8"))
    packages = {name: each for name, each in lock["packages"].items() if name}
    assert packages
    for name, package in packages.items():
        assert package["integrity"].startswith("sha512-"), name
        assert "resolved" not in package, name
    for file in SOURCES.glob("package*.json"):
        assert "://" not in file.read_text("utf-8")


def test_nothing_is_loaded_from_elsewhere() -> None:
    style = (BUILT / "terminal.css").read_text("utf-8")
    assert "url(" not in style
    assert "@import" not in style
    script = (BUILT / "terminal.mjs").read_text("utf-8")
    for word in ("fetch(", "XMLHttpRequest", "WebSocket", "import(", "eval("):
        assert word not in script, word


def test_the_licences_of_what_is_bundled_are_passed_on() -> None:
    text = (BUILT / "LICENSES.txt").read_text("utf-8")
    lock = json.loads((SOURCES / "package-lock.json").read_text("utf-8"))["packages"]
    for name in json.loads((SOURCES / "package.json").read_text("utf-8"))["dependencies"]:
        assert f"{name} {lock['node_modules/' + name]['version']} (MIT)" in text
    assert text.count("Permission is hereby granted") == 2


@pytest.mark.timeout(300)
def test_a_build_from_nothing_gives_the_same_bytes(tmp_path: Path) -> None:
    npm = shutil.which("npm")
    if npm is None:
        if os.environ.get(REQUIRED):
            pytest.fail(f"npm is not installed, and {REQUIRED} is set")
        pytest.skip("npm is not installed")
    copy = tmp_path / "js"
    shutil.copytree(SOURCES, copy, ignore=shutil.ignore_patterns("node_modules"))
    out = tmp_path / "out"
    install = ["ci", "--ignore-scripts", "--no-audit", "--no-fund"]
    for command in ([npm, *install], [npm, "test"], [npm, "run", "build", "--", str(out)]):
        done = subprocess.run(command, cwd=copy, capture_output=True, text=True, timeout=200)
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    names = sorted(path.name for path in BUILT.iterdir())
    assert names == sorted(path.name for path in out.iterdir())
    assert filecmp.cmpfiles(BUILT, out, names, shallow=False) == (names, [], [])
