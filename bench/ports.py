"""How much a forwarded port carries: ``python -m bench.ports`` from the project's root.

A server of this machine behind the practice cluster, each in a process of its own, with the agent's
pace left out and kept: what the real agent can give is the second, for it pauses between any two
kilobytes that it sends. Beside each figure stands that of the official way in the same run, where
its tools are on PATH.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import multiprocessing
import socket
import statistics
import sys
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .apart import practice
from .official import ABSENT, official

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ecs_exec_magic.client import Target

    from .official import Official

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


def _answer(listener: socket.socket) -> None:
    while True:
        connection, _ = listener.accept()
        threading.Thread(target=_serve, args=(connection,), daemon=True).start()


@contextlib.contextmanager
def service() -> Iterator[int]:
    """A server; gives its port."""
    with socket.create_server(("127.0.0.1", 0), backlog=200) as listener:
        child = multiprocessing.get_context("spawn").Process(target=_answer, args=(listener,))
        child.start()
        try:
            yield listener.getsockname()[1]
        finally:
            child.terminate()
            child.join()


def exactly(connection: socket.socket, count: int) -> None:
    """Receive so many bytes."""
    while count:
        got = len(connection.recv(min(count, 65536)))
        assert got
        count -= got


@dataclass(frozen=True)
class Figures:
    """What one forward gave.

    Attributes:
        out: MiB/s from the far end.
        into: MiB/s to it.
        whole: seconds for a hundred connections at once.
        each: seconds that each of them took for 10 kB there and back.
    """

    out: float
    into: float
    whole: float
    each: tuple[float, ...]


def _connect(local_port: int) -> socket.socket:
    # The official plugin listens on localhost's first address, whichever that is.
    return socket.create_connection(("localhost", local_port), timeout=120)


def figures(local_port: int, size: int) -> Figures:
    """Both directions of one connection, then a hundred connections."""
    rates = []
    for kind, back in ((b"o", size), (b"i", 1)):
        with _connect(local_port) as connection:
            start = time.perf_counter()
            connection.sendall(kind + size.to_bytes(4, "big"))
            if kind == b"i":
                connection.sendall(bytes(size))
            exactly(connection, back)
            rates.append(size / (time.perf_counter() - start) / MEBIBYTE)
    together = threading.Barrier(100)

    def one(_: int) -> float:
        with _connect(local_port) as connection:
            connection.sendall(b"e-")
            exactly(connection, 1)
            together.wait()
            start = time.perf_counter()
            connection.sendall(bytes(10_000))
            exactly(connection, 10_000)
            return time.perf_counter() - start

    with concurrent.futures.ThreadPoolExecutor(100) as threads:
        start = time.perf_counter()
        took = tuple(threads.map(one, range(100)))
        return Figures(rates[0], rates[1], time.perf_counter() - start, took)


def told(pace: str, ours: Figures, theirs: Figures | None) -> None:
    """Print them, ours first."""
    both = [ours] if theirs is None else [ours, theirs]

    def beside(value: Callable[[Figures], str]) -> str:
        return " (official: ".join(value(each) for each in both) + ")" * (len(both) - 1)

    say(
        f"forwarded, {pace} pace: MiB/s out {beside(lambda f: f'{f.out:.1f}')}, "
        f"in {beside(lambda f: f'{f.into:.1f}')}"
    )
    say(
        f"100 connections at once, {pace} pace: {beside(lambda f: f'{f.whole:.2f}')} s in all; "
        f"10 kB there and back: median "
        f"{beside(lambda f: f'{1000 * statistics.median(f.each):.0f}')} ms, "
        f"longest {beside(lambda f: f'{1000 * max(f.each):.0f}')} ms"
    )


def measure(target: Target, pace: str, size: int, tools: Official | None) -> None:
    """Our forward, and the official one where there is one; never both at once."""
    with service() as port:
        with target.forward(port, "bench.internal") as local_port:
            ours = figures(local_port, size)
        theirs = None
        if tools is not None:
            with tools.forward(target, port, "bench.internal") as local_port:
                theirs = figures(local_port, size)
    told(pace, ours, theirs)


def main() -> None:
    """Measure at both paces."""
    for pace, size in (("fast", 32 * MEBIBYTE), ("real", 2 * MEBIBYTE)):
        with practice(pace) as cluster:
            tools = official(cluster.environment)
            if tools is None and pace == "fast":
                say(ABSENT)
            measure(cluster.client().target("demo/worker"), pace, size, tools)


if __name__ == "__main__":
    main()
