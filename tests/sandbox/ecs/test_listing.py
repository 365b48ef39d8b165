"""ListTasks and paging, against a plain reference."""

from __future__ import annotations

import asyncio
import time
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ecs_exec_magic.sandbox.api import ApiError
from ecs_exec_magic.sandbox.ecs.model import Cluster, Launch, Task
from ecs_exec_magic.sandbox.ecs.requests import page
from ecs_exec_magic.sandbox.ecs.state import Region
from ecs_exec_magic.sandbox.ecs.tasks import TaskOperations
from ecs_exec_magic.sandbox.world import World

from .conftest import Ecs


@given(st.lists(st.text("abc", min_size=1, max_size=3), unique=True), st.integers(1, 100))
def test_pages_give_everything_once(items: list[str], size: int) -> None:
    seen: list[str] = []
    token = None
    for _ in range(len(items) + 1):
        got, token = page(items, {"maxResults": size, "nextToken": token})
        assert len(got) <= size
        seen += got
        if token is None:
            break
    assert token is None and seen == items


@given(
    st.lists(st.integers(0, 30), unique=True, min_size=2),
    st.integers(1, 5),
    st.lists(st.integers(0, 30)),
)
def test_pages_neither_skip_nor_repeat_what_stays(
    numbers: list[int], size: int, leaving: list[int]
) -> None:
    items = [str(n) for n in numbers]
    first, token = page(items, {"maxResults": size})
    if token is None:
        return
    left = [i for i in items if int(i) not in leaving or i == first[-1]]
    seen = list(first)
    while token is not None:
        got, token = page(left, {"maxResults": size, "nextToken": token})
        seen += got
    assert len(seen) == len(set(seen))
    assert set(left) <= set(seen)


@given(st.text(max_size=30))
def test_any_other_token_is_refused_in_words(token: str) -> None:
    try:
        page(["a", "b"], {"nextToken": token, "maxResults": 1})
    except ApiError as error:
        assert error.code == "InvalidParameterException"


@pytest.mark.parametrize("size", [-1, 101])
def test_page_sizes(size: int) -> None:
    with pytest.raises(ApiError):
        page(["a"], {"maxResults": size})


FAMILIES = ("f", "ff", "g")
STARTERS = ("", "me", "you")
KINDS = ("FARGATE", "EC2")
DESIRED = ("RUNNING", "STOPPED")

ATTRIBUTES = st.tuples(
    st.sampled_from(FAMILIES), st.sampled_from(STARTERS), st.sampled_from(KINDS),
    st.sampled_from(DESIRED),
)  # fmt: skip
FILTERS = st.fixed_dictionaries(
    {},
    optional={
        "family": st.sampled_from((*FAMILIES, "h")),
        "startedBy": st.sampled_from(("me", "you", "nobody")),
        "launchType": st.sampled_from(KINDS),
        "desiredStatus": st.sampled_from(DESIRED),
    },
)


def made(rows: list[tuple[str, str, str, str]]) -> tuple[Region, Cluster, list[Task]]:
    region = Region("us-east-1", "123456789012")
    cluster = region.add_cluster("c")
    other = region.add_cluster("cc")
    definitions = {
        name: region.add_definition({"family": name, "containerDefinitions": []}, "me", {})
        for name in FAMILIES
    }
    tasks = []
    for family, starter, kind, desired in rows:
        launch = Launch(definitions[family], kind, started_by=starter)
        region.add_task(other, launch)
        task = region.add_task(cluster, launch)
        task.desired = desired
        tasks.append(task)
    return region, cluster, tasks


@settings(max_examples=200)
@given(st.lists(ATTRIBUTES, max_size=12), FILTERS, st.integers(1, 5))
def test_filters_against_a_plain_reference(
    rows: list[tuple[str, str, str, str]], filters: dict[str, Any], size: int
) -> None:
    region, _, tasks = made(rows)
    state = SimpleNamespace(region=lambda _name: region)
    operations = TaskOperations(cast(World, SimpleNamespace(state=state)))
    caller = cast(Any, SimpleNamespace(region="us-east-1"))
    wanted = [
        task.arn
        for task, (family, starter, kind, desired) in zip(tasks, rows, strict=True)
        if filters.get("family", family) == family
        and filters.get("startedBy", starter) == starter
        and filters.get("launchType", kind) == kind
        and filters.get("desiredStatus", "RUNNING") == desired
    ]
    seen: list[str] = []
    token = None
    while True:
        request = {"cluster": "c", "maxResults": size, "nextToken": token, **filters}
        answer = operations.op_list_tasks(request, caller)
        seen += answer["taskArns"]
        token = answer["nextToken"]
        if token is None:
            break
    assert seen == wanted


def test_over_the_port(ecs: Ecs) -> None:
    cluster, definition = ecs.cluster(), ecs.register()
    longer = ecs.client.create_cluster(clusterName=f"{cluster}x")["cluster"]["clusterName"]
    ecs.run(longer, definition)
    arns = [t["taskArn"] for t in ecs.run(cluster, definition, count=7, startedBy="a")]
    pages = ecs.client.get_paginator("list_tasks").paginate(
        cluster=cluster, startedBy="a", PaginationConfig={"PageSize": 3}
    )
    assert [arn for page in pages for arn in page["taskArns"]] == arns
    refused = ecs.client.list_tasks
    ecs.fails("InvalidParameterException", "oken", refused, cluster=cluster, nextToken="!")
    ecs.fails("ServiceNotFoundException", "", refused, cluster=cluster, serviceName="no")
    ecs.fails(
        "InvalidParameterException",
        "both",
        refused,
        cluster="demo",
        serviceName="web",
        startedBy="a",
    )
    assert len(refused(cluster="demo", serviceName="web")["taskArns"]) == 3


def test_stopped_tasks_are_forgotten_after_an_hour() -> None:
    async def forget() -> None:
        _, cluster, tasks = made([("f", "", "FARGATE", "STOPPED")] * 2)
        for task, age in zip(tasks, (3700, 10), strict=True):
            task.stopped = time.time() - age
            cluster.gone.append(task)
        cluster.prune()
        assert list(cluster.tasks.values()) == tasks[1:]

    asyncio.run(forget())
