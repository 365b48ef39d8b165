"""All benchmarks: ``make bench``."""

from __future__ import annotations

from . import channel, command, crowd, ports

if __name__ == "__main__":
    channel.main()
    command.main()
    crowd.main()
    ports.main()
