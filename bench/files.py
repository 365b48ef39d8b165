"""How fast files are copied: ``python -m bench.files`` from the project's root.

Against the practice cluster at its real pace, in a process of its own: a log that shrinks and noise
that does not, both ways, beside plain ``cat`` in the same run, ours and that of the official tools
where they are on PATH; and what a large file takes of memory.
"""

from __future__ import annotations

import random
import resource
import tempfile
from pathlib import Path
from typing import Any

from .apart import practice
from .command import MEBIBYTE, say, timed
from .official import ABSENT, official

LARGE = 500_000_000
NOISE_IN = 50_000_000  # input through the terminal takes a minute for it


def log(size: int) -> bytes:
    """Lines as a web server writes them."""
    chance = random.Random(1)
    lines: list[str] = []
    length = 0
    while length < size:
        host = f"10.0.{chance.randrange(256)}.{chance.randrange(256)}"
        second = length // 9000
        lines.append(
            f"{host} - - [28/Nov/2026:{second // 3600:02}:{second // 60 % 60:02}:{second % 60:02} "
            f'+0000] "GET /api/v1/orders/{chance.randrange(100000)} HTTP/1.1" '
            f'{chance.choice([200, 200, 200, 304, 404])} {chance.randrange(9000)} "-" '
            '"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko)"\n'
        )
        length += len(lines[-1])
    return "".join(lines).encode()[:size]


def main() -> None:
    """Measure, and print a table."""
    with practice("real") as cluster, tempfile.TemporaryDirectory() as name:
        here = Path(name)
        target = cluster.client().target("demo/worker")
        target.run("true")  # starts the container and the boto3 clients
        (here / "log").write_bytes(log(10 * MEBIBYTE))
        (here / "noise").write_bytes(random.Random(2).randbytes(2 * MEBIBYTE))
        terminal = 0.0
        for kind in ("log", "noise"):
            size = (here / kind).stat().st_size / MEBIBYTE

            def put(kind: str = kind) -> Any:
                return target.put(here / kind, "/tmp/")

            took, _ = timed(put)
            say(f"put {size:3.0f} MiB of {kind:5}                  {size / took:7.2f} MiB/s")
            for method in ("execute-command", "start-session"):

                def cat(kind: str = kind, method: Any = method) -> Any:
                    return target.run(f"cat /tmp/{kind}", method=method)

                def get(kind: str = kind, method: Any = method) -> Any:
                    return target.get(f"/tmp/{kind}", here / "back", method=method)

                plain, _ = timed(cat)
                terminal = plain if method == "execute-command" else terminal
                took, _ = timed(get)
                assert (here / "back").read_bytes() == (here / kind).read_bytes()
                say(
                    f"get {size:3.0f} MiB of {kind:5} {method:16} {size / took:7.2f} MiB/s, "
                    f"cat {size / plain:7.2f} MiB/s: {plain / took:4.1f} times as fast, and "
                    f"{terminal / took:4.1f} times as cat through the terminal"
                )
        tools = official(cluster.environment)
        if tools is None:
            say(ABSENT)
        else:
            took, printed = tools.execute(target, "cat /tmp/log")
            size = len(printed.replace(b"\r\n", b"\n")) / MEBIBYTE
            say(
                f"official: cat of the log through the terminal {size / took:7.2f} MiB/s, "
                "without proof, the log's own line ends lost; there is no way in"
            )
    memory()


def memory() -> None:
    """What large files take of memory; without the agent's waits."""
    with practice("fast") as cluster, tempfile.TemporaryDirectory() as name:
        here = Path(name)
        target = cluster.client().target("demo/worker")
        target.run(f"head -c {LARGE} /dev/urandom >/tmp/large", check=True)
        chance = random.Random(3)
        with open(here / "noise", "wb") as file:
            for _ in range(NOISE_IN // 1_000_000):
                file.write(chance.randbytes(1_000_000))
        with open(here / "zeros", "wb") as file:
            file.truncate(LARGE)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        copies = {
            f"get {LARGE / 1e6:.0f} MB of noise": lambda: target.get(
                "/tmp/large", here / "back", method="start-session"
            ),
            f"put {LARGE / 1e6:.0f} MB of zeros": lambda: target.put(here / "zeros", "/tmp/zeros"),
            f"put {NOISE_IN / 1e6:.0f} MB of noise": lambda: target.put(here / "noise", "/tmp/n"),
        }
        for title, copy in copies.items():
            took, done = timed(copy)
            assert done.verified == "sha256"
            grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
            say(f"{title}: {took:.1f} s; the peak of memory is {grown / 1024:.1f} MiB higher")


if __name__ == "__main__":
    main()
