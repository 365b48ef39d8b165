"""Killed behind any of its calls: applied again nothing is doubled, undone nothing stays behind."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from typing import Any

import pytest

from .conftest import Shop


class Killer:
    """Has exec switched on or undone by a process that dies behind a call."""

    def __init__(self, shop: Shop, address: str) -> None:
        program = [sys.executable, "-m", "tests.aws.plan.killed", shop.sandbox.url, shop.region]
        self._process = subprocess.Popen(
            [*program, address], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def __enter__(self) -> Killer:
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(60)
        self._process.stdout.close()

    def __call__(self, verb: str, cut: int, options: dict[str, Any]) -> bool:
        """Whether it died; False when it was done before."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps([verb, cut, options]) + "\n")
        self._process.stdin.flush()
        ended = self._process.stdout.readline().strip()
        assert ended in ("done", "killed"), ended
        return ended == "killed"


@pytest.mark.timeout(900)
@pytest.mark.parametrize("bare", [False, True], ids=["with a role", "without a role"])
def test_killed_behind_every_call(shop: Shop, bare: bool) -> None:
    cluster, name = shop.name(), shop.name()
    role = "" if bare else shop.role(f"{name}-task", "s3:GetObject")
    shop.service(cluster, name, shop.define(name, role))
    shop.aws("logs").create_log_group(logGroupName=f"/exec/{name}")
    key = shop.aws("kms").create_key()["KeyMetadata"]["Arn"]
    options: Any = {"logging": "override", "log_group": f"/exec/{name}", "kms_key": key}
    address, client = f"{cluster}/{name}", shop.client()
    before = shop.shown(cluster, name)
    client.enable_exec(address, **options).apply()
    whole = shop.shown(cluster, name)
    client.enable_exec(address, look=False).undo()
    assert shop.shown(cluster, name) == before
    with Killer(shop, address) as kill:
        cut, applying, undoing = 0, True, True
        while applying or undoing:
            cut += 1
            applying = applying and kill("apply", cut, options)
            client.enable_exec(address, **options).apply()
            now = shop.shown(cluster, name)
            assert same(now) == same(whole), f"killed behind call {cut} of apply"
            undoing = undoing and kill("destroy", cut, {})
            client.enable_exec(address, look=False).undo()
            assert shop.shown(cluster, name) == before, f"killed behind call {cut} of undo"
    assert cut > (8 if bare else 5)  # so many calls there are at least


def same(shown: dict[str, Any]) -> Any:
    """Without the numbers of revisions, and in any order of tags."""
    counted = dict(shown, definitions=len(shown["definitions"]))
    text = json.dumps(counted, sort_keys=True)
    return re.sub(r"(task-definition/[\w-]+):\d+", r"\1", text)
