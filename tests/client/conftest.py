"""A practice cluster whose faults are cleared after each test."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from typing import Any

import boto3
import pytest

import ecs_exec_magic as ecs
from ecs_exec_magic import sandbox as package
from ecs_exec_magic.client import Client, Target
from ecs_exec_magic.sandbox import Sandbox

from ..runtimes import WITHOUT_ENGINE


@pytest.fixture(scope="session")
def _cluster() -> Iterator[Sandbox]:
    with package.start(pace="fast", runtime=WITHOUT_ENGINE) as sandbox:
        yield sandbox


@pytest.fixture
def cluster(_cluster: Sandbox) -> Iterator[Sandbox]:
    yield _cluster
    _cluster.faults.clear()


def connected(sandbox: Sandbox, **how: Any) -> Client:
    session = boto3.Session("AKIATEST", "secret", region_name="us-east-1")
    return ecs.connect(endpoint_url=sandbox.url, session=session, **how)


@pytest.fixture
def client(cluster: Sandbox) -> Client:
    return connected(cluster)


@pytest.fixture
def target(client: Client) -> Target:
    return client.target("demo/worker")


def wait_until(condition: Any, seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.02)


def until_there(path: str) -> str:
    """Shell code that waits for a file, which a test makes when it has seen enough."""
    return f"while [ ! -e {path} ]; do sleep 0.05; done"


def press_key() -> None:
    """Press the interrupt key, once a call takes it: before, and after, it would end the tests."""
    wait_until(lambda: signal.getsignal(signal.SIGINT) is not signal.default_int_handler)
    os.kill(os.getpid(), signal.SIGINT)
