"""Imports go down only, and the public names are the ones that are promised."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import ecs_exec_magic

PACKAGE = Path(ecs_exec_magic.__file__).parent
ROOM = "ecs_exec_magic"

# Each room may import from those below it. What has no row of its own is a module at the top.
BASE = {"errors", "results", "capture", "address", "cleaning", "masking", "tables", "views"}
BASE |= {"findings"}
BASE |= {"moments", "waiting"}
BELOW: dict[str, set[str]] = {
    "errors": BASE,
    "capture": BASE,
    "address": BASE,
    "results": BASE,
    "views": BASE,
    "findings": BASE,
    "moments": {"errors"},
    "waiting": set(),
    "cleaning": set(),
    "masking": set(),
    "tables": set(),
    "journal": BASE,
    "channel": BASE,
    "remote": BASE | {"channel"},
    "aws": BASE | {"channel"},
    "portal": BASE | {"runner"},  # only to settle sessions at the end, imported when it is needed
    "room": set(),
    "runner": BASE | {"channel", "remote", "aws", "room"},
    "terminal": BASE | {"channel", "remote", "aws", "portal", "runner"},
    "forwarding": BASE | {"channel", "remote", "aws", "portal", "runner"},
    "running": BASE | {"portal"},
    "files": BASE | {"remote"},
    "copies": BASE | {"files", "portal", "runner", "running"},
    "stream": BASE | {"portal", "running"},
    "warm": BASE | {"channel", "remote", "aws", "runner"},
    "shell": BASE | {"aws", "portal", "runner", "running", "stream", "warm"},
    "fleet_views": BASE,
    "fleet_result": BASE | {"fleet_views"},
    "hosting": BASE | {"aws", "portal", "room", "runner"},
    "dask_line": BASE | {"aws", "hosting", "runner"} | {"dask_jobs"},  # the crew, for types only
    "dask_jobs": BASE | {"aws", "dask_line", "hosting", "runner"},
    "fleet": BASE | {"aws", "dask_jobs", "fleet_result", "portal", "room", "runner", "running"},
    "target": BASE
    | {"aws", "copies", "forwarding", "portal", "runner", "running", "shell", "stream"}
    | {"terminal", "warm"}
    | {"client"},  # its own, for types only
    "plan_views": BASE | {"aws"},  # its steps, for types only
    "carrying": BASE | {"aws", "portal"},
    "plan": BASE | {"aws", "carrying", "plan_views", "portal"},
    "enabling": BASE | {"aws", "carrying", "plan_views", "portal"},
    "check": BASE | {"aws", "portal", "runner"},
    "audit": BASE | {"aws", "remote", "journal"},
    "policies": BASE | {"aws"},  # its drafts and verdicts, for types only
    "account": BASE
    | {"audit", "aws", "check", "enabling", "journal", "plan", "policies", "portal"},
    "client": BASE
    | {"account"}
    | {"audit", "aws", "check", "enabling", "journal", "policies", "portal", "runner", "running"}
    | {"fleet", "forwarding", "plan", "stream", "target"},
    "notebook": BASE | {"client", "files", "journal"},
    "sandbox": BASE | {"channel"},
    "demo": BASE | {"sandbox"},
    "check_command": BASE | {"client"},
    "cli": BASE | {"sandbox", "demo", "check_command"},
    "__init__": BASE | {"client", "notebook"},
}
# Libraries that a room must never know.
FOREIGN: dict[str, set[str]] = {
    "channel": {"boto3", "botocore", "IPython", "ipywidgets"},
    "remote": {"boto3", "botocore", "IPython", "ipywidgets", "picows"},
    "aws": {"IPython", "ipywidgets", "picows"},
    "room": {"IPython", "ipywidgets", "picows", "boto3", "botocore"},
    "runner": {"IPython", "ipywidgets", "picows"},
    "running": {"IPython", "ipywidgets", "picows", "boto3", "botocore"},
    "warm": {"IPython", "ipywidgets", "picows"},
    "shell": {"IPython", "ipywidgets", "picows", "boto3", "botocore"},
    "stream": {"IPython", "ipywidgets", "picows", "boto3", "botocore"},
    "files": {"IPython", "ipywidgets", "picows", "boto3", "botocore", "asyncio", "subprocess"},
    "copies": {"IPython", "ipywidgets", "picows", "boto3", "botocore"},
    "fleet_views": {"IPython", "ipywidgets", "picows", "boto3", "botocore", "asyncio"},
    "fleet_result": {"IPython", "ipywidgets", "picows", "boto3", "botocore", "asyncio"},
    "hosting": {"IPython", "ipywidgets", "picows", "boto3", "botocore", "distributed"},
    "dask_line": {"IPython", "ipywidgets", "picows", "boto3", "botocore", "distributed"},
    "dask_jobs": {"IPython", "ipywidgets", "picows", "boto3", "botocore"},
    "fleet": {"IPython", "ipywidgets", "picows", "distributed"},
    "target": {"IPython", "ipywidgets", "picows"},
    "forwarding": {"IPython", "ipywidgets", "picows", "boto3", "botocore"},
    "terminal": {"IPython", "ipywidgets", "picows", "termios", "tty"},
    "plan_views": {"IPython", "ipywidgets", "picows", "boto3", "botocore"},
    "carrying": {"IPython", "ipywidgets", "picows", "boto3", "botocore"},
    "plan": {"IPython", "ipywidgets", "picows", "boto3", "botocore"},
    "check": {"IPython", "ipywidgets", "picows", "boto3", "botocore"},
    "enabling": {"IPython", "ipywidgets", "picows", "boto3", "botocore"},
    "audit": {"IPython", "ipywidgets", "picows", "boto3", "botocore"},
    "policies": {"IPython", "ipywidgets", "picows", "boto3", "botocore", "asyncio"},
    "account": {"IPython", "ipywidgets", "picows", "boto3", "botocore"},
    "client": {"IPython", "ipywidgets", "picows"},
    "portal": {"IPython", "ipywidgets", "picows", "boto3", "botocore"},
    "notebook": {"boto3", "botocore", "picows", "socket", "ssl"},
    "masking": {"boto3", "botocore", "IPython", "ipywidgets", "picows", "asyncio"},
    "journal": {"boto3", "botocore", "IPython", "ipywidgets", "picows", "asyncio"},
}
ASYNCIO_FREE = ("frames", "ordering", "encryption", "handshake", "protocol", "events", "smux")


def rooms() -> list[str]:
    found = {path.name for path in PACKAGE.iterdir() if (path / "__init__.py").exists()}
    return sorted(found | {path.stem for path in PACKAGE.glob("*.py")})


def files_of(room: str) -> list[Path]:
    single = PACKAGE / f"{room}.py"
    return [single] if single.exists() else sorted((PACKAGE / room).rglob("*.py"))


def imports(path: Path) -> Iterator[str]:
    """Absolute names of all that a file imports, wherever in it."""
    package = [ROOM, *path.relative_to(PACKAGE).parts[:-1]]
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            if module == ROOM:
                yield from (f"{ROOM}.{alias.name}" for alias in node.names)
            else:
                yield module


@pytest.mark.parametrize("room", rooms())
def test_imports_go_down_only(room: str) -> None:
    assert room in BELOW, "a new room needs a row in BELOW"
    for path in files_of(room):
        for name in imports(path):
            first, _, rest = name.partition(".")
            if first != ROOM:
                assert first not in FOREIGN.get(room, set()), f"{path} imports {name}"
                continue
            other = rest.split(".")[0]
            if not other or other.startswith("__") or other not in rooms():
                continue  # a public name of the package itself
            assert other == room or other in BELOW[room], f"{path} imports {name}"


def test_the_checker_would_notice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copy = tmp_path / PACKAGE.name  # others read the real one meanwhile
    shutil.copytree(PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(sys.modules[__name__], "PACKAGE", copy)
    test_imports_go_down_only("channel")
    upward = copy / "channel" / "imaginary.py"
    upward.write_text("from ..client import connect\nfrom .. import aws\nimport boto3\n")
    assert set(imports(upward)) == {"ecs_exec_magic.client", "ecs_exec_magic.aws", "boto3"}
    with pytest.raises(AssertionError, match="imaginary"):
        test_imports_go_down_only("channel")


@pytest.mark.parametrize("module", ASYNCIO_FREE)
def test_the_core_of_the_channel_does_no_io(module: str) -> None:
    for name in imports(PACKAGE / "channel" / f"{module}.py"):
        assert name.split(".")[0] not in {"asyncio", "socket", "ssl", "time", "picows", "threading"}


def test_the_package_exports_what_it_promises() -> None:
    promised = {"Client", "CommandResult", "FleetResult", "OutputEvent", "OutputStream"}
    promised |= {"RunningCommand", "Target", "connect"}
    promised |= set(ecs_exec_magic.errors.__all__)
    assert set(ecs_exec_magic.__all__) == promised
    for name in ecs_exec_magic.__all__:
        assert getattr(ecs_exec_magic, name) is not None
    assert set(dir(ecs_exec_magic)) >= promised
    with pytest.raises(AttributeError):
        _ = ecs_exec_magic.no_such_name


def test_importing_the_package_loads_nothing_heavy_and_starts_nothing() -> None:
    code = (
        "import sys, threading, ecs_exec_magic\n"
        "heavy = {'boto3', 'botocore', 'picows', 'IPython', 'ipywidgets', 'aiohttp', 'asyncio',\n"
        "    'distributed', 'dask'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
        "assert threading.active_count() == 1\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=150)


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda p: p.name)
def test_modules_say_what_they_are(path: Path) -> None:
    tree = ast.parse(path.read_text("utf-8"))
    assert ast.get_docstring(tree), f"{path} has no docstring"
    for node in ast.walk(tree):
        is_print = isinstance(node, ast.Call) and getattr(node.func, "id", "") == "print"
        assert not is_print or path.name == "cli.py", f"{path} prints"


def test_texts_name_only_magics_that_exist() -> None:
    from ecs_exec_magic.notebook import workspace
    from ecs_exec_magic.notebook.auditing import EcsAudit
    from ecs_exec_magic.notebook.background import EcsJobs
    from ecs_exec_magic.notebook.checking import EcsCheck
    from ecs_exec_magic.notebook.copying import EcsCopy
    from ecs_exec_magic.notebook.finding import EcsFind
    from ecs_exec_magic.notebook.forwarding import EcsForward
    from ecs_exec_magic.notebook.history import EcsHistory
    from ecs_exec_magic.notebook.interactive import EcsTerminal
    from ecs_exec_magic.notebook.magics import EcsExec
    from ecs_exec_magic.notebook.picking import EcsPick
    from ecs_exec_magic.notebook.policies import EcsPolicy
    from ecs_exec_magic.notebook.provision import EcsProvision
    from ecs_exec_magic.notebook.sandbox import EcsSandbox
    from ecs_exec_magic.notebook.tasks import EcsTasks

    classes: tuple[Any, ...] = (EcsExec, EcsFind, EcsHistory, EcsJobs, EcsTasks, EcsSandbox)
    classes += (EcsCopy, EcsForward)
    classes += (EcsAudit, EcsCheck, EcsPick, EcsPolicy, EcsProvision, EcsTerminal)
    assert set(classes) == set(workspace.EcsMagics.__subclasses__())
    there = {name for one in classes for table in one.magics.values() for name in table}
    for path in PACKAGE.rglob("*.py"):
        named = set(re.findall(r"%(ecs_[a-z]+)", path.read_text("utf-8")))
        assert named <= there, f"{path} speaks of {named - there}"
