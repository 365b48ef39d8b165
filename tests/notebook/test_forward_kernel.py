"""%ecs_forward in a real kernel: clients of the next cells simply work."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import pytest

from ecs_exec_magic import sandbox

from ..runtimes import WITHOUT_ENGINE
from .kernels import Kernel

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.kernel

GET = "__import__('urllib.request').request.urlopen(f.url, timeout=30).status"


@pytest.fixture(scope="module")
def kernel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kernel]:
    with sandbox.start(pace="fast", runtime=WITHOUT_ENGINE) as cluster:
        kernel = Kernel(dict(cluster.environment), str(tmp_path_factory.mktemp("ipython")))
        try:
            kernel.good("%load_ext ecs_exec_magic")
            kernel.good("%ecs_target demo/web:nginx")
            yield kernel
        finally:
            kernel.close()


def answers(port: int) -> bool:
    with socket.socket() as made:
        made.settimeout(10)
        return made.connect_ex(("127.0.0.1", port)) == 0


def test_nginx_answers_in_the_next_cell(kernel: Kernel) -> None:
    cell = kernel.good("f = %ecs_forward 80\nf")
    assert ":nginx port 80>" in cell.results[0]
    assert kernel.value(GET) == "200"
    bundle = kernel.value("f._repr_mimebundle_()['text/html']")
    assert "<a href=" in bundle
    assert "http://127.0.0.1:" in bundle
    listed = kernel.good("%ecs_forward")
    assert "1 forwarded port" in listed.results[0]
    assert "demo/" in listed.results[0]
    port = int(kernel.value("f.local_port"))
    kernel.good(f"%ecs_forward --stop {port}")
    assert not answers(port)
    assert "no port is forwarded" in kernel.good("%ecs_forward\n").results[0]


def test_a_client_on_the_loop_of_the_notebook(kernel: Kernel) -> None:
    kernel.good("f = %ecs_forward 80 --local-port 0")
    kernel.good(
        "import asyncio\n"
        "r, w = await asyncio.open_connection('127.0.0.1', f.local_port)\n"
        "w.write(b'GET / HTTP/1.0\\r\\n\\r\\n')\n"
        "got = await r.read()\n"
        "w.close()"
    )
    assert kernel.value("b' 200 ' in got[:20]") == "True"
    kernel.good("f.stop()")


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("%ecs_forward nonsense", "is not a port"),
        ("%ecs_forward 1:2", "cannot be read"),
        ("%ecs_forward 80 81", "one port at a time"),
        ("%ecs_forward --stop 1", "not forwarded by this notebook"),
        ("%ecs_forward 80 --local-port 99999", "is not a port"),
        ("%ecs_forward 8080:db.internal:80 --local-port 1", "not both"),
    ],
)
def test_bad_input_is_one_line(kernel: Kernel, line: str, words: str) -> None:
    cell = kernel.run(line)
    assert cell.status == "error"
    assert words in cell.stderr + cell.traceback
    assert cell.traceback.count("\n") < 5


def test_a_busy_port_says_what_to_do(kernel: Kernel) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        cell = kernel.run(f"%ecs_forward 80 --local-port {port}")
        assert cell.status == "error"
        assert f"local port {port} is taken" in cell.traceback
        assert "--local-port" in cell.traceback


def test_unloading_ends_it(kernel: Kernel) -> None:
    kernel.good("f = %ecs_forward 80")
    port = int(kernel.value("f.local_port"))
    assert answers(port)
    kernel.good("%unload_ext ecs_exec_magic")
    assert not answers(port)
    assert kernel.value("f.running") == "False"
    kernel.good("%load_ext ecs_exec_magic")
    kernel.good("%ecs_target demo/web:nginx")
