"""One API for every service: who calls, whether it may, who answers, and what is remembered of it.

Knows services, callers, faults and the trail. Never knows what an operation does: services register
theirs with :func:`operation`, and what no service of ours answers goes to the account.
"""

from __future__ import annotations

import asyncio
import inspect
import json
import logging
import re
import secrets
import time
import uuid
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from .account import Unserved, regions
from .faults import Call, Counters
from .front import Aim, Received, classify
from .handover import Handover, identify
from .protocols import (
    ApiError,
    Reply,
    answer,
    failure,
    match_rest,
    query_parameters,
    rest_parameters,
    told,
)
from .shapes import Models, problem, shaped

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from .account import Account
    from .faults import Faults
    from .trail import Trail

__all__ = ["Api", "ApiError", "Caller", "Gate", "Principal", "Reply", "operation"]

_LOG = logging.getLogger(__name__)

_OURS = {"ecs", "ssm", "cloudtrail", "servicequotas"}
"""Services of which moto is asked nothing."""
_THEIRS = {"sts", "kms", "s3", "logs", "iam", "ec2"}
_EXPIRED_KEY = "ASIAEXPIRED"
_EXPIRED = "The security token included in the request is expired"
_INVALID = {
    "ecs": "InvalidParameterException",
    "logs": "InvalidParameterException",
    "iam": "ValidationError",
    "sts": "ValidationError",
}
_UNCHECKED = {"ec2", "s3"}
"""Services whose parameters are moto's to judge: their models state little, or lie in the body."""
_BUCKET = re.compile(r"[a-zA-Z0-9.\-_]{1,255}")

_F = TypeVar("_F", bound="Callable[..., Any]")


class Principal(Protocol):
    """A user, an assumed role or the root user."""

    @property
    def arn(self) -> str:
        """As STS tells it."""

    @property
    def kind(self) -> str:
        """``root``, ``user`` or ``assumed-role``."""

    @property
    def name(self) -> str:
        """The user's name, or ``ROLE/SESSION``."""

    @property
    def user_id(self) -> str:
        """The unique id, as STS tells it."""

    @property
    def role_arn(self) -> str | None:
        """The role behind an assumed role."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls.

    Attributes:
        access_key: the access key id of the signature.
        region: of the signature.
        arn: the caller's identity, as STS tells it.
        account_id: the account that is called.
        principal: the identity in full, where it is known.
    """

    access_key: str
    region: str
    arn: str
    account_id: str
    principal: Principal | None = None


class Identifier(Protocol):
    """Finds who an access key belongs to; ApiError for one that may not call."""

    async def resolve(self, access_key: str, service: str = "") -> Principal:
        """The principal of an access key; the service decides how an error is worded."""


class Gate(Protocol):
    """Decides whether a call may be made, before anything is done."""

    async def admit(
        self, caller: Caller, service: str, operation: str, given: Mapping[str, Any]
    ) -> None:
        """Let a call pass, or raise ApiError."""

    def changed(self) -> None:
        """Note that something in IAM was changed."""


def operation(*names: str, after: bool = False) -> Callable[[_F], _F]:
    """Mark a method as the implementation of an AWS operation, or of several.

    It takes the parameters and the Caller and returns the answer's members. For a service that
    the account serves it may return None instead: then the account answers.

    Args:
        names: the operations.
        after: the account answers, and the method is called when it has succeeded.
    """

    def mark(function: _F) -> _F:
        function.__aws_operations__ = (names, after)  # type: ignore[attr-defined]  # a tag
        return function

    return mark


@dataclass(slots=True)
class _Exchange:
    """One call on its way through."""

    received: Received
    aim: Aim
    caller: Caller
    request_id: str
    given: dict[str, Any] = field(default_factory=dict)
    path: str = ""
    output: dict[str, Any] | None = None


class Api:
    """Takes HTTP requests to AWS operations and their answers back.

    Args:
        services: objects with a ``service`` name and methods marked by :func:`operation`.
        faults: what is broken on purpose.
        counters: notes every call.
        account: answers what no service does.
        identities: tells who calls.
        trail: remembers management calls; None remembers nothing.
        gate: decides who may; None lets everyone pass.
    """

    def __init__(
        self,
        services: list[Any],
        faults: Faults,
        counters: Counters,
        *,
        account: Account,
        identities: Identifier,
        trail: Trail | None = None,
        gate: Gate | None = None,
    ) -> None:
        self._faults = faults
        self._counters = counters
        self._account = account
        self._identities = identities
        self._trail = trail
        self._gate = gate
        self._models = Models()
        self._handover = Handover(account)
        self._operations: dict[tuple[str, str, bool], Callable[..., Any]] = {}
        for service in services:
            for _name, method in inspect.getmembers(service, inspect.ismethod):
                names, after = getattr(method, "__aws_operations__", ((), False))
                for name in names:
                    self._operations[service.service, name, after] = method

    async def answer(self, received: Received) -> Reply:
        """Answer one request; never raises for what a caller did."""
        aim = classify(received)
        request_id = secrets.token_hex(8).upper() if aim.service == "s3" else str(uuid.uuid4())
        exchange = _Exchange(
            received, aim, Caller("", aim.region, "", self._account.account_id), request_id
        )
        error: ApiError | None = None
        try:
            await self._understand(exchange)
            exchange.caller = await self._caller(exchange)
            reply = await self._run(exchange)
            if reply.status >= 300:
                error = await self._error_of(exchange.aim, reply)
        except ApiError as found:
            error = found
            reply = failure(exchange.aim, error, request_id)
        except Unserved as found:
            _LOG.debug("%s:%s: %s", aim.service, exchange.aim.operation, found)
            error = _unsupported(exchange, partly=found.partly)
            if aim.region not in regions():
                text = f"The practice cluster has no region {aim.region}."
                error = ApiError("UnsupportedOperation", text)
            reply = failure(exchange.aim, error, request_id)
        except Exception:  # noqa: BLE001  # an error of ours: the caller sees a service failure
            _LOG.exception("the practice cluster failed on a request")
            error = ApiError("InternalFailure", "The practice cluster failed; see its log.", 500)
            reply = failure(exchange.aim, error, request_id)
        self._remember(exchange, error)
        return reply

    # what is asked

    async def _understand(self, exchange: _Exchange) -> None:
        """Fill in the operation and its parameters."""
        aim, received = exchange.aim, exchange.received
        if not aim.access_key:
            raise _unsigned(aim)
        if aim.protocol == "json":
            exchange.given = _json(received.body)
        elif aim.protocol in ("query", "ec2"):
            model = await self._model(aim)
            if model is not None and model.input_shape is not None:
                exchange.given = query_parameters(received.form, model.input_shape)
        elif aim.protocol != "cbor":
            path = f"/{aim.bucket}{received.path}" if aim.bucket else received.path
            exchange.path = path
            service = await self._service(aim.service)
            if service is not None:
                name = match_rest(service, received.method, path, received.query, received.headers)
                exchange.aim = aim = replace(aim, operation=name)
            if aim.operation:
                model = await self._model(aim)
                exchange.given = rest_parameters(model, received, path)
                if aim.service == "s3" and not _BUCKET.fullmatch(exchange.given.get("Bucket", "b")):
                    raise ApiError("InvalidBucketName", "The specified bucket is not valid.")
        if aim.presigned:
            _still_valid(received.query)

    async def _service(self, name: str) -> Any:
        if name in self._models or name in _OURS:
            return self._models.get(name)
        return await asyncio.to_thread(self._models.get, name)  # EC2's takes a while

    async def _model(self, aim: Aim) -> Any:
        await self._service(aim.service)
        return self._models.operation(aim.service, aim.operation)

    async def _caller(self, exchange: _Exchange) -> Caller:
        aim = exchange.aim
        if aim.access_key.startswith(_EXPIRED_KEY):
            raise _in_form(aim, "ExpiredTokenException", _EXPIRED, 403)
        principal = await self._identities.resolve(aim.access_key, aim.service)
        return Caller(
            aim.access_key, aim.region, principal.arn, self._account.account_id, principal
        )

    # who answers

    async def _run(self, exchange: _Exchange) -> Reply:
        aim, given, caller = exchange.aim, exchange.given, exchange.caller
        method = self._operations.get((aim.service, aim.operation, False))
        if method is None and (aim.service not in _THEIRS or not aim.operation):
            raise _unsupported(exchange)
        if refusal := self._faults.refusal(aim.service, aim.operation, caller.arn):
            raise _in_form(aim, *refusal)
        model = await self._model(aim)
        if model is None:
            raise _unsupported(exchange)
        if aim.service not in _UNCHECKED:
            found = problem(given, model.input_shape, strict=aim.service != "cloudtrail")
            if found:
                raise ApiError(_INVALID.get(aim.service, "ValidationException"), found)
        if self._gate is not None:
            await self._gate.admit(caller, aim.service, aim.operation, given)
        if method is not None:
            output = await _result(method(given, caller))
            if output is not None or aim.service in _OURS:
                shape = model.output_shape
                exchange.output = (
                    shaped(output or {}, shape, aim.operation) if shape is not None else {}
                )
                return answer(aim, exchange.output, shape, exchange.request_id)
        reply = await self._handover.pass_on(exchange.received, aim, exchange.path)
        identify(reply, aim, exchange.request_id)
        if reply.status < 300:
            then = self._operations.get((aim.service, aim.operation, True))
            if then is not None:
                await _result(then(given, caller))
            if self._trail is not None and self._trail.shows_answer(aim.service, aim.operation):
                exchange.output = await self._parsed(aim, model, reply)
        return reply

    # what is remembered

    async def _parsed(self, aim: Aim, model: Any, reply: Reply) -> dict[str, Any]:
        """An answer of the account as a client would see it."""
        from botocore.parsers import create_parser

        response = {"status_code": reply.status, "headers": reply.headers, "body": reply.body}
        shape = model.output_shape if model is not None else None
        found: dict[str, Any] = create_parser(aim.protocol).parse(response, shape)
        found.pop("ResponseMetadata", None)
        return found

    async def _error_of(self, aim: Aim, reply: Reply) -> ApiError:
        found = (await self._parsed(aim, None, reply)).get("Error", {})
        code = str(found.get("Code", reply.status))
        return ApiError(code, str(found.get("Message", "")), reply.status)

    def _remember(self, exchange: _Exchange, error: ApiError | None) -> None:
        aim, caller = exchange.aim, exchange.caller
        code = error.code if error is not None else ""
        self._counters.add_call(
            Call(aim.service, aim.operation, exchange.given, aim.region, aim.access_key, code)
        )
        reads = aim.operation.startswith(("Get", "List", "Simulate"))
        if self._gate is not None and aim.service == "iam" and not reads:
            self._gate.changed()
        if self._trail is None or not caller.access_key or not aim.operation:
            return
        received = exchange.received
        self._trail.record(
            service=aim.service,
            operation=aim.operation,
            caller=caller,
            parameters=exchange.given,
            output=exchange.output,
            error=error,
            request_id=exchange.request_id,
            source=received.source,
            agent=received.headers.get("user-agent", ""),
        )


async def _result(value: Any) -> dict[str, Any] | None:
    """What a method returned; an error of a call it made inside the account goes to the caller."""
    from botocore.exceptions import ClientError

    try:
        found = await value if inspect.isawaitable(value) else value
    except ClientError as error:
        raise told(error) from None
    assert found is None or isinstance(found, dict)
    return found


def _json(body: bytes) -> dict[str, Any]:
    try:
        given = json.loads(body or b"{}", object_hook=_without_nulls)
    except (ValueError, RecursionError):
        given = None
    if not isinstance(given, dict):
        raise ApiError("SerializationException", "The request is not a JSON object")
    return given


_FORMS = {
    ("Throttling", "ec2"): ("RequestLimitExceeded", "Request limit exceeded.", 503),
    ("Throttling", "rest-xml"): ("SlowDown", "Please reduce your request rate.", 503),
    ("Throttling", "query"): ("Throttling", "Rate exceeded", 400),
    ("ExpiredToken", "ec2"): ("RequestExpired", "Request has expired.", 400),
    ("ExpiredToken", "rest-xml"): ("ExpiredToken", "The provided token has expired.", 400),
    ("ExpiredToken", "query"): ("ExpiredToken", _EXPIRED, 403),
}


def _in_form(aim: Aim, code: str, message: str, status: int) -> ApiError:
    """An error that each protocol words in its own way."""
    return ApiError(
        *_FORMS.get((code.removesuffix("Exception"), aim.protocol), (code, message, status))
    )


def _without_nulls(members: dict[str, Any]) -> dict[str, Any]:
    """A member that is null is none, as some SDKs send them."""
    return {k: v for k, v in members.items() if v is not None}


def _unsigned(aim: Aim) -> ApiError:
    if aim.protocol == "rest-xml":
        return ApiError("AccessDenied", "Access Denied", 403)
    text = "Missing Authentication Token"
    if aim.protocol in ("query", "ec2"):
        text = "Request is missing Authentication Token"
    return ApiError("MissingAuthenticationToken", text, 403)


def _unsupported(exchange: _Exchange, *, partly: bool = False) -> ApiError:
    aim, received = exchange.aim, exchange.received
    name = aim.operation or f"{received.method} {exchange.path or received.path}"
    return ApiError(
        "UnsupportedOperation",
        f"The practice cluster does not serve {aim.service or 'this service'}:{name}"
        f"{' with these parameters' if partly else ''}.",
    )


def _still_valid(query: Mapping[str, str]) -> None:
    """Refuse a presigned URL after its time."""
    try:
        if "X-Amz-Date" in query:
            signed = datetime.strptime(query["X-Amz-Date"], "%Y%m%dT%H%M%SZ")
            until = signed.replace(tzinfo=timezone.utc).timestamp()
            until += float(query.get("X-Amz-Expires", "604800"))
        else:
            until = float(query.get("Expires", "inf"))
    except ValueError:
        code = "AuthorizationQueryParametersError"
        raise ApiError(code, "X-Amz-Date and X-Amz-Expires must be a date and a number") from None
    if time.time() > until:
        raise ApiError("AccessDenied", "Request has expired", 403)
