"""AWS's two request protocols, and the checks every API shares.

Knows JSON 1.1, the query protocol, botocore's service models and error bodies. Never knows what an
operation does: services register theirs with :func:`operation`.
"""

from __future__ import annotations

import inspect
import json
import re
import uuid
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import parse_qsl
from xml.sax.saxutils import escape

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from .faults import Faults

from .faults import Call, Counters

__all__ = ["ACCOUNT", "Api", "ApiError", "Caller", "Reply", "operation"]

ACCOUNT = "123456789012"
_TARGETS = {
    "AmazonEC2ContainerServiceV20141113": "ecs",
    "AmazonSSM": "ssm",
    "TrentService": "kms",
    "AWSSecurityTokenServiceV20110615": "sts",
}
_QUERY_VERSIONS = {"2011-06-15": "sts"}
_CREDENTIAL = re.compile(r"Credential=([^/]+)/[^/]+/([^/]+)/([^/]+)/aws4_request")
_EXPIRED = "ASIAEXPIRED"
_XMLNS = "https://sts.amazonaws.com/doc/2011-06-15/"

_F = TypeVar("_F", bound="Callable[..., Any]")


class ApiError(Exception):
    """An error answer.

    Args:
        code: AWS's error code.
        message: AWS's own wording where it is known.
        status: the HTTP status.
    """

    def __init__(self, code: str, message: str, status: int = 400) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.status = status


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls: the access key id and the region of the signature, and what STS tells of it."""

    access_key: str
    region: str
    arn: str = f"arn:aws:iam::{ACCOUNT}:user/sandbox"
    account_id: str = ACCOUNT


@dataclass(slots=True)
class Reply:
    """An HTTP answer."""

    status: int
    body: bytes
    headers: dict[str, str] = field(default_factory=dict)


def operation(name: str) -> Callable[[_F], _F]:
    """Mark a method as the implementation of an AWS operation."""

    def mark(function: _F) -> _F:
        function.__aws_operation__ = name  # type: ignore[attr-defined]  # a tag on a function
        return function

    return mark


class Api:
    """Takes HTTP requests to AWS operations and their answers back.

    Args:
        services: objects with a ``service`` name and methods marked by :func:`operation`.
        faults: what is broken on purpose.
        counters: notes every call.
    """

    def __init__(self, services: list[Any], faults: Faults, counters: Counters) -> None:
        self._faults = faults
        self._counters = counters
        self._operations: dict[tuple[str, str], Callable[..., Any]] = {}
        for service in services:
            for _name, method in inspect.getmembers(service, inspect.ismethod):
                tag = getattr(method, "__aws_operation__", None)
                if tag:
                    self._operations[service.service, tag] = method
        self._models: dict[str, Any] = {}
        self._session: Any = None

    def _model(self, service: str) -> Any:
        if service not in self._models:
            import botocore.session

            self._session = self._session or botocore.session.Session()
            self._models[service] = self._session.get_service_model(service)
        return self._models[service]

    async def answer(self, headers: Mapping[str, str], body: bytes) -> Reply:
        """Answer one POST request; never raises for what a caller did."""
        request_id = str(uuid.uuid4())
        service, name, query = "", "", False
        given: dict[str, Any] = {}
        caller = Caller("", "us-east-1")
        code = ""
        try:
            caller = _caller(headers)
            service, name, given, query = _parse(headers, body)
            if query:
                given = {k: v for k, v in given.items() if k not in ("Action", "Version")}
            output = await self._run(service, name, given, caller)
            reply = self._success(service, name, output, query, request_id)
        except ApiError as error:
            code = error.code
            reply = _failure(error, query, request_id)
        finally:
            self._counters.add_call(
                Call(service, name, given, caller.region, caller.access_key, code)
            )
        return reply

    async def _run(
        self, service: str, name: str, given: dict[str, Any], caller: Caller
    ) -> dict[str, Any]:
        method = self._operations.get((service, name))
        if method is None:
            raise ApiError(
                "UnsupportedOperation",
                f"The practice cluster does not serve {service or 'this service'}:{name}.",
            )
        if caller.access_key.startswith(_EXPIRED):
            expired = "ExpiredToken" if service == "sts" else "ExpiredTokenException"
            raise ApiError(expired, "The security token included in the request is expired", 403)
        if self._faults.throttle.get(name, 0) > 0:
            self._faults.throttle[name] -= 1
            raise ApiError("ThrottlingException", "Rate exceeded")
        self._validate(service, name, given)
        output = method(given, caller)
        if inspect.isawaitable(output):
            output = await output
        assert isinstance(output, dict)
        return output

    def _validate(self, service: str, name: str, given: dict[str, Any]) -> None:
        from botocore.validate import ParamValidator

        shape = self._model(service).operation_model(name).input_shape
        if shape is None:
            return
        report = ParamValidator().validate(_decode_blobs(given, shape), shape)
        if report.has_errors():
            code = "ValidationException" if service in ("kms", "ssm") else "ClientException"
            if service == "ecs":
                code = "InvalidParameterException"
            raise ApiError(code, report.generate_report())

    def _success(
        self, service: str, name: str, output: dict[str, Any], query: bool, request_id: str
    ) -> Reply:
        shape = self._model(service).operation_model(name).output_shape
        shaped = _shape(output, shape, name) if shape is not None else {}
        if query:
            members = "".join(f"<{k}>{escape(str(v))}</{k}>" for k, v in shaped.items())
            text = (
                f'<{name}Response xmlns="{_XMLNS}"><{name}Result>{members}</{name}Result>'
                f"<ResponseMetadata><RequestId>{request_id}</RequestId></ResponseMetadata>"
                f"</{name}Response>"
            )
            return _reply(200, text, "text/xml", request_id)
        return _reply(200, json.dumps(shaped), "application/x-amz-json-1.1", request_id)


def _caller(headers: Mapping[str, str]) -> Caller:
    found = _CREDENTIAL.search(headers.get("Authorization", ""))
    if found is None:
        raise ApiError("MissingAuthenticationToken", "Missing Authentication Token", 403)
    return Caller(found[1], found[2])


def _parse(headers: Mapping[str, str], body: bytes) -> tuple[str, str, dict[str, Any], bool]:
    target = headers.get("X-Amz-Target", "")
    if target:
        prefix, _, name = target.rpartition(".")
        try:
            given = json.loads(body or b"{}")
        except ValueError:
            given = None
        if not isinstance(given, dict):
            raise ApiError("SerializationException", "The request is not a JSON object")
        return _TARGETS.get(prefix, prefix), name, given, False
    try:
        form = dict(parse_qsl(body.decode("ascii"), keep_blank_values=True))
    except UnicodeDecodeError:
        form = {}
    service = _QUERY_VERSIONS.get(form.get("Version", ""), "")
    return service, form.get("Action", "unknown"), dict(form), True


def _decode_blobs(given: dict[str, Any], shape: Any) -> dict[str, Any]:
    """Blobs travel as base64 text; botocore's validator wants bytes."""
    blobs = {n for n, member in shape.members.items() if member.type_name == "blob"}
    return {k: v.encode() if k in blobs and isinstance(v, str) else v for k, v in given.items()}


def _shape(value: Any, shape: Any, path: str) -> Any:
    """Make an output JSON, and hold it to the service model: an unknown member is our own error."""
    kind = shape.type_name
    if kind == "structure":
        unknown = set(value) - set(shape.members)
        if unknown:
            raise TypeError(f"{path} has no member {', '.join(sorted(unknown))}")
        return {
            k: _shape(v, shape.members[k], f"{path}.{k}") for k, v in value.items() if v is not None
        }
    if kind == "list":
        return [_shape(v, shape.member, f"{path}[]") for v in value]
    if kind == "map":
        return {k: _shape(v, shape.value, f"{path}.{k}") for k, v in value.items()}
    if kind == "timestamp":
        return value.timestamp() if isinstance(value, datetime) else round(float(value), 3)
    wanted = {"string": str, "boolean": bool, "integer": int, "long": int, "blob": str}.get(kind)
    if wanted is not None and not isinstance(value, wanted):
        raise TypeError(f"{path} must be {wanted.__name__}, not {type(value).__name__}")
    return value


def _reply(status: int, text: str, content_type: str, request_id: str) -> Reply:
    headers = {"Content-Type": content_type, "x-amzn-RequestId": request_id}
    return Reply(status, text.encode(), headers)


def _failure(error: ApiError, query: bool, request_id: str) -> Reply:
    if query:
        text = (
            f'<ErrorResponse xmlns="{_XMLNS}"><Error><Type>Sender</Type>'
            f"<Code>{escape(error.code)}</Code><Message>{escape(error.message)}</Message></Error>"
            f"<RequestId>{request_id}</RequestId></ErrorResponse>"
        )
        return _reply(error.status, text, "text/xml", request_id)
    body = json.dumps({"__type": error.code, "message": error.message})
    return _reply(error.status, body, "application/x-amz-json-1.1", request_id)
