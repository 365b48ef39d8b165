"""The wire forms by themselves, against botocore's own serializers and parsers."""

from __future__ import annotations

import contextlib
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from botocore.parsers import create_parser
from botocore.serialize import create_serializer
from hypothesis import given
from hypothesis import strategies as st

from ecs_exec_magic.sandbox.front import Aim, Received, classify
from ecs_exec_magic.sandbox.protocols import (
    ApiError,
    answer,
    failure,
    match_rest,
    query_parameters,
    rest_parameters,
)
from ecs_exec_magic.sandbox.shapes import Models, problem, shaped
from ecs_exec_magic.sandbox.uploads import BadChunk, unwrap

MODELS = Models()
SCOPE = "AKIAX/20260101/eu-west-1/{}/aws4_request"
# What XML can carry: the rest is left out of answers.
CHARACTERS = st.characters(exclude_categories=("Cs", "Cc"), exclude_characters="\ufffe\uffff")
TEXT = st.text(CHARACTERS, max_size=20)


def received(
    method: str = "POST", target: str = "/", body: bytes = b"", **headers: str
) -> Received:
    return Received(method, target, {k.replace("_", "-"): v for k, v in headers.items()}, body)


def signed(service: str) -> str:
    return f"AWS4-HMAC-SHA256 Credential={SCOPE.format(service)}, SignedHeaders=host, Signature=0"


# what is asked


@given(
    method=st.sampled_from(["GET", "POST", "PUT", "HEAD"]),
    target=st.one_of(st.text(max_size=60), st.from_regex(r"/[^?]*\?[^?]*", fullmatch=True)),
    headers=st.dictionaries(
        st.sampled_from(
            ["authorization", "host", "x-amz-target", "content-type", "smithy-protocol"]
        ),
        st.one_of(
            st.text(max_size=80),
            st.sampled_from([signed("ecs"), signed("s3"), signed(""), "AWS A:b", "AWS4- C"]),
        ),
    ),
    body=st.binary(max_size=60),
)
def test_anything_is_classified(
    method: str, target: str, headers: dict[str, str], body: bytes
) -> None:
    aim = classify(Received(method, target, headers, body))
    assert aim.protocol in {"json", "query", "ec2", "rest-xml", "rest-json", "cbor"}
    assert aim.region


@pytest.mark.parametrize(
    ("request_", "wanted"),
    [
        (
            received(authorization=signed("ecs"), x_amz_target="AmazonEC2X.ListTasks"),
            Aim("ecs", "ListTasks", "eu-west-1", "AKIAX", "json"),
        ),
        (
            received(authorization=signed("iam"), body=b"Action=GetUser&Version=2010-05-08"),
            Aim("iam", "GetUser", "eu-west-1", "AKIAX", "query"),
        ),
        (
            received(target="/?Action=DescribeVpcs", authorization=signed("ec2")),
            Aim("ec2", "DescribeVpcs", "eu-west-1", "AKIAX", "ec2"),
        ),
        (
            received("GET", f"/b/k?X-Amz-Credential={quote(SCOPE.format('s3'), safe='')}"),
            Aim("s3", "", "eu-west-1", "AKIAX", "rest-xml", "", True),
        ),
        (
            received("GET", "/k", authorization=signed("s3"), host="my.bucket.localhost:4670"),
            Aim("s3", "", "eu-west-1", "AKIAX", "rest-xml", "my.bucket"),
        ),
        (
            received("GET", "/k", authorization=signed("s3"), host="bkt.s3.localhost:4670"),
            Aim("s3", "", "eu-west-1", "AKIAX", "rest-xml", "bkt"),
        ),
        (
            received("GET", "/k", authorization=signed("s3"), host="b-1.s3.eu.amazonaws.com"),
            Aim("s3", "", "eu-west-1", "AKIAX", "rest-xml", "b-1"),
        ),
        (
            received("GET", "/", authorization=signed("s3"), host="s3.localhost:4670"),
            Aim("s3", "", "eu-west-1", "AKIAX", "rest-xml"),
        ),
        (
            received("GET", "/b", authorization="AWS AKIAX:c2ln"),
            Aim("s3", "", "us-east-1", "AKIAX", "rest-xml"),
        ),
        (
            received(
                target="/service/G/operation/ListMetrics",
                authorization=signed("monitoring"),
                smithy_protocol="rpc-v2-cbor",
            ),
            Aim("monitoring", "ListMetrics", "eu-west-1", "AKIAX", "cbor"),
        ),
        (
            received("GET", "/2015-03-31/functions/", authorization=signed("lambda")),
            Aim("lambda", "", "eu-west-1", "AKIAX", "rest-json"),
        ),
        (received(body=b"{}"), Aim("", "", "us-east-1", "", "json")),
        (
            received(body=b"Action=ListUsers&Version=2010-05-08"),
            Aim("iam", "ListUsers", "us-east-1", "", "query"),
        ),
    ],
)
def test_kinds_of_requests(request_: Received, wanted: Aim) -> None:
    assert classify(request_) == wanted


def through_query(service: str, name: str, parameters: dict[str, Any]) -> dict[str, Any]:
    """Parameters as they arrive after botocore has written them."""
    operation = MODELS.operation(service, name)
    protocol = "ec2" if service == "ec2" else "query"
    made = create_serializer(protocol, include_validation=False).serialize_to_request(
        parameters, operation
    )
    body = urlencode(made["body"]).encode()
    return query_parameters(received(body=body).form, operation.input_shape)


CONTEXT = st.fixed_dictionaries(
    {
        "ContextKeyName": TEXT.filter(bool),
        "ContextKeyValues": st.lists(TEXT, min_size=1, max_size=3),
        "ContextKeyType": st.just("stringList"),
    }
)


@given(
    st.fixed_dictionaries(
        {"PolicySourceArn": TEXT, "ActionNames": st.lists(TEXT, min_size=1, max_size=12)},
        optional={
            "ResourceArns": st.lists(TEXT, min_size=1, max_size=3),
            "ContextEntries": st.lists(CONTEXT, min_size=1, max_size=3),
            "MaxItems": st.integers(1, 1000),
        },
    )
)
def test_parameters_of_iam_survive(parameters: dict[str, Any]) -> None:
    assert through_query("iam", "SimulatePrincipalPolicy", parameters) == parameters


@given(
    st.fixed_dictionaries(
        {"GroupId": TEXT},
        optional={
            "DryRun": st.booleans(),
            "IpPermissions": st.lists(
                st.fixed_dictionaries(
                    {"IpProtocol": TEXT, "FromPort": st.integers(-1, 65535)},
                    optional={
                        "IpRanges": st.lists(
                            st.fixed_dictionaries({"CidrIp": TEXT, "Description": TEXT}),
                            min_size=1,
                            max_size=3,
                        )
                    },
                ),
                min_size=1,
                max_size=3,
            ),
            "TagSpecifications": st.lists(
                st.fixed_dictionaries(
                    {
                        "ResourceType": st.just("instance"),
                        "Tags": st.lists(
                            st.fixed_dictionaries({"Key": TEXT, "Value": TEXT}),
                            min_size=1,
                            max_size=11,
                        ),
                    }
                ),
                min_size=1,
                max_size=2,
            ),
        },
    )
)
def test_parameters_of_ec2_survive(parameters: dict[str, Any]) -> None:
    assert through_query("ec2", "AuthorizeSecurityGroupIngress", parameters) == parameters


NAMES = st.lists(
    st.sampled_from(
        ["ActionNames", "member", "ContextEntries", "Tags", "entry", "1", "9" * 5000, ""]
    ),
    max_size=6,
).map(".".join)


@given(st.dictionaries(st.one_of(NAMES, st.text(max_size=30)), st.text(max_size=10), max_size=8))
def test_any_form_is_taken_apart(form: dict[str, str]) -> None:
    for service, name in (("iam", "SimulatePrincipalPolicy"), ("sts", "AssumeRole")):
        shape = MODELS.operation(service, name).input_shape
        found = query_parameters(form, shape)
        assert isinstance(found, dict)
        problem(found, shape)


S3 = MODELS.get("s3")
SAMPLES = {"string": "x", "integer": 1, "long": 1, "boolean": True, "blob": b"", "timestamp": 0}


def sample(shape: Any) -> Any:
    if shape.type_name == "structure":
        return {name: sample(shape.members[name]) for name in shape.required_members}
    if shape.type_name == "list":
        return [sample(shape.member)]
    if shape.type_name == "map":
        return {}
    return shape.enum[0] if getattr(shape, "enum", None) else SAMPLES[shape.type_name]


@pytest.mark.parametrize("name", sorted(S3.operation_names))
def test_every_operation_of_s3_is_recognised(name: str) -> None:
    operation = S3.operation_model(name)
    given = sample(operation.input_shape) if operation.input_shape is not None else {}
    given |= {"Bucket": "bkt"} if "Bucket" in given else {}
    given |= {"Key": "a/b c"} if "Key" in given else {}
    made = create_serializer("rest-xml", include_validation=False).serialize_to_request(
        given, operation
    )
    path, _, literal = made["url_path"].partition("?")
    query = urlencode(made["query_string"])
    request = Received(
        made["method"],
        path + "?" + "&".join(part for part in (literal, query) if part),
        {k.lower(): v for k, v in made["headers"].items()},
        b"",
    )
    found = match_rest(S3, request.method, path, request.query, request.headers)
    if name in ("ListDirectoryBuckets", "WriteGetObjectResponse"):  # other hosts tell these
        return
    twins = {"GetBucketLifecycle", "GetBucketNotification", "PutBucketLifecycle"}
    twins |= {"PutBucketNotification"}
    assert found == (f"{name}Configuration" if name in twins else name)
    parameters = rest_parameters(operation, request, path)
    for key in ("Bucket", "Key", "UploadId"):
        assert parameters.get(key) == given.get(key)


# chunked bodies


def chunked(pieces: list[bytes], extension: bytes = b"", trailer: bytes = b"") -> bytes:
    framed = b"".join(b"%x%s\r\n%s\r\n" % (len(p), extension, p) for p in pieces if p)
    return framed + b"0" + extension + b"\r\n" + trailer + b"\r\n"


@given(
    st.lists(st.binary(max_size=200), max_size=8),
    st.sampled_from([b"", b";chunk-signature=ab"]),
    st.sampled_from([{}, {"x-amz-checksum-crc32": "AAAA=="}]),
)
def test_chunks_are_taken_off(
    pieces: list[bytes], extension: bytes, trailers: dict[str, str]
) -> None:
    trailer = b"".join(f"{k}:{v}\r\n".encode() for k, v in trailers.items())
    data = chunked(pieces, extension, trailer)
    found = unwrap(data)
    assert found.body == b"".join(pieces) and found.trailers == trailers


@given(st.lists(st.binary(min_size=1, max_size=50), min_size=1, max_size=4), st.data())
def test_a_body_cut_short_is_noticed(pieces: list[bytes], data: st.DataObject) -> None:
    whole = chunked(pieces)
    end = len(whole) - 5  # "0\r\n\r\n"
    with pytest.raises(BadChunk):
        unwrap(whole[: data.draw(st.integers(0, end))])


@given(st.binary(max_size=100))
def test_any_bytes_are_a_body_or_refused(data: bytes) -> None:
    with contextlib.suppress(BadChunk):
        unwrap(data)


# what goes


@given(
    protocol=st.sampled_from(["json", "query", "ec2", "rest-xml", "rest-json", "cbor"]),
    code=st.from_regex(r"[A-Z][A-Za-z.]{0,30}", fullmatch=True),
    message=st.text(CHARACTERS).filter(str.strip),
    service=st.sampled_from(["s3", "route53"]),
)
def test_errors_are_read_by_botocore(protocol: str, code: str, message: str, service: str) -> None:
    aim = Aim(service if protocol == "rest-xml" else "x", "Op", "us-east-1", "A", protocol)
    reply = failure(aim, ApiError(code, message, 400), "id-1")
    name = "smithy-rpc-v2-cbor" if protocol == "cbor" else protocol
    headers = {k.lower(): v for k, v in reply.headers.items()}
    response = {"status_code": reply.status, "headers": headers, "body": reply.body}
    parsed = create_parser(name).parse(response, None)
    assert parsed["Error"]["Code"] == code
    assert parsed["Error"]["Message"].split() == message.split()
    assert "id-1" in (parsed["ResponseMetadata"].get("RequestId"), headers["x-amzn-requestid"])


@given(
    st.lists(
        st.fixed_dictionaries(
            {
                "EvalActionName": TEXT.filter(str.strip),
                "EvalDecision": st.sampled_from(["allowed", "implicitDeny", "explicitDeny"]),
                "MatchedStatements": st.lists(
                    st.fixed_dictionaries({"SourcePolicyId": TEXT.filter(str.strip)}), max_size=3
                ),
                "MissingContextValues": st.lists(TEXT.filter(str.strip), max_size=3),
            }
        ),
        max_size=4,
    ),
    st.booleans(),
)
def test_answers_of_iam_are_read_by_botocore(results: list[Any], truncated: bool) -> None:
    shape = MODELS.operation("iam", "SimulatePrincipalPolicy").output_shape
    aim = Aim("iam", "SimulatePrincipalPolicy", "us-east-1", "A", "query")
    given = {"EvaluationResults": results, "IsTruncated": truncated}
    reply = answer(aim, shaped(given, shape, "x"), shape, "id-1")
    response = {"status_code": 200, "headers": reply.headers, "body": reply.body}
    parsed = create_parser("query").parse(response, shape)
    assert parsed["EvaluationResults"] == results and parsed["IsTruncated"] is truncated
    assert parsed["ResponseMetadata"]["RequestId"] == "id-1"


def test_answers_are_held_to_the_model() -> None:
    shape = MODELS.operation("ecs", "ListTasks").output_shape
    assert shaped({"taskArns": ["a"], "nextToken": None}, shape, "x") == {"taskArns": ["a"]}
    for wrong in ({"bogus": 1}, {"taskArns": [1]}, {"nextToken": 5}):
        with pytest.raises(TypeError):
            shaped(wrong, shape, "x")
    definition = MODELS.operation("ecs", "DescribeClusters").output_shape
    with pytest.raises(TypeError):
        shaped({"clusters": [{"runningTasksCount": True}]}, definition, "x")


JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(), inner)),
    max_leaves=6,
)


@given(st.data())
def test_any_json_is_taken_or_told_wrong(data: st.DataObject) -> None:
    service, name = data.draw(
        st.sampled_from([("ecs", "RunTask"), ("ssm", "StartSession"), ("kms", "Encrypt")])
    )
    shape = MODELS.operation(service, name).input_shape
    members = st.sampled_from(sorted(shape.members))
    given = data.draw(st.dictionaries(members, JSON, max_size=5))
    assert isinstance(problem(given, shape), str)


@pytest.mark.parametrize(
    ("service", "name", "given", "part"),
    [
        ("ecs", "ListTasks", {"launchType": "MOON"}, "'launchType' failed to satisfy constraint"),
        ("ecs", "DescribeTasks", {}, "Missing required parameter"),
        ("ecs", "DescribeTasks", {"tasks": "x"}, "Invalid type"),
        ("kms", "CreateAlias", {"AliasName": "a", "TargetKeyId": ""}, "Invalid length"),
        ("ssm", "StartSession", {"Target": "x" * 401}, "less than or equal to 400"),
        ("logs", "CreateLogGroup", {"logGroupName": "a b"}, "regular expression pattern"),
        ("iam", "SimulatePrincipalPolicy", {
            "PolicySourceArn": "x" * 20,
            "ActionNames": ["s3:Get"],
            "ContextEntries": [{"ContextKeyType": "what"}],
        }, "'contextEntries.1.member.contextKeyType'"),
        ("ecs", "ListTasks", {"launchType": "FARGATE", "maxResults": 5}, ""),
    ],
)  # fmt: skip
def test_parameters_are_held_to_the_model(
    service: str, name: str, given: dict[str, Any], part: str
) -> None:
    found = problem(given, MODELS.operation(service, name).input_shape)
    assert part in found and bool(part) == bool(found)
