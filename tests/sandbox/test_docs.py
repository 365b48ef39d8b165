"""The documentation names every call and every fault, and no other."""

from __future__ import annotations

import re
from pathlib import Path

from ecs_exec_magic.sandbox.faults import explanations

from .conftest import Cluster

PAGE = Path(__file__).parents[2] / "docs" / "practice-cluster.md"


def rows(heading: str) -> list[list[str]]:
    """The cells of the tables below a heading, up to the next one."""
    part = PAGE.read_text().split(f"{heading}\n", 1)[1].split("\n#", 1)[0]
    found = [re.split(r"(?<!\\)\|", line)[1:-1] for line in part.splitlines() if line[:1] == "|"]
    return [[cell.strip() for cell in row] for row in found[2:]]


def test_every_call_stands_in_the_table(shared: Cluster) -> None:
    # What only adds to a call of moto's is moto's; these are answered here alone.
    shown = {f"{row[0]}:{name}" for row in rows("### Served here") for name in row[1].split(", ")}
    api = shared.sandbox._server._api
    served = {
        f"{service}:{name}"
        for service, name, after in api._operations
        if not after and service in ("ecs", "ssm", "cloudtrail", "servicequotas")
    }
    assert {"iam:SimulatePrincipalPolicy", "iam:SimulateCustomPolicy"} <= shown
    assert {call for call in shown if call.split(":")[0] not in ("iam", "sts")} == served


def test_every_fault_stands_in_the_table() -> None:
    shown = {row[0].strip("`"): row[1] for row in rows("## Faults")}
    assert shown == dict(explanations())
