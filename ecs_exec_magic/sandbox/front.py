"""What an HTTP request asks for: service, operation, region, access key and the wire form.

Knows headers, credential scopes, hosts and paths. Never knows parameters, answers or state.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, urlsplit

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["DEFAULT_REGION", "Aim", "Received", "classify", "from_a_page"]

DEFAULT_REGION = "us-east-1"

_SCOPED = re.compile(r"AWS4\S* +.*?Credential=([^/\s,]+)/\d+/([^/\s,]+)/([^/\s,]+)/aws4_request")
_SCOPED_ANYWHERE = re.compile(r"AWS4\S* +.*?Credential=([^/\s,]+)/\d+/([^/\s,]+)/aws4_request")
_OLD_STYLE = re.compile(r"AWS ([^:\s]+):\S+$")
_BUCKET_HOSTS = (
    re.compile(
        r"([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])\.s3(?:[.-][a-z0-9.-]+)?\.(?:localhost|amazonaws\.com)"
    ),
    re.compile(r"(?!s3[.-])([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])\.localhost"),
)
_OUR_HOSTS = re.compile(
    r"127\.0\.0\.1|::1|(?:.+\.)?localhost|.+\.amazonaws\.com(?:\.cn)?|.+\.api\.aws"
)
"""Names that nobody can point at this machine in order to make a page of theirs one of ours."""
_CBOR_PATH = re.compile(r"/service/[^/]+/operation/([A-Za-z0-9]+)$")
_FORM_TYPE = "application/x-www-form-urlencoded"
_TARGETS = {
    "AmazonEC2ContainerServiceV20141113": "ecs",
    "AmazonSSM": "ssm",
    "TrentService": "kms",
    "Logs_20140328": "logs",
    "com.amazonaws.cloudtrail.v20131101.CloudTrail_20131101": "cloudtrail",
    "CloudTrail_20131101": "cloudtrail",
}
_VERSIONS = {"2011-06-15": "sts", "2010-05-08": "iam", "2016-11-15": "ec2"}
_XML_SERVICES = {"s3", "s3express", "cloudfront", "route53"}


@dataclass(frozen=True, slots=True)
class Received:
    """An HTTP request as it came.

    Attributes:
        method: in capitals.
        target: path and query as they were sent, with their escapes.
        headers: names in small letters.
        body: as it was sent.
        source: the caller's address.
    """

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes
    source: str = "127.0.0.1"

    @property
    def path(self) -> str:
        """The path, with its escapes."""
        return self.target.partition("?")[0]

    @property
    def query(self) -> dict[str, str]:
        """The query's fields; a field without a value has an empty one."""
        return dict(parse_qsl(self.target.partition("?")[2], keep_blank_values=True))

    @property
    def form(self) -> dict[str, str]:
        """Query and body of the query protocol together; nothing when they are not text."""
        try:
            body = self.body.decode("utf-8")
        except UnicodeDecodeError:
            return {}
        return {**self.query, **dict(parse_qsl(body, keep_blank_values=True))}


@dataclass(frozen=True, slots=True)
class Aim:
    """What a request asks for.

    Attributes:
        service: the signing name of the service, or empty.
        operation: its name; empty where only the service's model can tell (REST).
        region: of the signature.
        access_key: the access key id; empty for a request without a signature.
        protocol: the form of its answer, ``json``, ``query``, ``ec2``, ``rest-xml``,
            ``rest-json`` or ``cbor``.
        bucket: the bucket that the host names, or empty.
        presigned: whether the signature is in the query.
    """

    service: str
    operation: str
    region: str
    access_key: str
    protocol: str
    bucket: str = ""
    presigned: bool = False


def from_a_page(headers: Mapping[str, str]) -> bool:
    """Whether a browser sends this for a page of another site; names are in small letters."""
    host = headers.get("host", "localhost")
    return (
        headers.get("sec-fetch-site") in ("cross-site", "same-site")
        or headers.get("origin", f"http://{host}").partition("://")[2] != host
        or not _OUR_HOSTS.fullmatch(_name(host))
    )


def classify(received: Received) -> Aim:
    """Tell what a request asks for; never raises, whatever came."""
    access_key, region, scope, presigned = _credential(received)
    bucket = _bucket(received.headers.get("host", ""))
    target = received.headers.get("x-amz-target", "")
    if target:
        prefix, _, operation = target.rpartition(".")
        service = scope or _TARGETS.get(prefix, prefix.partition("_")[0].lower())
        return Aim(service, operation, region, access_key, "json", presigned=presigned)
    if "smithy-protocol" in received.headers:
        found = _CBOR_PATH.search(received.path)
        return Aim(scope, found[1] if found else "", region, access_key, "cbor")
    if scope not in _XML_SERVICES and not bucket and received.path in ("", "/"):
        form = received.form
        if "Action" in form or received.headers.get("content-type", "").startswith(_FORM_TYPE):
            service = scope or _VERSIONS.get(form.get("Version", ""), "")
            protocol = "ec2" if service == "ec2" else "query"
            return Aim(service, form.get("Action", ""), region, access_key, protocol, "", presigned)
        if not access_key:
            return Aim("", "", region, "", "json")
    if scope in ("", "s3", "s3express"):
        return Aim("s3", "", region, access_key, "rest-xml", bucket, presigned)
    protocol = "rest-xml" if scope in _XML_SERVICES else "rest-json"
    return Aim(scope, "", region, access_key, protocol, bucket, presigned)


def _credential(received: Received) -> tuple[str, str, str, bool]:
    """Access key, region and service of the signature, and whether it is in the query."""
    header = received.headers.get("authorization", "")
    if found := _SCOPED.match(header):
        return found[1], found[2], found[3], False
    if found := _SCOPED_ANYWHERE.match(header):  # a signature for several regions names none
        return found[1], DEFAULT_REGION, found[2], False
    if found := _OLD_STYLE.match(header):
        return found[1], DEFAULT_REGION, "s3", False
    query = received.query
    parts = query.get("X-Amz-Credential", "").split("/")
    if len(parts) == 5 and all(parts):
        return parts[0], parts[2], parts[3], True
    if query.get("AWSAccessKeyId"):
        return query["AWSAccessKeyId"], DEFAULT_REGION, "s3", True
    return "", DEFAULT_REGION, "", False


def _name(host: str) -> str:
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def _bucket(host: str) -> str:
    name = _name(host)
    for pattern in _BUCKET_HOSTS:
        if found := pattern.match(name):
            return found[1]
    return ""
