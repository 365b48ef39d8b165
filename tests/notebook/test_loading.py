"""Loading the extension costs nothing: no AWS library, no websocket library, no thread."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

pytestmark = pytest.mark.kernel

SCRIPT = """
import json, sys, threading
from IPython.core.interactiveshell import InteractiveShell
from traitlets.config import Config
config = Config()
config.HistoryManager.enabled = False
shell = InteractiveShell.instance(config=config)
threads = {thread.name for thread in threading.enumerate()}
before = set(sys.modules)
shell.run_line_magic("load_ext", "ecs_exec_magic")
print(json.dumps({
    "new": sorted(set(sys.modules) - before),
    "threads": sorted({thread.name for thread in threading.enumerate()} - threads),
    "magics": sorted(
        name for table in shell.magics_manager.magics.values()
        for name in table if str(name).startswith("ecs_")
    ),
}))
shell.run_line_magic("reload_ext", "ecs_exec_magic")
shell.run_line_magic("unload_ext", "ecs_exec_magic")
assert "ecs_exec" not in shell.magics_manager.magics["line"]
"""

HEAVY = {
    "aiohttp",
    "boto3",
    "botocore",
    "cryptography",
    "ipywidgets",
    "nest_asyncio",
    "nest_asyncio2",
    "pandas",
    "picows",
    "websockets",
}


def test_load_ext_imports_no_heavy_library_and_starts_no_thread() -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", SCRIPT],
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout.splitlines()[0])
    assert {name.partition(".")[0] for name in seen["new"]} & HEAVY == set()
    assert seen["threads"] == []
    assert {"ecs_exec", "ecs_shell", "ecs_target"} <= set(seen["magics"])
