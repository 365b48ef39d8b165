"""What botocore's errors mean, in plain words.

Knows error codes, messages and what to do about them. Never knows clients; makes no call.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from ..errors import (
    AccessDenied,
    AgentNotConnected,
    ConnectError,
    CredentialsError,
    EcsExecError,
    ExecNotEnabled,
    InvalidRequest,
    ServiceError,
    TargetNotFound,
    Throttled,
)

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["map_error", "redact", "tells_secrets"]

# -- secrets -------------------------------------------------------------------------------------

_SECRET = re.compile(
    r"(?P<key>token_?value|secret_?access_?key|session_?token|access_?token|x-amz-security-token|"
    r"x-amz-signature|\bsignature(?==)|plaintext|client_?secret|refresh_?token)"
    r"(?P<between>[\\\"']*\s*[:=>]\s*b?[\\\"']*)"
    r"(?P<value>[^\s\\\"'<>&,;}]+)",
    re.IGNORECASE,
)
_USERINFO = re.compile(r"(?<=://)[^/\s@:\"']*:[^/\s@\"']*(?=@)")


def redact(text: str) -> str:
    """Take out tokens, keys, signatures, and passwords in URLs."""
    text = _SECRET.sub(lambda match: f"{match['key']}{match['between']}[hidden]", text)
    return _USERINFO.sub("[hidden]", text)


def tells_secrets(exc: BaseException | None) -> bool:
    """Whether the text of an error, or of one it came from, holds something to be hidden."""
    seen: set[int] = set()
    while exc is not None and id(exc) not in seen:
        seen.add(id(exc))
        text = f"{_text(exc)} {exc.args!r} {getattr(exc, 'response', '')!r}"
        if redact(text) != text:
            return True
        exc = exc.__cause__ or exc.__context__
    return False


def _text(exc: BaseException) -> str:
    try:
        return str(exc)
    except Exception:  # noqa: BLE001 - an error that cannot say itself must not hide the first one
        return type(exc).__name__


def _short(text: str, limit: int = 400) -> str:
    text = " ".join(redact(text).split())
    return text if len(text) <= limit else text[: limit - 1] + "…"


# -- the way in ----------------------------------------------------------------------------------


def map_error(
    exc: BaseException, *, operation: str, target: str = "", region: str = ""
) -> EcsExecError:
    """Turn an error of botocore into the one of ours that fits.

    Args:
        exc: what botocore raised; one of ours is handed back as it is.
        operation: as IAM spells it (``ecs:ExecuteCommand``); empty if none was under way.
        target: what the call was about, for the text.
        region: where it was made.
    """
    if isinstance(exc, EcsExecError):
        return exc
    response = getattr(exc, "response", None)
    if isinstance(response, dict) and isinstance(response.get("Error"), dict):
        code = str(response["Error"].get("Code") or "Unknown").rpartition("#")[2]
        error = _from_answer(response, code, operation, target, region)
        error.code = code
        error.request_id = str((response.get("ResponseMetadata") or {}).get("RequestId") or "")
        return error
    kinds = {cls.__name__ for cls in type(exc).__mro__}
    for names, build in _LOCAL:
        if kinds & names:
            return build(_short(_text(exc)), operation, region)
    what = f"{operation} failed" if operation else "AWS cannot be used"
    return ServiceError(
        f"{what}: {type(exc).__name__}: {_short(_text(exc))}",
        cure="if this does not tell what to do, please report it: it has no class of its own yet",
        code=type(exc).__name__,
    )


# -- errors that AWS answered --------------------------------------------------------------------

_CREDENTIAL_CODES = {
    "AuthFailure",
    "ExpiredToken",
    "ExpiredTokenException",
    "IncompleteSignature",
    "InvalidAccessKeyId",
    "InvalidClientTokenId",
    "InvalidIdentityToken",
    "InvalidSignatureException",
    "InvalidToken",
    "MissingAuthenticationToken",
    "MissingAuthenticationTokenException",
    "NotSignedUp",
    "OptInRequired",
    "RequestExpired",
    "RequestTimeTooSkewed",
    "SignatureDoesNotMatch",
    "TokenRefreshRequired",
    "UnrecognizedClientException",
    "SubscriptionRequiredException",
}
_DENIED_CODES = {
    "403",
    "AccessDenied",
    "AccessDeniedException",
    "AuthorizationError",
    "Forbidden",
    "NotAuthorized",
    "UnauthorizedAccess",
    "UnauthorizedOperation",
}
_THROTTLE_CODES = {
    "429",
    "BandwidthLimitExceeded",
    "EC2ThrottledException",
    "LimitExceededException.Throttling",
    "PriorRequestNotComplete",
    "ProvisionedThroughputExceededException",
    "RequestLimitExceeded",
    "RequestThrottled",
    "RequestThrottledException",
    "SlowDown",
    "Throttling",
    "ThrottledException",
    "ThrottlingException",
    "TooManyRequestsException",
}
_SERVER_CODES = {
    "500",
    "502",
    "503",
    "504",
    "DependencyTimeoutException",
    "InternalError",
    "InternalFailure",
    "InternalServerError",
    "InternalServerException",
    "KMSInternalException",
    "KeyUnavailableException",
    "ServerException",
    "ServiceException",
    "ServiceUnavailable",
    "ServiceUnavailableException",
    "Unavailable",
}

_NOT_AUTHORISED = re.compile(
    r"(?P<who>arn:\S+) is not authorized to perform:? (?P<action>[\w-]+:\w+)"
    r"(?: on resource:? (?P<resource>\S+))?",
    re.IGNORECASE,
)
_NO_AGENT = (
    "AWS has no connection from the exec agent in the container: it started only seconds ago, "
    "its task role lacks the ssmmessages actions, it has no way to the ssmmessages endpoint, or "
    "static keys in the container's environment override the role"
)


def _from_answer(
    response: dict[str, Any], code: str, operation: str, target: str, region: str
) -> EcsExecError:
    error = response["Error"]
    message = _short(str(error.get("Message") or error.get("message") or ""))
    meta = response.get("ResponseMetadata") or {}
    said = f"AWS says: {message}" if message else f"AWS says: {code}"
    what = operation or "the call"
    about = f" for {target}" if target else ""
    where = f" in {region}" if region else ""

    if code in _CREDENTIAL_CODES:
        return _bad_credentials(code, message, what)
    if code in _DENIED_CODES:
        return _denied(message, what, about, region)
    if code in _THROTTLE_CODES or "rate exceeded" in message.lower():
        return Throttled(
            f"{what} was throttled{about}",
            cause=f"{said}; the rate limit is shared by everybody in the account and region",
            cure="wait a little, or lower --max-parallel (max_parallel=)",
        )
    if "maximum session limit" in message.lower():
        return ServiceError(
            f"no more sessions can be started{about}",
            cause=said,
            cure="end other sessions in that container (the limit is two), and try again",
        )
    if code in ("TargetNotConnectedException", "TargetNotConnected"):
        return AgentNotConnected(
            f"the exec agent{about} is not connected",
            cause=_NO_AGENT,
            cure="try again in a minute, run %ecs_check on it, or replace the task",
        )
    if code == "ClusterNotFoundException":
        return TargetNotFound(
            f"there is no cluster{about}{where}",
            cause=f"{said} The region that was asked is {region}." if region else said,
            cure="check the cluster and the region: aws ecs list-clusters"
            + (f" --region {region}" if region else ""),
        )
    if code in ("ServiceNotFoundException", "ServiceNotActiveException"):
        return TargetNotFound(
            f"there is no active service{about}{where}",
            cause=said,
            cure="list what is there with %ecs_tasks or: aws ecs list-services",
        )
    if code in ("InvalidParameterException", "InvalidParameter", "ClientException"):
        special = _invalid_parameter(message, said, what, about)
        if special is not None:
            return special
    if code == "DoesNotExistException":
        return TargetNotFound(f"there is no such session{about}", cause=said)
    if operation.startswith("kms:"):
        return _kms(code, said, about)
    if code in _SERVER_CODES or int(meta.get("HTTPStatusCode") or 0) >= 500:
        return ServiceError(
            f"{what} failed inside AWS{about}",
            cause=f"{said} ({code})",
            cure="try again in a minute; https://health.aws.amazon.com shows known troubles",
        )
    if code in ("ServiceQuotaExceededException", "LimitExceededException", "LimitExceeded"):
        return ServiceError(
            f"{what} passed a quota of the account{about}",
            cause=said,
            cure="see Service Quotas in the console, or: aws service-quotas list-service-quotas "
            "--service-code ecs",
        )
    if code == "BlockedException":
        return AccessDenied("this AWS account is blocked", cause=said, cure="contact AWS Support")
    if code in ("ValidationException", "ValidationError", "InvalidParameterException"):
        return InvalidRequest(f"AWS does not take the request of {what}{about}", cause=said)
    return ServiceError(f"{what} failed{about}: {code}", cause=said)


def _invalid_parameter(message: str, said: str, what: str, about: str) -> EcsExecError | None:
    """The many meanings of InvalidParameterException (FIELD 6)."""
    text = message.lower()
    if "execute command was not enabled" in text or "execute command agent isn" in text:
        # One message for two reasons; who can look at the task tells them apart.
        return ExecNotEnabled(
            f"no command can be run{about}: ECS Exec is off, or its agent is not running",
            cause=said,
            cure="wait until the agent runs; if the task was started without ECS Exec, start a new "
            "one: aws ecs update-service --enable-execute-command --force-new-deployment",
        )
    if "interactive is the only mode" in text:
        return InvalidRequest("ECS Exec takes interactive sessions only", cause=said)
    if "task length should be" in text or ("taskid" in text and "length" in text):
        return InvalidRequest(
            f"AWS does not take this for a task id{about}",
            cause=said,
            cure="give the whole id (32 characters) or the ARN of the task",
        )
    if "container" in text and ("specif" in text or "multiple" in text):
        return InvalidRequest(
            f"a container must be named{about}",
            cause=said,
            cure="write NAME:CONTAINER, or give --container",
        )
    if "container" in text and ("not found" in text or "does not exist" in text):
        return TargetNotFound(
            f"the task has no such container{about}",
            cause=said,
            cure="list containers with %ecs_tasks",
        )
    if "not found" in text and "task" in text:
        return TargetNotFound(
            f"there is no such task{about}",
            cause=said,
            cure="it may have been replaced: list what runs with %ecs_tasks",
        )
    if "security token" in text or "credentials" in text:
        return CredentialsError(f"AWS did not take the credentials for {what}", cause=said)
    return None


def _bad_credentials(code: str, message: str, what: str) -> CredentialsError:
    text = message.lower()
    skewed = code == "RequestTimeTooSkewed" or "signature expired" in text or "not yet" in text
    if skewed or "clock" in text:
        return CredentialsError(
            f"AWS refused the signature of {what}: this machine's clock is wrong",
            cause=f"AWS says: {message}",
            cure="set the clock (NTP), then try again",
        )
    if code in ("OptInRequired", "SubscriptionRequiredException", "NotSignedUp"):
        return CredentialsError(
            f"the account may not use {what}",
            cause=f"AWS says: {message}",
            cure="enable the region or service for the account in the AWS console",
        )
    if "expire" in text or code.startswith(("Expired", "RequestExpired", "TokenRefresh")):
        return CredentialsError(
            "the AWS credentials have expired",
            cause=f"AWS says: {message or code}",
            cure="get new ones, as with: aws sso login, or your usual log-in; then try again",
        )
    return CredentialsError(
        "AWS does not know these credentials",
        cause=f"AWS says: {message or code}",
        cure="check which ones are in use with: aws configure list; and that they belong to this "
        "partition and endpoint",
    )


def _denied(message: str, what: str, about: str, region: str) -> AccessDenied:
    match = _NOT_AUTHORISED.search(message)
    action = match["action"] if match else what
    who = f" to {match['who']}" if match else ""
    resource = (match["resource"] or "") if match else ""
    cure = f"allow {action}{who}" + (f" on {resource.rstrip('.,')}" if resource else "")
    if "encoded authorization failure" in message.lower():
        cure += "; read the message with: aws sts decode-authorization-message"
    if "explicit deny" in message.lower():
        cure += "; a policy denies it explicitly, so an Allow alone will not do"
    if action == "ecs:ExecuteCommand":
        cure += "; a condition (container name, tag, cluster) that does not match looks the same"
        cure += "; %ecs_policy prints a policy that fits"
    elif action.startswith("kms:"):
        cure += ", in the caller's policy and in the policy of the key"
    return AccessDenied(
        f"{action} is denied{about}" + (f" in {region}" if region else ""),
        cause=f"AWS says: {message}" if message else "",
        cure=cure,
    )


def _kms(code: str, said: str, about: str) -> EcsExecError:
    cure = {
        "DisabledException": "enable the key: aws kms enable-key --key-id KEY",
        "KMSInvalidStateException": "the key is disabled or waits to be deleted: choose another "
        "for the cluster, or cancel its deletion",
        "NotFoundException": "the cluster's executeCommandConfiguration names a key that is not "
        "there: give it one with aws ecs update-cluster",
    }.get(code, "check the key that the cluster's executeCommandConfiguration names")
    return ServiceError(f"the session's key cannot be used{about}: {code}", cause=said, cure=cure)


# -- errors from this side -----------------------------------------------------------------------


def _no_credentials(text: str, operation: str, region: str) -> EcsExecError:
    return CredentialsError(
        "no AWS credentials were found",
        cause=text,
        cure="run aws configure or aws sso login, set AWS_PROFILE, or give profile=; to practise "
        "without an account: %ecs_sandbox",
    )


def _partial_credentials(text: str, operation: str, region: str) -> EcsExecError:
    return CredentialsError(
        "the AWS credentials are incomplete",
        cause=text,
        cure="check the environment and ~/.aws/credentials: an id, a secret and, for temporary "
        "ones, a session token belong together",
    )


def _no_profile(text: str, operation: str, region: str) -> EcsExecError:
    return CredentialsError(
        f"there is no such AWS profile: {text}",
        cure="aws configure list-profiles shows those that exist; aws configure --profile NAME "
        "makes one",
    )


def _log_in_again(text: str, operation: str, region: str) -> EcsExecError:
    return CredentialsError(
        "the AWS log-in has expired or is missing", cause=text, cure="run: aws sso login"
    )


def _credentials_source(text: str, operation: str, region: str) -> EcsExecError:
    return CredentialsError(
        "the source of the AWS credentials failed",
        cause=text,
        cure="check credential_process, role_arn and source_profile of the profile in "
        "~/.aws/config",
    )


def _bad_configuration(text: str, operation: str, region: str) -> EcsExecError:
    return CredentialsError(
        "the AWS configuration cannot be read", cause=text, cure="mend ~/.aws/config"
    )


def _no_region(text: str, operation: str, region: str) -> EcsExecError:
    return InvalidRequest(
        "no AWS region is set",
        cause=text,
        cure="give --region (region=), set AWS_REGION, or run: aws configure set region REGION",
    )


def _bad_region(text: str, operation: str, region: str) -> EcsExecError:
    return InvalidRequest(
        f"{region!r} is not a region of this service", cause=text, cure="write one as eu-west-1"
    )


def _bad_request(text: str, operation: str, region: str) -> EcsExecError:
    return InvalidRequest(f"the request of {operation or 'AWS'} is malformed", cause=text)


def _proxy(text: str, operation: str, region: str) -> EcsExecError:
    return ConnectError(
        f"the proxy on the way to {_service(operation)} cannot be used",
        cause=text,
        cure="check HTTP_PROXY, HTTPS_PROXY and NO_PROXY",
    )


def _tls(text: str, operation: str, region: str) -> EcsExecError:
    return ConnectError(
        f"the TLS connection to {_service(operation)} was not made",
        cause=text,
        cure="if a proxy re-signs traffic, point AWS_CA_BUNDLE at the file of its certificate",
    )


def _unreachable(text: str, operation: str, region: str) -> EcsExecError:
    where = f" in {region}" if region else ""
    return ConnectError(
        f"{_service(operation)}{where} cannot be reached",
        cause=text,
        cure="check the network, the region's spelling, --endpoint-url (AWS_ENDPOINT_URL) and the "
        "proxy; in a private subnet an interface endpoint is needed",
    )


def _slow(text: str, operation: str, region: str) -> EcsExecError:
    return ConnectError(
        f"{_service(operation)} did not answer in time",
        cause=text,
        cure="try again; if this was a start, the command may have run all the same",
    )


def _service(operation: str) -> str:
    return f"AWS ({operation})" if operation else "AWS"


_LOCAL: tuple[tuple[set[str], Callable[[str, str, str], EcsExecError]], ...] = (
    ({"NoCredentialsError"}, _no_credentials),
    ({"PartialCredentialsError"}, _partial_credentials),
    ({"ProfileNotFound"}, _no_profile),
    (
        {
            "NoAuthTokenError",
            "TokenRetrievalError",
            "SSOTokenLoadError",
            "UnauthorizedSSOTokenError",
            "SSOError",
            "LoginError",
            "LoginRefreshRequired",
            "PendingAuthorizationExpiredError",
        },
        _log_in_again,
    ),
    (
        {
            "CredentialRetrievalError",
            "MetadataRetrievalError",
            "RefreshWithMFAUnsupportedError",
            "UnknownCredentialError",
            "InfiniteLoopConfigError",
            "InvalidIMDSEndpointError",
            "MissingDependencyException",
        },
        _credentials_source,
    ),
    ({"ConfigNotFound", "ConfigParseError", "InvalidConfigError"}, _bad_configuration),
    ({"NoRegionError"}, _no_region),
    ({"InvalidRegionError", "UnknownRegionError"}, _bad_region),
    ({"ParamValidationError", "ValidationError"}, _bad_request),
    ({"ProxyConnectionError", "InvalidProxiesConfigError"}, _proxy),
    ({"SSLError"}, _tls),
    ({"ReadTimeoutError"}, _slow),
    (
        {
            "EndpointConnectionError",
            "ConnectTimeoutError",
            "ConnectionClosedError",
            "HTTPClientError",
            "BaseEndpointResolverError",
            "EndpointResolutionError",
            "ConnectionError",
            "OSError",
        },
        _unreachable,
    ),
    ({"ValueError", "TypeError"}, _bad_request),
)
