"""The parts that decide by themselves: policies, rules, versions, and checks that break."""

from __future__ import annotations

import ipaddress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecs_exec_magic.aws.checks import registry
from ecs_exec_magic.aws.checks.documents import says
from ecs_exec_magic.aws.checks.network import _passes
from ecs_exec_magic.aws.checks.places import lets
from ecs_exec_magic.aws.checks.task import platform_too_old, version_of
from ecs_exec_magic.errors import AccessDenied, CredentialsError, ServiceError
from ecs_exec_magic.findings import STATUSES, Finding, Findings

ME = "arn:aws:iam::123456789012:role/app"
ROOT = "arn:aws:iam::123456789012:root"


def statement(effect: str, action: Any = "kms:*", principal: Any = "*", **more: Any) -> Any:
    return {
        "Effect": effect, "Action": action, "Principal": principal, "Resource": "*", **more
    }  # fmt: skip


IF = {"Condition": {"StringEquals": {"aws:SourceVpc": "vpc-1"}}}


@pytest.mark.parametrize(
    ("statements", "said"),
    [
        ([], "nothing"),
        ([statement("Allow")], "allow"),
        (statement("Allow"), "allow"),
        ([statement("Allow", ["kms:Decrypt", "kms:Encrypt"])], "allow"),
        ([statement("Allow", "KMS:decrypt")], "allow"),
        ([statement("Allow", "kms:Encrypt")], "nothing"),
        ([statement("Allow", "kms:De?rypt")], "allow"),
        ([statement("Allow", principal={"AWS": ROOT})], "allow"),
        ([statement("Allow", principal={"AWS": ["arn:aws:iam::1:root", ME]})], "allow"),
        ([statement("Allow", principal={"AWS": "arn:aws:iam::999999999999:root"})], "nothing"),
        ([statement("Allow", principal={"Service": "logs.amazonaws.com"})], "nothing"),
        ([statement("Allow", **IF)], "perhaps"),
        ([statement("Allow", **IF), statement("Allow")], "allow"),
        ([statement("Allow"), statement("Deny")], "deny"),
        ([statement("Deny"), statement("Allow")], "deny"),
        ([statement("Allow"), statement("Deny", **IF)], "perhaps"),
        ([statement("Allow"), statement("Deny", "kms:Encrypt")], "allow"),
        ([{"Effect": "Allow", "NotAction": "kms:Encrypt", "Principal": "*"}], "allow"),
        ([{"Effect": "Allow", "NotAction": "kms:Dec*", "Principal": "*"}], "nothing"),
        ([{"Effect": "Deny", "NotPrincipal": {"AWS": ME}, "Action": "kms:*"}], "nothing"),
    ],
)
def test_what_a_policy_says(statements: Any, said: str) -> None:
    document = {"Version": "2012-10-17", "Statement": statements}
    assert says(document, "kms:Decrypt", (ME, ROOT, "123456789012")) == said


@given(st.permutations([statement("Allow"), statement("Allow", **IF), statement("Deny", "kms:X")]))
def test_the_order_of_statements_does_not_matter(statements: list[Any]) -> None:
    assert says({"Statement": statements}, "kms:Decrypt", (ME,)) == "allow"


@given(st.permutations([statement("Allow", **IF), statement("Deny", **IF), statement("Allow")]))
def test_a_denial_under_conditions_is_never_forgotten(statements: list[Any]) -> None:
    assert says({"Statement": statements}, "kms:Decrypt", (ME,)) == "perhaps"


@given(st.one_of(st.text(), st.none(), st.integers(), st.lists(st.text())))
def test_what_is_no_policy_says_nothing(document: Any) -> None:
    assert says(document, "kms:Decrypt") == "nothing"


def rule(first: int = 443, last: int = 443, protocol: str = "tcp", **more: Any) -> Any:
    return {"IpProtocol": protocol, "FromPort": first, "ToPort": last, **more}


def to(*cidrs: str) -> Any:
    return {"IpRanges": [{"CidrIp": each} for each in cidrs]}


@pytest.mark.parametrize(
    ("rules", "said"),
    [
        ([], "no"),
        ([rule(**to("0.0.0.0/0"))], "yes"),
        ([rule(80, 80, **to("0.0.0.0/0"))], "no"),
        ([rule(0, 65535, **to("0.0.0.0/0"))], "yes"),
        ([rule(protocol="udp", **to("0.0.0.0/0"))], "no"),
        ([{"IpProtocol": "-1", **to("0.0.0.0/0")}], "yes"),
        ([{"IpProtocol": "-1", "Ipv6Ranges": [{"CidrIpv6": "::/0"}]}], "yes"),
        ([rule(**to("10.0.0.0/8"))], "yes"),
        ([rule(**to("10.9.0.0/16"))], "perhaps"),
        ([rule(PrefixListIds=[{"PrefixListId": "pl-1"}])], "perhaps"),
        ([rule(UserIdGroupPairs=[{"GroupId": "sg-1"}])], "yes"),
        ([rule(UserIdGroupPairs=[{"GroupId": "sg-2"}])], "no"),
        ([rule(**to("10.9.0.0/16")), rule(**to("10.1.0.0/16"))], "yes"),
    ],
)
def test_what_a_security_group_lets_through(rules: Any, said: str) -> None:
    assert lets(rules, ["10.1.0.0/16"], ["sg-1"]) == said


NETWORKS = st.builds(
    lambda address, length: str(ipaddress.ip_network((address, length), strict=False)),
    st.integers(0, 2**32 - 1),
    st.integers(8, 32),
)


@given(NETWORKS, NETWORKS)
def test_a_network_is_let_through_when_it_lies_within(outer: str, inner: str) -> None:
    big, small = ipaddress.IPv4Network(outer), ipaddress.IPv4Network(inner)
    within = big[0] <= small[0] and small[-1] <= big[-1]
    assert (lets([rule(**to(outer))], [inner]) == "yes") == within


def entry(number: int, action: str, port: int | None = None, cidr: str = "0.0.0.0/0") -> Any:
    found: dict[str, Any] = {
        "RuleNumber": number,
        "RuleAction": action,
        "Egress": True,
        "CidrBlock": cidr,
        "Protocol": "-1" if port is None else "6",
    }
    return found if port is None else {**found, "PortRange": {"From": port, "To": port}}


@pytest.mark.parametrize(
    ("entries", "passes"),
    [
        ([], False),
        ([entry(32767, "deny")], False),
        ([entry(100, "allow"), entry(32767, "deny")], True),
        ([entry(100, "allow"), entry(50, "deny", 443)], False),
        ([entry(100, "allow"), entry(150, "deny", 443)], True),
        ([entry(100, "allow"), entry(50, "deny", 80)], True),
        ([entry(100, "allow"), entry(50, "deny", 443, "10.0.0.0/8")], True),
    ],
)
def test_network_acls_are_read_in_order(entries: Any, passes: bool) -> None:
    assert _passes(entries, True, 443) is passes
    assert _passes(list(reversed(entries)), True, 443) is passes
    assert not _passes(entries, False, 443)


@given(st.tuples(st.integers(0, 99), st.integers(0, 99), st.integers(0, 99)))
def test_versions_are_compared_by_number(version: tuple[int, int, int]) -> None:
    text = ".".join(map(str, version))
    assert version_of(text) == version
    assert platform_too_old({"platformVersion": text}) == (version < (1, 4, 0))
    windows = {"platformVersion": text, "platformFamily": "Windows_Server_2022_Core"}
    assert platform_too_old(windows) == (version < (1, 0, 0))


@pytest.mark.parametrize("text", ["LATEST", "", "one.two"])
def test_what_is_no_version_is_not_old(text: str) -> None:
    assert version_of(text) == ()
    assert not platform_too_old({"platformVersion": text})


# -- checks that break ---------------------------------------------------------------------------


def checks(monkeypatch: pytest.MonkeyPatch, **raised: Exception | None) -> None:
    """Make checks that raise, or are content."""

    def made(id_: str, error: Exception | None) -> registry.Check:
        async def run(_: Any) -> Finding:
            if error is not None:
                raise error
            return registry.ok("fine")

        return registry.Check(id_, f"about {id_}", (), run)

    there = {id_: made(id_, error) for id_, error in raised.items()}
    monkeypatch.setattr(registry, "CHECKS", there)


async def found(ids: Any = None) -> dict[str, Finding]:
    scene: Any = None
    return {each.id: each for each in await registry.run_checks(scene, ids)}


async def test_what_is_denied_is_told_once(monkeypatch: pytest.MonkeyPatch) -> None:
    def denied() -> AccessDenied:
        return AccessDenied("ec2:DescribeSubnets is denied for x", cause="AWS says no")

    checks(monkeypatch, a=denied(), b=None, c=denied(), d=AccessDenied("iam:GetRole is denied"))
    by_id = await found()
    assert {id_: each.status for id_, each in by_id.items()} == {
        "a": "unknown",
        "b": "ok",
        "d": "unknown",
    }
    assert by_id["a"].title == "about a: not known, since ec2:DescribeSubnets is denied"
    assert by_id["a"].evidence == "AWS says no; for the same reason not looked at: c"


async def test_an_accident_in_a_check_takes_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    checks(monkeypatch, a=KeyError("Subnets"), b=None, c=ServiceError("no", cause="AWS is ill"))
    by_id = await found()
    assert by_id["a"].status == "unknown"
    assert "KeyError" in by_id["a"].evidence
    assert by_id["b"].status == "ok"
    assert (by_id["c"].status, by_id["c"].evidence) == ("unknown", "AWS is ill")


async def test_without_credentials_nothing_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    checks(monkeypatch, a=CredentialsError("expired"), b=None)
    with pytest.raises(CredentialsError):
        await found()


# -- findings ------------------------------------------------------------------------------------

FINDINGS = st.lists(
    st.builds(Finding, st.text(max_size=8), st.sampled_from(STATUSES), st.text(), st.text()),
    max_size=6,
)


@given(FINDINGS)
def test_the_worst_come_first(given_: list[Finding]) -> None:
    findings = Findings(given_, "here")
    order = [STATUSES.index(each.status) for each in findings]
    assert order == sorted(order)
    assert sorted(map(repr, findings)) == sorted(map(repr, given_))
    assert findings.worst == (findings[0].status if given_ else "ok")
    assert findings.ok == all(each.status in ("ok", "warn") for each in given_)
    assert list(findings.failed) == [each for each in findings if each.status == "fail"]
    assert findings.html().count("<div") == findings.html().count("</div>")


def test_calls_are_never_cut_and_markup_is_escaped() -> None:
    call = "aws iam put-role-policy --policy-document '" + "x" * 500 + "'"
    finding = Finding("role.channel", "fail", "<b>no</b>", "because <i>", "do it", call)
    findings = Findings([finding], "prod/<web>")
    assert call in repr(findings)
    markup = findings.html()
    assert call.replace("'", "&#x27;") in markup
    assert "<b>no</b>" not in markup
    assert "prod/&lt;web&gt;" in markup


def test_secrets_are_masked_where_they_are_shown() -> None:
    finding = Finding("agent.log", "warn", "errors", "password=hunter2secret123 was logged")
    findings = Findings([finding], "prod/web")
    assert "hunter2secret123" not in repr(findings)
    assert "hunter2secret123" not in findings.html()
    assert "hunter2secret123" in findings[0].evidence
