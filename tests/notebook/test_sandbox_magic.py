"""``%ecs_sandbox``: what a notebook forgets while it practises, and that nothing is left behind."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from IPython.core.error import UsageError
from IPython.utils.capture import capture_output

from ecs_exec_magic.errors import ProvisionError
from ecs_exec_magic.notebook import extension
from ecs_exec_magic.notebook import sandbox as module

from .kernels import Kernel

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ecs_exec_magic.notebook.magics import EcsExec
    from ecs_exec_magic.notebook.sandbox import EcsSandbox

pytestmark = pytest.mark.kernel

PRACTICE = {"AWS_ENDPOINT_URL": "http://127.0.0.1:4670", "AWS_REGION": "us-east-1"}


def run(shell: Any, cell: str) -> str:
    """Run a cell; returns what it printed, raises what it raised."""
    with capture_output() as shown:
        outcome = shell.run_cell(cell)
    outcome.raise_error()
    return str(shown.stdout)


class FakeChild:
    """A cluster's process, as far as the magic looks at it."""

    code: int | None = None

    def poll(self) -> int | None:
        return self.code


class Started:
    """Stands for what the command line would start."""

    def __init__(self) -> None:
        self.asked: list[list[str]] = []
        self.ended: list[FakeChild] = []
        self.attached = False
        self.notes = ""
        self.child = FakeChild()

    def start(self, arguments: list[str]) -> tuple[FakeChild, dict[str, Any], str]:
        self.asked.append(arguments)
        self.child = FakeChild()
        there = {
            "url": PRACTICE["AWS_ENDPOINT_URL"],
            "environment": PRACTICE,
            "runtime": "bwrap",
            "pid": 7,
            "attached": self.attached,
        }
        return self.child, there, self.notes


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> Iterator[Started]:
    started = Started()
    monkeypatch.setattr(module, "_start", started.start)
    monkeypatch.setattr(module, "_end", started.ended.append)
    before = dict(os.environ)
    yield started
    for name in [name for name in os.environ if name not in before]:
        del os.environ[name]
    os.environ.update(before)


@pytest.fixture
def sandbox(shell: Any) -> EcsSandbox:
    found: EcsSandbox = shell.magics_manager.registry["EcsSandbox"]
    return found


def aws() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name.startswith("AWS_")}


def test_up_points_everything_at_it_and_down_gives_all_back(
    shell: Any, magics: EcsExec, started: Started, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_PROFILE", "the-real-one")
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/my/config")
    magics.profile, magics.region, magics.cluster = "real", "eu-west-1", "prod"
    before = aws()
    lines = run(shell, "%ecs_sandbox up --pace fast --seed 3 --iam").splitlines()
    assert started.asked == [["--pace", "fast", "--seed", "3", "--iam"]]
    assert len(lines) == 2
    assert "http://127.0.0.1:4670" in lines[0]
    assert "demo/web:nginx" in lines[1]
    files = dict.fromkeys(("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"), os.devnull)
    assert aws() == {**PRACTICE, **files}
    assert [getattr(magics, name) for name in ("profile", "region", "cluster")] == [None] * 3
    assert magics.target == "demo/web:nginx"
    assert "ends practice" in run(shell, "%ecs_sandbox up")
    assert len(started.asked) == 1
    assert "has ended" in run(shell, "%ecs_sandbox down")
    assert started.ended == [started.child]
    assert aws() == before
    assert (magics.profile, magics.region, magics.cluster) == ("real", "eu-west-1", "prod")
    assert magics.target == ""
    assert "has no practice cluster" in run(shell, "%ecs_sandbox down")


def test_what_was_set_meanwhile_stays(
    shell: Any, magics: EcsExec, started: Started, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_PROFILE", "old")
    run(shell, "%ecs_sandbox up")
    os.environ["AWS_PROFILE"] = "new"
    magics.target, magics.region = "demo/worker", "us-west-2"
    run(shell, "%ecs_sandbox down")
    assert os.environ["AWS_PROFILE"] == "new"
    assert (magics.target, magics.region) == ("demo/worker", "us-west-2")


def test_a_target_that_is_set_is_kept(shell: Any, magics: EcsExec, started: Started) -> None:
    magics.target = "demo/worker"
    assert "demo/worker" in run(shell, "%ecs_sandbox up")
    run(shell, "%ecs_sandbox down")
    assert magics.target == "demo/worker"


def test_an_empty_cluster_has_no_target(shell: Any, magics: EcsExec, started: Started) -> None:
    assert "no target is set" in run(shell, "%ecs_sandbox up --empty")
    assert magics.target == ""


def test_one_that_ran_before_is_left_running(shell: Any, started: Started) -> None:
    started.attached = True
    said = run(shell, "%ecs_sandbox up --port 4671")
    assert "down leaves it running" in said and "change nothing" not in said
    assert "is left running" in run(shell, "%ecs_sandbox down")
    assert started.ended == []


@pytest.mark.parametrize("attached", [True, False])
def test_options_that_come_too_late_are_named(shell: Any, started: Started, attached: bool) -> None:
    started.attached = attached
    said = run(shell, "%ecs_sandbox up --iam --pace fast --port 4671")
    assert ("these change nothing: --pace, --iam\n" in said) is attached
    said = run(shell, "%ecs_sandbox up --iam --port 4671")
    assert "these change nothing: --iam\n" in said
    assert "change nothing" not in run(shell, "%ecs_sandbox up")
    run(shell, "%ecs_sandbox down")


def test_one_that_has_ended_by_itself_is_started_again(shell: Any, started: Started) -> None:
    run(shell, "%ecs_sandbox up")
    dead = started.child
    dead.code = 1
    assert "it ends with this kernel" in run(shell, "%ecs_sandbox up")
    assert started.child is not dead
    assert started.ended == [dead]
    run(shell, "%ecs_sandbox down")
    assert aws().get("AWS_ENDPOINT_URL") != PRACTICE["AWS_ENDPOINT_URL"]


def test_unloading_and_loading_anew_end_it(shell: Any, magics: EcsExec, started: Started) -> None:
    magics.region = "eu-west-1"
    run(shell, "%ecs_sandbox up")
    extension.load(shell)
    assert len(started.ended) == 1
    assert "AWS_ENDPOINT_URL" not in os.environ
    assert magics.region == "eu-west-1"
    run(shell, "%ecs_sandbox up")
    extension.unload(shell)
    assert len(started.ended) == 2
    assert "ecs_sandbox" not in shell.magics_manager.magics["line"]


def test_warnings_are_shown(shell: Any, started: Started) -> None:
    started.notes = "nothing is isolated"
    assert run(shell, "%ecs_sandbox up").splitlines()[2:] == ["nothing is isolated"]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("", "up, status or down"),
        ("sideways", "up, status or down"),
        ("up down", "up, status or down"),
        ("down --pace fast", "down takes no such option"),
        ("down --port 1", "down takes no such option"),
        ("status --iam", "status takes no such option"),
        ("up --speed 3", "unknown option"),
    ],
)
def test_mistakes_are_told_in_one_line(
    shell: Any, started: Started, line: str, message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        run(shell, f"%ecs_sandbox {line}")
    assert started.asked == []


def test_help(shell: Any) -> None:
    assert "--idle-timeout" in run(shell, "%ecs_sandbox --help")


# -- with a real cluster -------------------------------------------------------------------------


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    return tmp_path


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=60) as answer:
            return b"practice cluster" in answer.read()
    except OSError:
        return False


def until(condition: Any, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.05)


def test_a_real_one_from_up_to_down(shell: Any, home: Path) -> None:
    before = aws()
    line = run(shell, "%ecs_sandbox up --port 0 --pace fast --runtime process")
    url = os.environ["AWS_ENDPOINT_URL"]
    assert answers(url)
    assert "warning: --runtime process" in line
    status = run(shell, "%ecs_sandbox status")
    assert url in status
    assert "process" in status
    run(shell, "%ecs_sandbox down")
    assert not answers(url)
    assert aws() == before
    assert "no practice cluster runs" in run(shell, "%ecs_sandbox status")
    assert [path for path in home.iterdir() if path.name.startswith(("ecs-", ".ecs-"))] == []


def test_a_real_refusal_is_one_line(shell: Any, home: Path) -> None:
    before = aws()
    with pytest.raises(ProvisionError, match="invalid choice: 'slow'") as caught:
        run(shell, "%ecs_sandbox up --pace slow")
    assert "\n" not in str(caught.value)
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(ProvisionError, match=f"port {port} is taken by another program"):
            run(shell, f"%ecs_sandbox up --port {port} --pace fast --runtime process")
    assert aws() == before


def test_a_running_one_is_joined(shell: Any, home: Path) -> None:
    with subprocess.Popen(
        [*module._PROGRAM, "up", "--port", "0", "--pace", "fast", "--json", "--until-eof"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as child:
        assert child.stdin is not None and child.stdout is not None
        url = json.loads(child.stdout.readline())["url"]
        text = run(shell, f"%ecs_sandbox up --port {url.rpartition(':')[2]}")
        assert "down leaves it running" in text
        assert os.environ["AWS_ENDPOINT_URL"] == url
        run(shell, "%ecs_sandbox down")
        assert answers(url)
        child.stdin.close()
        assert child.wait(30) == 0


def test_in_a_kernel_and_gone_when_it_is_killed(home: Path, tmp_path: Path) -> None:
    kernel = Kernel({"AWS_PROFILE": "no-such-profile"}, str(tmp_path / "ipython"))
    url = ""
    try:
        kernel.good("%load_ext ecs_exec_magic")
        up = kernel.good("%ecs_sandbox up --port 0 --pace fast")
        assert up.stdout.count("\n") == 2
        url = kernel.value("__import__('os').environ['AWS_ENDPOINT_URL']").strip("'")
        assert answers(url)
        kernel.good("r = %ecs_exec sh -c 'hostname; echo $0'")
        assert kernel.value("r.exact and r.exit_code") == "0"
        kernel.interrupt()  # it is meant for a cell, not for the cluster
        assert kernel.good("%ecs_exec echo still here").stdout == "still here\n"
        assert kernel.value("r.target.cluster") == "'demo'"
    finally:
        kernel.close()  # kills it
    until(lambda: not answers(url))
    until(lambda: not [p for p in home.iterdir() if p.name.startswith(("ecs-exec", ".ecs-exec"))])


def test_a_shell_that_exits_ends_it(home: Path) -> None:
    script = (
        "import os\n"
        "from IPython.core.interactiveshell import InteractiveShell\n"
        "shell = InteractiveShell.instance()\n"
        "shell.run_line_magic('load_ext', 'ecs_exec_magic')\n"
        "shell.run_line_magic('ecs_sandbox', 'up --port 0 --pace fast --runtime process')\n"
        "print(os.environ['AWS_ENDPOINT_URL'])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        check=True,
        timeout=150,
        env={**os.environ, "IPYTHONDIR": str(home / "ipython")},
    )
    url = done.stdout.splitlines()[-1]
    assert url.startswith("http://127.0.0.1:")
    assert not answers(url)
    with contextlib.suppress(FileNotFoundError):
        assert not list(home.glob("ecs-exec-magic-*"))
