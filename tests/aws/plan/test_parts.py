"""Small things that plans are made of: subnets, comparisons, waits, errors, the state file."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import ecs_exec_magic as ecs
from ecs_exec_magic.aws.plan import part as part_module
from ecs_exec_magic.aws.plan.agents import cure_of
from ecs_exec_magic.aws.plan.failures import conflicts, step_failed
from ecs_exec_magic.aws.plan.names import Names
from ecs_exec_magic.aws.plan.network import _best
from ecs_exec_magic.aws.plan.options import PlanOptions, Subnet
from ecs_exec_magic.aws.plan.part import Pause, Site, Stopped, beats, patiently, tags_of
from ecs_exec_magic.aws.plan.state import State
from ecs_exec_magic.aws.plan.steps import Step
from ecs_exec_magic.errors import InvalidRequest, ServiceError

STEP = Step("S3 bucket", "b", "create")


@given(
    st.lists(
        st.builds(
            Subnet,
            st.text("0123456789", min_size=4, max_size=8),
            st.sampled_from(["a", "b", "c"]),
            public=st.booleans(),
            routed=st.booleans(),
        ).map(lambda each: each if each.routed or not each.public else Subnet(each.subnet_id, "a")),
        max_size=6,
    ),
    st.booleans(),
)
def test_subnets_are_chosen(subnets: list[Subnet], endpoints: bool) -> None:
    chosen = _best(subnets, endpoints)
    assert len(chosen) <= 2
    assert len({each.zone for each in chosen}) == len(chosen)
    assert len({each.public for each in chosen}) <= 1
    assert all(each.routed or endpoints for each in chosen)
    if any(each.routed or endpoints for each in subnets):
        assert chosen
        assert chosen[0].public == any(each.public for each in subnets)


@given(st.floats(0, 1000))
def test_waits_come_to_their_end(limit: float) -> None:
    waits = list(beats(limit))
    assert sum(waits) >= limit
    assert sum(waits) <= limit + 3.0
    assert waits == sorted(waits)


@pytest.mark.parametrize("keys", [("Key", "Value"), ("key", "value"), ("TagKey", "TagValue")])
def test_tags_in_every_spelling(keys: tuple[str, str]) -> None:
    assert tags_of([{keys[0]: "a", keys[1]: "b"}]) == {"a": "b"}


async def test_waits_end_when_nobody_wants_more() -> None:
    pause = Pause()
    waiting = asyncio.ensure_future(pause.sleep(1000))
    await asyncio.sleep(0)
    pause.stop()
    with pytest.raises(Stopped):
        await waiting
    with pytest.raises(Stopped):
        pause.check()


async def test_what_was_just_made_may_not_be_known_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(part_module, "beats", lambda limit, **_: [0.0] * 5 if limit else [])
    names = Names("web", "aws", "eu-west-1", "123456789012")
    site = Site(None, PlanOptions("web"), names, Pause())  # type: ignore[arg-type]  # no calls
    said: list[str] = []
    tried = 0

    async def say(text: str) -> None:
        said.append(text)

    async def attempt() -> int:
        nonlocal tried
        tried += 1
        if tried < 4:
            raise ServiceError("no", cause="ECS was unable to assume the role")
        return tried

    with pytest.raises(ServiceError):  # it has been there for long: then it is no matter of time
        await patiently(site, attempt, ("unable to assume",), say)
    site.fresh = True
    assert await patiently(site, attempt, ("unable to assume",), say) == 4
    assert len(said) == 2
    tried = 0
    with pytest.raises(ServiceError):
        await patiently(site, attempt, ("something else",), say)
    assert tried == 1


@pytest.mark.parametrize(
    ("code", "cure"),
    [
        ("BucketAlreadyExists", "choose another name"),
        ("LimitExceeded", "have the quota raised"),
        ("TooManyBuckets", "quota"),
        ("Unheard", "ask somebody"),
    ],
)
def test_a_step_says_what_helps(code: str, cure: str) -> None:
    error = ServiceError("it failed", cause="AWS says: no", cure="ask somebody", code=code)
    found = step_failed(STEP, error, done=3, verb="apply")
    assert str(found) == "S3 bucket b could not be made"
    assert found.cause == "it failed; AWS says: no"
    assert cure in found.cure
    assert "then apply again: the 3 steps before it are done" in found.cure
    assert (found.code, found.step) == (code, STEP)


def test_conflicts_are_told_together() -> None:
    assert conflicts([STEP]) is None
    bad = [Step("cluster", "c", "conflict", "why", ("a is 1; wanted: 2",)), STEP]
    error = conflicts([*bad, Step("key", "k", "conflict", "not ours")])
    assert error is not None
    assert str(error) == "nothing was touched: cluster c and 1 more cannot be used"
    assert error.cause == "cluster c: why; a is 1; wanted: 2. key k: not ours"
    assert [step.name for step in error.steps] == ["c", "b", "k"]
    assert error.cure == "choose another name, or settings that fit"
    alone = conflicts(bad)
    assert alone is not None
    assert alone.cause == "why; a is 1; wanted: 2"
    many = conflicts(bad[:1] * 6)
    assert many is not None
    assert many.cause.endswith("and 2 more")


@pytest.mark.parametrize(
    ("reason", "cure"),
    [
        ("CannotPullContainerError: pull image manifest has been retried", "registry"),
        ("ResourceInitializationError: failed to validate logger args", "execution role"),
        ("Essential container in task exited", "sleep"),
        ("OutOfMemoryError: container killed", "memory"),
        ("something new", ""),
    ],
)
def test_reasons_of_stopped_tasks(reason: str, cure: str) -> None:
    assert cure in cure_of(reason)
    assert bool(cure_of(reason)) == bool(cure)


def test_the_state_file(tmp_path: Path) -> None:
    path = tmp_path / "a" / "state.json"
    state = State(path, "web", "eu-west-1")
    state.made(STEP)
    state.made(STEP)
    again = State(path, "web", "eu-west-1")
    assert again.resources == (("S3 bucket", "b"),)
    for other in (("web", "eu-west-2"), ("other", "eu-west-1")):
        with pytest.raises(InvalidRequest, match="cannot be the state file of") as caught:
            State(path, *other)
        assert "it is the state file of web in eu-west-1" in caught.value.cause
    assert [each.name for each in path.parent.iterdir()] == ["state.json"]
    again.end()
    again.end()
    assert not path.exists()


@pytest.mark.parametrize(
    "content", ["", "[]", "{}", "a: 1", '{"plan": "x", "region": "eu-west-1"}']
)
@pytest.mark.parametrize("address", ["web", "prod/web"])
def test_a_file_that_is_no_state_file_of_the_plan_is_left(
    tmp_path: Path, content: str, address: str
) -> None:
    path = tmp_path / "notes.json"
    path.write_text(content)
    client = ecs.connect("eu-west-1", endpoint_url="http://127.0.0.1:9")
    make: Any = client.enable_exec if "/" in address else client.plan
    with pytest.raises(InvalidRequest, match="cannot be the state file of") as caught:
        make(address, state=path)
    assert "nothing was called" in caught.value.cause
    assert path.read_text() == content
    with pytest.raises(InvalidRequest, match="cannot be the state file of"):
        make(address, state=tmp_path, look=False)
    # One that comes in between is left too.
    path.unlink()
    plan = make(address, state=path, look=False)
    path.write_text(content)
    with pytest.raises(InvalidRequest):
        plan.destroy()
    assert path.read_text() == content


def test_only_our_own_state_file_is_removed(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    state = State(path, "web", "r")
    state.end()
    path.write_text("somebody's notes")
    state.end()
    assert path.read_text() == "somebody's notes"


def test_a_state_file_that_is_damaged(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    path.write_text('{"plan": "web", "region": "r", "resources": 1}')
    state = State(path, "web", "r")
    assert state.resources == ()
    state.made(STEP)
    found: Any = json.loads(path.read_text())
    assert found["resources"] == [{"kind": "S3 bucket", "name": "b"}]
    State(None, "web", "r").made(STEP)
