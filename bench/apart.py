"""A practice cluster in a process of its own, so that it takes no time from the client's.

Knows how one is started and ended. Never knows what is measured.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import boto3

import ecs_exec_magic as ecs

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ecs_exec_magic.client import Client

__all__ = ["Apart", "practice"]


@dataclass(frozen=True)
class Apart:
    """One that runs.

    Attributes:
        url: of all its services.
        environment: that leads the AWS CLI to it.
    """

    url: str
    environment: dict[str, str]

    def client(self) -> Client:
        """A client of it."""
        session = boto3.Session("AKIABENCH", "secret", region_name="us-east-1")
        return ecs.connect(endpoint_url=self.url, session=session)


@contextlib.contextmanager
def practice(pace: str, *words: str) -> Iterator[Apart]:
    """Start one, and end it behind the block.

    Args:
        pace: ``real`` or ``fast``.
        words: further ones for ``sandbox up``.
    """
    command = [sys.executable, "-m", "ecs_exec_magic.cli", "sandbox", "up", "--port", "0"]
    with subprocess.Popen(
        [*command, "--pace", pace, "--json", *words], stdout=subprocess.PIPE
    ) as child:
        assert child.stdout is not None
        try:
            told: dict[str, Any] = json.loads(child.stdout.readline())
            yield Apart(told["url"], told["environment"])
        finally:
            child.terminate()
            child.wait(120)
