"""How much a forwarded port carries: ``python -m bench.ports`` from the project's root.

A server of this machine behind the practice cluster, with the agent's pace left out and kept: what
the real agent can give is the second, for it pauses between any two kilobytes that it sends.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import socket
import statistics
import sys
import threading
import time
from typing import TYPE_CHECKING

import boto3

import ecs_exec_magic as ecs
from ecs_exec_magic import sandbox

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ecs_exec_magic.client import Target

MEBIBYTE = 1 << 20


def say(line: str) -> None:
    """Print a line of the report."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def _serve(connection: socket.socket) -> None:
    """The first byte says what is wanted: output, input, or an echo."""
    with connection, contextlib.suppress(OSError):
        kind = connection.recv(1)
        if kind == b"o":
            size = int.from_bytes(connection.recv(4), "big")
            connection.sendall(bytes(size))
        elif kind == b"i":
            left = int.from_bytes(connection.recv(4), "big")
            while left:
                left -= len(connection.recv(min(left, 65536)))
            connection.sendall(b"!")
        else:
            while data := connection.recv(65536):
                connection.sendall(data)


@contextlib.contextmanager
def service() -> Iterator[int]:
    """A server; gives its port."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=200)

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listener.accept()
                threading.Thread(target=_serve, args=(connection,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()


def exactly(connection: socket.socket, count: int) -> None:
    """Receive so many bytes."""
    while count:
        got = len(connection.recv(min(count, 65536)))
        assert got
        count -= got


def measure(target: Target, pace: str, size: int) -> None:
    """One forward: both directions, then a hundred connections."""
    with service() as port, target.forward(port, "bench.internal") as local_port:
        rates = []
        for kind, back in ((b"o", size), (b"i", 1)):
            with socket.create_connection(("127.0.0.1", local_port)) as connection:
                start = time.perf_counter()
                connection.sendall(kind + size.to_bytes(4, "big"))
                if kind == b"i":
                    connection.sendall(bytes(size))
                exactly(connection, back)
                rates.append(size / (time.perf_counter() - start) / MEBIBYTE)
        say(f"forwarded, {pace} pace: {rates[0]:.1f} MiB/s out, {rates[1]:.1f} MiB/s in")
        together = threading.Barrier(100)

        def one(_: int) -> float:
            with socket.create_connection(("127.0.0.1", local_port)) as connection:
                connection.sendall(b"e-")
                exactly(connection, 1)
                together.wait()
                start = time.perf_counter()
                connection.sendall(bytes(10_000))
                exactly(connection, 10_000)
                return time.perf_counter() - start

        with concurrent.futures.ThreadPoolExecutor(100) as threads:
            start = time.perf_counter()
            took = list(threads.map(one, range(100)))
            whole = time.perf_counter() - start
        say(
            f"100 connections at once, {pace} pace: {whole:.2f} s in all; 10 kB there and back: "
            f"median {1000 * statistics.median(took):.0f} ms, longest {1000 * max(took):.0f} ms"
        )


def main() -> None:
    """Measure at both paces."""
    session = boto3.Session("AKIABENCH", "secret", region_name="us-east-1")
    for pace, size in (("fast", 32 * MEBIBYTE), ("real", 2 * MEBIBYTE)):
        with sandbox.start(pace=pace) as practice:
            client = ecs.connect(endpoint_url=practice.url, session=session)
            measure(client.target("demo/worker"), pace, size)


if __name__ == "__main__":
    main()
