"""The sandbox as a whole: isolation, leftovers, the command line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import boto3
import pytest

from ecs_exec_magic import sandbox as package
from ecs_exec_magic.sandbox import SandboxUnavailable

from .conftest import Cluster
from .containers.helpers import marked, until
from .rawclient import RawClient

MAIN = (
    "import argparse, sys\n"
    "from ecs_exec_magic.sandbox import command\n"
    "parser = argparse.ArgumentParser()\n"
    "command.add_arguments(parser)\n"
    "sys.exit(command.run(parser.parse_args()))\n"
)


@pytest.mark.skipif(sys.platform != "linux", reason="the isolated runtimes are Linux's")
@pytest.mark.parametrize("runtime", ["bwrap", "unshare", "process"])
async def test_nothing_is_left(
    runtime: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    marker = f"4242{os.getpid()}"
    with package.start(pace="fast", runtime=runtime) as sandbox:
        cluster = Cluster(sandbox)
        script = f"mkdir x.d x.d/y; chmod 0 x.d; setsid sleep {marker} & sleep 0.1; echo up; read x"
        session = cluster.execute(f"sh -c '{script}'")
        async with RawClient(session["streamUrl"], session["tokenValue"]) as client:
            await client.until(lambda s: b"up" in s.payload())
            assert marked(marker)
    assert marked(marker) == []
    assert list(tmp_path.iterdir()) == []
    assert str(tmp_path) not in Path("/proc/self/mounts").read_text()
    sandbox.stop()


@pytest.mark.skipif(sys.platform != "linux", reason="the isolated runtimes are Linux's")
async def test_a_killed_owner_leaves_no_process(tmp_path: Path) -> None:
    marker = f"4343{os.getpid()}"
    with subprocess.Popen(
        [sys.executable, "-c", MAIN, "up", "--port", "0", "--pace", "fast", "--json"],
        stdout=subprocess.PIPE,
        env={**os.environ, "TMPDIR": str(tmp_path)},
    ) as child:
        try:
            assert child.stdout is not None
            line = json.loads(child.stdout.readline())
            ecs = boto3.client(
                "ecs",
                endpoint_url=line["url"],
                region_name="us-east-1",
                aws_access_key_id="AKIAX",
                aws_secret_access_key="x",
            )
            task = ecs.list_tasks(cluster="demo", family="worker")["taskArns"][0]
            command = f"sh -c 'setsid sleep {marker} & wait'"
            ecs.execute_command(cluster="demo", task=task, interactive=True, command=command)
            await until(lambda: bool(marked(marker)))
        finally:
            child.kill()
    await until(lambda: marked(marker) == [])


@pytest.mark.skipif(sys.platform != "linux", reason="the isolated runtimes are Linux's")
@pytest.mark.parametrize("runtime", ["bwrap", "unshare"])
async def test_isolation(runtime: str) -> None:
    script = (
        "hostname; id -u; touch /usr/bin/x 2>/dev/null || echo readonly;"
        " (echo 0 >/proc/sys/vm/drop_caches) 2>/dev/null || echo guarded;"
        " mount -o remount,rw,bind /usr/bin 2>/dev/null || echo nomount;"
        " touch /etc/x /root/x /usr/local/bin/x /var/x && echo writable;"
        f" test -e {Path(__file__)} || echo hidden; ls -d /proc/[0-9]* | wc -l"
    )
    with package.start(pace="fast", runtime=runtime) as sandbox:
        cluster = Cluster(sandbox)
        session = cluster.execute(f"sh -c '{script}'")
        async with RawClient(session["streamUrl"], session["tokenValue"]) as client:
            lines = (await client.finish()).payload().decode().split()
    expected = ["0", "readonly", "guarded", "nomount", "writable", "hidden"]
    assert lines[0].startswith("ip-172-31-") and lines[1:-1] == expected
    assert int(lines[-1]) < 10


def test_refusals(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/nothing.sock")
    for runtime in ("docker", "podman", "nonsense"):
        with pytest.raises(SandboxUnavailable) as caught:
            package.start(runtime=runtime)
        assert "\n" not in str(caught.value) and "process" in str(caught.value)
    with pytest.raises(ValueError, match="pace"):
        package.start(pace="slow")
    with pytest.raises(ValueError, match="70000 is not a port"):
        package.start(port=70000)
    for region in ("us-east-9", "moon"):
        with pytest.raises(ValueError, match=f"'{region}' is not a region"):
            package.start(region=region)


def test_no_isolation_names_bubblewrap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SandboxUnavailable, match="install bubblewrap"):
        package.start(runtime="bwrap")


def test_empty_and_plain_output(tmp_path: Path) -> None:
    with package.start(pace="fast", runtime="process", seed=False) as sandbox:
        assert Cluster(sandbox).ecs.list_clusters()["clusterArns"] == []
        assert set(sandbox.environment) >= {"AWS_ENDPOINT_URL", "AWS_REGION"}
