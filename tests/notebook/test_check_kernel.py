"""``%ecs_check`` in a real kernel, against a practice cluster in which IAM decides."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from ecs_exec_magic import sandbox

from ..runtimes import WITHOUT_ENGINE
from .kernels import Kernel

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.kernel


@pytest.fixture(scope="module")
def kernel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kernel]:
    with sandbox.start(pace="fast", runtime=WITHOUT_ENGINE, iam=True) as cluster:
        kernel = Kernel(dict(cluster.environment), str(tmp_path_factory.mktemp("ipython")))
        try:
            kernel.good("%load_ext ecs_exec_magic")
            yield kernel
        finally:
            kernel.close()


def test_a_service_that_is_well(kernel: Kernel) -> None:
    cell = kernel.good("f = %ecs_check demo/worker --agent-log\nf")
    assert cell.error is None
    assert any("exec in demo/worker" in text for text in cell.results)
    assert kernel.value("f.ok, f.failed, len(f) > 30") == "(True, (), True)"
    assert kernel.value("f.find('agent.connected').status") == "'ok'"
    assert "started" in kernel.value("f.agent_log.stdout")


def test_an_agent_that_is_down(kernel: Kernel) -> None:
    kernel.good("f = %ecs_check demo/agent-down")
    assert kernel.value("[each.id for each in f.failed]") == "['agent.running']"


def test_an_error_offers_its_finding(kernel: Kernel) -> None:
    kernel.good(
        "import boto3\n"
        "ecs = boto3.client('ecs')\n"
        "asked = ecs.describe_services(cluster='demo', services=['worker'])['services'][0]\n"
        "made = ecs.create_service(cluster='demo', serviceName='off', desiredCount=1,"
        " taskDefinition=asked['taskDefinition'], launchType='FARGATE',"
        " networkConfiguration=asked['networkConfiguration'])\n"
        "ecs.get_waiter('services_stable').wait(cluster='demo', services=['off'],"
        " WaiterConfig={'Delay': 0, 'MaxAttempts': 4000})"
    )
    cell = kernel.run("%ecs_exec -t demo/off -- true")
    assert cell.error is not None
    assert cell.error[0] == "ExecNotEnabled"
    assert "exec is off in service off" in cell.traceback
    assert "--enable-execute-command --force-new-deployment" in cell.traceback
    assert len(cell.traceback.splitlines()) <= 5


def test_and_it_is_put_right(kernel: Kernel) -> None:
    # Nobody can be asked by this client's cells: the line must say so itself.
    cell = kernel.run("f = %ecs_check demo/off --fix --yes", 120)
    assert cell.status == "ok", cell
    assert kernel.value("f.failed") == "()"
    kernel.good("r = %ecs_exec -t demo/off -- echo it works")
    assert kernel.value("r.stdout") == "'it works\\n'"
