"""The provisioning form without a browser: values are set and buttons clicked as a page would."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import ipywidgets
import pytest
from IPython.utils.capture import capture_output

import ecs_exec_magic
from ecs_exec_magic.client import AccountChoices
from ecs_exec_magic.errors import AccessDenied, CredentialsError, InvalidRequest, ProvisionError
from ecs_exec_magic.notebook import extension
from ecs_exec_magic.notebook.widgets import ProvisionForm

from .planner import PlannedAccount, PlanningClient

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.kernel


@pytest.fixture
def account(monkeypatch: pytest.MonkeyPatch) -> PlannedAccount:
    account = PlannedAccount()
    connect = lambda **settings: PlanningClient(account, settings)  # noqa: E731
    monkeypatch.setattr(ecs_exec_magic, "connect", connect, raising=False)
    return account


@pytest.fixture
def form(shell: Any, account: PlannedAccount) -> Iterator[Any]:
    form = ProvisionForm(pause=0)
    yield settled(form)
    form.close()


def settled(form: Any) -> Any:
    assert form.settle(30)
    return form


def put(form: Any, **values: Any) -> None:
    for name, value in values.items():
        form.editor[name].control.value = value


def planned(form: Any, **values: Any) -> Any:
    put(form, name="web", **values)
    return settled(form)


def applied(form: Any, **values: Any) -> Any:
    planned(form, **values).actions.apply.click()
    return settled(form)


def asked(form: Any) -> Any:
    form.actions.clean.click()
    return settled(form)


def words(form: Any, name: str) -> str:
    return str(form.editor[name].words)


def target(form: Any) -> str:
    return str(form._workspace.settings.target)


def states(form: Any) -> list[str]:
    return [row.cells[0].text for row in _table(form).rows]


def _table(form: Any) -> Any:
    from ecs_exec_magic.notebook.widgets.plan_view import steps_table

    return steps_table(form._run, "", form._workspace.masked)


# -- before anything is typed --------------------------------------------------------------------


def test_it_says_what_it_needs(form: Any, account: PlannedAccount) -> None:
    assert form.actions.apply.disabled
    assert "type a name" in form.actions.why.value
    assert words(form, "name") == "", "nobody has made a mistake yet"
    assert account.asked == []
    shown = form.text()
    assert "%ecs_provision NAME" in shown
    assert "eu-west-1, default VPC" in shown


def test_without_the_magics_there_is_no_form(shell: Any) -> None:
    extension.unload(shell)
    with pytest.raises(InvalidRequest, match="not loaded"):
        ProvisionForm()
    extension.load(shell)


def test_it_is_shown_as_text_and_as_a_widget(form: Any) -> None:
    with capture_output() as shown:
        form._ipython_display_()
    (output,) = shown.outputs
    assert output.data["text/plain"] == form.text()
    assert output.data["application/vnd.jupyter.widget-view+json"]["model_id"] == form.model_id


def test_every_control_has_a_label_and_is_of_old(form: Any) -> None:
    labels = []
    for field in form.editor._fields.values():
        labels.append(field.control.description)
        assert type(field.control) in (
            *(ipywidgets.Text, ipywidgets.Textarea, ipywidgets.Dropdown, ipywidgets.Combobox),
            *(ipywidgets.Checkbox, ipywidgets.SelectMultiple),
        )
    assert all(labels)
    assert len(set(labels)) == len(labels)


def test_sections_fold(form: Any) -> None:
    section = form.editor.sections["where"]
    assert not section.is_open
    assert section.head.description == "▸ Where:  eu-west-1, default VPC"
    section.head.click()
    assert section.is_open
    assert section.head.description == "▾ Where"
    section.head.click()
    assert not section.is_open


# -- what the account has ------------------------------------------------------------------------


def test_choices_fill_the_fields(form: Any) -> None:
    vpc, subnets = form.editor["vpc"].control, form.editor["subnets"].control
    assert [value for _, value in vpc.options] == ["", "vpc-2"]
    assert [value for _, value in subnets.options] == ["subnet-1", "subnet-2", "subnet-3"]
    assert "private" in subnets.options[2][0]
    assert form.editor["bucket"].control.options == ("a-bucket", "b-bucket")
    assert form.editor["kms_key"].control.options == ("new", "alias/one")
    assert form.editor["task_role"].control.options == ("a-role",)


def test_another_vpc_has_other_subnets(form: Any, account: PlannedAccount) -> None:
    planned(form, subnets=("subnet-1", "subnet-3"))
    assert account.asked[-1][2] == {"subnets": ("subnet-1", "subnet-3")}
    planned(form, vpc="vpc-2")
    assert account.asked[-1][2] == {"vpc": "vpc-2"}
    assert [value for _, value in form.editor["subnets"].control.options] == ["subnet-9"]


def test_another_region_is_read_again(form: Any, account: PlannedAccount) -> None:
    assert "us-east-1" in [value for _, value in form.editor["region"].control.options]
    planned(form, region="us-east-1")
    assert account.read == [None, "us-east-1"]
    assert account.asked[-1][0] == "us-east-1"
    assert form.editor["subnets"].control.options[0][0].startswith("us-east-1a")
    assert "--region us-east-1" in form._line.value
    applied(form)
    assert target(form) == "", "the notebook works in another region"
    assert "%ecs_target web/web:nginx --region us-east-1" in form._said.value


def test_what_may_not_be_listed_is_typed(shell: Any, account: PlannedAccount) -> None:
    denied = {"vpcs": "ec2:DescribeVpcs is not allowed", "buckets": "s3:ListAllMyBuckets is not"}
    account.choices = AccountChoices("eu-west-1", denied=denied)
    form: Any = settled(ProvisionForm(pause=0))
    assert isinstance(form.editor["vpc"].control, ipywidgets.Text)
    assert isinstance(form.editor["subnets"].control, ipywidgets.Text)
    assert words(form, "vpc") == denied["vpcs"]
    assert words(form, "bucket") == denied["buckets"]
    planned(form, vpc="vpc-7", subnets="subnet-1, subnet-2", logs="both", bucket="b-1")
    assert account.asked[-1][2] == {
        "vpc": "vpc-7",
        "subnets": ("subnet-1", "subnet-2"),
        "bucket": "b-1",
    }
    form.close()


def test_an_account_that_cannot_be_asked(shell: Any, account: PlannedAccount) -> None:
    account.unreadable = CredentialsError("the token has expired", cure="sign in again")
    form: Any = settled(ProvisionForm(pause=0))
    assert "the token has expired; sign in again" in words(form, "vpc")
    assert isinstance(form.editor["vpc"].control, ipywidgets.Text)
    account.unreadable = None
    planned(form).actions.again.click()
    settled(form)
    assert isinstance(form.editor["vpc"].control, ipywidgets.Dropdown), "once it can"
    form.close()


def test_a_change_while_the_account_is_read_is_kept(shell: Any, account: PlannedAccount) -> None:
    account.reading_gate = threading.Event()
    form: Any = ProvisionForm(pause=0)
    put(form, name="web", bucket="typed", logs="bucket", subnets="subnet-2 subnet-8")
    account.reading_gate.set()
    settled(form)
    assert account.asked[-1][2]["bucket"] == "typed"
    assert form.editor["subnets"].value == ("subnet-2",), "the other is not in this VPC"
    form.close()


def test_a_change_in_the_moment_in_which_the_account_is_filled_in(
    form: Any, account: PlannedAccount, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A page's message holds back what it tells until all of it has been set."""
    planned(form)
    filling, told = threading.Event(), threading.Event()
    fill = form.editor._fill

    def slowly() -> None:
        filling.set()
        told.wait(0.5)  # not even then: it has to wait for this
        fill()

    monkeypatch.setattr(form.editor, "_fill", slowly)
    name = form.editor["name"].control
    with name.hold_trait_notifications():
        name.value = "web2"
        form._read()
        assert filling.wait(60)
    told.set()
    settled(form)
    assert account.asked[-1][1] == "web2"


# -- validation and the plan ---------------------------------------------------------------------


def test_a_mistake_is_said_at_its_field(form: Any, account: PlannedAccount) -> None:
    planned(form)
    before = len(account.asked)
    put(form, image="a b")
    assert "without blanks" in words(form, "image")
    assert form.actions.apply.disabled
    assert "see Image" in form.actions.why.value
    assert "see Image" in form.editor.sections["what"].head.description
    assert "to make" not in form.preview.table.value
    assert len(settled(form)._problems) == 1
    assert len(account.asked) == before, "what is wrong is not planned"
    put(form, image="nginx:1")
    assert words(settled(form), "image") == ""
    assert not form.actions.apply.disabled


def test_fields_that_mean_nothing_are_not_shown(form: Any) -> None:
    def shown(*names: str) -> list[bool]:
        return [form.editor[name].layout.display != "none" for name in names]

    fields = ("log_group", "bucket", "prefix", "encrypt_logs")
    assert shown(*fields) == [True, False, False, False]
    put(form, logs="both", kms_key="new")
    assert shown(*fields) == [True, True, True, True]
    put(form, logs="off")
    assert shown(*fields) == [True, False, False, False]
    put(form, logs="bucket")
    assert shown(*fields) == [False, True, True, True]


def test_memory_goes_with_the_cpu(form: Any, account: PlannedAccount) -> None:
    planned(form, cpu=1024)
    assert account.asked[-1][2] == {"cpu": 1024, "memory": 2048}
    assert form._problems == {}


def test_the_plan_is_shown(form: Any, account: PlannedAccount) -> None:
    account.there = [("cluster", "web")]
    planned(form)
    assert states(form) == ["to make", "to make", "is there", "to make"]
    assert "3 to make, 1 there already" in form.preview.head.value
    assert "inline policy of web-task" in form.preview.facts.value
    assert "1 Fargate task" in form.preview.facts.value
    assert "%ecs_provision web" in form._line.value
    assert "1 Fargate task" in form.text()


def test_a_stale_plan_never_looks_current(form: Any, account: PlannedAccount) -> None:
    planned(form)
    account.began.clear()
    account.gate = threading.Event()
    put(form, name="first")
    assert account.began.wait(20)
    assert "planning…" in form.preview.head.value
    assert form.actions.apply.disabled
    assert "opacity:.45" in form.preview.table.value, "what is left of the last one stands back"
    put(form, name="second")  # while the first is being planned
    account.gate.set()
    settled(form)
    assert [name for _, name, _ in account.asked] == ["web", "first", "second"]
    assert form._plan.options.name == "second"
    assert "opacity:.45" not in form.preview.table.value


def test_only_a_pause_in_typing_is_planned(shell: Any, account: PlannedAccount) -> None:
    form: Any = settled(ProvisionForm(pause=3600))
    put(form, name="w")
    put(form, name="we")
    assert form.preview.head.value != ""
    form._pause = 0
    put(form, name="web")
    settled(form)
    assert [name for _, name, _ in account.asked] == ["web"]
    form.close()


def test_an_error_of_the_plan_is_shown_masked(form: Any, account: PlannedAccount) -> None:
    account.unplannable = ProvisionError(
        "no subnet leads to AWS", cause="password=hunter2hunter2", cure="name one"
    )
    planned(form)
    for shown in (form.preview.table.value, form.text()):
        assert "no subnet leads to AWS" in shown
        assert "name one" in shown
        assert "hunter2" not in shown
    assert form.actions.apply.disabled
    account.unplannable = None
    form.actions.again.click()
    assert not settled(form).actions.apply.disabled


def test_a_conflict_cannot_be_applied(form: Any, account: PlannedAccount) -> None:
    account.conflicts = {"cluster"}
    planned(form)
    assert form.actions.apply.disabled
    assert "something is in the way" in form.actions.why.value
    assert "logging: NONE" in form.preview.table.value
    form.actions.apply.click()
    assert settled(form).phase == "form"
    assert account.applied == 0


def test_what_came_in_the_way_since_is_shown_as_it_is(form: Any, account: PlannedAccount) -> None:
    """The account changes between the plan and Apply."""
    planned(form)
    account.conflicts = {"cluster"}
    account.there.append(("task role", "web-task"))
    form.actions.apply.click()
    assert settled(form).phase == "failed"
    assert states(form) == ["to make", "is there", "in the way", "to make"]
    assert "Nothing was touched: 1 in the way, 2 to make, 1 there already" in form.text()
    assert "logging: NONE" in form.preview.table.value
    # Out of the way, Go on takes it up.
    account.conflicts = set()
    form.actions.apply.click()
    assert settled(form).phase == "made"


# -- applying ------------------------------------------------------------------------------------


def test_apply_makes_it_and_aims_the_notebook_at_it(form: Any, account: PlannedAccount) -> None:
    applied(form, container="app")
    assert form.phase == "made"
    assert states(form) == ["made"] * 4
    assert ("service", "web") in account.there
    assert target(form) == "web/web:app"
    assert "web/web:app" in form._said.value
    assert "%ecs_provision web --container app" in form._line.value
    assert form.actions.apply.disabled


def test_progress_stands_at_each_resource(form: Any, account: PlannedAccount) -> None:
    planned(form)
    account.step_gate = threading.Event()
    shown: list[str] = []
    going = threading.Event()

    def seen(change: Any) -> None:
        shown.append(change["new"])
        if "making…" in change["new"]:
            going.set()

    form.preview.table.observe(seen, "value")
    form.actions.apply.click()
    assert going.wait(20)
    assert all(field.control.disabled for field in form.editor._fields.values())
    assert "applying, 0 of 4" in form.preview.head.value
    account.step_gate.set()
    settled(form)
    assert any("PROVISIONING" in each and "waiting" in each for each in shown)
    assert not any("hunter2" in each for each in shown)
    assert not form.editor["name"].control.disabled


def test_two_clicks_start_one(form: Any, account: PlannedAccount) -> None:
    planned(form)
    account.step_gate = threading.Event()
    threads = [threading.Thread(target=form.actions.apply.click) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    account.step_gate.set()
    settled(form)
    assert account.applied == 1


def test_a_failure_can_be_gone_on_with(form: Any, account: PlannedAccount) -> None:
    account.fails["task role"] = AccessDenied("iam:CreateRole is not allowed", cure="ask for it")
    applied(form)
    assert form.phase == "failed"
    assert states(form) == ["made", "failed", "to make", "to make"]
    assert "iam:CreateRole is not allowed" in form.preview.table.value
    assert "ask for it" in form.preview.table.value
    assert target(form) == ""
    assert form.actions.apply.description == "Go on"
    form.actions.apply.click()
    settled(form)
    assert form.phase == "made"
    assert states(form) == ["is there", "made", "made", "made"]
    assert target(form) == "web/web:nginx"


def test_a_failure_of_no_step_stands_below_them(form: Any, account: PlannedAccount) -> None:
    account.unready = ProvisionError("nothing was touched", cause="a cluster came between")
    applied(form)
    assert states(form) == ["to make"] * 4
    assert "a cluster came between" in form.preview.table.value
    form.actions.apply.click()
    assert settled(form).phase == "made"
    assert "a cluster came between" not in form.preview.table.value, "it is over"


def test_a_change_after_a_failure_makes_a_new_plan(form: Any, account: PlannedAccount) -> None:
    account.fails["task role"] = AccessDenied("no")
    applied(form)
    planned(form, task_role="a-role")
    assert form.phase == "form"
    assert form.actions.apply.description == "Apply"
    assert states(form)[0] == "is there"
    assert form._said.value == ""


# -- cleaning up ---------------------------------------------------------------------------------


def test_clean_up_asks_first(form: Any, account: PlannedAccount) -> None:
    applied(form)
    there = list(account.there)
    form.actions.delete.click()
    assert settled(form).phase == "made", "not asked yet"
    asked(form)
    assert form.actions.asking
    assert "4 resources" in form.actions.question.value
    assert "cluster web" in form.actions.question.value
    form.actions.spare.click()
    assert not form.actions.asking
    form.actions.delete.click()
    settled(form)
    assert account.there == there
    asked(form)
    form.actions.delete.click()
    settled(form)
    assert account.there == []
    assert form.phase == "clean"
    assert states(form) == ["deleted"] * 4
    assert "All that was made for web is deleted" in form._said.value
    assert target(form) == "", "nothing runs there any more"


def test_a_target_of_the_users_own_stays(form: Any) -> None:
    applied(form)
    form._workspace.settings.target = "prod/shop:till"
    asked(form)
    form.actions.delete.click()
    assert settled(form).phase == "clean"
    assert target(form) == "prod/shop:till"


def test_a_bucket_with_objects(form: Any, account: PlannedAccount) -> None:
    applied(form, logs="bucket", bucket="b-1")
    account.objects = True
    asked(form)
    assert not form.actions.empty.value, "never on by itself"
    form.actions.delete.click()
    settled(form)
    assert form.phase == "left"
    assert "the bucket has objects. Save what you need" in form._said.value
    assert account.there != []
    assert form.actions.asking, "again"
    assert not form.actions.empty.value
    form.actions.empty.value = True
    form.actions.delete.click()
    assert settled(form).phase == "clean"
    assert account.there == []


def test_a_clean_up_that_failed_can_be_repeated(form: Any, account: PlannedAccount) -> None:
    applied(form)
    account.fails["task role"] = AccessDenied("iam:DeleteRole is not allowed", cure="ask")
    asked(form)
    form.actions.delete.click()
    settled(form)
    assert form.phase == "left"
    assert states(form) == ["deleted", "deleted", "failed", "to delete"]
    assert "iam:DeleteRole is not allowed" in form.preview.table.value
    assert "Clean up again" in form._said.value
    assert target(form) == "web/web:nginx"
    asked(form)
    assert "2 resources" in form.actions.question.value
    form.actions.delete.click()
    assert settled(form).phase == "clean"
    assert account.there == []


def test_nothing_to_clean_up(form: Any, account: PlannedAccount) -> None:
    planned(form)
    assert form.actions.clean.layout.display == "none"
    account.there = [("cluster", "web")]
    form.actions.again.click()
    settled(form)
    assert form.actions.clean.layout.display is None


def test_what_is_left_cannot_be_looked_at(form: Any, account: PlannedAccount) -> None:
    applied(form)
    account.unseen = AccessDenied("tag:GetResources is not allowed", cure="ask")
    asked(form)
    assert (form.phase, form.actions.asking) == ("made", False)
    assert "tag:GetResources is not allowed; ask" in form._said.value
    account.unseen, account.there[:] = None, []
    asked(form)
    assert not form.actions.asking
    assert "nothing of web" in form._said.value


def test_typing_takes_the_question_back(form: Any) -> None:
    applied(form)
    asked(form)
    put(form, name="webs")
    assert not form.actions.asking
    form.actions.delete.click()
    assert settled(form).phase == "form"


# -- ends ----------------------------------------------------------------------------------------


def test_unloading_ends_it(shell: Any, account: PlannedAccount) -> None:
    form: Any = settled(ProvisionForm(pause=0))
    planned(form)
    account.step_gate = threading.Event()
    form.actions.apply.click()
    extension.unload(shell)
    before = form.preview.table.value
    account.step_gate.set()
    settled(form)
    assert form.preview.table.value == before
    assert form.comm is None
    extension.load(shell)
