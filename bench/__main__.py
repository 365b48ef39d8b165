"""All benchmarks: ``make bench``."""

from __future__ import annotations

from . import channel, command, crowd, files, fleet, ports, shell

if __name__ == "__main__":
    channel.main()
    command.main()
    shell.main()
    crowd.main()
    fleet.main()
    files.main()
    ports.main()
