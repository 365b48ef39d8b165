"""``ecs-exec-magic check``: what it prints, and its exit statuses."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from ecs_exec_magic import cli, sandbox
from ecs_exec_magic.check_command import FAILED, FINE, NOT_KNOWN

from .runtimes import WITHOUT_ENGINE

pytestmark = pytest.mark.timeout(180)


@pytest.fixture(scope="module")
def practice() -> Iterator[sandbox.Sandbox]:
    with sandbox.start(pace="fast", runtime=WITHOUT_ENGINE, iam=True) as running:
        running.call(running._server.world.settled())
        yield running


class Line:
    """Runs the command in a process of its own."""

    def __init__(self, practice: sandbox.Sandbox) -> None:
        self._environment = {**os.environ, **practice.environment}

    def __call__(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "ecs_exec_magic.cli", "check", *words],
            env=self._environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )


@pytest.fixture
def line(practice: sandbox.Sandbox) -> Line:
    return Line(practice)


def test_all_is_well(line: Line) -> None:
    done = line("demo/worker")
    assert done.returncode == FINE
    assert done.stdout.startswith("exec in demo/worker: 1 to look at")
    assert done.stderr == ""


def test_something_has_failed(line: Line) -> None:
    done = line("demo/agent-down", "--json")
    assert done.returncode == FAILED
    told = json.loads(done.stdout)
    assert told["worst"] == "fail"
    assert [each["id"] for each in told["findings"] if each["status"] == "fail"] == [
        "agent.running"
    ]


def test_something_is_not_known(line: Line, practice: sandbox.Sandbox) -> None:
    practice.faults.throttle = {"DescribeSessions": 50}
    try:
        done = line("demo/worker", "--outside")
    finally:
        practice.faults.throttle = {}
    assert done.returncode == NOT_KNOWN
    assert "unknown" in done.stdout
    assert "throttled" in done.stdout


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("demo/nothing",), "nothing"),
        (("nowhere/web",), "no cluster 'nowhere'"),
        (("a b",), "is not"),
        (("demo/web", "--yes"), "--yes goes with --fix"),
        (("demo/web", "--fix"), "add --yes"),
        (("demo/web", "--nonsense"), "unrecognized"),
        (("demo/web", "--profile", "no-such-profile"), "no-such-profile"),
    ],
)
def test_lines_that_cannot_be_checked(line: Line, words: tuple[str, ...], said: str) -> None:
    done = line(*words)
    assert (done.returncode, done.stdout) == (NOT_KNOWN, "")
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_options_name_the_account(practice: sandbox.Sandbox, line: Line) -> None:
    options = ("--cluster", "demo", "--region", practice.region, "--endpoint-url", practice.url)
    done = line("worker", "--outside", *options)
    assert done.returncode == FINE
    assert "demo/worker" in done.stdout


def test_a_whole_cluster(line: Line) -> None:
    done = line("--cluster", "demo", "--outside")
    assert done.returncode == FAILED
    assert done.stdout.startswith("exec in demo: ")


def test_the_agents_log(line: Line) -> None:
    done = line("demo/worker", "--agent-log")
    assert done.returncode == FINE
    assert "the agent's log (demo/" in done.stdout


def test_a_fix(line: Line, practice: sandbox.Sandbox) -> None:
    import boto3

    there = practice.environment
    api = boto3.client(
        "ecs",
        endpoint_url=practice.url,
        region_name=practice.region,
        aws_access_key_id=there["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=there["AWS_SECRET_ACCESS_KEY"],
    )
    worker = api.describe_services(cluster="demo", services=["worker"])["services"][0]
    api.create_service(
        cluster="demo",
        serviceName="off",
        desiredCount=1,
        taskDefinition=worker["taskDefinition"],
        networkConfiguration=worker["networkConfiguration"],
        launchType="FARGATE",
    )
    assert line("demo/off", "--outside").returncode == FAILED
    done = line("demo/off", "--fix", "--yes")
    assert done.returncode == FINE, done
    assert "service demo/off: done" in done.stderr
    assert done.stdout.startswith("exec in demo/off: ")


def test_it_needs_no_practice_cluster_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the extra is not installed the check works all the same."""
    monkeypatch.setitem(sys.modules, "ecs_exec_magic.sandbox", None)
    assert cli.main(["check", "demo/web", "--yes"]) == NOT_KNOWN
