"""What stands in the form's fields, and the options that it means."""

from __future__ import annotations

import shlex
from dataclasses import fields, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecs_exec_magic.client import FARGATE_SIZES, PlanOptions
from ecs_exec_magic.notebook.plan_lines import PROVISION_LINE, given_options, provision_line
from ecs_exec_magic.notebook.widgets.form_fields import LOGS, Entries, memories, summaries

pytestmark = pytest.mark.kernel

texts = st.one_of(st.text(max_size=20), st.sampled_from(["80", "a=b", "new", "vpc-1", " x ", "'"]))
numbers = st.one_of(texts, st.integers(-5, 10**6).map(str))
sizes = st.sampled_from([(cpu, size) for cpu, all_of in FARGATE_SIZES.items() for size in all_of])


@st.composite
def entries(draw: Any) -> Entries:
    kinds: dict[str, Any] = {
        "public_address": st.sampled_from(["auto", "yes", "no"]),
        "logs": st.sampled_from([value for _, value in LOGS]),
        "service": st.booleans(),
        "launch_type": st.sampled_from(["FARGATE", "EC2"]),
        "instance_type": st.sampled_from(["", " ", "t3.micro", "big one"]),
        "encrypt_logs": st.booleans(),
        "bucket": st.one_of(st.just(""), texts),
        "subnets": st.lists(texts, max_size=3).map(tuple),
        "port": numbers,
        "count": numbers,
        "cpu": st.sampled_from(sorted(FARGATE_SIZES)),
        "memory": st.integers(1, 200_000),
    }
    made = Entries(**{f.name: draw(kinds.get(f.name, texts)) for f in fields(Entries)})
    if draw(st.booleans()):
        cpu, memory = draw(sizes)
        made = replace(
            made, name="web", container="c", image="i", cpu=cpu, memory=memory, tags="", port="80"
        )
    return made


def test_a_name_is_enough() -> None:
    assert Entries().problems() == {"name": "a name is needed"}
    assert Entries(name=" web ").options() == PlanOptions("web")
    assert Entries(name="web").given() == {}


@given(entries())
def test_either_a_problem_or_options_that_have_none(made: Entries) -> None:
    problems = made.problems()
    assert set(problems) <= {each.name for each in fields(Entries)}, "each has a field to stand at"
    assert all(problems.values())
    assert summaries(made, "eu-west-1").keys() == {"what", "where", "logging", "roles", "tags"}
    if problems:
        with pytest.raises(ValueError, match=next(iter(problems))):
            made.options()
        return
    options = made.options()
    assert not options.problems()
    assert PlanOptions(options.name, **made.given()) == options
    parsed = PROVISION_LINE.parse(provision_line(options).removeprefix("%ecs_provision"))
    assert given_options(parsed.values) == made.given(), "the line means the same"


def test_the_networks_fields_mean_nothing_on_instances_that_there_are() -> None:
    made = Entries(name="web", launch_type="EC2", instance_type="", vpc="vpc-1", subnets=("s",))
    assert made.given() == {"launch_type": "EC2", "instance_type": None}
    assert not any(made.applies(name) for name in ("vpc", "subnets", "public_address"))
    assert "instances" in summaries(made)["where"]
    own = replace(made, instance_type=" t3.small ")
    assert own.given()["instance_type"] == "t3.small"
    assert own.given()["vpc"] == "vpc-1"


@given(entries())
def test_no_problem_at_a_field_that_is_not_shown(made: Entries) -> None:
    assert all(made.applies(name) for name in made.problems())


@given(st.lists(st.text(max_size=8), max_size=4))
def test_commands_are_words(words: list[str]) -> None:
    made = Entries(name="web", command=shlex.join(words))
    assert made.options().command == tuple(words)


TAGS = st.text("abcXYZ09 ._:/+-@", min_size=1, max_size=20).map(str.strip).filter(bool)


@given(st.dictionaries(TAGS.filter(lambda key: not key.startswith("aws:")), TAGS, max_size=5))
def test_tags_are_lines(tags: dict[str, str]) -> None:
    text = "\n".join(f" {key} = {value}\n" for key, value in tags.items())
    assert Entries(name="web", tags=text).options().tags == tags


@pytest.mark.parametrize(
    ("change", "field", "words"),
    [
        ({"name": "a b"}, "name", "letters, digits"),
        ({"image": "a b"}, "image", "without blanks"),
        ({"command": "sh -c 'x"}, "command", "no closing quote"),
        ({"port": "http"}, "port", "a whole number"),
        ({"port": "99999"}, "port", "65535"),
        ({"count": ""}, "count", "a whole number"),
        ({"count": "-1"}, "count", "a whole number"),
        ({"count": "11", "service": False}, "count", "at most 10"),
        ({"launch_type": "EC2", "instance_type": "big"}, "instance_type", "t3.micro"),
        ({"launch_type": "EC2", "count": "2"}, "count", "port none"),
        ({"memory": 8192}, "memory", "512, 1024, 2048 MiB"),
        ({"logs": "bucket"}, "bucket", "a name is needed"),
        ({"logs": "both", "bucket": "A"}, "bucket", "lower-case"),
        ({"log_group": "a b"}, "log_group", "letters, digits"),
        ({"tags": "a=b\nno"}, "tags", "'no' is not"),
        ({"tags": "=b"}, "tags", "KEY=VALUE"),
        ({"tags": "a=b\na=c"}, "tags", "twice"),
        ({"tags": "aws:a=b"}, "tags", "AWS's own"),
    ],
)
def test_problems_stand_at_their_field(change: dict[str, Any], field: str, words: str) -> None:
    problems = replace(Entries(name="web"), **change).problems()
    assert list(problems) == [field]
    assert words in problems[field]


def test_where_sessions_are_logged() -> None:
    def options(**change: Any) -> PlanOptions:
        return Entries(name="web", **change).options()

    assert (options(logs="off").logging, options(logs="task").logging) == ("none", "default")
    group = options(log_group="mine")
    assert (group.logging, group.log_group, group.bucket) == ("override", "mine", None)
    bucket = options(logs="bucket", bucket="b-1", log_group="left over")
    assert (bucket.logging, bucket.log_group, bucket.bucket) == ("override", "", "b-1")
    both = options(logs="both", bucket="b-1", prefix="")
    assert (both.log_group, both.bucket, both.prefix) == (None, "b-1", "")


def test_what_does_not_apply_is_left_out() -> None:
    made = Entries(name="web", logs="group", bucket="A", prefix="p", encrypt_logs=True)
    assert made.given() == {}
    assert replace(made, kms_key="new").given() == {"kms_key": "new", "encrypt_logs": True}
    assert replace(made, kms_key="new", logs="off").given() == {"kms_key": "new", "logging": "none"}


def test_the_memory_that_goes_with_a_cpu() -> None:
    assert memories(256) == (512, 1024, 2048)
    assert memories(7) == ()
