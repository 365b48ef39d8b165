"""boto3 behind one awaitable call: threads, retries, time-outs, errors, over real sockets."""

from __future__ import annotations

import asyncio
import http.server
import json
import logging
import os
import socket
import subprocess
import sys
import threading
import traceback
from collections import Counter
from typing import TYPE_CHECKING, Any

import boto3
import pytest

from ecs_exec_magic.aws.api import AwsApi
from ecs_exec_magic.errors import (
    ConnectError,
    CredentialsError,
    EcsExecError,
    InvalidRequest,
    ServiceError,
)

from .fake import ACCOUNT, REGION, FakeAws, Refusal

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    for name in list(os.environ):
        if name.startswith("AWS_") or name.upper().endswith("_PROXY"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.delenv("REQUESTS_CA_BUNDLE", raising=False)


def session(**more: Any) -> boto3.Session:
    return boto3.Session(
        aws_access_key_id="AKIAFAKE",
        aws_secret_access_key="fake-secret",
        aws_session_token="fake-session-token",
        region_name=REGION,
        **more,
    )


class Server:
    """Answers each request with the next of ``answers``, or the last again."""

    def __init__(self) -> None:
        self.answers: list[tuple[int, bytes]] = [(200, b"{}")]
        self.requests: list[tuple[str, dict[str, str]]] = []
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                self.rfile.read(int(self.headers.get("Content-Length", 0)))
                outer.requests.append((self.path, dict(self.headers)))
                status, body = outer.answers[min(len(outer.requests), len(outer.answers)) - 1]
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    def stop(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.stop()


def closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


# -- making one ----------------------------------------------------------------------------------


def test_importing_the_package_does_not_import_boto3() -> None:
    code = (
        "import sys, ecs_exec_magic; print([m for m in ('boto3', 'botocore') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_region_comes_from_where_the_aws_cli_takes_it(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InvalidRequest, match="no AWS region") as caught:
        _ = AwsApi().region
    assert "--region" in caught.value.cure
    monkeypatch.setenv("AWS_REGION", "eu-north-1")
    assert AwsApi().region == "eu-north-1"
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-south-1")
    assert AwsApi().region == "eu-south-1"
    assert AwsApi(region="us-east-2").region == "us-east-2"
    assert AwsApi(session()).region == REGION
    assert AwsApi(session(), region="us-east-2").region == "us-east-2"


def test_region_of_a_cluster_arn(monkeypatch: pytest.MonkeyPatch) -> None:
    arn = f"arn:aws:ecs:us-east-1:{ACCOUNT}:cluster/prod"
    api = AwsApi(cluster=arn)
    assert (api.cluster, api.region) == ("prod", "us-east-1")
    with pytest.raises(InvalidRequest, match="us-east-1"):
        AwsApi(cluster=arn, region="eu-west-1")
    with pytest.raises(InvalidRequest, match="not a cluster"):
        AwsApi(cluster="a/b")


@pytest.mark.parametrize(
    ("region", "partition"),
    [("eu-west-1", "aws"), ("cn-north-1", "aws-cn"), ("us-gov-west-1", "aws-us-gov"),
     ("mars-east-7", "aws")],
)  # fmt: skip
def test_partition(region: str, partition: str) -> None:
    assert AwsApi(region=region).partition == partition


def test_unknown_profile() -> None:
    with pytest.raises(CredentialsError, match="porod") as caught:
        AwsApi(profile="porod")
    assert "aws configure" in caught.value.cure


def test_profile_of_another_session() -> None:
    with pytest.raises(InvalidRequest, match="porod"):
        AwsApi(session(), profile="porod")


@pytest.mark.parametrize(
    "url", ["", "x", "127.0.0.1:80", "ftp://x", "http://", "http://x:0", "http://x:y", "ws://x"]
)
def test_malformed_endpoints(url: str) -> None:
    with pytest.raises(InvalidRequest, match="endpoint"):
        AwsApi(endpoint_url=url)


def test_repr_tells_no_secret() -> None:
    api = AwsApi(session(), endpoint_url="http://user:hunter2@box:1")
    assert "hunter2" not in repr(api)
    assert "fake" not in repr(api)


def test_ca_bundle(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    assert AwsApi().ca_bundle is None
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/requests.pem")
    assert AwsApi().ca_bundle == "/requests.pem"
    (tmp_path / "config").write_text("[default]\nca_bundle = /profile.pem\n")
    assert AwsApi().ca_bundle == "/profile.pem"
    monkeypatch.setenv("AWS_CA_BUNDLE", "/env.pem")
    assert AwsApi().ca_bundle == "/env.pem"


# -- calls ---------------------------------------------------------------------------------------


async def test_unattended_calls_are_made_once(server: Server) -> None:
    server.answers = [(500, b"{}")]
    api = AwsApi(session(), endpoint_url=server.url, cluster="prod")
    with pytest.raises(ServiceError):
        await api.unattended().call("ecs", "list_clusters")
    assert len(server.requests) == 1
    assert api.unattended().cluster == "prod"
    server.answers = [(500, b"{}"), (500, b"{}"), (200, b"{}")]
    await api.call("ecs", "list_clusters")
    assert len(server.requests) == 3


async def test_identity_is_asked_once() -> None:
    aws = FakeAws()
    api = aws.api()
    assert await api.account_region() == (ACCOUNT, REGION)
    assert (await api.identity())["Arn"].endswith("user/me")
    assert aws.count("GetCallerIdentity") == 1


async def test_pages_and_their_limit() -> None:
    aws = FakeAws(page=2)
    aws.clusters = [f"c{number}" for number in range(7)]
    api = aws.api()
    assert len(await api.pages("ecs", "list_clusters", "clusterArns")) == 7
    assert aws.count("ListClusters") == 4
    assert len(await api.pages("ecs", "list_clusters", "clusterArns", _limit=3)) == 3
    assert aws.count("ListClusters") == 6


async def test_the_loop_is_not_blocked() -> None:
    aws = FakeAws()
    aws.task("prod", "web", 1)
    aws.gate = threading.Event()
    api = aws.api()
    call = asyncio.create_task(
        api.call("ecs", "execute_command", cluster="prod", task="t", command="c", interactive=True)
    )
    assert await asyncio.to_thread(aws.entered.wait, 60)
    await asyncio.sleep(0)  # the loop runs on while the call stands still
    assert not call.done()
    aws.gate.set()
    assert (await call)["session"]["sessionId"]


def test_one_client_however_many_threads_ask(monkeypatch: pytest.MonkeyPatch) -> None:
    api = FakeAws().api()
    made = Counter[str]()
    make = api.session.client

    def count(service: Any, **options: Any) -> Any:
        made[service] += 1
        return make(service, **options)

    monkeypatch.setattr(api.session, "client", count)
    found: list[Any] = []
    threads = [
        threading.Thread(target=lambda name=name: found.append(api.client(name)))
        for name in ("ecs", "ssm") * 8
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert made == {"ecs": 1, "ssm": 1}
    assert len(set(map(id, found))) == 2


async def test_unknown_operation_and_bad_parameters() -> None:
    api = FakeAws().api()
    with pytest.raises(EcsExecError):
        await api.call("ecs", "no_such_thing")
    with pytest.raises(InvalidRequest, match="malformed"):
        await api.call("ecs", "describe_tasks", tasks="not a list")
    with pytest.raises(EcsExecError):
        await api.call("nosuchservice", "x")


async def test_cause_is_kept_but_not_when_it_tells_secrets() -> None:
    aws = FakeAws()
    aws.refuse("ListClusters", Refusal("Odd", "plain"), Refusal("Odd", '"tokenValue":"SECRET"'))
    api = aws.api()
    with pytest.raises(ServiceError) as caught:
        await api.call("ecs", "list_clusters")
    assert caught.value.__cause__ is not None
    with pytest.raises(ServiceError) as caught:
        await api.call("ecs", "list_clusters")
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None
    assert "SECRET" not in "".join(traceback.format_exception(caught.value))
    assert "[hidden]" in caught.value.cause


# -- over sockets --------------------------------------------------------------------------------


async def test_what_is_sent(server: Server) -> None:
    server.answers = [(200, b'{"clusterArns": []}')]
    await AwsApi(session(), endpoint_url=server.url).call("ecs", "list_clusters")
    ((_, headers),) = server.requests
    assert "ecs-exec-magic/" in headers["User-Agent"]
    assert f"/{REGION}/ecs/aws4_request" in headers["Authorization"]


async def test_loopback_needs_no_exception_from_the_proxy(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{closed_port()}")
    monkeypatch.setenv("http_proxy", os.environ["HTTP_PROXY"])
    await AwsApi(session(), endpoint_url=server.url).call("ecs", "list_clusters")
    monkeypatch.setenv("AWS_ENDPOINT_URL", server.url)
    await AwsApi(session()).call("ecs", "list_clusters")
    assert len(server.requests) == 2


async def test_refused_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    proxy = f"http://me:hunter2@127.0.0.1:{closed_port()}"
    monkeypatch.setenv("http_proxy", proxy)
    monkeypatch.setenv("HTTP_PROXY", proxy)
    api = AwsApi(session(), endpoint_url="http://ecs.test.invalid")
    with pytest.raises(ConnectError, match="proxy") as caught:
        await api.call("ecs", "list_clusters", _once=True)
    assert "HTTPS_PROXY" in caught.value.cure
    assert "hunter2" not in "".join(traceback.format_exception(caught.value)) + caught.value.cause


async def test_unreachable_endpoint() -> None:
    url = f"http://127.0.0.1:{closed_port()}"
    with pytest.raises(ConnectError, match="cannot be reached") as caught:
        await AwsApi(session(), endpoint_url=url).call("ecs", "list_clusters", _once=True)
    assert url in caught.value.cause
    assert "--endpoint-url" in caught.value.cure


async def test_no_tls_at_the_other_end(server: Server) -> None:
    url = server.url.replace("http:", "https:")
    with pytest.raises(ConnectError, match="TLS"):
        await AwsApi(session(), endpoint_url=url).call("ecs", "list_clusters", _once=True)


async def test_no_credentials(server: Server) -> None:
    api = AwsApi(boto3.Session(), region=REGION, endpoint_url=server.url)
    with pytest.raises(CredentialsError, match="no AWS credentials") as caught:
        await api.call("ecs", "list_clusters")
    assert "aws sso login" in caught.value.cure
    assert server.requests == []


async def test_expired_token(server: Server) -> None:
    body = {"__type": "ExpiredTokenException", "message": "The security token is expired"}
    server.answers = [(400, json.dumps(body).encode())]
    with pytest.raises(CredentialsError, match="expired"):
        await AwsApi(session(), endpoint_url=server.url).call("ecs", "list_clusters")
    assert len(server.requests) == 1


async def test_automatic_retries_and_none_where_twice_would_hurt(server: Server) -> None:
    body = json.dumps({"__type": "ServerException", "message": "Service Unavailable"}).encode()
    server.answers = [(500, body), (200, b'{"clusterArns": ["arn:x"]}')]
    api = AwsApi(session(), endpoint_url=server.url)
    assert (await api.call("ecs", "list_clusters"))["clusterArns"] == ["arn:x"]
    assert len(server.requests) == 2
    server.requests.clear()
    with pytest.raises(ServiceError, match="inside AWS"):
        await api.call("ecs", "list_clusters", _once=True)
    assert len(server.requests) == 1


@pytest.mark.parametrize("body", [b"<html>captive portal</html>", b"\xff\xfe", b"[", b'"x"'])
@pytest.mark.parametrize("status", [200, 403, 502])
async def test_answers_that_are_not_aws(server: Server, status: int, body: bytes) -> None:
    server.answers = [(status, body)]
    api = AwsApi(session(), endpoint_url=server.url)
    try:
        answer = await api.call("ecs", "list_clusters", _once=True)
    except EcsExecError:
        return
    assert status == 200
    assert not answer.get("clusterArns")


async def test_debug_logs_hold_no_tokens(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    answer = {
        "session": {"sessionId": "s", "streamUrl": "wss://x", "tokenValue": "SECRET-TOKEN-VALUE"}
    }
    server.answers = [(200, json.dumps(answer).encode())]
    api = AwsApi(session(), endpoint_url=server.url)
    with caplog.at_level(logging.DEBUG):
        got = await api.call(
            "ecs", "execute_command", cluster="c", task="t", command="c", interactive=True
        )
    assert got["session"]["tokenValue"] == "SECRET-TOKEN-VALUE"
    assert "Response body" in caplog.text
    assert "SECRET-TOKEN-VALUE" not in caplog.text
    assert "fake-session-token" not in caplog.text
    assert "fake-secret" not in caplog.text


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forking is a thing of POSIX")
def test_threads_after_a_fork(server: Server) -> None:
    """A pool whose threads stayed behind in the parent must not be waited for in the child."""
    code = f"""
import asyncio, os, boto3
from ecs_exec_magic.aws.api import AwsApi
session = boto3.Session(aws_access_key_id="a", aws_secret_access_key="b", region_name="eu-west-1")
def call():
    api = AwsApi(session, endpoint_url={server.url!r})
    return asyncio.run(asyncio.wait_for(api.call("ecs", "list_clusters"), 20))
call()
child = os.fork()
if child == 0:
    call()
    os._exit(7)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=50, check=False
    )
    assert done.stdout.strip() == "7", done.stderr
