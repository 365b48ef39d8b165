"""The grammar of addresses, by example and by attack."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ecs_exec_magic.address import (
    Address,
    ContainerRef,
    combine,
    parse_address,
    parse_cluster,
    parse_scope,
)
from ecs_exec_magic.errors import InvalidRequest

ARN = "arn:aws:ecs:eu-west-1:123456789012"
ID = "0123456789abcdef0123456789abcdef"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("web", Address(None, "web")),
        ("prod/web", Address("prod", "web")),
        ("web:nginx", Address(None, "web", "nginx")),
        ("prod/web:nginx", Address("prod", "web", "nginx")),
        ("prod/web:*", Address("prod", "web", "*")),
        ("  prod/web:nginx\n", Address("prod", "web", "nginx")),
        (f"prod/{ID}:app", Address("prod", ID, "app")),
        ("web:7", Address(None, "web", "7")),  # never a revision
        (
            f"{ARN}:task/prod/{ID}",
            Address("prod", ID, None, "task", f"{ARN}:task/prod/{ID}", "eu-west-1"),
        ),
        (
            f"{ARN}:service/prod/web:nginx",
            Address("prod", "web", "nginx", "service", f"{ARN}:service/prod/web", "eu-west-1"),
        ),
        (
            f"{ARN}:service/web:*",
            Address(None, "web", "*", "service", f"{ARN}:service/web", "eu-west-1"),
        ),
        (
            f"arn:aws-us-gov:ecs:us-gov-west-1:123456789012:task/{ID}",
            Address(
                None,
                ID,
                None,
                "task",
                f"arn:aws-us-gov:ecs:us-gov-west-1:123456789012:task/{ID}",
                "us-gov-west-1",
            ),
        ),
    ],
)
def test_what_is_an_address(text: str, expected: Address) -> None:
    assert parse_address(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "", " ", ":", "/", "web:", ":nginx", "/web", "prod/", "a/b/c", "we b", "web:a b", "web:a:b",
        "web:**", "*", "prod/*", "web\n/x", "web\n:x", "wéb", "-web", "web:/x", "web/x:y/z",
        "web:\t", "arn:", "arn:aws:ecs", f"{ARN}:task/", f"{ARN}:task/prod/", f"{ARN}:task//x",
        f"{ARN}:task/a/b/c", f"{ARN}:task/a/b:", f"{ARN}:task/a/b:c d", f"{ARN}:task/a/b c",
        f"{ARN}:task/a\n/b", f"{ARN}:service/prod/web:a:b", f"{ARN}:cluster/prod",
        f"{ARN}:task-definition/web:7", f"{ARN}:container/a/b", "arn:aws:s3:::bucket",
        "arn:aws:ecs:eu-west-1:12:task/a/b", "arn:aws:ecs::123456789012:task/a/b",
    ],
)  # fmt: skip
def test_what_is_none(text: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        parse_address(text)
    assert "[CLUSTER/]NAME[:CONTAINER]" in caught.value.cure
    assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize("thing", [None, 7, b"web", ["web"], Address(name="web")])
def test_not_even_text(thing: Any) -> None:
    with pytest.raises(InvalidRequest):
        parse_address(thing)


NAMES = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,20}", fullmatch=True)
PARTS = st.tuples(st.none() | NAMES, NAMES, st.none() | st.just("*") | NAMES)


@given(PARTS)
def test_round_trip(parts: tuple[str | None, str, str | None]) -> None:
    address = Address(*parts)
    assert parse_address(str(address)) == address
    assert pickle.loads(pickle.dumps(address)) == address


@given(PARTS, st.sampled_from(["task", "service"]))
def test_round_trip_of_arns(parts: tuple[str | None, str, str | None], kind: str) -> None:
    cluster, name, container = parts
    arn = f"{ARN}:{kind}/{cluster + '/' if cluster else ''}{name}"
    address = parse_address(f"{arn}:{container}" if container else arn)
    assert address == Address(cluster, name, container, kind, arn, "eu-west-1")
    assert parse_address(str(address)) == address


@given(
    st.text(max_size=40)
    | st.text("arn:ecs/task*0 \n", max_size=60)
    | st.text("arn:ecs/task*0 \n", max_size=40).map(lambda tail: f"{ARN}:task/{tail}")
)
@example("a\n")
def test_any_text_is_an_address_or_refused(text: str) -> None:
    try:
        address = parse_address(text)
    except InvalidRequest:
        return
    assert str(address) == text.strip()
    assert parse_address(str(address)) == address
    for part in (address.cluster, address.name, address.container):
        assert part is None or not set(part) & set(" \n\t/:")


@given(NAMES, NAMES, NAMES)
def test_canonical_address_is_accepted_back(cluster: str, task: str, container: str) -> None:
    ref = ContainerRef(cluster, "s", "f", task, "arn", container, "rt", "r")
    assert parse_address(ref.address) == Address(cluster, task, container)
    assert str(ref) == ref.address
    assert ref.session_target == f"ecs:{cluster}_{task}_rt"
    assert pickle.loads(pickle.dumps(ref)) == ref
    assert copy.deepcopy(ref) == ref
    assert len({ref, copy.copy(ref)}) == 1


# -- options -------------------------------------------------------------------------------------


def test_options_alone_and_with_an_address() -> None:
    by_service = Address("prod", "web", "nginx", "service")
    assert combine(cluster="prod", service="web", container="nginx") == by_service
    assert combine("web", cluster="prod", service="web", container="nginx") == by_service
    assert combine("prod/web:nginx", service="web") == by_service
    assert combine(Address("prod", "web", "nginx"), service="web") == by_service
    assert combine("prod/web:nginx") == Address("prod", "web", "nginx")
    assert combine(family="web") == Address(None, "web", None, "family")
    assert combine(task=ID) == Address(None, ID, None, "task")
    arn = f"{ARN}:task/prod/{ID}"
    assert combine(task=arn) == parse_address(arn)
    assert combine(arn, task=ID, cluster=f"{ARN}:cluster/prod") == parse_address(arn)


@pytest.mark.parametrize(
    ("address", "options"),
    [
        (None, {}),
        (None, {"container": "x"}),
        ("a", {"service": "b"}),
        ("a/b", {"cluster": "c"}),
        ("a:b", {"container": "c"}),
        ("a:b", {"container": "*"}),
        ("a", {"service": "a", "family": "a"}),
        ("a", {"task": "a", "family": "a"}),
        (f"{ARN}:service/prod/web", {"family": "web"}),
        (f"{ARN}:service/prod/web", {"cluster": "demo"}),
        (f"{ARN}:service/prod/web", {"cluster": "arn:aws:ecs:us-east-1:123456789012:cluster/prod"}),
        (f"{ARN}:service/prod/web", {"service": f"{ARN}:service/demo/web"}),
        (None, {"family": "a:1"}),
        (None, {"family": f"{ARN}:task-definition/a"}),
        (None, {"service": f"{ARN}:task/a/b"}),
        (None, {"service": ""}),
        (None, {"task": "a/b"}),
        (None, {"service": "a", "container": ""}),
        (None, {"service": "a", "cluster": ""}),
        (None, {"service": 7}),
        (7, {}),
    ],
)
def test_contradictions_and_nonsense(address: Any, options: Any) -> None:
    with pytest.raises(InvalidRequest):
        combine(address, **options)


_OPTION = st.none() | NAMES | st.text(max_size=8)


@given(_OPTION, _OPTION, _OPTION, _OPTION, _OPTION, _OPTION)
def test_any_options_agree_or_are_refused(
    address: Any, cluster: Any, service: Any, task: Any, family: Any, container: Any
) -> None:
    try:
        found = combine(
            address, cluster=cluster, service=service, task=task, family=family, container=container
        )
    except InvalidRequest:
        return
    assert found.name
    for option, part in (
        (cluster, found.cluster),
        (service, found.name),
        (task, found.name),
        (family, found.name),
        (container, found.container),
    ):
        assert option is None or option.strip() == part


@pytest.mark.parametrize("text", ["", "a b", "a/b", f"{ARN}:service/a/b", f"{ARN}:cluster/a/b",
                                  f"{ARN}:cluster/a:b", None, 7])  # fmt: skip
def test_no_cluster(text: Any) -> None:
    with pytest.raises(InvalidRequest, match="not a cluster"):
        parse_cluster(text)


def test_clusters() -> None:
    assert parse_cluster("prod") == ("prod", None)
    assert parse_cluster(f"{ARN}:cluster/prod") == ("prod", "eu-west-1")


# -- what a listing is of ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("prod", Address("prod")),
        (" prod/ ", Address("prod")),
        ("prod/web", Address("prod", "web")),
        ("prod/web:nginx", Address("prod", "web", "nginx")),
        (f"{ARN}:cluster/prod", Address("prod", region="eu-west-1")),
        (f"{ARN}:service/prod/web", parse_address(f"{ARN}:service/prod/web")),
        (f"{ARN}:task/prod/{ID}:app", parse_address(f"{ARN}:task/prod/{ID}:app")),
    ],
)
def test_scopes(text: str, expected: Address) -> None:
    assert parse_scope(text) == expected


@pytest.mark.parametrize("text", ["", "/", "/web", "prod//web", "prod:nginx", "a b", f"{ARN}:x/y"])
def test_no_scopes(text: str) -> None:
    with pytest.raises(InvalidRequest):
        parse_scope(text)


@given(st.text())
@example("prod/web/x")
def test_a_scope_is_an_address_with_a_cluster_or_a_clusters_name(text: str) -> None:
    try:
        scope = parse_scope(text)
    except InvalidRequest:
        return
    assert scope.cluster or scope.arn
    if scope.name:
        assert parse_address(text) == scope
    else:
        assert parse_cluster(text.strip().rstrip("/"))[0] == scope.cluster


def test_a_scope_takes_options_like_an_address() -> None:
    assert combine(parse_scope("prod"), service="web") == Address("prod", "web", kind="service")
    assert combine(nameless=True) == Address()
    assert combine(cluster="prod", container="x", nameless=True) == Address("prod", None, "x")
    with pytest.raises(InvalidRequest, match="contradict"):
        combine(parse_scope("prod/web"), cluster="demo", nameless=True)
    with pytest.raises(InvalidRequest, match="no target is named"):
        combine(parse_scope("prod"))
