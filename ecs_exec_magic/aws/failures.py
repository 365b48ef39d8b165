"""What botocore's errors mean, in plain words.

Knows error codes, messages and what to do about them. Never knows clients; makes no call.
"""

from __future__ import annotations

import re
from typing import Any

from ..errors import (
    AccessDenied,
    AgentNotConnected,
    CredentialsError,
    EcsExecError,
    ExecNotEnabled,
    InvalidRequest,
    ServiceError,
    TargetNotFound,
    Throttled,
)
from .local_failures import LOCAL_FAILURES
from .redaction import one_line, text_of

__all__ = ["map_error"]

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
    for names, build in LOCAL_FAILURES:
        if kinds & names:
            return build(one_line(text_of(exc)), operation, region)
    what = f"{operation} failed" if operation else "AWS cannot be used"
    return ServiceError(
        f"{what}: {type(exc).__name__}: {one_line(text_of(exc))}",
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
    message = one_line(str(error.get("Message") or error.get("message") or ""))
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
            cure="try again in a minute, or replace the task",
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
            cure="list what is there with: aws ecs list-services",
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
            cure="client.targets('CLUSTER/NAME:*') lists the containers",
        )
    if "not found" in text and "task" in text:
        return TargetNotFound(
            f"there is no such task{about}",
            cause=said,
            cure="it may have been replaced: address the service, and not the task",
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
