"""``%ecs_provision`` and ``%ecs_cleanup``: lines, questions, progress, and what is set then."""

from __future__ import annotations

import builtins
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from IPython.core.error import UsageError
from IPython.utils.capture import capture_output

from ecs_exec_magic import errors
from ecs_exec_magic.aws.plan.failures import not_empty
from ecs_exec_magic.client import PlanOptions, Step, StepEvent
from ecs_exec_magic.notebook.plan_lines import (
    CLEANUP_LINE,
    PROVISION_LINE,
    given_options,
    provision_line,
)
from ecs_exec_magic.notebook.progress import InPlace
from ecs_exec_magic.notebook.provision import StepsShown
from ecs_exec_magic.plan_views import PlanView

from .conftest import FakeClient

if TYPE_CHECKING:
    from .conftest import World

PAGE = (Path(__file__).parents[2] / "docs" / "provisioning.md").read_text("utf-8")
STEPS = (
    Step("network", "vpc-1", "keep", "two subnets"),
    Step("cluster", "web", "create", "logging of sessions: override"),
    Step("exec agent", "web/web:nginx", "create"),
)
MADE = (Step("S3 bucket", "logs", "delete"), Step("cluster", "web", "delete"))


class FakePlan:
    """Does what a plan says it does, to nothing."""

    def __init__(self, name: str, steps: tuple[Step, ...], made: tuple[Step, ...]) -> None:
        self.options = PlanOptions(name)
        self.address = f"{name}:nginx" if "/" in name else f"{name}/{name}:nginx"
        self.steps = steps
        self.made = made
        self.filled = False
        self.calls: list[tuple[str, Any]] = []

    def show(self) -> PlanView:
        return PlanView("plan", self.steps, ("Money.",), {"task role": {"Statement": []}})

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        return self.show()._repr_mimebundle_()

    def leftovers(self) -> tuple[Step, ...]:
        return self.made

    def _tell(self, steps: tuple[Step, ...], progress: Any) -> None:
        for index, step in enumerate(steps):
            if step.action != "keep":
                progress(StepEvent(step, "running", index, len(steps)))
                progress(StepEvent(step, "running", index, len(steps), "it is PENDING"))
            progress(StepEvent(step, "done", index, len(steps)))

    def apply(self, progress: Any) -> None:
        self.calls.append(("apply", None))
        if any(step.action == "conflict" for step in self.steps):
            raise errors.ProvisionError("nothing was touched")
        self._tell(self.steps, progress)

    def destroy(self, progress: Any, empty_bucket: bool = False) -> None:
        self.calls.append(("destroy", empty_bucket))
        if self.filled and not empty_bucket:
            raise not_empty(self.made[0])
        self._tell(self.made, progress)


class Plans:
    """What ``client.plan`` and ``client.enable_exec`` were asked for, and what they gave."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.steps: tuple[Step, ...] = STEPS
        self.made: tuple[Step, ...] = MADE
        self.plans: list[FakePlan] = []
        self.filled = False

    def plan(self, name: str, **options: Any) -> FakePlan:
        self.asked.append((name, options))
        plan = FakePlan(name, self.steps, self.made)
        plan.filled = self.filled
        self.plans.append(plan)
        return plan

    @property
    def calls(self) -> list[tuple[str, Any]]:
        return [call for plan in self.plans for call in plan.calls]


@pytest.fixture
def plans(world: World, monkeypatch: pytest.MonkeyPatch) -> Plans:
    plans = Plans()
    for name in ("plan", "enable_exec"):
        monkeypatch.setattr(FakeClient, name, lambda _, *a, **k: plans.plan(*a, **k), raising=False)
    return plans


@pytest.fixture
def answers(shell: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Somebody is there, and answers so; what was asked takes the answers' place."""
    given: list[str] = []
    asked: list[str] = []

    def ask(question: str = "") -> str:
        asked.append(question)
        return given.pop(0)

    space = type(shell.magics_manager.registry["EcsExec"].workspace)
    monkeypatch.setattr(space, "headless", False)
    monkeypatch.setattr(builtins, "input", ask)
    yield given
    assert given == [], "not asked for"


def run(shell: Any, line: str) -> tuple[str, Any]:
    """What a line writes, and returns; raises what it raised."""
    with capture_output() as captured:
        outcome = shell.run_cell(line)
    if outcome.error_in_exec or outcome.error_before_exec:
        raise outcome.error_in_exec or outcome.error_before_exec
    return captured.stdout, outcome.result


def target(shell: Any) -> str:
    return str(shell.magics_manager.registry["EcsExec"].target)


# -- headless ------------------------------------------------------------------------------------


@pytest.mark.parametrize("line", ["%ecs_provision web", "%ecs_cleanup web"])
def test_nobody_is_there_to_confirm(shell: Any, plans: Plans, line: str) -> None:
    with pytest.raises(errors.InvalidRequest, match="nobody is there to confirm") as caught:
        run(shell, line)
    assert "--yes" in caught.value.cure
    assert plans.asked == []


def test_a_dry_run_shows_and_makes_nothing(shell: Any, plans: Plans) -> None:
    said, plan = run(shell, "%ecs_provision web --dry-run --bucket logs")
    assert plan is plans.plans[0]
    assert "create" in said
    assert plans.asked == [("web", {"state": None, "bucket": "logs"})]
    said, _ = run(shell, "%ecs_cleanup web --dry-run")
    assert "S3 bucket" in said
    assert plans.calls == []


def test_yes_makes_it_and_sets_the_target(shell: Any, plans: Plans) -> None:
    said, _ = run(shell, "%ecs_provision web --yes --state s.json --tags a=b,c=d --port none")
    assert plans.asked == [("web", {"state": "s.json", "tags": {"a": "b", "c": "d"}, "port": None})]
    assert "[1/3] network vpc-1: kept" in said
    assert "[2/3] cluster web: made" in said
    assert "[3/3] exec agent web/web:nginx: it is PENDING" in said
    assert "web/web:nginx runs, and is this notebook's target now" in said
    assert target(shell) == "web/web:nginx"
    said, _ = run(shell, "%ecs_cleanup web --yes")
    assert plans.calls[-1] == ("destroy", True)
    assert "[1/2] S3 bucket logs: removed" in said
    assert target(shell) == ""


def test_an_address_is_a_service_that_is_there(shell: Any, plans: Plans) -> None:
    said, _ = run(shell, "%ecs_provision prod/web --yes --logging override --log-group /exec")
    assert plans.asked == [
        ("prod/web", {"state": None, "logging": "override", "log_group": "/exec"})
    ]
    assert plans.calls == [("apply", None)]
    assert target(shell) == plans.plans[0].address
    said, _ = run(shell, "%ecs_cleanup prod/web --dry-run")
    assert "2 to undo of exec for prod/web" in said
    assert plans.asked[-1] == ("prod/web", {"state": None, "look": False})
    said, _ = run(shell, "%ecs_cleanup prod/web --yes")
    assert plans.calls[-1] == ("destroy", True)
    assert "nothing of exec for prod/web is left" in said
    plans.made = ()
    assert run(shell, "%ecs_cleanup prod/web -y")[0] == "there is nothing of exec for prod/web\n"


@pytest.mark.parametrize("option", ["--image x", "--count 2", "--tags a=b", "--vpc vpc-1"])
def test_what_is_there_is_not_made_anew(shell: Any, plans: Plans, option: str) -> None:
    with pytest.raises(UsageError, match="goes with a NAME"):
        run(shell, f"%ecs_provision prod/web --yes {option}")
    assert plans.asked == []


def test_it_is_asked_before_a_service_is_changed(
    shell: Any, plans: Plans, answers: list[str]
) -> None:
    answers.append("n")
    with pytest.raises(errors.Interrupted, match="which change what runs"):
        run(shell, "%ecs_provision prod/web")
    answers.append("y")
    run(shell, "%ecs_cleanup prod/web")
    assert plans.calls == [("destroy", False)]


def test_another_region_is_not_the_notebooks(shell: Any, plans: Plans) -> None:
    said, _ = run(shell, "%ecs_provision web --yes --region eu-west-3")
    assert "%ecs_target web/web:nginx --region eu-west-3" in said
    assert target(shell) == ""


def test_clean_up_leaves_another_target_alone(shell: Any, plans: Plans) -> None:
    run(shell, "%config EcsExec.target = 'web/webs:nginx'")
    run(shell, "%ecs_cleanup web --yes")
    assert target(shell) == "web/webs:nginx"


def test_nothing_is_left_to_remove(shell: Any, plans: Plans) -> None:
    plans.made = ()
    said, _ = run(shell, "%ecs_cleanup web --yes")
    assert said == "there is nothing of plan web\n"
    assert plans.calls == []


def test_without_a_front_end_there_is_no_form(shell: Any, plans: Plans) -> None:
    said, result = run(shell, "%ecs_provision")
    assert "a form needs a notebook" in said
    assert result is None


# -- somebody is there ---------------------------------------------------------------------------


def test_it_is_asked_before_anything_is_made(shell: Any, plans: Plans, answers: list[str]) -> None:
    answers[:] = ["n"]
    with pytest.raises(errors.Interrupted, match="not confirmed: make these 2"):
        run(shell, "%ecs_provision web")
    assert plans.calls == []
    answers[:] = ["y"]
    run(shell, "%ecs_provision web")
    assert plans.calls == [("apply", None)]


def test_nothing_is_asked_where_nothing_is_made(
    shell: Any, plans: Plans, answers: list[str]
) -> None:
    plans.steps = STEPS[:1]
    run(shell, "%ecs_provision web")
    plans.steps = (*STEPS, Step("S3 bucket", "b", "conflict", "is taken", ("choose another",)))
    with pytest.raises(errors.ProvisionError, match="nothing was touched"):
        run(shell, "%ecs_provision web")


def test_a_filled_bucket_is_a_question_of_its_own(
    shell: Any, plans: Plans, answers: list[str]
) -> None:
    plans.filled = True
    answers[:] = ["y", "n"]
    with pytest.raises(errors.Interrupted, match="bucket logs is not empty"):
        run(shell, "%ecs_cleanup web")
    assert plans.calls == [("destroy", False)]
    answers[:] = ["y", "y"]
    run(shell, "%ecs_cleanup web")
    assert plans.calls[-1] == ("destroy", True)


class Publisher:
    """What a front end got."""

    def __init__(self) -> None:
        self.shown: list[tuple[dict[str, str], dict[str, Any]]] = []

    def publish(self, data: dict[str, str], **more: Any) -> None:
        self.shown.append((data, more))


def test_steps_are_replaced_in_place(shell: Any) -> None:
    publisher = Publisher()
    shown = StepsShown(STEPS, InPlace(publisher), "plan web")
    shown.begin()
    shown.event(StepEvent(STEPS[0], "done", 0, 3))
    shown.event(StepEvent(STEPS[1], "running", 1, 3, "<wait>"))
    shown.event(StepEvent(STEPS[1], "failed", 1, 3, error=errors.ProvisionError("no")))
    assert [more["update"] for _, more in publisher.shown] == [False, True, True, True]
    texts = [data["text/plain"] for data, _ in publisher.shown]
    assert "plan web: 1 of 3 steps done" in texts[1]
    assert re.search(r"kept +network +vpc-1", texts[1])
    assert re.search(r"running +cluster +web +<wait>", texts[2])
    assert "&lt;wait&gt;" in publisher.shown[2][0]["text/html"]
    assert re.search(r"failed +cluster +web +logging of sessions", texts[3])
    assert re.search(r"create +exec agent", texts[3])


# -- lines ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("a b", "one NAME"),
        ("--count 2", "a NAME is missing"),
        ("a --count x", "not a whole number"),
        ("a --service maybe", "not yes or no"),
        ("a --tags x", "not KEY=VALUE"),
        ('a --command "\'"', "No closing quotation"),
    ],
)
def test_lines_that_cannot_be_read(shell: Any, plans: Plans, line: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        run(shell, f"%ecs_provision {line}")
    assert plans.asked == []


WORDS = st.text(st.characters(codec="ascii", exclude_characters="\x00,=\n\r"), min_size=1)
NAMES = st.from_regex(r"[a-z][a-z0-9-]{0,20}", fullmatch=True)
TAGS = st.dictionaries(
    st.from_regex(r"[A-Za-z][\w.:/@-]{0,10}", fullmatch=True),
    st.from_regex(r"[\w.:/=+@-]{0,10}", fullmatch=True),
    max_size=3,
)


@settings(max_examples=60)
@given(
    st.builds(
        PlanOptions,
        name=NAMES,
        vpc=st.none() | NAMES,
        subnets=st.lists(NAMES, max_size=3).map(tuple),
        assign_public_ip=st.none() | st.booleans(),
        service=st.booleans(),
        count=st.integers(1, 9),
        container=NAMES,
        command=st.lists(WORDS, max_size=3).map(tuple),
        port=st.none() | st.integers(1, 65535),
        logging=st.sampled_from(["none", "default", "override"]),
        log_group=st.none() | st.just("") | NAMES.filter(lambda name: name != "none"),
        bucket=st.none() | NAMES,
        encrypt_logs=st.booleans(),
        kms_key=st.none() | st.just("new") | NAMES,
        tags=TAGS,
    )
)
def test_a_line_says_the_options_and_is_read_as_them(options: PlanOptions) -> None:
    from IPython.utils.text import DollarFormatter

    def expand(text: str) -> str:
        return DollarFormatter().vformat(text, (), {})

    line = provision_line(options, "eu-west-1")
    assert line.startswith("%ecs_provision ")
    parsed = PROVISION_LINE.parse(line.removeprefix("%ecs_provision "), expand)
    assert parsed.words == (options.name,)
    assert parsed["region"] == "eu-west-1"
    assert PlanOptions(options.name, **given_options(parsed.values)) == options


def test_every_option_is_explained() -> None:
    told = set(re.findall(r"`(--[a-z-]+)", PAGE))
    for line in (PROVISION_LINE, CLEANUP_LINE):
        for option in line.options:
            assert option.name in told, f"{option.name} is not in docs/provisioning.md"


def test_every_option_of_a_plan_can_be_given() -> None:
    from dataclasses import fields

    names = {option.dest for option in PROVISION_LINE.options}
    assert {field.name for field in fields(PlanOptions)} - {"name"} <= names
