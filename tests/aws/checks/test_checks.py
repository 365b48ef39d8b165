"""Every check finds what is wrong, and nothing where all is well."""

from __future__ import annotations

import json
import pickle

import pytest

from ecs_exec_magic.aws.checks import CHECKS
from ecs_exec_magic.client import Findings

from .cases import CASES, Case, told, well_on_fargate
from .conftest import World

pytestmark = pytest.mark.timeout(180)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_case(world: World, case: Case) -> None:
    made = case.findings(world)
    found = made if isinstance(made, Findings) else next(made)
    try:
        finding = found.find(case.id)
        assert finding is not None, found
        assert finding.status == case.status, found
        assert case.says in told(found, case.id)
        if finding.status in ("warn", "fail"):
            assert finding.evidence, finding
            assert finding.cure, finding
        for each in found:
            assert "the check itself failed" not in each.title, each
            assert "\n" not in each.call
    finally:
        if not isinstance(made, Findings):
            made.close()


@pytest.mark.parametrize("id_", CHECKS)
def test_each_check_is_proved_both_ways(id_: str) -> None:
    statuses = {case.status for case in CASES if case.id == id_}
    assert "ok" in statuses, f"there is no case in which {id_} is content"
    assert statuses & {"warn", "fail"}, f"there is no case in which {id_} finds fault"


def test_cases_are_of_checks_that_exist() -> None:
    assert {case.id for case in CASES} <= set(CHECKS)


def test_a_healthy_service_is_healthy(world: World) -> None:
    found = well_on_fargate(world)
    assert {each.status for each in found} == {"ok"}, found
    assert found.ok
    assert found.worst == "ok"
    assert found.failed == ()
    assert found.services == (found.where,)


def test_findings_travel_and_are_told(world: World) -> None:
    found = well_on_fargate(world)
    copy = pickle.loads(pickle.dumps(found))
    assert copy == found
    assert isinstance(copy, Findings)
    assert (copy.where, copy.services) == (found.where, found.services)
    told_ = json.loads(found.json())
    assert [each["id"] for each in told_["findings"]] == [each.id for each in found]
    assert found.where in repr(found)
    assert found.html().startswith("<div>")


def test_looking_inside_leaves_no_session(world: World) -> None:
    world.admin.check("demo/worker")
    assert world.sandbox.wait_idle()
