"""A gigabyte of output does not fill the memory."""

from __future__ import annotations

import subprocess
import sys

import pytest

# In a process of its own, since the peak of this one says nothing.
CODE = """
import asyncio, resource, sys
from ecs_exec_magic.channel.events import Output
from ecs_exec_magic.remote.command import Execution
from ecs_exec_magic.remote.decoder import Cksum
from ecs_exec_magic.remote.wrapper import wrap

SIZE = 1 << 30
wrapped = wrap("cat big")
piece = bytes(range(1, 256)) * 256
mark = b"\\x1esecret\\x1e"
crc = Cksum()

def frames():
    yield b"\\x1e%s B 1 r base64- cksum- setsid- secret\\n" % wrapped.nonce
    sent = 0
    while sent < SIZE:
        crc.update(piece)
        sent += len(piece)
        yield b"\\x1esecret o t %d\\n%s\\n" % (len(piece), piece)
    end = mark + b" 0 0 " + mark
    crc.update(end)
    yield b"\\x1esecret o t %d\\n%s\\n" % (len(end), end)
    yield b"\\x1esecret z o %d %d\\n" % (crc.value(), sent + len(end))
    other = Cksum()
    other.update(mark * 2)
    yield b"\\x1esecret e t %d\\n%s\\n" % (len(mark) * 2, mark * 2)
    yield b"\\x1esecret z e %d %d\\n" % (other.value(), len(mark) * 2)

class Channel:
    def __init__(self):
        self.frames = frames()
    async def send(self, data): pass
    async def terminate(self): pass
    async def receive(self):
        return [Output(next(self.frames))]

async def main():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    outcome = await Execution(Channel(), wrapped).run()
    assert outcome.exact and outcome.exit_code == 0
    assert len(outcome.stdout) >= SIZE and outcome.stdout.spilled
    assert outcome.stdout.read(SIZE - 10, 4) == piece[(SIZE - 10) % len(piece):][:4]
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    print(grown)

asyncio.run(main())
"""


@pytest.mark.timeout(300)  # a gigabyte is looked through byte by byte
def test_a_gigabyte_grows_the_process_by_less_than_150_megabytes() -> None:
    done = subprocess.run(
        [sys.executable, "-c", CODE], capture_output=True, text=True, timeout=280, check=False
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 150 * 1024  # kilobytes
