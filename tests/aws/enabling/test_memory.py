"""Tags that remember settings, and documents that are compared where IAM may not be asked."""

from __future__ import annotations

import re
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from ecs_exec_magic.aws.enabling.allowing import allowed
from ecs_exec_magic.aws.enabling.memory import (
    BEFORE,
    configuration_of,
    digest,
    mark,
    quote,
    tags_for,
    unquote,
)
from ecs_exec_magic.aws.simulation import Question

_FIT = re.compile(r"[A-Za-z0-9 +\-=._:/@]*")
_TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), min_size=1, max_size=600)
_LOG = st.fixed_dictionaries(
    {},
    optional={
        "cloudWatchLogGroupName": _TEXT,
        "cloudWatchEncryptionEnabled": st.booleans(),
        "s3BucketName": _TEXT,
        "s3EncryptionEnabled": st.booleans(),
        "s3KeyPrefix": _TEXT,
    },
)
_EXECUTION = st.fixed_dictionaries(
    {},
    optional={
        "kmsKeyId": _TEXT,
        "logging": st.sampled_from(["NONE", "DEFAULT", "OVERRIDE"]),
        "logConfiguration": _LOG.filter(bool),
    },
)


@given(_TEXT)
def test_any_text_fits_into_tags(text: str) -> None:
    quoted = quote(text)
    assert _FIT.fullmatch(quoted)
    assert unquote(quoted) == text


@given(_EXECUTION)
def test_settings_come_back_from_tags(execution: dict[str, Any]) -> None:
    tags = tags_for(execution)
    assert tags
    for key, value in tags.items():
        assert len(key) <= 128 and len(value) <= 256
        assert _FIT.fullmatch(key) and _FIT.fullmatch(value)
    assert configuration_of({"team": "ops", **tags}) == execution


def test_nothing_remembered_is_not_nothing_there() -> None:
    assert configuration_of({"team": "ops"}) is None
    assert configuration_of(tags_for({})) == {}
    assert configuration_of({BEFORE + "logging": "NONE"}) == {"logging": "NONE"}


def test_defaults_may_be_left_out() -> None:
    log = {"s3BucketName": "b"}
    assert digest({}) == digest({"logging": "DEFAULT"})
    assert digest({"logConfiguration": log}) == digest(
        {"logConfiguration": {**log, "s3EncryptionEnabled": False}}
    )
    assert digest({"logging": "NONE"}) != digest({})
    assert mark("eu-west-1", "a/b") != mark("eu-west-2", "a/b")


def policy(*statements: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"Version": "2012-10-17", "Statement": list(statements)}]


def statement(effect: str, action: Any, resource: Any = "*", **more: Any) -> dict[str, Any]:
    return {"Effect": effect, "Action": action, "Resource": resource, **more}


def test_documents_are_read_with_care() -> None:
    put = Question("s3:PutObject", "arn:aws:s3:::logs/exec/*")
    assert allowed(policy(statement("Allow", "S3:put*")), put)
    assert allowed(policy(statement("Allow", ["a:b", "s3:*"], ["x", "arn:aws:s3:::logs/*"])), put)
    assert not allowed(policy(statement("Allow", "s3:*", "arn:aws:s3:::logs/exec/one")), put)
    assert not allowed(policy(statement("Allow", "s3:*", Condition={"Bool": {}})), put)
    denied = [*policy(statement("Allow", "*")), *policy(statement("Deny", "s3:Put?bject"))]
    assert not allowed(denied, put)
    other = {"Effect": "Allow", "NotAction": "iam:*", "Resource": "*"}
    assert allowed(policy(other), put)
    assert not allowed(policy({**other, "NotAction": "s3:*"}), put)
    assert not allowed([], put)
