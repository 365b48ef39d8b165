"""All benchmarks: ``make bench``."""

from __future__ import annotations

from . import channel, command, crowd, shell

if __name__ == "__main__":
    channel.main()
    command.main()
    shell.main()
    crowd.main()
