"""Whatever the service model allows gets an answer or an error of AWS, never a failure of ours."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ecs_exec_magic.sandbox.ecs import operations

from .conftest import Ecs

SERVED = sorted(
    name
    for service in operations(*[object()] * 3)  # type: ignore[arg-type]  # nothing is called
    for method in vars(type(service)).values()
    for name in [
        getattr(method, "__aws_operation__", ""),
        *getattr(method, "__aws_operations__", ((), False))[0],
    ]
    if name
)
ARN = "arn:aws:ecs:us-east-1:123456789012:"
TEXTS = (
    "",
    "demo",
    "web",
    "worker",
    "fuzz",
    "fuzz:1",
    "fuzz:x",
    "no-exec",
    "0" * 32,
    "1",
    "256",
    "512",
    "ü !",
    "a" * 300,
    "1.3.0",
    "LATEST",
    "FARGATE",
    "FARGATE_SPOT",
    "app",
    "awslogs",
    "awsvpc",
    f"{ARN}cluster/demo",
    f"{ARN}service/demo/web",
    f"{ARN}task/demo/{'0' * 32}",
    f"{ARN}task/other/{'0' * 32}",
    "arn:",
    "arn:aws:ecs",
    ":::::/",
    "MQ==",
)


LIKELY = {  # so that a request gets further than its first words
    "cluster": st.sampled_from(("demo", "demo", f"{ARN}cluster/demo", "fuzz", "")),
    "taskDefinition": st.sampled_from(("web", "worker:1", "fuzz", "fuzz:1", f"{ARN}x/fuzz:1", "")),
    "containerDefinitions": st.lists(
        st.fixed_dictionaries(
            {"name": st.sampled_from(("app", "b")), "image": st.sampled_from(("x", "nginx"))},
            optional={"memory": st.integers(-1, 600), "essential": st.booleans()},
        ),
        max_size=3,
    ),
    "family": st.sampled_from(("fuzz", "fuzz", "x y", "")),
    "subnets": st.just(["subnet-0"]),
    "service": st.sampled_from(("web", "worker", "fuzz", f"{ARN}service/demo/web")),
}


def values(shape: Any, depth: int = 0) -> st.SearchStrategy[Any]:
    """What the service model allows here."""
    kind = shape.type_name
    if kind == "structure":
        members = {
            name: LIKELY[name] if name in LIKELY else values(member, depth + 1)
            for name, member in shape.members.items()
        }
        needed = {name: members.pop(name) for name in shape.required_members}
        optional = members if depth < 4 else {}
        return st.fixed_dictionaries(needed, optional=optional)
    if kind == "list":
        return st.lists(values(shape.member, depth + 1), max_size=2)
    if kind == "map":
        return st.dictionaries(st.sampled_from(TEXTS), values(shape.value, depth + 1), max_size=2)
    if kind == "string":
        return st.sampled_from(shape.enum) if shape.enum else st.sampled_from(TEXTS)
    if kind == "boolean":
        return st.booleans()
    if kind in ("integer", "long"):
        return st.sampled_from((0, 1, 2, 80, 100, 65536, -1))
    return st.just(1.0)


@pytest.fixture(scope="module", autouse=True)
def sound_lives(ecs: Ecs) -> Iterator[None]:
    """No task's life fails behind the requests' back."""
    records: list[logging.LogRecord] = []

    class Keeper(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            records.append(record)

    handler = Keeper()
    logger = logging.getLogger("ecs_exec_magic.sandbox")
    logger.addHandler(handler)
    yield
    logger.removeHandler(handler)
    assert [r.getMessage() for r in records if r.levelno >= logging.ERROR] == []


def test_every_operation_is_there() -> None:
    assert len(SERVED) == len(set(SERVED)) == 37, SERVED


@pytest.mark.parametrize("name", SERVED)
@settings(
    max_examples=15,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(data=st.data())
def test_no_request_breaks_it(ecs: Ecs, name: str, data: st.DataObject) -> None:
    shape = ecs.client.meta.service_model.operation_model(name).input_shape
    request = data.draw(values(shape))
    method = {v: k for k, v in ecs.client.meta.method_to_api_mapping.items()}[name]
    try:
        getattr(ecs.loose, method)(**request)
    except ClientError as error:
        status = error.response["ResponseMetadata"]["HTTPStatusCode"]
        assert status == 400, error
