"""What botocore's errors from this side of the network mean, in plain words.

Knows botocore's classes by name, so that an older botocore may lack some. Makes no call.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import ConnectError, CredentialsError, EcsExecError, InvalidRequest

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["LOCAL_FAILURES"]


def _no_credentials(text: str, operation: str, region: str) -> EcsExecError:
    return CredentialsError(
        "no AWS credentials were found",
        cause=text,
        cure="run aws configure or aws sso login, set AWS_PROFILE, or give profile=; to practise "
        "without an account: ecs-exec-magic sandbox up",
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


LOCAL_FAILURES: tuple[tuple[set[str], Callable[[str, str, str], EcsExecError]], ...] = (
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
