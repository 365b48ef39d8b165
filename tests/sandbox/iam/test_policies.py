"""The evaluator: documents, wildcards, decisions."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecs_exec_magic.sandbox.api import ApiError
from ecs_exec_magic.sandbox.iam.documents import (
    Policy,
    PolicyError,
    check_call,
    check_document,
    parse,
)
from ecs_exec_magic.sandbox.iam.patterns import (
    arn_like,
    arn_matches,
    context_of,
    matches,
    pattern,
)
from ecs_exec_magic.sandbox.iam.policies import Verdict, evaluate

from .practice import allow, calm, deny, document

CLUSTER = "arn:aws:ecs:us-east-1:123456789012:cluster/demo"


def decide(*statements: Any, action: str = "ecs:ExecuteCommand", resource: str = CLUSTER,
           **context: Any) -> Verdict:  # fmt: skip
    return evaluate([parse(document(*statements), "p")], action, resource, context_of(context))


def fits(wanted: str, text: str) -> bool:
    return matches(pattern(wanted) or (), text)


def in_arn(wanted: str, arn: str) -> bool:
    return arn_matches(pattern(wanted) or (), arn)


# wildcards

_letters = st.text("ab:/.*?", max_size=12)


@calm
@given(_letters, st.text("ab:/.", max_size=12))
def test_wildcards_are_what_a_regular_expression_says(wanted: str, text: str) -> None:
    expression = "".join({"*": ".*", "?": "."}.get(c, re.escape(c)) for c in wanted)
    assert fits(wanted, text) == bool(re.fullmatch(expression, text, re.DOTALL))


@calm
@given(st.text(max_size=30))
def test_everything_fits_a_star_and_itself(text: str) -> None:
    assert fits("*", text)
    escaped = re.sub(r"[*?$]", lambda m: "${" + m[0] + "}", text)
    parts = pattern(escaped, {})
    assert parts is not None and matches(parts, text)


def test_a_pattern_of_many_stars_is_no_burden() -> None:
    assert not fits("*a" * 60 + "b", "a" * 600)


@pytest.mark.parametrize(
    ("wanted", "arn", "expected"),
    [
        ("*", CLUSTER, True),
        (CLUSTER, CLUSTER, True),
        (CLUSTER.replace("demo", "Demo"), CLUSTER, False),
        ("arn:aws:ecs:*:*:cluster/*", CLUSTER, True),
        ("arn:aws:ecs:us-*-1:123456789012:cluster/d?mo", CLUSTER, True),
        ("arn:aws:ecs:us-*-1:cluster/demo", CLUSTER, False),
        ("arn:aws:ecs:*:cluster/demo", CLUSTER, True),
        ("arn:aws:ecs:u*x:123456789012:cluster/demo", CLUSTER, False),
        ("arn:aws:ecs", CLUSTER, True),
        ("arn:aws:s3", CLUSTER, False),
        ("arn:aws:ecs:us-east-1:123456789012:task/demo/*", CLUSTER, False),
        ("arn:aws:s3:::bucket/*.log", "arn:aws:s3:::bucket/a:b/c.log", True),
        ("arn:aws:s3:::bucket", "arn:aws:s3:::bucket/x", False),
        (
            "arn:aws:logs:us-east-1:1:log-group:/aws/ecs/x:*",
            "arn:aws:logs:us-east-1:1:log-group:/aws/ecs/x:log-stream:s",
            True,
        ),
        (
            "arn:aws:logs:us-east-1:1:log-group:/aws/ecs/x",
            "arn:aws:logs:us-east-1:1:log-group:/aws/ecs/x:log-stream:s",
            False,
        ),
    ],
)
def test_resources(wanted: str, arn: str, expected: bool) -> None:
    assert in_arn(wanted, arn) is expected


@calm
@given(st.lists(st.text("ab/-", min_size=1, max_size=6), min_size=6, max_size=6))
def test_an_arn_is_in_itself_and_in_its_beginnings(parts: list[str]) -> None:
    parts[0] = "arn"
    arn = ":".join(parts)
    for count in range(2, 7):
        assert in_arn(":".join(parts[:count]), arn)
    assert arn_like(pattern(arn) or (), arn)


def test_each_part_of_an_arn_for_itself_in_conditions() -> None:
    assert arn_like(pattern("arn:aws:ecs:*:*:cluster/*") or (), CLUSTER)
    assert not arn_like(pattern("arn:aws:ecs:*:cluster/demo") or (), CLUSTER)


# variables


def test_variables_bring_no_wildcards() -> None:
    statement = allow("ssm:*", "arn:aws:ssm:*:*:session/${aws:username}-*")
    mine = "arn:aws:ssm:us-east-1:1:session/dev-0a"
    assert decide(statement, action="ssm:TerminateSession", resource=mine,
                  **{"aws:username": "dev"}).allowed  # fmt: skip
    assert not decide(statement, action="ssm:TerminateSession", resource=mine,
                      **{"aws:username": "*"}).allowed  # fmt: skip
    lost = decide(statement, action="ssm:TerminateSession", resource=mine)
    assert (lost.decision, lost.missing) == ("implicitDeny", ("aws:username",))


def test_a_default_stands_in() -> None:
    statement = allow("ecs:*", "arn:aws:ecs:*:*:cluster/${aws:PrincipalTag/team, 'demo'}")
    assert decide(statement).allowed
    assert not decide(statement, **{"aws:PrincipalTag/team": "other"}).allowed


def test_the_old_version_knows_no_variables() -> None:
    policy = parse({"Statement": allow("ecs:*", "arn:aws:ecs:*:*:cluster/${aws:username}")})
    plain = CLUSTER.replace("demo", "${aws:username}")
    context = context_of({"aws:username": "demo"})
    assert evaluate([policy], "ecs:X", plain, context).allowed
    assert not evaluate([policy], "ecs:X", CLUSTER, context).allowed


# decisions


def test_actions_do_not_heed_case_and_resources_do() -> None:
    assert decide(allow("ECS:executecommand")).allowed
    assert decide(allow("ecs:Execute*"), action="ECS:EXECUTECOMMAND").allowed
    assert not decide(allow("ecs:*", CLUSTER.replace("demo", "DEMO"))).allowed


def test_the_opposites() -> None:
    other = {"Effect": "Allow", "NotAction": "iam:*", "Resource": "*"}
    assert decide(other).allowed
    assert not decide(other, action="iam:GetRole").allowed
    elsewhere = {"Effect": "Deny", "Action": "*", "NotResource": CLUSTER}
    assert decide(allow("*"), elsewhere).allowed
    assert decide(allow("*"), elsewhere, resource=CLUSTER + "2").decision == "explicitDeny"


def test_the_statement_that_decided_is_told() -> None:
    first = parse(document(allow("ecs:*", Sid="Mine")), "first")
    second = parse(document(deny("ecs:Execute*", Sid="Never")), "second")
    verdict = evaluate([first, second], "ecs:ExecuteCommand", CLUSTER, {})
    assert [(m.policy, m.statement.sid) for m in verdict.matched] == [("second", "Never")]
    verdict = evaluate([first], "ecs:ExecuteCommand", CLUSTER, {})
    assert [(m.policy, m.statement.sid) for m in verdict.matched] == [("first", "Mine")]


def test_a_boundary_is_an_intersection() -> None:
    everything = [parse(document(allow("*")))]
    limit = [parse(document(allow("ecs:*"), deny("ecs:DeleteCluster")))]
    assert evaluate(everything, "ecs:RunTask", "*", {}, limit).allowed
    beyond = evaluate(everything, "iam:CreateUser", "*", {}, limit)
    assert (beyond.decision, beyond.boundary) == ("implicitDeny", True)
    denied = evaluate(everything, "ecs:DeleteCluster", "*", {}, limit)
    assert (denied.decision, denied.boundary) == ("explicitDeny", True)
    nothing = evaluate([], "ecs:RunTask", "*", {}, limit)
    assert (nothing.decision, nothing.boundary) == ("implicitDeny", False)


def test_missing_keys_are_told_of_statements_that_speak_of_the_call() -> None:
    condition = {"StringEquals": {"ecs:ResourceTag/environment": "production"}}
    verdict = decide(
        allow("ecs:*", Condition=condition),
        allow("iam:*", Condition={"StringEquals": {"aws:username": "x"}}),
    )
    assert verdict.missing == ("ecs:resourcetag/environment",)


_actions = st.sampled_from(["ecs:ExecuteCommand", "ecs:*", "ecs:Run*", "*", "iam:*", "ecs:RunTask"])
_resources = st.sampled_from(["*", CLUSTER, "arn:aws:ecs:*:*:task/*", "arn:aws:ecs:*:*:cluster/d*"])
_conditions = st.sampled_from(
    [
        {},
        {"StringEquals": {"aws:username": "dev"}},
        {"StringNotEquals": {"aws:username": "dev"}},
        {"Bool": {"ecs:enable-execute-command": "true"}},
        {"Null": {"aws:username": "true"}},
    ]
)
_statements = st.builds(
    lambda effect, action, resource, condition: {
        "Effect": effect,
        "Action": action,
        "Resource": resource,
        "Condition": condition,
    },
    st.sampled_from(["Allow", "Deny"]),
    _actions,
    _resources,
    _conditions,
)
_contexts = st.sampled_from(
    [{}, {"aws:username": "dev"}, {"aws:username": "ops", "ecs:enable-execute-command": "true"}]
)


def _policies(statements: list[Any]) -> list[Policy]:
    return [parse(document(one), str(number)) for number, one in enumerate(statements)]


@calm
@given(st.lists(_statements, max_size=6), _contexts, st.randoms())
def test_order_does_not_matter(statements: list[Any], context: Any, random: Any) -> None:
    known = context_of(context)
    before = evaluate(_policies(statements), "ecs:ExecuteCommand", CLUSTER, known).decision
    random.shuffle(statements)
    after = evaluate(_policies(statements), "ecs:ExecuteCommand", CLUSTER, known).decision
    assert before == after


@calm
@given(st.lists(_statements, max_size=6), _statements, _contexts)
def test_more_denials_never_allow_and_more_allowances_never_deny(
    statements: list[Any], more: Any, context: Any
) -> None:
    known = context_of(context)
    before = evaluate(_policies(statements), "ecs:RunTask", CLUSTER, known)
    after = evaluate(_policies([*statements, more]), "ecs:RunTask", CLUSTER, known)
    if more["Effect"] == "Deny":
        assert before.allowed or not after.allowed
    else:
        assert after.allowed or not before.allowed
        assert (before.decision == "explicitDeny") == (after.decision == "explicitDeny")


@calm
@given(st.lists(_statements, max_size=5), _contexts)
def test_decided_by_statements_of_one_effect(statements: list[Any], context: Any) -> None:
    verdict = evaluate(_policies(statements), "ecs:RunTask", CLUSTER, context_of(context))
    effects = {match.statement.allow for match in verdict.matched}
    assert (
        effects
        == {"allowed": {True}, "explicitDeny": {False}, "implicitDeny": set()}[verdict.decision]
    )


@calm
@given(st.lists(_statements, max_size=4), st.lists(_statements, max_size=4), _contexts)
def test_a_boundary_never_adds(own: list[Any], limit: list[Any], context: Any) -> None:
    known = context_of(context)
    free = evaluate(_policies(own), "ecs:RunTask", CLUSTER, known)
    held = evaluate(_policies(own), "ecs:RunTask", CLUSTER, known, _policies(limit))
    alone = evaluate(_policies(limit), "ecs:RunTask", CLUSTER, known)
    assert held.allowed == (free.allowed and alone.allowed)


# documents

BLOG_QUOTE = """{
  "Version": "2012-10-17",
  "Statement": [{
    "Effect": "Allow",
    "Action": ["ecs:ExecuteCommand""],
    "Resource": "*"
  }]
}"""
BLOG_NESTED = document(
    allow(
        "ecs:ExecuteCommand",
        CLUSTER,
        Condition={
            "StringEquals": {
                "ecs:container-name": "nginx",
                "StringEquals": {"ecs:ResourceTag/environment": "production"},
            }
        },
    )
)


def test_the_copy_of_the_announcement_is_refused() -> None:
    quote = check_document(BLOG_QUOTE)
    assert quote is not None and quote.startswith("Syntax errors in policy. (line 5, column")
    nested = check_document(BLOG_NESTED)
    assert nested is not None
    assert "Statement[0].Condition.StringEquals.StringEquals" in nested


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"Effect": "allow"}, "must be Allow or Deny"),
        ({"Action": "RunTask"}, "prefaced by a vendor"),
        ({"Action": []}, "must contain actions"),
        ({"Resource": "demo"}, 'must be in ARN format or "*"'),
        ({"Principal": "*"}, "should not specify a principal"),
        ({"Sid": "a b"}, "must be alpha-numeric"),
        ({"Condition": {"StringSame": {"a": "b"}}}, "is no condition operator"),
        ({"Condition": {"StringEquals": "b"}}, "an object of condition keys"),
        ({"Condition": []}, "an object of operators"),
        ({"NotAction": "ecs:*"}, "either Action or NotAction"),
        ({"Actions": "ecs:*"}, "no such element"),
    ],
)
def test_what_a_statement_may_not_be(change: dict[str, Any], words: str) -> None:
    wrong = check_document(document({**allow("ecs:*"), **change}))
    assert wrong is not None and words in wrong


def test_what_a_policy_may_not_be() -> None:
    for text in ("[]", "{}", '{"Statement": []}', '{"Statement": [1]}', "[" * 100000):
        assert check_document(text) is not None, text[:20]
    assert check_document('{"Version": "2020-01-01", "Statement": {}}') is not None
    twice = document(allow("ecs:*", Sid="a"), allow("iam:*", Sid="a"))
    assert "unique" in (check_document(twice) or "")


def test_what_is_right_passes() -> None:
    assert check_document(document(allow(["ecs:*", "*"], ["*", CLUSTER]))) is None
    numbers = allow("ecs:*", Condition={"NumericLessThan": {"aws:MultiFactorAuthAge": [5, 7.5]},
                                        "Bool": {"aws:SecureTransport": True}})  # fmt: skip
    assert check_document(document(numbers)) is None
    trust = {"Effect": "Allow", "Principal": {"Service": "ecs-tasks.amazonaws.com"},
             "Action": "sts:AssumeRole"}  # fmt: skip
    assert check_document(document(trust), trust=True) is None
    assert check_document(document(trust)) is not None


def test_only_calls_with_documents_are_looked_at() -> None:
    check_call("ecs", "PutRolePolicy", {"PolicyDocument": "{"})
    check_call("iam", "GetRole", {"RoleName": "x"})
    check_call("iam", "PutRolePolicy", {})
    for name, member in (("PutRolePolicy", "PolicyDocument"), ("CreatePolicy", "PolicyDocument"),
                         ("CreateRole", "AssumeRolePolicyDocument")):  # fmt: skip
        with pytest.raises(ApiError) as caught:
            check_call("iam", name, {member: BLOG_QUOTE})
        assert caught.value.code == "MalformedPolicyDocument"


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "Version",
                    "Statement",
                    "Effect",
                    "Action",
                    "Resource",
                    "Condition",
                    "Sid",
                    "StringEquals",
                    "Null",
                    "Principal",
                    "x",
                ]
            ),
            inner | st.sampled_from(["Allow", "Deny", "*", "ecs:*", "2012-10-17"]),
            max_size=5,
        )
    ),
    max_leaves=20,
)


@calm
@given(_json)
def test_any_json_is_a_policy_or_an_error_that_says_why(value: Any) -> None:
    try:
        policy = parse(json.dumps(value), "p")
    except PolicyError as error:
        assert error.where and error.message
    else:
        evaluate([policy], "ecs:RunTask", CLUSTER, {})


@calm
@given(st.text(max_size=40))
def test_any_text_is_a_policy_or_an_error(text: str) -> None:
    assert check_document(text) is not None
