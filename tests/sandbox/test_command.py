"""The command line, in processes of its own, and the files that tell of a cluster."""

from __future__ import annotations

import json
import os
import shlex
import signal
import socket
import stat
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from hypothesis import given
from hypothesis import strategies as st

from ecs_exec_magic.sandbox import registry
from ecs_exec_magic.sandbox.admin import HEADER, PREFIX
from ecs_exec_magic.sandbox.environment import SHELLS, exports
from ecs_exec_magic.sandbox.registry import Entry

PROGRAM = [sys.executable, "-m", "ecs_exec_magic.cli", "sandbox"]
FAST = ["--pace", "fast", "--runtime", "process"]
LIMIT = 90


class Home:
    """A machine's temporary directory of a test's own, and what is started with it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.environment = {**os.environ, "TMPDIR": str(path)}
        self.environment.pop("XDG_RUNTIME_DIR", None)
        self.children: list[subprocess.Popen[str]] = []

    def up(self, *arguments: str) -> subprocess.Popen[str]:
        child = subprocess.Popen(
            [*PROGRAM, "up", *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=self.environment,
        )
        self.children.append(child)
        return child

    def ready(self, *arguments: str) -> tuple[subprocess.Popen[str], dict[str, Any]]:
        """Start a cluster and wait for its line."""
        child = self.up("--port", "0", *FAST, "--json", *arguments)
        assert child.stdout is not None
        line: dict[str, Any] = json.loads(child.stdout.readline())
        return child, line

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*PROGRAM, *arguments],
            capture_output=True,
            text=True,
            env=self.environment,
            check=False,
            timeout=LIMIT,
        )

    def fails(self, *arguments: str) -> str:
        """A line that must fail; returns its one line on stderr."""
        done = self.run(*arguments)
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr.count("\n") == 1
        assert done.stderr.startswith("ecs-exec-magic sandbox: ")
        return done.stderr

    def close(self) -> None:
        for child in self.children:
            if child.poll() is None:
                child.terminate()
            with child:
                try:
                    child.wait(LIMIT)
                except subprocess.TimeoutExpired:
                    child.kill()  # or it would be waited for without end
                    raise


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    home = Home(tmp_path)
    try:
        yield home
    finally:
        home.close()


def clusters(line: dict[str, Any], **config: Any) -> list[str]:
    client = boto3.client(
        "ecs",
        endpoint_url=line["url"],
        region_name=line["environment"]["AWS_REGION"],
        aws_access_key_id="AKIAX",
        aws_secret_access_key="x",
        config=Config(**config),
    )
    names: list[str] = client.list_clusters()["clusterArns"]
    return names


# -- up and its end ------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("times", [1, 2])
def test_a_signal_ends_it_cleanly(home: Home, number: int, times: int) -> None:
    child, line = home.ready()
    assert line["environment"]["AWS_ENDPOINT_URL"] == line["url"]
    assert line["pid"] == child.pid
    assert not line["attached"]
    assert clusters(line)
    for _ in range(times):
        child.send_signal(number)
    assert child.wait(LIMIT) == 0
    assert child.stderr is not None
    assert child.stderr.read().count("\n") == 1, "the warning about runtime process only"
    assert list(home.path.iterdir()) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_it_starts_ends_it_cleanly(home: Home, number: int) -> None:
    child = home.up("--port", "0", *FAST)
    # As soon as it has begun to make anything of its own, it is to end; before, Python itself may.
    while not list(home.path.iterdir()) and child.poll() is None:
        pass
    child.send_signal(number)
    out, _ = child.communicate(timeout=LIMIT)
    assert child.returncode == 0
    assert list(home.path.iterdir()) == []
    assert "export" in out or out == ""


def test_it_warns_when_nothing_is_isolated(home: Home) -> None:
    child, _ = home.ready()
    child.terminate()
    _, err = child.communicate(timeout=LIMIT)
    assert err.startswith("ecs-exec-magic sandbox: warning: --runtime process")


def test_it_says_what_to_export(home: Home) -> None:
    child = home.up("--port", "0", *FAST, "--empty", "--region", "eu-west-1")
    assert child.stdout is not None
    lines = [child.stdout.readline().rstrip("\n") for _ in range(7)]
    assert "export AWS_REGION=eu-west-1" in lines
    assert lines[0].startswith("unset AWS_PROFILE ")
    assert lines[-1].startswith("# isolation: process;")


def test_it_does_not_care_for_a_broken_configuration(home: Home) -> None:
    home.environment["AWS_PROFILE"] = "there-is-no-such-profile"
    home.environment["AWS_ENDPOINT_URL"] = "http://127.0.0.1:1"
    _, line = home.ready()
    assert clusters(line)


def test_a_taken_port_is_told_in_one_line(home: Home) -> None:
    child, line = home.ready()
    port = line["url"].rpartition(":")[2]
    text = home.fails("up", "--port", port, *FAST)
    assert f"already runs at {line['url']} (process {child.pid})" in text
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = str(other.getsockname()[1])
        assert f"port {taken} is taken by another program" in home.fails(
            "up", "--port", taken, *FAST
        )
    assert clusters(line), "the first one goes on"


def test_another_program_may_attach(home: Home) -> None:
    first, line = home.ready()
    port = line["url"].rpartition(":")[2]
    done = home.run("up", "--port", port, "--attach", "--json")
    assert done.returncode == 0
    assert json.loads(done.stdout) == {**line, "attached": True}
    assert first.poll() is None


def test_it_ends_with_its_stdin_where_that_is_asked_for(home: Home) -> None:
    child, _ = home.ready("--until-eof")
    assert child.stdin is not None
    child.stdin.close()
    assert child.wait(LIMIT) == 0
    assert list(home.path.iterdir()) == []


@pytest.mark.parametrize(
    "arguments",
    [
        ["up", "--pace", "slow"],
        ["up", "--port", "70000"],
        ["up", "--port", "x"],
        ["up", "--idle-timeout", "0"],
        ["up", "--idle-timeout", "nan"],
        ["up", "--region", "moon"],
        ["up", "--empty", "--seed-cluster"],
        ["env", "--shell", "tcsh"],
        ["sideways"],
        [],
    ],
)
def test_mistakes_in_the_line_exit_with_2(home: Home, arguments: list[str]) -> None:
    done = home.run(*arguments)
    assert done.returncode == 2
    assert done.stdout == ""
    assert "error: " in done.stderr.splitlines()[-1]


def test_no_isolation_is_told_in_one_line(home: Home) -> None:
    home.environment["PATH"] = str(home.path)
    assert "install" in home.fails("up", "--runtime", "bwrap")
    assert list(home.path.iterdir()) == []


# -- what speaks to one that runs ----------------------------------------------------------------


def test_status_tells_what_runs(home: Home) -> None:
    child, line = home.ready("--idle-timeout", "5", "--seed", "3")
    done = home.run("status", "--json")
    state = json.loads(done.stdout)
    assert state.pop("uptime") >= 0
    assert state == {
        "url": line["url"],
        "pid": child.pid,
        "runtime": "process",
        "pace": "fast",
        "iam": False,
        "region": "us-east-1",
        "clusters": 1,
        "tasks": 7,
        "sessions": 0,
        "faults": {"seed": 3},
    }
    text = home.run("status").stdout
    assert line["url"] in text
    assert "tasks     7\n" in text
    assert "faults    seed=3\n" in text


@pytest.mark.timeout(300)  # twenty processes
def test_faults_by_name(home: Home) -> None:
    _, line = home.ready()
    assert home.run("fault").stdout == "nothing is broken\n"
    assert home.run("fault", "throttle", "ListClusters=1000").stdout == (
        "throttle = ListClusters=1000\n"
    )
    with pytest.raises(Exception, match="Rate exceeded"):
        clusters(line, retries={"total_max_attempts": 1})
    assert json.loads(home.run("fault", "drop-rate", "0.5", "--json").stdout)["faults"] == {
        "throttle": json.loads(home.run("status", "--json").stdout)["faults"]["throttle"],
        "drop_rate": 0.5,
    }
    assert home.run("fault", "throttle", "--clear").stdout == "drop_rate = 0.5\n"
    assert home.run("fault", "--clear").stdout == "nothing is broken\n"
    assert home.run("fault", "cut_close", "on").stdout == "cut_close = on\n"
    assert home.run("fault", "drop", "1,4-5").stdout == "cut_close = on\ndrop = 1,4,5\n"
    assert "faults    cut_close=on, drop=1,4,5\n" in home.run("status").stdout
    assert home.run("fault", "--clear").stdout == "nothing is broken\n"
    assert clusters(line)
    assert home.run("fault", "cut", "close").stdout == "0 connections cut\n"
    assert home.run("fault", "kill-agent").stdout == "0 sessions lost\n"
    assert "did you mean drop_rate" in home.fails("fault", "drop_rte", "1")
    assert "probability" in home.fails("fault", "drop_rate", "7")
    assert "not one running task" in home.fails("fault", "kill_task", "nothing")
    assert "--clear takes no value" in home.fails("fault", "drop", "1", "--clear")
    task = boto3.client(
        "ecs",
        endpoint_url=line["url"],
        region_name="us-east-1",
        aws_access_key_id="AKIAX",
        aws_secret_access_key="x",
    ).list_tasks(cluster="demo", family="worker")["taskArns"][0]
    task_id = task.rpartition("/")[2]
    assert home.run("fault", "kill_task", task_id).stdout == f"task {task_id} stops\n"


def test_every_fault_is_listed_without_a_cluster(home: Home) -> None:
    text = home.run("fault", "--list").stdout
    for name in ("drop_rate", "kill_agent", "deny_kms", "stall_output"):
        assert f"\n{name} " in text
    assert json.loads(home.run("fault", "--list", "--json").stdout)["cut"]


def test_down_ends_it(home: Home) -> None:
    child, line = home.ready()
    assert home.run("down").stdout == f"{line['url']} has ended\n"
    assert child.wait(LIMIT) == 0
    assert list(home.path.iterdir()) == []
    for command in ("down", "status", "env", "fault"):
        assert "no practice cluster runs" in home.fails(command)
    assert list(home.path.iterdir()) == []


def test_the_environment_is_for_eval(home: Home) -> None:
    _, line = home.ready()
    assert json.loads(home.run("env", "--json").stdout) == line["environment"]
    command = f'eval "$({shlex.join([*PROGRAM, "env"])})"; echo "$AWS_ENDPOINT_URL/$AWS_PROFILE"'
    done = subprocess.run(
        ["sh", "-c", command],
        capture_output=True,
        text=True,
        env={**home.environment, "AWS_PROFILE": "mine"},
        check=True,
        timeout=LIMIT,
    )
    assert done.stdout == f"{line['url']}/\n"


def test_the_environment_can_lead_other_programs_there(home: Home) -> None:
    _, line = home.ready()
    proxied = json.loads(home.run("env", "--proxy", "--json").stdout)
    bundle = Path(proxied["AWS_CA_BUNDLE"])
    assert bundle.is_relative_to(home.path) and b"BEGIN CERTIFICATE" in bundle.read_bytes()
    assert proxied == {
        **line["environment"],
        "HTTPS_PROXY": line["url"],
        "https_proxy": line["url"],
        "NO_PROXY": "127.0.0.1,localhost",
        "no_proxy": "127.0.0.1,localhost",
        "AWS_CA_BUNDLE": str(bundle),
    }
    assert f"export HTTPS_PROXY={line['url']}\n" in home.run("env", "--proxy").stdout


def test_several_clusters_are_told_apart(home: Home) -> None:
    _, one = home.ready()
    two_child, two = home.ready("--empty")
    text = home.fails("env")
    ports = sorted((one["url"].rpartition(":")[2], two["url"].rpartition(":")[2]), key=int)
    assert f"--port says which: {', '.join(ports)}" in text
    port = two["url"].rpartition(":")[2]
    assert json.loads(home.run("status", "--port", port, "--json").stdout)["clusters"] == 0
    assert "no practice cluster runs at port 1;" in home.fails("status", "--port", "1")
    home.run("down", "--port", port)
    assert two_child.wait(LIMIT) == 0
    assert home.run("env").returncode == 0


def test_what_a_killed_one_has_left_is_cleared_away(home: Home) -> None:
    child, _ = home.ready()
    child.kill()
    child.wait(LIMIT)
    files = list(home.path.glob(".ecs-exec-magic-*/sandbox-*.json"))
    assert len(files) == 1
    assert stat.S_IMODE(files[0].stat().st_mode) == 0o600
    assert stat.S_IMODE(files[0].parent.stat().st_mode) == 0o700
    assert "no practice cluster runs" in home.fails("status")
    assert not files[0].parent.exists()


def test_a_web_page_cannot_call_its_own_routes(home: Home) -> None:
    _, line = home.ready()
    for headers in ({}, {HEADER: "guess"}, {HEADER: "é"}):
        for path, data in (("status", None), ("stop", b"{}"), ("fault", b'{"name": "cut"}')):
            request = urllib.request.Request(f"{line['url']}{PREFIX}/{path}", data, headers)
            with pytest.raises(urllib.error.HTTPError) as caught:
                urllib.request.urlopen(request, timeout=LIMIT)
            with caught.value as answer:
                assert answer.code == 403
                assert "Access-Control-Allow-Origin" not in answer.headers
    options = urllib.request.Request(f"{line['url']}{PREFIX}/stop", method="OPTIONS")
    with pytest.raises(urllib.error.HTTPError) as caught, urllib.request.urlopen(options):
        pass
    caught.value.close()
    assert clusters(line)
    assert "secret" not in json.dumps(line)


# -- the files by themselves ---------------------------------------------------------------------


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    return tmp_path / "ecs-exec-magic"


def entry(port: int = 1, secret: str = "s3cret") -> Entry:
    return Entry(port, 1, secret, {"AWS_REGION": "us-east-1"}, "bwrap")


def test_files_come_and_go(directory: Path) -> None:
    registry.note(entry())
    assert registry.noted() == [entry()]
    registry.forget(entry(secret="another"))
    assert registry.noted() == [entry()], "the file of its successor stays"
    registry.forget(entry())
    assert not directory.exists()
    assert "s3cret" not in repr(entry())


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"port": 1}', "\udcff"])
def test_broken_files_are_removed(directory: Path, text: str) -> None:
    directory.mkdir(mode=0o700)
    (directory / "sandbox-9.json").write_bytes(text.encode("utf-8", "surrogateescape"))
    assert registry.living() == []
    assert not directory.exists()


def test_somebody_elses_directory_is_not_used(directory: Path, tmp_path: Path) -> None:
    directory.mkdir()
    directory.chmod(0o777)
    with pytest.raises(registry.RegistryError, match="not a directory of yours alone"):
        registry.note(entry())
    directory.rmdir()
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    directory.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(registry.RegistryError, match="not a directory of yours alone"):
        registry.living()


def test_what_answers_but_is_no_cluster_is_stale(directory: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        registry.note(entry(nobody.getsockname()[1]))
        nobody.close()
        assert registry.living() == []


# -- shells --------------------------------------------------------------------------------------

VALUES = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=30)


@given(VALUES)
def test_no_value_breaks_out_of_its_quotes(value: str) -> None:
    text = exports({"NAME": value}, "bash")
    assert shlex.split(text)[-2:] == ["export", f"NAME={value}"]
    for shell in SHELLS:
        assert exports({"NAME": value}, shell)


def test_a_shell_reads_it_as_it_was() -> None:
    value = "a 'b' \"c\" $HOME \\ `d` ; e"
    done = subprocess.run(
        ["sh", "-c", exports({"NAME": value}, "bash") + '\nprintf %s "$NAME"'],
        capture_output=True,
        text=True,
        check=True,
        timeout=LIMIT,
    )
    assert done.stdout == value
    assert exports({"NAME": "it's \\"}, "fish").endswith("set -gx NAME 'it\\'s \\\\';")
    assert exports({"NAME": "it's"}, "powershell").endswith("$Env:NAME = 'it''s'")
    assert exports({"NAME": "a&b"}, "cmd").endswith("set NAME=a^&b")


STORM = """
import signal, sys, time
from ecs_exec_magic.sandbox.command import _Stop

stop, heard, waits = _Stop(), 0, 0

def heed(*_):
    global heard
    heard += 1
    stop.set()

signal.signal(signal.SIGALRM, heed)
signal.setitimer(signal.ITIMER_REAL, 0.0002, 0.0002)
end = time.monotonic() + 60
while (waits <= 100 or heard <= 100) and time.monotonic() < end:
    stop = _Stop()
    stop.wait(0.0001)
    waits += 1
signal.setitimer(signal.ITIMER_REAL, 0)
stop = _Stop()
signal.setitimer(signal.ITIMER_REAL, 0.1)
print(waits > 100, heard > 100, stop.wait(30), stop.is_set())
"""


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="Windows has no such timers")
def test_a_signal_at_any_moment_of_the_wait_ends_it() -> None:
    """A threading.Event is locked at some of them, and a handler then waits for its own thread."""
    done = subprocess.run(
        [sys.executable, "-c", STORM], capture_output=True, text=True, timeout=LIMIT, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "True True True True\n", "")
