"""Every error of botocore becomes one of ours, and none tells a secret."""

from __future__ import annotations

import pickle
import traceback
from typing import Any

import botocore.exceptions as botocore_errors
import pytest
from botocore.exceptions import ClientError
from hypothesis import given
from hypothesis import strategies as st

from ecs_exec_magic import errors
from ecs_exec_magic.aws.failures import map_error
from ecs_exec_magic.aws.redaction import redact, tells_secrets
from ecs_exec_magic.errors import EcsExecError


def answered(
    code: str, message: str = "", *, operation: str = "ExecuteCommand", status: int = 400
) -> ClientError:
    answer: Any = {
        "Error": {"Code": code, "Message": message},
        "ResponseMetadata": {"RequestId": "req-1", "HTTPStatusCode": status},
    }
    return ClientError(answer, operation)  # fmt: skip


def mapped(exc: BaseException, operation: str = "ecs:ExecuteCommand") -> EcsExecError:
    return map_error(exc, operation=operation, target="prod/web", region="eu-west-1")


NOT_ENABLED = (
    "The execute command failed because execute command was not enabled when the task was run or "
    "the execute command agent isn't running. Wait and try again or run a new task with execute "
    "command enabled and try again."
)

ANSWERS: list[tuple[str, str, type[EcsExecError], str]] = [
    ("InvalidParameterException", "Interactive is the only mode supported currently.",
     errors.InvalidRequest, "interactive"),
    ("InvalidParameterException", NOT_ENABLED, errors.ExecNotEnabled, "--enable-execute-command"),
    ("InvalidParameterException", "taskId length should be one of [32,36]",
     errors.InvalidRequest, "32 characters"),
    ("InvalidParameterException", "must specify container for multi-container task",
     errors.InvalidRequest, "--container"),
    ("InvalidParameterException", "The container ngnix was not found in the task",
     errors.TargetNotFound, "CLUSTER/NAME:*"),
    ("InvalidParameterException", "The task provided in the request was not found.",
     errors.TargetNotFound, "address the service"),
    ("InvalidParameterException", "Identifier is too long", errors.InvalidRequest, "too long"),
    ("TargetNotConnectedException", "The execute command failed due to an internal error.",
     errors.AgentNotConnected, "ssmmessages"),
    ("ClusterNotFoundException", "Cluster not found.", errors.TargetNotFound, "eu-west-1"),
    ("ServiceNotFoundException", "Service not found.", errors.TargetNotFound, "list-services"),
    ("AccessDeniedException",
     "User: arn:aws:iam::1:u/m is not authorized to perform: ecs:RunTask with an explicit deny",
     errors.AccessDenied, "explicitly"),
    ("AccessDenied", "Access Denied", errors.AccessDenied, "allow ecs:ExecuteCommand"),
    ("UnauthorizedOperation",
     "You are not authorized to perform this operation. Encoded authorization failure message: x",
     errors.AccessDenied, "decode-authorization-message"),
    ("UnrecognizedClientException", "The security token included in the request is invalid.",
     errors.CredentialsError, "aws configure list"),
    ("InvalidClientTokenId", "The security token included in the request is invalid",
     errors.CredentialsError, "aws configure list"),
    ("ExpiredToken", "The provided token has expired.", errors.CredentialsError, "aws sso login"),
    ("ExpiredTokenException", "The security token included in the request is expired",
     errors.CredentialsError, "aws sso login"),
    ("RequestExpired", "Request has expired.", errors.CredentialsError, "aws sso login"),
    ("InvalidSignatureException",
     "Signature expired: 20260301T000000Z is now earlier than 20260301T010000Z",
     errors.CredentialsError, "clock"),
    ("RequestTimeTooSkewed", "The difference is too large.", errors.CredentialsError, "clock"),
    ("OptInRequired", "You are not subscribed", errors.CredentialsError, "enable"),
    ("ThrottlingException", "Rate exceeded", errors.Throttled, "--max-parallel"),
    ("Throttling", "Rate exceeded", errors.Throttled, "--max-parallel"),
    ("RequestLimitExceeded", "Request limit exceeded.", errors.Throttled, "--max-parallel"),
    ("TooManyRequestsException", "", errors.Throttled, "--max-parallel"),
    ("ServerException", "Service Unavailable. Please try again later.", errors.ServiceError, "try"),
    ("InternalFailure", "", errors.ServiceError, "try again"),
    ("ServiceQuotaExceededException", "too many", errors.ServiceError, "Service Quotas"),
    ("ClientException", "maximum session limit of 2 has been reached", errors.ServiceError, "end"),
    ("BlockedException", "blocked", errors.AccessDenied, "Support"),
    ("ValidationException", "bad", errors.InvalidRequest, "bad"),
    ("SomethingNew", "never seen", errors.ServiceError, "never seen"),
    ("com.amazon.coral#ThrottlingException", "Rate exceeded", errors.Throttled, "wait"),
]  # fmt: skip


@pytest.mark.parametrize(("code", "message", "kind", "word"), ANSWERS)
def test_what_aws_answers(code: str, message: str, kind: type[EcsExecError], word: str) -> None:
    error = mapped(answered(code, message))
    assert type(error) is kind
    assert error.code == code.rpartition("#")[2]
    assert error.request_id == "req-1"
    assert word in f"{error} {error.cause} {error.cure}"
    assert error.cause
    assert "\n" not in str(error)
    copy = pickle.loads(pickle.dumps(error))
    assert (type(copy), copy.__dict__) == (type(error), error.__dict__)


def test_what_kms_answers() -> None:
    for code in ("DisabledException", "KMSInvalidStateException", "NotFoundException", "Odd"):
        error = mapped(answered(code, "x"), "kms:GenerateDataKey")
        assert type(error) is errors.ServiceError
        assert "key" in error.cure
    error = mapped(answered("AccessDeniedException", "no"), "kms:GenerateDataKey")
    assert "policy of the key" in error.cure


def test_status_alone() -> None:
    assert type(mapped(answered("599", status=503))) is errors.ServiceError
    assert "inside AWS" in str(mapped(answered("599", status=503)))
    assert type(mapped(answered("403", "Forbidden", status=403))) is errors.AccessDenied


LOCAL: list[tuple[BaseException, type[EcsExecError], str]] = [
    (botocore_errors.NoCredentialsError(), errors.CredentialsError, "aws configure"),
    (botocore_errors.PartialCredentialsError(provider="env", cred_var="secret"),
     errors.CredentialsError, "incomplete"),
    (botocore_errors.ProfileNotFound(profile="porod"), errors.CredentialsError, "porod"),
    (botocore_errors.NoRegionError(), errors.InvalidRequest, "--region"),
    (botocore_errors.InvalidRegionError(region_name="eu west"), errors.InvalidRequest, "region"),
    (botocore_errors.UnauthorizedSSOTokenError(), errors.CredentialsError, "aws sso login"),
    (botocore_errors.SSOTokenLoadError(error_msg="x"), errors.CredentialsError, "aws sso login"),
    (botocore_errors.TokenRetrievalError(provider="sso", error_msg="x"),
     errors.CredentialsError, "aws sso login"),
    (botocore_errors.CredentialRetrievalError(provider="process", error_msg="x"),
     errors.CredentialsError, "credential_process"),
    (botocore_errors.ConfigParseError(path="/x"), errors.CredentialsError, "~/.aws/config"),
    (botocore_errors.EndpointConnectionError(endpoint_url="https://x"),
     errors.ConnectError, "https://x"),
    (botocore_errors.ConnectTimeoutError(endpoint_url="https://x"), errors.ConnectError, "network"),
    (botocore_errors.ReadTimeoutError(endpoint_url="https://x"), errors.ConnectError, "may have"),
    (botocore_errors.ConnectionClosedError(endpoint_url="https://x"),
     errors.ConnectError, "https://x"),
    (botocore_errors.ProxyConnectionError(proxy_url="http://proxy:1"),
     errors.ConnectError, "HTTPS_PROXY"),
    (botocore_errors.SSLError(endpoint_url="https://x", error=OSError("self-signed")),
     errors.ConnectError, "AWS_CA_BUNDLE"),
    (botocore_errors.HTTPClientError(error="x"), errors.ConnectError, "network"),
    (botocore_errors.ParamValidationError(report="Missing x"), errors.InvalidRequest, "Missing x"),
    (ValueError("Invalid endpoint: x"), errors.InvalidRequest, "Invalid endpoint"),
    (OSError("no route"), errors.ConnectError, "no route"),
    (RuntimeError("odd"), errors.ServiceError, "RuntimeError: odd"),
    (botocore_errors.DataNotFoundError(data_path="x"), errors.ServiceError, "DataNotFoundError"),
]  # fmt: skip


@pytest.mark.parametrize(("exc", "kind", "word"), LOCAL, ids=lambda x: type(x).__name__)
def test_what_fails_on_this_side(exc: BaseException, kind: type[EcsExecError], word: str) -> None:
    error = mapped(exc)
    assert type(error) is kind
    assert word in f"{error} {error.cause} {error.cure}"
    assert error.cure or error.cause


def test_every_error_of_botocore_becomes_one_of_ours() -> None:
    kinds: list[Any] = [
        each
        for each in vars(botocore_errors).values()
        if isinstance(each, type) and issubclass(each, botocore_errors.BotoCoreError)
    ]
    assert len(kinds) > 60
    for kind in kinds:
        exc = kind.__new__(kind)
        Exception.__init__(exc, "what it says")
        error = mapped(exc)
        assert isinstance(error, EcsExecError)
        assert "what it says" in f"{error} {error.cause}"


def test_ours_pass_through() -> None:
    error = errors.AccessDenied("no")
    assert mapped(error) is error


def test_odd_answers_do_not_break_the_mapping() -> None:
    odd: list[Any] = [{}, {"Error": {}}, {"Error": {"Code": None, "Message": None}}]
    for response in odd:
        exc = ClientError({"Error": {"Code": "x"}}, "Op")
        exc.response = response
        assert isinstance(mapped(exc), EcsExecError)


# -- secrets -------------------------------------------------------------------------------------

_TOKEN = st.text("ABCDEFabcdef0123456789+/=._-", min_size=8, max_size=80)
_SHAPES = [
    '{{"session":{{"tokenValue":"{}","x":1}}}}',
    "{{'tokenValue': '{}'}}",
    'b\'{{"TokenValue": "{}"}}\'',
    '{{\\"tokenValue\\": \\"{}\\"}}',
    "wss://h/p?X-Amz-Security-Token={}&x=1",
    "GET\n/\nx-amz-security-token:{}\n",
    "{{'X-Amz-Security-Token': b'{}'}}",
    "<SecretAccessKey>{}</SecretAccessKey>",
    '{{"SecretAccessKey": "{}", "SessionToken": "x"}}',
    "aws_secret_access_key = {}",
    "aws_session_token={}",
    '{{"Plaintext":"{}","KeyId":"k"}}',
    "Authorization: AWS4-HMAC-SHA256 Credential=A/b, SignedHeaders=host, Signature={}",
    "http://user:{}@proxy:3128",
]


@given(_TOKEN, st.sampled_from(_SHAPES), st.text(max_size=30))
def test_secrets_are_taken_out(token: str, shape: str, around: str) -> None:
    if "@" in shape:
        token = token.replace("/", "_")  # a slash would end the user's part of a URL
    token = f"q9q{token}"
    text = f"{around} {shape.format(token)} {around}"
    assert token not in redact(text)
    assert tells_secrets(ValueError(text))
    error = mapped(answered("SomethingNew", text))
    shown = "".join(traceback.format_exception(error)) + error.cause + repr(error)
    assert token not in shown


def test_what_is_no_secret_stays() -> None:
    for text in (
        "The security token included in the request is invalid.",
        "https://ecs.eu-west-1.amazonaws.com/ arn:aws:ecs:eu-west-1:1:task/a/b",
        "session token expired",
    ):
        assert redact(text) == text


def test_secrets_in_what_an_error_came_from() -> None:
    inner = ValueError("tokenValue=abc")
    outer = RuntimeError("odd")
    outer.__cause__ = inner
    assert tells_secrets(outer)
    inner.__cause__ = outer  # a ring must end, too
    assert tells_secrets(outer)
    assert not tells_secrets(RuntimeError("odd"))
