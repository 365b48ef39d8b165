"""A stock AWS CLI, and what it needs around it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from ecs_exec_magic.sandbox import Sandbox

AWS = str(Path(sys.executable).with_name("aws"))


class Shell:
    """Runs the commands of the walkthrough as a person would type them."""

    def __init__(self, sandbox: Sandbox, directory: Path, region: str, **credentials: str) -> None:
        self.region = region
        self.directory = directory
        plugin = directory / "session-manager-plugin"
        if not plugin.exists():
            plugin.write_text(
                f'#!/bin/sh\nexec {sys.executable} {Path(__file__).with_name("plugin.py")} "$@"\n'
            )
            plugin.chmod(0o755)
        self.env = {
            "PATH": f"{directory}:{os.environ['PATH']}",
            "HOME": str(directory),
            **sandbox.environment,
            "AWS_DEFAULT_REGION": region,
            "AWS_REGION": region,
            **credentials,
        }

    def run(self, *words: str, typed: str = "") -> subprocess.CompletedProcess[str]:
        """One ``aws`` command, whatever its exit status."""
        return subprocess.run(
            [AWS, *words],
            env=self.env,
            cwd=self.directory,
            input=typed,
            text=True,
            capture_output=True,
            timeout=200,
            check=False,
        )

    def aws(self, *words: str, typed: str = "") -> Any:
        """One ``aws`` command that must succeed; its JSON, or its text where it is none."""
        done = self.run(*words, typed=typed)
        assert done.returncode == 0, f"aws {' '.join(words)}: {done.stderr}{done.stdout}"
        text = done.stdout
        return json.loads(text) if text.lstrip()[:1] in ("{", "[") else text

    def fails(self, *words: str) -> str:
        """One ``aws`` command that must fail; what it says."""
        done = self.run(*words)
        assert done.returncode != 0, f"aws {' '.join(words)} succeeded: {done.stdout}"
        return done.stderr.strip()

    def file(self, name: str, content: dict[str, Any]) -> str:
        """A JSON file, as the CLI's ``file://`` argument."""
        (self.directory / name).write_text(json.dumps(content, indent=2))
        return f"file://{name}"
