"""A plan as it is shown, and how far it is."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecs_exec_magic.client import Step, StepEvent
from ecs_exec_magic.errors import AccessDenied
from ecs_exec_magic.masking import mask
from ecs_exec_magic.notebook.widgets.plan_run import PlanRun
from ecs_exec_magic.notebook.widgets.plan_view import (
    error_markup,
    facts_markup,
    steps_table,
    summary,
)

pytestmark = pytest.mark.kernel

KINDS = ("log group", "bucket", "cluster", "service")
ACTIONS: Any = st.sampled_from(["create", "keep", "update", "delete", "conflict"])
steps = st.lists(st.builds(Step, st.sampled_from(KINDS), st.just("web"), ACTIONS, st.just("why")))
STATES: Any = st.sampled_from(["waiting", "running", "done", "failed"])


def unique(found: list[Step]) -> list[Step]:
    return list({step.kind: step for step in found}.values())


@given(steps.map(unique), st.data())
def test_a_run_knows_the_last_of_every_step(planned: list[Step], data: Any) -> None:
    run = PlanRun.of(planned, "waiting")
    last: dict[str, str] = {s.kind: "" if s.action == "keep" else "waiting" for s in planned}
    for kind, state in data.draw(st.lists(st.tuples(st.sampled_from(KINDS), STATES), max_size=12)):
        run = run.after(StepEvent(Step(kind, "web", "create"), state, 0, 1, "said"))
        last[kind] = state
    assert {each.step.kind: each.state for each in run.steps} == last
    order = [step.kind for step in planned]
    assert [each.step.kind for each in run.steps][: len(order)] == order, "rows stay in their place"
    assert run.done == list(last.values()).count("done")
    assert (run.now is not None) == ("running" in last.values())
    ended = run.ended()
    assert ended.now is None
    assert ended.done == run.done
    assert (ended.failed is None) == ("failed" not in last.values())


@given(steps.map(unique))
def test_every_step_is_in_the_table(planned: list[Step]) -> None:
    table = steps_table(PlanRun.of(planned), "Plan")
    assert len(table.rows) == len(planned)
    assert summary(planned).count(",") == max(0, len({step.action for step in planned}) - 1)


def test_words_for_states() -> None:
    step = Step("bucket", "b", "create", "for logs")
    run = PlanRun.of([step])
    seen = [steps_table(run, "").rows[0].cells[0].text]
    for state in ("waiting", "running", "done"):
        event: Any = StepEvent(step, state, 0, 1, "asking")
        cells = steps_table(run.after(event), "").rows[0].cells
        seen.append(f"{cells[0].text} {cells[3].text}")
    assert seen == ["to make", "waiting for logs", "making… asking", "made for logs"]


def test_a_failure_stands_at_its_step_with_cause_and_cure() -> None:
    step = Step("role", "r", "create")
    error = AccessDenied("no <iam>", cause="no policy, password=hunter2hunter2", cure="ask")
    run = PlanRun.of([step]).after(StepEvent(step, "failed", 0, 1, error=error))
    table = steps_table(run, "", lambda text: mask(text).text)
    for shown in (table.text(200), table.html()):
        assert all(part in shown for part in ("failed", "no policy", "ask"))
        assert "hunter2" not in shown
    assert "no &lt;iam&gt;" in table.html()
    assert error_markup(ValueError()) == error_markup(ValueError()), "errors without any words"
    assert "ValueError" in error_markup(ValueError())


def test_conflicts_say_what_differs() -> None:
    step = Step("cluster", "web", "conflict", "not ours", ("logging: NONE, not <b>",))
    table = steps_table(PlanRun.of([step]), "")
    assert "not ours; logging: NONE, not <b>" in table.text()
    assert "not &lt;b&gt;" in table.html()
    assert "in the way" in table.text()


def test_policies_are_folded_and_escaped() -> None:
    shown = facts_markup({"<t>": {"Action": "a&b"}, "as text": "{}"}, ["1 task & more"])
    assert shown.count("<details>") == 2
    assert "&lt;t&gt;" in shown
    assert "a&amp;b" in shown
    assert "1 task &amp; more" in shown
    assert facts_markup({}, []) == ""
