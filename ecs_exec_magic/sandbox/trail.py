"""CloudTrail: which calls were made, by whom, and how they were answered.

Knows events as CloudTrail shows them, and how they are looked up. Never knows wire forms, and keeps
no secret.
"""

from __future__ import annotations

import base64
import json
import time
import uuid
from collections import deque
from dataclasses import dataclass
from datetime import date, datetime, timezone
from typing import TYPE_CHECKING, Any

from .account import OWN_ID
from .api import ApiError, operation

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from .api import Caller
    from .pace import Pace

__all__ = ["Event", "Trail", "TrailService", "is_data_event", "is_read_only"]

_CAPACITY = 10_000
_PAGE = 50
_HIDDEN = "HIDDEN_DUE_TO_SECURITY_REASONS"
_HIDDEN_KEYS = {"tokenvalue", "password", "oldpassword", "newpassword", "sessiontoken"}
_DROPPED_KEYS = {"plaintext", "secretaccesskey", "ciphertextblob", "privatekeyplaintext"}
_DROPPED_KEYS |= {"privatekeyciphertextblob", "keymaterial", "mac", "privatekey", "message"}
_READS = ("Get", "List", "Describe", "Head", "Lookup", "Search", "BatchGet", "Simulate", "Select")
_READS_TOO = {
    "kms": {"Encrypt", "Decrypt", "ReEncrypt", "Sign", "Verify", "GenerateMac", "VerifyMac"},
    "sts": {"AssumeRole", "AssumeRoleWithSAML", "AssumeRoleWithWebIdentity"},
    "logs": {"FilterLogEvents", "StartQuery", "TestMetricFilter"},
}  # fmt: skip
_DATA = {
    "logs": {"PutLogEvents", "GetLogEvents", "FilterLogEvents", "StartLiveTail"},
    "s3": {"ListObjects", "ListObjectsV2", "ListObjectVersions", "ListMultipartUploads",
           "DeleteObjects"},
}  # fmt: skip
_GLOBAL = {"iam": "us-east-1"}

_RESOURCES = {
    "cluster": "AWS::ECS::Cluster",
    "clusterName": "AWS::ECS::Cluster",
    "service": "AWS::ECS::Service",
    "serviceName": "AWS::ECS::Service",
    "task": "AWS::ECS::Task",
    "taskDefinition": "AWS::ECS::TaskDefinition",
    "family": "AWS::ECS::TaskDefinition",
    "roleName": "AWS::IAM::Role",
    "roleArn": "AWS::IAM::Role",
    "userName": "AWS::IAM::User",
    "policyArn": "AWS::IAM::Policy",
    "policyName": "AWS::IAM::Policy",
    "keyId": "AWS::KMS::Key",
    "targetKeyId": "AWS::KMS::Key",
    "aliasName": "AWS::KMS::Alias",
    "bucketName": "AWS::S3::Bucket",
    "logGroupName": "AWS::Logs::LogGroup",
    "groupId": "AWS::EC2::SecurityGroup",
    "groupName": "AWS::EC2::SecurityGroup",
    "subnetId": "AWS::EC2::Subnet",
    "vpcId": "AWS::EC2::VPC",
    "networkInterfaceId": "AWS::EC2::NetworkInterface",
    "sessionId": "AWS::SSM::Session",
}


def is_read_only(service: str, operation_name: str) -> bool:
    """Whether CloudTrail calls an operation read-only."""
    return (
        operation_name.startswith(_READS)
        or operation_name in _READS_TOO.get(service, ())
        or (service == "kms" and operation_name.startswith("GenerateDataKey"))
    )


def is_data_event(service: str, operation_name: str) -> bool:
    """Whether an operation is none of CloudTrail's management events."""
    if operation_name in _DATA.get(service, ()):
        return True
    objects = ("Object", "Part", "Parts", "MultipartUpload", "ObjectContent")
    if service != "s3" or "Configuration" in operation_name:
        return False
    return operation_name.endswith(objects) or "Object" in operation_name


@dataclass(frozen=True, slots=True)
class Event:
    """One call, as it is looked up.

    Attributes:
        number: in the order of the calls.
        at: seconds since 1970.
        region: where it is listed.
        record: what CloudTrail shows of it.
        user: the user's or role's name.
        resources: pairs of type and name.
    """

    number: int
    at: float
    region: str
    record: dict[str, Any]
    user: str
    resources: tuple[tuple[str, str], ...]

    def view(self) -> dict[str, Any]:
        """The event as LookupEvents gives it."""
        return {
            "EventId": self.record["eventID"],
            "EventName": self.record["eventName"],
            "ReadOnly": "true" if self.record["readOnly"] else "false",
            "AccessKeyId": self.record["userIdentity"]["accessKeyId"],
            "EventTime": self.at,
            "EventSource": self.record["eventSource"],
            "Username": self.user,
            "Resources": [{"ResourceType": t, "ResourceName": n} for t, n in self.resources],
            "CloudTrailEvent": json.dumps(self.record, separators=(",", ":")),
        }


class Trail:
    """The last ten thousand management events.

    Args:
        pace: how long an event takes to be found, and how often events may be looked up.

    Attributes:
        lookups: as the pace says.
    """

    def __init__(self, pace: Pace) -> None:
        self._delay = pace.trail
        self.lookups = pace.lookups
        self._events: deque[Event] = deque(maxlen=_CAPACITY)
        self._count = 0

    @staticmethod
    def shows_answer(service: str, operation_name: str) -> bool:
        """Whether the answer of an operation is kept with its event."""
        if service == "sts" and operation_name.startswith("AssumeRole"):
            return True
        return not is_read_only(service, operation_name) and not is_data_event(
            service, operation_name
        )

    def record(
        self,
        *,
        service: str,
        operation: str,
        caller: Caller,
        parameters: dict[str, Any],
        output: dict[str, Any] | None,
        error: ApiError | None,
        request_id: str,
        source: str,
        agent: str,
    ) -> None:
        """Remember a call; data events are left out."""
        if is_data_event(service, operation):
            return
        now, region = time.time(), _GLOBAL.get(service, caller.region)
        asked = _cleaned(parameters) or None
        if service == "s3" and asked and "bucket" in asked:
            asked["bucketName"] = asked.pop("bucket")
            asked["Host"] = "s3.amazonaws.com"
        answered = None
        if error is None and output and self.shows_answer(service, operation):
            answered = _cleaned(output) or None
        record: dict[str, Any] = {
            "eventVersion": "1.09",
            "userIdentity": _identity(caller),
            "eventTime": _moment(now),
            "eventSource": f"{service}.amazonaws.com",
            "eventName": operation,
            "awsRegion": region,
            "sourceIPAddress": source,
            "userAgent": agent,
        }
        if error is not None:
            record["errorCode"] = error.code
            record["errorMessage"] = error.message
        record |= {
            "requestParameters": asked,
            "responseElements": answered,
            "requestID": request_id,
            "eventID": str(uuid.uuid4()),
            "readOnly": is_read_only(service, operation),
            "eventType": "AwsApiCall",
            "managementEvent": True,
            "recipientAccountId": caller.account_id,
            "eventCategory": "Management",
        }
        name = caller.principal.name if caller.principal is not None else caller.arn
        self._count += 1
        self._events.append(
            Event(
                self._count,
                now,
                region,
                record,
                name.rpartition("/")[2],
                tuple(_resources(asked or {})),
            )
        )

    def newest_first(self, region: str) -> Iterator[Event]:
        """The events of a region that can be found by now."""
        until = time.time() - self._delay
        return (e for e in reversed(list(self._events)) if e.region == region and e.at <= until)


def _identity(caller: Caller) -> dict[str, Any]:
    principal = caller.principal
    account, name = caller.account_id, caller.arn.rpartition("/")[2]
    shared = {"arn": caller.arn, "accountId": account, "accessKeyId": caller.access_key}
    identifier = principal.user_id if principal is not None else OWN_ID
    if principal is not None and principal.kind == "assumed-role":
        role = (principal.role_arn or "").rpartition("/")[2]
        issuer = {
            "type": "Role",
            "principalId": identifier.partition(":")[0],
            "arn": principal.role_arn,
            "accountId": account,
            "userName": role,
        }
        context = {"sessionIssuer": issuer, "attributes": {"mfaAuthenticated": "false"}}
        return {
            "type": "AssumedRole",
            "principalId": identifier,
            **shared,
            "sessionContext": context,
        }
    if principal is not None and principal.kind == "root":
        return {"type": "Root", "principalId": account, **shared}
    return {"type": "IAMUser", "principalId": identifier, **shared, "userName": name}


def _cleaned(value: Any) -> Any:
    """A value as CloudTrail has it: names begin small, and secrets are gone."""
    if isinstance(value, dict):
        found = {}
        for key, item in value.items():
            plain = key.lower()
            if plain in _DROPPED_KEYS or isinstance(item, (bytes, bytearray)) or item is None:
                continue
            name = key[:1].lower() + key[1:]
            found[name] = _HIDDEN if plain in _HIDDEN_KEYS else _cleaned(item)
        return found
    if isinstance(value, (list, tuple)):
        return [_cleaned(item) for item in value if not isinstance(item, (bytes, bytearray))]
    if isinstance(value, (datetime, date)):
        return value.strftime("%b %d, %Y, %I:%M:%S %p")
    return value if isinstance(value, (str, int, float, bool)) else str(value)


def _resources(asked: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for key, kind in _RESOURCES.items():
        name = asked.get(key)
        if isinstance(name, str) and name:
            yield kind, name


def _moment(at: float) -> str:
    return datetime.fromtimestamp(at, timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


_ATTRIBUTES: dict[str, Callable[[Event, str], bool]] = {
    "EventId": lambda e, v: e.record["eventID"] == v,
    "EventName": lambda e, v: e.record["eventName"] == v,
    "ReadOnly": lambda e, v: ("true" if e.record["readOnly"] else "false") == v.lower(),
    "Username": lambda e, v: e.user == v,
    "ResourceType": lambda e, v: any(t == v for t, _ in e.resources),
    "ResourceName": lambda e, v: any(n == v for _, n in e.resources),
    "EventSource": lambda e, v: e.record["eventSource"] == v,
    "AccessKeyId": lambda e, v: e.record["userIdentity"]["accessKeyId"] == v,
}


class TrailService:
    """CloudTrail's LookupEvents.

    Args:
        trail: what happened.
    """

    service = "cloudtrail"

    def __init__(self, trail: Trail) -> None:
        self._trail = trail
        self._asked: dict[str, deque[float]] = {}

    @operation("LookupEvents")
    def op_lookup_events(self, given: dict[str, Any], caller: Caller) -> dict[str, Any]:
        """The events that fit, newest first, a page at a time; no more than some a second."""
        if self._trail.lookups:
            asked = self._asked.setdefault(caller.region, deque(maxlen=self._trail.lookups))
            now = time.monotonic()
            if len(asked) == asked.maxlen and now - asked[0] < 1:
                raise ApiError("ThrottlingException", "Rate exceeded")
            asked.append(now)
        fits = _filter(given)
        size = given.get("MaxResults", _PAGE)
        if not 1 <= size <= _PAGE:
            raise ApiError(
                "InvalidMaxResultsException",
                "The number of results requested is not valid: specify a value from 1 to 50.",
            )
        below = _position(given["NextToken"]) if "NextToken" in given else None
        found: list[Event] = []
        for event in self._trail.newest_first(caller.region):
            if (below is None or event.number < below) and fits(event):
                found.append(event)
                if len(found) > size:
                    break
        page = found[:size]
        token = None
        if len(found) > size:
            token = base64.b64encode(f"before {page[-1].number}".encode()).decode()
        return {"Events": [event.view() for event in page], "NextToken": token}


def _position(token: str) -> int:
    try:
        word, _, number = base64.b64decode(token, validate=True).decode("ascii").partition(" ")
        if word != "before":
            raise ValueError
        return int(number)
    except ValueError:
        raise ApiError(
            "InvalidNextTokenException",
            "The token is not valid or was previously used in a request with different parameters.",
        ) from None


def _seconds(moment: Any) -> float:
    try:
        return float(moment)
    except ValueError:
        from botocore.utils import parse_timestamp

        try:
            return float(parse_timestamp(moment).timestamp())
        except ValueError:
            raise ApiError("InvalidTimeRangeException", f"{moment} is no time.") from None


def _filter(given: dict[str, Any]) -> Callable[[Event], bool]:
    wanted = given.get("LookupAttributes") or []
    if len(wanted) > 1:
        raise ApiError(
            "InvalidLookupAttributesException", "You can specify only one lookup attribute."
        )
    for attribute in wanted:
        if attribute["AttributeKey"] not in _ATTRIBUTES:
            raise ApiError(
                "InvalidLookupAttributesException",
                f"The lookup attribute key {attribute['AttributeKey']} is not valid.",
            )
    if given.get("EventCategory"):  # Insights events are another kind, of which there are none
        return lambda _event: False
    start, end = _seconds(given.get("StartTime", 0)), _seconds(given.get("EndTime", "inf"))
    if start > end:
        raise ApiError(
            "InvalidTimeRangeException", "The start time must be earlier than the end time."
        )
    tests = [(_ATTRIBUTES[a["AttributeKey"]], a["AttributeValue"]) for a in wanted]
    return lambda event: start <= event.at <= end and all(test(event, v) for test, v in tests)
