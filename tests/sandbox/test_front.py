"""Every service through the one port, in every protocol, with botocore's own checks on."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from ecs_exec_magic import sandbox

from .conftest import Cluster

REGION = "us-east-1"

TRUST = {
    "Version": "2012-10-17",
    "Statement": [
        {
            "Effect": "Allow",
            "Principal": {"Service": "ecs-tasks.amazonaws.com"},
            "Action": "sts:AssumeRole",
        }
    ],
}


def client(cluster: Cluster, service: str, **given: Any) -> Any:
    settings = {"region_name": REGION, "aws_access_key_id": "AKIASANDBOX000000001"} | given
    return boto3.client(
        service, endpoint_url=cluster.sandbox.url, aws_secret_access_key="sandbox", **settings
    )


class Services:
    """A client of each service that is served."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.account = cluster.account
        self.sts, self.iam, self.kms, self.s3, self.logs, self.ec2, self.trail = (
            client(cluster, name)
            for name in ("sts", "iam", "kms", "s3", "logs", "ec2", "cloudtrail")
        )


@pytest.fixture(scope="module")
def aws(shared: Cluster) -> Services:
    return Services(shared)


def code_of(function: Any, **given: Any) -> tuple[str, str, int]:
    with pytest.raises(ClientError) as caught:
        function(**given)
    answer = caught.value.response
    assert answer["ResponseMetadata"]["RequestId"]
    error = answer["Error"]
    return error["Code"], error["Message"], answer["ResponseMetadata"]["HTTPStatusCode"]


def get(
    url: str,
    method: str = "GET",
    data: bytes | None = None,
    headers: Mapping[str, str] | None = None,
) -> tuple[int, bytes]:
    request = urllib.request.Request(url, data, dict(headers or {}), method=method)
    try:
        with urllib.request.urlopen(request) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()


def test_identity(aws: Services) -> None:
    me = aws.sts.get_caller_identity()
    assert me["Arn"] == f"arn:aws:iam::{aws.account}:user/sandbox"
    assert me["Account"] == f"{aws.account}" and me["UserId"].startswith("AIDA")


def test_keys_that_iam_and_sts_gave_out_are_recognised(aws: Services) -> None:
    aws.iam.create_user(UserName="dev")
    made = aws.iam.create_access_key(UserName="dev")["AccessKey"]["AccessKeyId"]
    seen = client(aws.cluster, "sts", aws_access_key_id=made).get_caller_identity()
    assert seen["Arn"] == f"arn:aws:iam::{aws.account}:user/dev"
    trust = TRUST
    role = aws.iam.create_role(RoleName="ops", AssumeRolePolicyDocument=json.dumps(trust))
    session = aws.sts.assume_role(RoleArn=role["Role"]["Arn"], RoleSessionName="night")
    key = session["Credentials"]["AccessKeyId"]
    seen = client(aws.cluster, "sts", aws_access_key_id=key).get_caller_identity()
    assert seen["Arn"] == f"arn:aws:sts::{aws.account}:assumed-role/ops/night"
    assert seen["UserId"].endswith(":night")
    aws.iam.delete_access_key(UserName="dev", AccessKeyId=made)
    seen = client(aws.cluster, "sts", aws_access_key_id=made).get_caller_identity()
    assert seen["Arn"].endswith("user/sandbox")


def test_who_am_i_in_iam(aws: Services) -> None:
    me = aws.iam.get_user()["User"]
    assert me["Arn"] == aws.sts.get_caller_identity()["Arn"]
    trust = json.dumps(TRUST)
    role = aws.iam.create_role(RoleName="asker", AssumeRolePolicyDocument=trust)["Role"]["Arn"]
    code, message, status = code_of(
        aws.sts.assume_role, RoleArn=role + "x", RoleSessionName="night"
    )
    assert (code, status) == ("AccessDenied", 403)
    assert message.endswith(f"sts:AssumeRole on resource: {role}x")
    session = aws.sts.assume_role(RoleArn=role, RoleSessionName="night")["Credentials"]
    iam = client(aws.cluster, "iam", aws_access_key_id=session["AccessKeyId"])
    assert code_of(iam.get_user)[0] == "ValidationError"
    with pytest.raises(iam.exceptions.NoSuchEntityException):
        iam.get_user(UserName="nobody")


def test_iam_errors_and_managed_policies(aws: Services) -> None:
    with pytest.raises(aws.iam.exceptions.NoSuchEntityException):
        aws.iam.get_role(RoleName="nobody")
    trust = json.dumps(TRUST)
    aws.iam.create_role(RoleName="execution", AssumeRolePolicyDocument=trust)
    with pytest.raises(aws.iam.exceptions.EntityAlreadyExistsException):
        aws.iam.create_role(RoleName="execution", AssumeRolePolicyDocument=trust)
    arn = "arn:aws:iam::aws:policy/service-role/AmazonECSTaskExecutionRolePolicy"
    aws.iam.attach_role_policy(RoleName="execution", PolicyArn=arn)
    attached = aws.iam.list_attached_role_policies(RoleName="execution")["AttachedPolicies"]
    assert [p["PolicyArn"] for p in attached] == [arn]
    with pytest.raises(aws.iam.exceptions.DeleteConflictException):
        aws.iam.delete_role(RoleName="execution")
    with pytest.raises(aws.iam.exceptions.MalformedPolicyDocumentException):
        aws.iam.put_role_policy(RoleName="execution", PolicyName="p", PolicyDocument="{")


def test_logs(aws: Services) -> None:
    aws.logs.create_log_group(logGroupName="/front/test")
    with pytest.raises(aws.logs.exceptions.ResourceAlreadyExistsException):
        aws.logs.create_log_group(logGroupName="/front/test")
    with pytest.raises(aws.logs.exceptions.InvalidParameterException):
        aws.logs.create_log_group(logGroupName="/front/key", kmsKeyId="alias/none")
    key = aws.kms.create_key()["KeyMetadata"]["Arn"]
    aws.logs.create_log_group(logGroupName="/front/key", kmsKeyId=key)
    groups = aws.logs.describe_log_groups(logGroupNamePrefix="/front/key")["logGroups"]
    assert groups[0]["kmsKeyId"] == key
    aws.logs.create_log_stream(logGroupName="/front/test", logStreamName="s")
    events = [{"timestamp": int(time.time() * 1000), "message": "né"}]
    aws.logs.put_log_events(logGroupName="/front/test", logStreamName="s", logEvents=events)
    found = aws.logs.get_log_events(
        logGroupName="/front/test", logStreamName="s", startFromHead=True
    )
    assert [e["message"] for e in found["events"]] == ["né"]
    with pytest.raises(aws.logs.exceptions.ResourceNotFoundException):
        aws.logs.delete_log_group(logGroupName="/front/none")
    aws.logs.delete_log_group(logGroupName="/front/test")


def test_ec2_default_vpc_reaches_the_internet(aws: Services) -> None:
    vpc = aws.ec2.describe_vpcs(Filters=[{"Name": "is-default", "Values": ["true"]}])["Vpcs"][0]
    here = {"Name": "vpc-id", "Values": [vpc["VpcId"]]}
    subnets = aws.ec2.describe_subnets(Filters=[here])["Subnets"]
    assert len(subnets) == 6 and all(s["MapPublicIpOnLaunch"] for s in subnets)
    gateways = aws.ec2.describe_internet_gateways(
        Filters=[{"Name": "attachment.vpc-id", "Values": [vpc["VpcId"]]}]
    )["InternetGateways"]
    tables = aws.ec2.describe_route_tables(Filters=[here])["RouteTables"]
    routes = {r["DestinationCidrBlock"]: r["GatewayId"] for t in tables for r in t["Routes"]}
    assert routes["0.0.0.0/0"] == gateways[0]["InternetGatewayId"] and len(gateways) == 1
    group = aws.ec2.create_security_group(GroupName="web", Description="d", VpcId=vpc["VpcId"])
    rule: dict[str, Any] = {"IpProtocol": "tcp", "FromPort": 80, "ToPort": 80}
    rule["IpRanges"] = [{"CidrIp": "0.0.0.0/0"}]
    given = {"GroupId": group["GroupId"], "IpPermissions": [rule]}
    aws.ec2.authorize_security_group_ingress(**given)
    code, _, status = code_of(aws.ec2.authorize_security_group_ingress, **given)
    assert (code, status) == ("InvalidPermission.Duplicate", 400)
    aws.ec2.delete_security_group(GroupId=group["GroupId"])
    assert (
        code_of(aws.ec2.describe_subnets, SubnetIds=["subnet-0"])[0] == "InvalidSubnetID.NotFound"
    )


@pytest.fixture(scope="module")
def bucket(aws: Services) -> str:
    aws.s3.create_bucket(Bucket="front-bucket")
    return "front-bucket"


def test_buckets_of_another_account_are_closed(aws: Services) -> None:
    with sandbox.start(pace="fast", runtime="process", seed=False) as other:
        session = boto3.Session(other.environment["AWS_ACCESS_KEY_ID"], "x", region_name=REGION)
        session.client("s3", endpoint_url=other.url).create_bucket(Bucket="front-foreign")
        with pytest.raises(ClientError, match="403"):
            aws.s3.head_bucket(Bucket="front-foreign")
        with pytest.raises(ClientError, match="AccessDenied"):
            aws.s3.list_objects_v2(Bucket="front-foreign")


def test_a_new_bucket_has_nothing_of_a_former_one(aws: Services) -> None:
    for _ in range(2):
        aws.s3.create_bucket(Bucket="front-again")
        with pytest.raises(ClientError, match="NoSuchTagSet"):
            aws.s3.get_bucket_tagging(Bucket="front-again")
        tags = {"TagSet": [{"Key": "k", "Value": "v"}]}
        aws.s3.put_bucket_tagging(Bucket="front-again", Tagging=tags)
        aws.s3.delete_bucket(Bucket="front-again")


def test_buckets(aws: Services, bucket: str) -> None:
    rules = aws.s3.get_bucket_encryption(Bucket=bucket)["ServerSideEncryptionConfiguration"][
        "Rules"
    ]
    assert rules[0]["ApplyServerSideEncryptionByDefault"] == {"SSEAlgorithm": "AES256"}
    assert bucket in [b["Name"] for b in aws.s3.list_buckets()["Buckets"]]
    assert aws.s3.head_bucket(Bucket=bucket)["ResponseMetadata"]["HTTPStatusCode"] == 200
    assert code_of(aws.s3.head_bucket, Bucket="no-such-bucket")[0] == "404"
    for bad in ("UPPER", "a..b", "10.0.0.1", "-abc"):
        assert code_of(aws.s3.create_bucket, Bucket=bad)[0] == "InvalidBucketName"
    with pytest.raises(aws.s3.exceptions.NoSuchBucket):
        aws.s3.list_objects_v2(Bucket="no-such-bucket")
    west = client(aws.cluster, "s3", region_name="eu-west-1")
    west.create_bucket(
        Bucket="front-west", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"}
    )
    assert west.get_bucket_location(Bucket="front-west")["LocationConstraint"] == "eu-west-1"
    with pytest.raises(west.exceptions.BucketAlreadyOwnedByYou):
        west.create_bucket(
            Bucket="front-west", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"}
        )
    key = aws.kms.create_key()["KeyMetadata"]["Arn"]
    rule = {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": key}
    configuration = {"Rules": [{"ApplyServerSideEncryptionByDefault": rule}]}
    aws.s3.put_bucket_encryption(
        Bucket="front-west", ServerSideEncryptionConfiguration=configuration
    )
    found = aws.s3.get_bucket_encryption(Bucket="front-west")["ServerSideEncryptionConfiguration"]
    assert found["Rules"][0]["ApplyServerSideEncryptionByDefault"] == rule
    aws.s3.delete_bucket_encryption(Bucket="front-west")
    found = aws.s3.get_bucket_encryption(Bucket="front-west")["ServerSideEncryptionConfiguration"]
    algorithm = found["Rules"][0]["ApplyServerSideEncryptionByDefault"]["SSEAlgorithm"]
    assert algorithm == "AES256"


@pytest.mark.parametrize("style", ["path", "virtual"])
@pytest.mark.parametrize("algorithm", [None, "CRC32", "SHA256"])
def test_objects_in_both_styles(
    aws: Services,
    bucket: str,
    style: str,
    algorithm: str | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    resolve = socket.getaddrinfo

    def resolve_here(host: str, *given: Any, **more: Any) -> Any:
        return resolve("127.0.0.1" if host.endswith(".localhost") else host, *given, **more)

    monkeypatch.setattr(socket, "getaddrinfo", resolve_here)
    port = aws.cluster.sandbox.port
    s3 = boto3.client(
        "s3",
        endpoint_url=f"http://localhost:{port}",
        region_name=REGION,
        aws_access_key_id="AKIASANDBOX000000001",
        aws_secret_access_key="sandbox",
        config=Config(s3={"addressing_style": style}),
    )
    key, body = f"a dir/{style} ü+%&=?#.txt", bytes(range(256)) * 50
    more = {"ChecksumAlgorithm": algorithm} if algorithm else {}
    s3.put_object(
        Bucket=bucket,
        Key=key,
        Body=body,
        Metadata={"a_b": "1", "c-d": "2"},
        ContentType="text/x-test",
        **more,
    )
    found = s3.get_object(Bucket=bucket, Key=key, ChecksumMode="ENABLED")
    assert found["Body"].read() == body
    assert found["Metadata"] == {"a_b": "1", "c-d": "2"} and found["ContentType"] == "text/x-test"
    assert found["ContentLength"] == len(body)
    head = s3.head_object(Bucket=bucket, Key=key)
    assert head["ContentLength"] == len(body) and head["ETag"] == found["ETag"]
    part = s3.get_object(Bucket=bucket, Key=key, Range="bytes=10-19")
    assert part["Body"].read() == body[10:20]
    assert part["ResponseMetadata"]["HTTPStatusCode"] == 206
    listed = s3.list_objects_v2(Bucket=bucket, Prefix="a dir/")["Contents"]
    assert key in [o["Key"] for o in listed]
    s3.delete_object(Bucket=bucket, Key=key)
    with pytest.raises(s3.exceptions.NoSuchKey):
        s3.get_object(Bucket=bucket, Key=key)
    assert code_of(s3.head_object, Bucket=bucket, Key=key)[0] == "404"


def test_a_body_of_100_mb_and_a_chunked_stream(aws: Services, bucket: str, tmp_path: Any) -> None:
    block = os.urandom(1 << 20)
    path = tmp_path / "large"
    digest = hashlib.sha256()
    with path.open("wb") as file:
        for _ in range(100):
            file.write(block)
            digest.update(block)
    with path.open("rb") as file:  # a stream of unknown checksum goes in chunks with a trailer
        aws.s3.put_object(Bucket=bucket, Key="large", Body=file)
    answer = aws.s3.get_object(Bucket=bucket, Key="large")
    seen = hashlib.sha256()
    for piece in answer["Body"].iter_chunks(1 << 20):
        seen.update(piece)
    assert answer["ContentLength"] == 100 << 20 and seen.digest() == digest.digest()
    aws.s3.delete_object(Bucket=bucket, Key="large")


def test_multipart_upload_and_copy(aws: Services, bucket: str) -> None:
    part = b"x" * (5 << 20)
    upload = aws.s3.create_multipart_upload(Bucket=bucket, Key="parts")["UploadId"]
    where = {"Bucket": bucket, "Key": "parts", "UploadId": upload}
    tags = [
        aws.s3.upload_part(PartNumber=n, Body=data, **where)["ETag"]
        for n, data in ((1, part), (2, b"end"))
    ]
    done = [{"PartNumber": n, "ETag": tag} for n, tag in enumerate(tags, 1)]
    aws.s3.complete_multipart_upload(MultipartUpload={"Parts": done}, **where)
    aws.s3.copy_object(Bucket=bucket, Key="copy", CopySource={"Bucket": bucket, "Key": "parts"})
    assert aws.s3.head_object(Bucket=bucket, Key="copy")["ContentLength"] == len(part) + 3
    aws.s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": "parts"}, {"Key": "copy"}]})
    assert "Contents" not in aws.s3.list_objects_v2(Bucket=bucket, Prefix="parts")


def test_compressed_content_is_kept_as_it_is(aws: Services, bucket: str) -> None:
    packed = gzip.compress(b"hello")
    aws.s3.put_object(Bucket=bucket, Key="z", Body=packed, ContentEncoding="gzip")
    found = aws.s3.get_object(Bucket=bucket, Key="z")
    assert found["Body"].read() == packed and found["ContentEncoding"] == "gzip"


@pytest.mark.parametrize("version", ["s3v4", "s3"])
def test_presigned_urls(aws: Services, bucket: str, version: str) -> None:
    s3 = client(aws.cluster, "s3", config=Config(signature_version=version))
    put = s3.generate_presigned_url("put_object", {"Bucket": bucket, "Key": "signed"})
    assert get(put, "PUT", b"by url")[0] == 200
    url = s3.generate_presigned_url("get_object", {"Bucket": bucket, "Key": "signed"})
    assert get(url) == (200, b"by url")
    late = s3.generate_presigned_url(
        "get_object", {"Bucket": bucket, "Key": "signed"}, ExpiresIn=-10
    )
    status, text = get(late)
    assert status == 403 and b"<Code>AccessDenied</Code><Message>Request has expired" in text


def test_presigned_identity(aws: Services) -> None:
    url = aws.sts.generate_presigned_url("get_caller_identity")
    status, text = get(url)
    assert status == 200 and b"user/sandbox" in text


UNSERVED: list[tuple[str, str, dict[str, Any], str]] = [
    ("ecs", "delete_attributes", {"attributes": []}, "ecs:DeleteAttributes"),
    ("ssm", "list_associations", {}, "ssm:ListAssociations"),
    ("cloudtrail", "list_channels", {}, "cloudtrail:ListChannels"),
    ("iam", "get_context_keys_for_custom_policy", {"PolicyInputList": ["{}"]}, "iam:GetContext"),
    ("ec2", "describe_fpga_images", {}, "ec2:DescribeFpgaImages."),
    (
        "ec2",
        "describe_vpcs",
        {"Filters": [{"Name": "bogus", "Values": ["x"]}]},
        "ec2:DescribeVpcs with these parameters.",
    ),
    ("logs", "list_anomalies", {}, "logs:ListAnomalies"),
    ("kms", "describe_custom_key_stores", {}, "kms:DescribeCustomKeyStores"),
    ("s3", "get_object_torrent", {"Bucket": "bbb", "Key": "k"}, "s3:GetObjectTorrent"),
    ("sqs", "list_queues", {}, "sqs:ListQueues"),
    ("sns", "list_topics", {}, "sns:ListTopics"),
    ("lambda", "list_functions", {}, "lambda:ListFunctions"),
    ("dynamodb", "list_tables", {}, "dynamodb:ListTables"),
    ("cloudwatch", "list_metrics", {}, "monitoring:ListMetrics"),
    ("route53", "list_hosted_zones", {}, "route53:ListHostedZones"),
    ("autoscaling", "describe_tags", {}, "autoscaling:DescribeTags"),
]


@pytest.mark.parametrize(("service", "method", "given", "name"), UNSERVED)
def test_what_is_not_served_says_so(
    aws: Services, service: str, method: str, given: dict[str, Any], name: str
) -> None:
    used = client(aws.cluster, service)
    code, message, status = code_of(getattr(used, method), **given)
    assert (code, status) == ("UnsupportedOperation", 400)
    assert f"does not serve {name}" in message


def test_a_region_that_is_none_is_named(aws: Services) -> None:
    said = ("UnsupportedOperation", "The practice cluster has no region us-east-9.", 400)
    for service, method in (("ec2", "describe_vpcs"), ("kms", "list_keys")):
        used = client(aws.cluster, service, region_name="us-east-9")
        assert code_of(getattr(used, method)) == said


@pytest.mark.parametrize("service", ["sts", "iam", "kms", "s3", "logs", "ec2", "cloudtrail", "ecs"])
def test_requests_without_a_signature(aws: Services, service: str) -> None:
    from botocore import UNSIGNED

    used = client(aws.cluster, service, config=Config(signature_version=UNSIGNED))
    method = {
        "sts": "get_caller_identity",
        "iam": "list_users",
        "kms": "list_keys",
        "logs": "describe_log_groups",
        "ec2": "describe_vpcs",
        "cloudtrail": "lookup_events",
        "ecs": "list_clusters",
    }
    if service == "s3":
        assert code_of(used.list_objects_v2, Bucket="bbb")[::2] == ("AccessDenied", 403)
    else:
        found = code_of(getattr(used, method[service]))
        assert found[::2] == ("MissingAuthenticationToken", 403)


@pytest.mark.parametrize(
    ("service", "method", "code"),
    [
        ("sts", "get_caller_identity", "ExpiredToken"),
        ("ecs", "list_clusters", "ExpiredTokenException"),
        ("logs", "describe_log_groups", "ExpiredTokenException"),
        ("ec2", "describe_vpcs", "RequestExpired"),
        ("s3", "list_buckets", "ExpiredToken"),
    ],
)
def test_expired_credentials(aws: Services, service: str, method: str, code: str) -> None:
    used = client(aws.cluster, service, aws_access_key_id="ASIAEXPIRED1")
    assert code_of(getattr(used, method))[0] == code


@pytest.mark.parametrize(
    ("service", "method", "name", "code"),
    [
        ("iam", "list_users", "ListUsers", "Throttling"),
        ("kms", "list_keys", "ListKeys", "ThrottlingException"),
        ("ec2", "describe_vpcs", "DescribeVpcs", "RequestLimitExceeded"),
        ("s3", "list_buckets", "ListBuckets", "SlowDown"),
    ],
)
def test_throttling(aws: Services, service: str, method: str, name: str, code: str) -> None:
    used = client(aws.cluster, service, config=Config(retries={"total_max_attempts": 1}))
    aws.cluster.sandbox.faults.throttle[name] = 1
    assert code_of(getattr(used, method))[0] == code
    assert getattr(used, method)()


def loose(aws: Services, service: str) -> Any:
    config = Config(parameter_validation=False, retries={"total_max_attempts": 1})
    return client(aws.cluster, service, config=config)


def test_bad_parameters(aws: Services) -> None:
    kms = loose(aws, "kms")
    assert code_of(kms.generate_data_key)[0] == "ValidationException"
    code, message, _ = code_of(kms.generate_data_key, KeyId="k", KeySpec="AES_1")
    assert code == "ValidationException"
    assert "Value 'AES_1' at 'keySpec' failed to satisfy constraint" in message
    assert "Member must satisfy enum value set: [AES_256, AES_128]" in message
    code, message, _ = code_of(loose(aws, "ecs").list_tasks, desiredStatus="BOGUS")
    assert code == "InvalidParameterException" and "'desiredStatus'" in message
    code, message, _ = code_of(loose(aws, "logs").create_log_group, logGroupName="a b")
    assert code == "InvalidParameterException" and "regular expression" in message
    assert code_of(loose(aws, "iam").create_role, RoleName="r")[0] == "ValidationError"
    ssm = loose(aws, "ssm")
    code, message, _ = code_of(ssm.terminate_session, SessionId="x" * 97)
    assert code == "ValidationException" and "length less than or equal to 96" in message


def test_raw_nonsense_is_answered_and_never_a_failure(aws: Services) -> None:
    url = aws.cluster.sandbox.url
    signed = "AWS4-HMAC-SHA256 Credential=AKIAX/20260101/us-east-1/{}/aws4_request, Signature=0"
    for service in ("ecs", "s3", "ec2", "iam", "kms", "x", "lambda"):
        for method in ("GET", "POST", "PUT", "DELETE", "PATCH"):
            for path in ("/", "/a", "/a/b?c", "//", "/%ff%00", "/?Action=X", "/?acl"):
                headers = {"Authorization": signed.format(service)}
                status, _ = get(url + path, method, b"\xff{", headers)
                assert status < 500, (service, method, path)
    headers = {"Authorization": signed.format("ecs"), "X-Amz-Target": "AmazonSSM.Nope"}
    status, text = get(url, "POST", b"[1]", headers)
    assert status == 400 and b"SerializationException" in text
    headers["Authorization"] = signed.format("kms")
    headers["X-Amz-Target"] = "TrentService.CreateKey"
    assert get(url, "POST", b"[" * 100_000, headers)[0] == 400
    assert get(url) == (200, b"ecs-exec-magic practice cluster\n")


def test_pages_of_other_sites_are_refused(aws: Services) -> None:
    url = aws.cluster.sandbox.url
    own = url.removeprefix("http://")
    port = own.partition(":")[2]
    for host in (own, f"localhost:{port}", f"[::1]:{port}", f"a.s3.localhost:{port}", "LOCALHOST"):
        assert get(url, headers={"Host": host})[0] == 200, host
        assert get(url, headers={"Host": host, "Origin": f"http://{host}"})[0] == 200, host
    assert get(url, headers={"Host": "kms.us-west-2.amazonaws.com"})[0] == 200
    # A name that its owner has pointed at this machine makes a page of his "same-origin".
    for host in ("evil.example", f"127.0.0.1.evil.example:{port}", "localhost.evil.example", "[x"):
        assert get(url, headers={"Host": host, "Sec-Fetch-Site": "same-origin"})[0] == 403, host
    for origin in ("http://evil.example", "null", f"http://localhost:{port}", "http://127.0.0.1"):
        assert get(url, "POST", b"x", {"Origin": origin})[0] == 403, origin
    for site in ("cross-site", "same-site"):
        assert get(url, headers={"Sec-Fetch-Site": site})[0] == 403


@pytest.mark.parametrize("service", ["ec2", "iam", "kms", "s3", "logs", "sts"])
def test_regions_that_are_none(aws: Services, service: str) -> None:
    used = client(aws.cluster, service, region_name="moon-base-1")
    method = {"ec2": "describe_vpcs", "iam": "list_users", "kms": "list_keys", "s3": "list_buckets"}
    method |= {"logs": "describe_log_groups", "sts": "get_caller_identity"}
    try:
        getattr(used, method[service])()
    except ClientError as error:
        assert error.response["Error"]["Code"] == "UnsupportedOperation"


def test_expect_100_continue(aws: Services, bucket: str) -> None:
    import http.client

    url = aws.s3.generate_presigned_url("put_object", {"Bucket": bucket, "Key": "expected"})
    target = url.partition(str(aws.cluster.sandbox.port))[2]
    connection = http.client.HTTPConnection("127.0.0.1", aws.cluster.sandbox.port, timeout=20)
    connection.putrequest("PUT", target)
    connection.putheader("Content-Length", "5")
    connection.putheader("Expect", "100-continue")
    connection.endheaders()
    connection.send(b"12345")
    answer = connection.getresponse()
    assert answer.status == 200
    answer.read()
    connection.close()
    assert aws.s3.get_object(Bucket=bucket, Key="expected")["Body"].read() == b"12345"


def test_counters_see_every_service(aws: Services) -> None:
    aws.kms.list_keys()
    aws.iam.list_users(PathPrefix="/x/")
    aws.ec2.describe_vpcs(Filters=[{"Name": "is-default", "Values": ["true"]}])
    with pytest.raises(ClientError):
        aws.s3.get_object(Bucket="no-such-bucket", Key="a/b c")
    calls = aws.cluster.sandbox.counters.calls
    assert calls("ListKeys")[-1].service == "kms"
    assert calls("ListUsers")[-1].parameters == {"PathPrefix": "/x/"}
    given = calls("DescribeVpcs")[-1].parameters
    assert given == {"Filters": [{"Name": "is-default", "Values": ["true"]}]}
    last = calls("GetObject")[-1]
    assert last.parameters.items() >= {"Bucket": "no-such-bucket", "Key": "a/b c"}.items()
    assert last.error == "NoSuchBucket"
