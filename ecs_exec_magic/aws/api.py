"""boto3 behind one awaitable call.

Knows sessions, clients, threads and time-outs. Never knows what a call is for, nor IPython.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import importlib.metadata
import ipaddress
import logging
import os
import threading
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

from ..address import parse_cluster
from ..errors import CredentialsError, EcsExecError, InvalidRequest
from .failures import map_error
from .pace import Pace
from .profiles import asks_for_codes, new_session
from .redaction import redact, tells_secrets

if TYPE_CHECKING:
    from collections.abc import Callable

    import boto3

__all__ = ["AwsApi", "end_threads"]

_T = TypeVar("_T")

CONNECT_TIMEOUT = 10.0
"""Seconds to reach an endpoint."""

READ_TIMEOUT = 30.0
"""Seconds an endpoint may think."""

UNATTENDED_TIMEOUT = 5.0
"""Both, where nobody waits for the answer."""

_THREADS = 32

# boto3 sessions are not safe to make clients from several threads; one lock for all of them also
# covers a session that the user shares between two of our clients.
_making_clients = threading.Lock()

_pool: tuple[int, concurrent.futures.ThreadPoolExecutor] | None = None
_pool_lock = threading.Lock()


def _executor() -> concurrent.futures.ThreadPoolExecutor:
    """The threads for boto3, shared by all clients; new ones in a forked child."""
    global _pool
    with _pool_lock:
        if _pool is None or _pool[0] != os.getpid():
            threads = concurrent.futures.ThreadPoolExecutor(_THREADS, "ecs-exec-aws")
            _pool = (os.getpid(), threads)
        return _pool[1]


def end_threads() -> None:
    """End the threads for boto3 once they have nothing to do; the next call starts new ones."""
    global _pool
    with _pool_lock:
        ending, _pool = _pool, None
    if ending is not None and ending[0] == os.getpid():
        ending[1].shutdown(wait=False)


class AwsApi:
    """One way to AWS: a session, a region and an endpoint.

    Making one opens no connection and looks for no credentials.

    Args:
        session: a ``boto3.Session`` to use; ``region`` and ``profile`` then only refine it.
        region: as in ``eu-west-1``; else what the profile or environment says.
        profile: of the shared configuration files.
        endpoint_url: serves every AWS service that is called; else AWS itself, or what the
            environment (``AWS_ENDPOINT_URL``) says.
        cluster: short name or ARN of the cluster that an address without one means; else
            ``default``, as in the AWS CLI.
        unattended: nobody waits for the answers: give up early and try once.

    Attributes:
        pace: at which sessions are started.

    Raises:
        CredentialsError: there is no such profile.
        InvalidRequest: the arguments contradict each other or are malformed.
    """

    def __init__(
        self,
        session: boto3.Session | None = None,
        *,
        region: str | None = None,
        profile: str | None = None,
        endpoint_url: str | None = None,
        cluster: str | None = None,
        unattended: bool = False,
    ) -> None:
        if session is not None and profile and session.profile_name != profile:
            raise InvalidRequest(
                f"the session is of profile {session.profile_name!r}, not {profile!r}",
                cure="give session= or profile=, not both",
            )
        if endpoint_url is not None:
            _check_endpoint(endpoint_url)
        self._session: Any = session or new_session(profile)
        self.profile = profile
        self.endpoint_url = endpoint_url
        # The AWS CLI and the other SDKs read AWS_REGION; boto3 reads AWS_DEFAULT_REGION only.
        self._region = (
            region or self._session.region_name or os.environ.get("AWS_REGION", "").strip() or None
        )
        self.named_cluster: str | None = None
        if cluster:
            self.named_cluster, cluster_region = parse_cluster(cluster)
            if cluster_region and self._region and cluster_region != self._region:
                raise InvalidRequest(
                    f"cluster {self.named_cluster!r} is in {cluster_region}, "
                    f"but the region is {self._region}",
                    cure=f"use region={cluster_region!r}",
                )
            self._region = self._region or cluster_region
        self._unattended = unattended
        self._clients: dict[tuple[str, bool], Any] = {}
        self._identity: dict[str, Any] | None = None
        self.pace = Pace()

    def __repr__(self) -> str:
        where = f" at {redact(self.endpoint_url)}" if self.endpoint_url else ""
        return f"<AwsApi {self._region or 'no region'}{where}>"

    # -- what it is for --------------------------------------------------------------------------

    @property
    def session(self) -> boto3.Session:
        """The boto3 session."""
        session: boto3.Session = self._session
        return session

    @property
    def attended(self) -> bool:
        """Whether somebody waits for the answers."""
        return not self._unattended

    @property
    def region(self) -> str:
        """The region of every call.

        Raises:
            InvalidRequest: none is known.
        """
        if not self._region:
            raise InvalidRequest(
                "no AWS region is set",
                cause="neither an option, the environment nor the profile names one",
                cure="give --region (region=), set AWS_REGION, or run: aws configure set region "
                "REGION",
            )
        return self._region

    @property
    def cluster(self) -> str:
        """The cluster that an address without one means."""
        return self.named_cluster or "default"

    @property
    def partition(self) -> str:
        """``aws``, ``aws-cn``, ``aws-us-gov`` or another, by the region."""
        region = self.region
        for start, name in (("cn-", "aws-cn"), ("us-gov-", "aws-us-gov")):
            if region.startswith(start):
                return name
        try:
            return str(self._session.get_partition_for_region(region))
        except Exception:  # noqa: BLE001 - a region newer than this botocore is in the first one
            return "aws"

    @property
    def ca_bundle(self) -> str | None:
        """The file of trusted certificates, as botocore finds it; None: those of the system."""
        bundle = self._session._session.get_config_variable("ca_bundle")
        return bundle or os.environ.get("REQUESTS_CA_BUNDLE") or None

    async def identity(self) -> dict[str, Any]:
        """Who calls: ``Account``, ``Arn`` and ``UserId``; asked once."""
        if self._identity is None:
            answer = await self.call("sts", "get_caller_identity")
            self._identity = {name: answer.get(name, "") for name in ("Account", "Arn", "UserId")}
        return self._identity

    async def account_region(self) -> tuple[str, str]:
        """Account number and region."""
        return str((await self.identity())["Account"]), self.region

    def unattended(self) -> AwsApi:
        """The same account, for answers that nobody waits for; the credentials are shared.

        Raises:
            CredentialsError: the profile would ask for the code of an MFA device, and nobody would
                know what for.
        """
        if asks_for_codes(self._session):
            raise CredentialsError("the profile asks for the code of an MFA device")
        return AwsApi(
            self._session,
            region=self._region,
            endpoint_url=self.endpoint_url,
            cluster=self.named_cluster,
            unattended=True,
        )

    # -- calls -----------------------------------------------------------------------------------

    def client(self, service: str, *, once: bool = False) -> Any:
        """The boto3 client of a service, made at first use.

        Args:
            service: as in ``ecs``.
            once: without automatic retries, for calls that must not happen twice.
        """
        key = (service, once)
        client = self._clients.get(key)
        if client is None:
            with _making_clients:
                client = self._clients.get(key)
                if client is None:
                    client = self._clients[key] = self._new_client(service, once)
        return client

    async def call(
        self,
        service: str,
        operation: str,
        /,
        *,
        _about: str = "",
        _once: bool = False,
        **params: Any,
    ) -> dict[str, Any]:
        """Make one API call in a thread of its own.

        Args:
            service: as in ``ecs``.
            operation: in boto3's spelling, as in ``describe_tasks``.
            _about: what the call is about, for the texts of errors.
            _once: make it once only, without automatic retries.
            params: of the operation.

        Raises:
            EcsExecError: of the class that fits; see :mod:`.failures`.
        """

        def work() -> dict[str, Any]:
            method = getattr(self.client(service, once=_once), operation)
            answer: dict[str, Any] = method(**params)
            return answer

        return await self.in_thread(work, operation=f"{service}:{_camel(operation)}", about=_about)

    async def pages(
        self,
        service: str,
        operation: str,
        key: str,
        /,
        *,
        _about: str = "",
        _limit: int | None = None,
        **params: Any,
    ) -> list[Any]:
        """Everything under ``key`` in all pages of an answer, at most ``_limit`` of it."""

        def work() -> list[Any]:
            paginator = self.client(service).get_paginator(operation)
            found: list[Any] = []
            for page in paginator.paginate(**params):
                found.extend(page.get(key, ()))
                if _limit is not None and len(found) >= _limit:
                    return found[:_limit]
            return found

        return await self.in_thread(work, operation=f"{service}:{_camel(operation)}", about=_about)

    async def in_thread(
        self, work: Callable[[], _T], /, *, operation: str = "", about: str = ""
    ) -> _T:
        """Run something that blocks in a thread for AWS calls; its errors become ours.

        When the caller is cancelled the thread still ends by itself, at the latest when the time
        limits of its connection are over; its outcome is then dropped.
        """
        loop = asyncio.get_running_loop()
        try:
            call = loop.run_in_executor(_executor(), self._mapped, work, operation, about)
        except RuntimeError:
            # The interpreter is shutting down and starts no threads any more, but sessions have
            # still to be ended: nothing else runs on this loop by now.
            return self._mapped(work, operation, about)
        return await call

    def submit(self, work: Callable[[], object]) -> concurrent.futures.Future[None]:
        """Run something in a thread for AWS calls, wanted or not; its errors are logged."""

        def quietly() -> None:
            try:
                self._mapped(work, "", "")
            except EcsExecError as error:
                logging.getLogger(__name__).debug("left to itself: %s", error)

        return _executor().submit(quietly)

    def _mapped(self, work: Callable[[], _T], operation: str, about: str) -> _T:
        try:
            return work()
        except EcsExecError:
            raise
        except Exception as exc:  # noqa: BLE001 - every failure of botocore becomes one of ours
            error = map_error(exc, operation=operation, target=about, region=self._region or "")
            original: BaseException | None = None if tells_secrets(exc) else exc
        # Outside the handler, so that an original that tells secrets is not even its context.
        raise error from original

    def close(self) -> None:
        """Close the connections that wait for a next call, which would open its own."""
        for client in list(self._clients.values()):
            client.close()

    # -- making clients --------------------------------------------------------------------------

    def _new_client(self, service: str, once: bool) -> Any:
        from botocore.config import Config

        endpoint = self.endpoint_url or os.environ.get("AWS_ENDPOINT_URL") or ""
        options: dict[str, Any] = {
            "connect_timeout": UNATTENDED_TIMEOUT if self._unattended else CONNECT_TIMEOUT,
            "read_timeout": UNATTENDED_TIMEOUT if self._unattended else READ_TIMEOUT,
            # Four attempts: about four seconds until a refused connection is told.
            "retries": {
                "mode": "standard",
                "total_max_attempts": 1 if once or self._unattended else 4,
            },
            "max_pool_connections": _THREADS,
            "user_agent_extra": f"ecs-exec-magic/{_version()}",
        }
        if endpoint and service == "s3":
            options["s3"] = {"addressing_style": "path"}
        if _is_loopback(endpoint):
            options["proxies"] = {}  # HTTP_PROXY without NO_PROXY must not catch the sandbox
        _hide_tokens_from_logs()
        return self._session.client(
            service,
            region_name=self.region,
            endpoint_url=self.endpoint_url,
            config=Config(**options),
        )


def _check_endpoint(url: str) -> None:
    try:
        parts = urlsplit(url)
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        good = False
    if not good:
        raise InvalidRequest(
            f"{redact(url)!r} is not an endpoint URL", cure="write http://HOST:PORT or https://HOST"
        )


def _is_loopback(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _camel(operation: str) -> str:
    return "".join(word.capitalize() for word in operation.split("_"))


def _version() -> str:
    try:
        return importlib.metadata.version("ecs-exec-magic")
    except importlib.metadata.PackageNotFoundError:  # run from a bare checkout
        return "0"


class _TokenFilter(logging.Filter):
    """Takes session tokens and data keys out of what botocore logs of answers."""

    def filter(self, record: logging.LogRecord) -> bool:
        message = record.getMessage()
        clean = redact(message)
        if clean != message:
            record.msg, record.args = clean, None
        return True


_token_filter = _TokenFilter()


def _hide_tokens_from_logs() -> None:
    # At level DEBUG botocore logs requests and answers, with the tokens that are in them.
    for name in ("botocore.auth", "botocore.endpoint", "botocore.hooks", "botocore.parsers"):
        logging.getLogger(name).addFilter(_token_filter)  # adding it again changes nothing
