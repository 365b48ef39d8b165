"""A plan that is killed behind any of its calls: nothing is made twice, nothing stays behind."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from .conftest import World

OPTIONS: dict[str, Any] = {
    "kms_key": "new",
    "bucket": "killed-sessions",
    "encrypt_logs": True,
}
Kill = Callable[[str, int, dict[str, Any]], bool]


@pytest.fixture(scope="module")
def kill(world: World) -> Iterator[Kill]:
    """Has a plan carried out by a process that dies behind a call; returns whether it did."""
    program = [sys.executable, "-m", "tests.aws.plan.killed", world.sandbox.url, world.region]
    with subprocess.Popen(
        [*program, "killed"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        ask, answer = process.stdin, process.stdout

        def do(verb: str, cut: int, options: dict[str, Any]) -> bool:
            ask.write(json.dumps([verb, cut, options]) + "\n")
            ask.flush()
            ended = answer.readline().strip()
            assert ended in ("done", "killed"), ended
            return ended == "killed"

        yield do
        ask.close()


def counts(world: World) -> dict[str, int]:
    return {
        kind: len(names) for kind, names in world.listing().items() if not kind.startswith("inter")
    }


@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    ("options", "first", "least", "to_the_end"),
    [
        (OPTIONS, 1, 17, True),
        ({**OPTIONS, "service": False}, 15, 17, False),
        ({"launch_type": "EC2"}, 9, 15, True),
    ],
    ids=["service", "tasks", "instance"],
)
def test_killed_behind_every_call(
    world: World, kill: Kill, options: dict[str, Any], first: int, least: int, to_the_end: bool
) -> None:
    """What comes before the tasks, or before the instance, is the same in all three.

    Args:
        first: of the calls that is the last before a kill.
        least: so many calls there are.
        to_the_end: removing is tried behind every call too.
    """
    client, before = world.client(), world.listing()
    client.plan("killed", look=False, **options).apply()
    whole = counts(world)
    client.plan("killed", look=False).destroy(empty_bucket=True)
    assert world.listing() == before
    cut, applying, destroying = first - 1, True, True
    while applying or (destroying and to_the_end):
        cut += 1
        applying = applying and kill("apply", cut, options)
        client.plan("killed", look=False, **options).apply()
        assert counts(world) == whole, f"killed behind call {cut} of apply"
        # It has no options: what was made is found by its tags.
        destroying = destroying and kill("destroy", cut - first + 1, {})
        client.plan("killed", look=False).destroy(empty_bucket=True)
        assert world.listing() == before, f"killed behind call {cut - first + 1} of destroy"
    assert cut > least
