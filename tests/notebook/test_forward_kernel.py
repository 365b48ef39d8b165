"""%ecs_forward in a real kernel: clients of the next cells simply work."""

from __future__ import annotations

import socket
import socketserver
import threading
from typing import TYPE_CHECKING, ClassVar

import pytest

from .kernels import practising

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from ecs_exec_magic.sandbox import Sandbox

    from .kernels import Kernel

pytestmark = pytest.mark.kernel

GET = "__import__('urllib.request').request.urlopen(f.url, timeout=60).status"


@pytest.fixture
def mortal(cluster: Sandbox, tmp_path: Path) -> Iterator[Kernel]:
    """A kernel of a test's own, which may end it."""
    with practising(cluster, tmp_path / "ipython") as kernel:
        yield kernel


def answers(port: int) -> bool:
    with socket.socket() as made:
        made.settimeout(60)
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
        ("%ecs_forward 1::2", "cannot be read"),
        ("%ecs_forward db.internal:5432", "is not a port"),
        ("%ecs_forward 8080:80 --local-port 1", "not both"),
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


def test_it_is_a_job_and_its_end_is_in_the_history(kernel: Kernel) -> None:
    kernel.good("f = %ecs_forward 80\nimport urllib.request")
    port = int(kernel.value("f.local_port"))
    for _ in range(2):
        assert kernel.value(GET) == "200"
    listed = kernel.good("%ecs_jobs").results[0]
    (line,) = [line for line in listed.splitlines() if "open" in line]
    assert f"local port {port} → port 80, 2 connections" in line
    assert "running" in kernel.good("%ecs_history -n 1").results[0]
    number = line.split()[0]
    assert "no output to follow" in kernel.run(f"%ecs_jobs --follow {number}").traceback
    kernel.good(f"_ = %ecs_jobs --stop {number}")
    assert not answers(port)
    assert kernel.value("f.state") == "'stopped'"
    whole = kernel.good("%ecs_history last").results[0]
    assert "stopped, 2 connections" in whole
    assert f"local port {port}, 2 connections, " in whole
    assert " B sent, " in whole
    assert "%ecs_forward 80" in whole
    assert "sandbox-" in whole  # the session's id
    assert "stopped" not in "".join(kernel.good("%ecs_history --failed").results)


def test_one_that_cannot_be_had_is_in_the_history(kernel: Kernel) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        kernel.run(f"%ecs_forward 80 --local-port {taken.getsockname()[1]}")
    listed = kernel.good("%ecs_history -n 1").results[0]
    assert "%ecs_forward 80" in listed
    assert "InvalidRequest" in listed


def test_a_client_of_another_protocol(kernel: Kernel) -> None:
    """A mail server of this machine, which the practice cluster takes for a host behind it."""
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Mail) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            kernel.good(f"m = %ecs_forward 0:mail.internal:{server.server_address[1]}")
            kernel.good(
                "import smtplib\n"
                "with smtplib.SMTP('127.0.0.1', m.local_port, timeout=60) as smtp:\n"
                "    smtp.sendmail('a@example.com', ['b@example.com'], 'Subject: x\\n\\nhello')"
            )
            kernel.good("m.stop()")
        finally:
            server.shutdown()
    assert Mail.taken == [b"Subject: x\r\n", b"\r\n", b"hello\r\n"]


class Mail(socketserver.StreamRequestHandler):
    """As much of SMTP as takes one mail; the server speaks first."""

    taken: ClassVar[list[bytes]] = []

    def handle(self) -> None:
        self.wfile.write(b"220 mail.internal\r\n")
        while word := self.rfile.readline().upper():
            if word.startswith(b"DATA"):
                self.wfile.write(b"354 go on\r\n")
                while (line := self.rfile.readline()) not in (b".\r\n", b""):
                    self.taken.append(line)
            self.wfile.write(b"221 bye\r\n" if word.startswith(b"QUIT") else b"250 ok\r\n")


@pytest.mark.parametrize("end", ["shut_down", "restart"])
def test_a_kernel_that_is_asked_to_end_takes_it_along(
    cluster: Sandbox, mortal: Kernel, end: str
) -> None:
    before = cluster.status()["sessions"]
    mortal.good("f = %ecs_forward 80")
    port = int(mortal.value("f.local_port"))
    assert answers(port)
    assert cluster.status()["sessions"] == before + 1
    getattr(mortal, end)()
    assert not answers(port)
    mortal.wait(lambda: cluster.status()["sessions"] == before)
    if end == "restart":
        mortal.good("%load_ext ecs_exec_magic")
        told = mortal.good("%ecs_history -n 1").results[0]
        assert "stopped, 1 connection" in told


def test_a_kernel_that_is_killed_frees_the_port(cluster: Sandbox, mortal: Kernel) -> None:
    """Its session stays until AWS ends it: nobody is left to end it."""
    before = cluster.status()["sessions"]
    mortal.good("f = %ecs_forward 80")
    port, address = int(mortal.value("f.local_port")), mortal.value("f.target.address")
    mortal.kill()
    assert not answers(port)
    assert address
    assert cluster.status()["sessions"] == before + 1


def test_unloading_ends_it(kernel: Kernel) -> None:
    kernel.good("f = %ecs_forward 80")
    port = int(kernel.value("f.local_port"))
    assert answers(port)
    kernel.good("%unload_ext ecs_exec_magic")
    assert not answers(port)
    assert kernel.value("f.running") == "False"
    kernel.good("%load_ext ecs_exec_magic")
    kernel.good("%ecs_target demo/web:nginx")
