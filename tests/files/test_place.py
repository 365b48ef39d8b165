"""Which end of a copy is where."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

import ecs_exec_magic as ecs
from ecs_exec_magic.address import parse_address
from ecs_exec_magic.files import Place, parse_place

NAMES = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,8}", fullmatch=True)
PATHS = st.text(st.characters(exclude_characters="\0", exclude_categories=[]), max_size=20)
ARN = "arn:aws:ecs:eu-west-1:123456789012:task/prod/" + "a" * 32


@st.composite
def addresses(draw: st.DrawFn) -> str:
    if draw(st.booleans()):
        text = ARN
    else:
        cluster = draw(st.none() | NAMES)
        text = f"{cluster}/{draw(NAMES)}" if cluster else draw(NAMES)
    container = draw(st.none() | NAMES)
    return f"{text}:{container}" if container else text


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("prod/web:nginx:/etc/hosts", Place(True, "/etc/hosts", "prod/web:nginx")),
        ("web:/etc/hosts", Place(True, "/etc/hosts", "web")),
        (f"{ARN}:nginx:/a:/b", Place(True, "/a:/b", f"{ARN}:nginx")),
        (":/etc/hosts", Place(True, "/etc/hosts")),
        (":logs/today", Place(True, "logs/today")),
        ("report.csv", Place(False, "report.csv")),
        ("./a:b", Place(False, "./a:b")),
        ("/a:/b", Place(False, "/a:/b")),
        ("../x:/y", Place(False, "../x:/y")),
        ("~/x", Place(False, "~/x")),
        (".", Place(False, ".")),
    ],
)
def test_examples(text: str, place: Place) -> None:
    assert parse_place(text) == place
    assert str(place) == text


@given(addresses(), PATHS.filter(lambda path: not path.startswith("/")))  # "web://x" is a URL
def test_an_address_and_a_path_come_back(address: str, path: str) -> None:
    place = parse_place(f"{address}:/{path}", windows=False)
    assert place == Place(True, f"/{path}", address)
    assert parse_address(str(place.address)) == parse_address(address)


@given(PATHS.filter(bool))
def test_what_follows_a_first_colon_is_in_the_own_target(path: str) -> None:
    assert parse_place(f":{path}") == Place(True, path)


@given(st.sampled_from(["/", "./", "../", "~/"]), PATHS)
def test_a_path_that_looks_like_one_is_local(begin: str, path: str) -> None:
    assert parse_place(begin + path) == Place(False, begin + path)


@given(st.text(max_size=30))
def test_anything_is_read_or_refused(text: str) -> None:
    try:
        place = parse_place(text)
    except ecs.InvalidRequest as error:
        assert error.cure or "NUL" in str(error) or "ARN" in str(error)
    else:
        assert str(place) == text


@pytest.mark.parametrize("text", ["", ":", "a:b", "web:nginx:etc", "s3://b/k", "a b:/x", "\0"])
def test_refused(text: str) -> None:
    with pytest.raises(ecs.InvalidRequest):
        parse_place(text)


def test_a_drive_of_windows() -> None:
    assert parse_place("C:\\x", windows=True) == Place(False, "C:\\x")
    assert parse_place("C:/x", windows=True) == Place(False, "C:/x")
    assert parse_place("C:/x", windows=False) == Place(True, "/x", "C")
