"""The AWS account behind the port: moto in this process, on one thread of its own.

Knows moto, its accounts and how a request is handed to it. Never knows wire forms, ECS or who may
do what.
"""

from __future__ import annotations

import asyncio
import importlib.util
import os
import sys
import threading
from concurrent.futures import Future
from dataclasses import dataclass
from functools import cache
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, TypeVar

from .front import DEFAULT_REGION

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["OWN_ID", "OWN_KEY", "Account", "Answer", "KnownKey", "Unserved", "partition", "regions"]

OWN_KEY = "AKIASANDBOX000000001"
"""The access key of the sandbox's own administrator."""

OWN_ID = "AIDASANDBOXUSER000001"
"""The administrator's unique id."""

_FIRST = 123456789012
_SERVICES = ("sts", "iam", "kms", "s3", "logs", "ec2")
_PARTITIONS = ("aws", "aws-cn", "aws-us-gov")
_UNSERVED = (500, 501)
_TIDY_AFTER = 1000

T = TypeVar("T")


class Unserved(Exception):
    """moto has no answer to a request.

    Attributes:
        partly: it serves the operation, but not with such parameters.
    """

    def __init__(self, reason: str, *, partly: bool = False) -> None:
        super().__init__(reason)
        self.partly = partly


@dataclass(frozen=True, slots=True)
class Answer:
    """What moto answered."""

    status: int
    headers: dict[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class KnownKey:
    """Who an access key belongs to, as IAM and STS keep it.

    Attributes:
        arn: of the user or of the assumed role.
        kind: ``user`` or ``assumed-role``.
        name: of the user, or role and session as ``ROLE/SESSION``.
        identifier: the unique id, as in GetCallerIdentity's ``UserId``.
        role_arn: of an assumed role.
        active: whether the key may be used.
    """

    arn: str
    kind: str
    name: str
    identifier: str
    role_arn: str | None = None
    active: bool = True


class _Worker:
    """A thread that does one thing after the other; the interpreter's end does not wait for it."""

    def __init__(self) -> None:
        self._queue: SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None] = SimpleQueue()
        name = "ecs-exec-magic-account"
        self.thread = threading.Thread(target=self._work, name=name, daemon=True)
        self.thread.start()

    def submit(self, function: Callable[[], T]) -> Future[T]:
        """Have a function run after all that was submitted before."""
        future: Future[T] = Future()
        self._queue.put((future, function))
        return future

    def end(self) -> None:
        """End the thread once all is done."""
        self._queue.put(None)

    def _work(self) -> None:
        while (item := self._queue.get()) is not None:
            future, function = item
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(function())
                except BaseException as error:  # noqa: BLE001  # it is the caller's
                    future.set_exception(error)
            del item, future, function  # nothing is held while waiting


class _Accounts:
    """The account numbers that are taken, and the one thread that may touch moto."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._taken: set[int] = set()
        self._worker: _Worker | None = None

    def join(self) -> tuple[int, _Worker]:
        """Take the lowest free number."""
        with self._lock:
            number = _FIRST
            while number in self._taken:
                number += 1
            self._taken.add(number)
            self._worker = self._worker or _Worker()
            return number, self._worker

    def leave(self, number: int) -> None:
        """Give a number back; the thread ends with the last one."""
        with self._lock:
            self._taken.discard(number)
            if not self._taken and self._worker is not None:
                self._worker.end()
                self._worker = None


_ACCOUNTS = _Accounts()


class Account:
    """One AWS account; several may live in one process and do not see each other.

    moto is imported on the account's thread; whatever needs it waits there.

    Attributes:
        account_id: twelve digits.
    """

    def __init__(self) -> None:
        if importlib.util.find_spec("moto") is None:  # say so at once, not at the first call
            raise ModuleNotFoundError("No module named 'moto'", name="moto")
        self._number, self._worker = _ACCOUNTS.join()
        self.account_id = str(self._number)
        self._closed = False
        self._prepared: set[str] = set()
        self._loading: Future[None] | None = None
        self._requests = 0
        self._stubber: Any = None
        self._session: Any = None
        self._clients: dict[tuple[str, str], Any] = {}

    def warm(self, region: str = DEFAULT_REGION) -> None:
        """Begin to load moto, on its thread."""
        self._loading = self._worker.submit(lambda: self._prepare(region))

    async def run(self, function: Callable[[], T]) -> T:
        """Run a function on the thread of moto; the only place where its state may be touched."""
        if self._closed:
            raise RuntimeError("the account is closed")
        return await asyncio.wrap_future(self._worker.submit(function))

    async def prepare(self, region: str) -> None:
        """Give a region what AWS's default VPC has and moto's lacks; once per region.

        An internet gateway, a default route to it, public addresses on launch.
        """
        if region not in self._prepared:
            await self.run(lambda: self._prepare(region))

    async def relay(
        self, service: str, region: str, method: str, target: str, headers: Mapping[str, str],
        body: bytes,
    ) -> Answer:  # fmt: skip
        """Hand a request to moto.

        Raises:
            Unserved: moto has no answer, or failed.
        """
        url = f"https://{_host(service, region)}{target}"
        return await self.run(lambda: self._process(method, url, headers, body))

    async def call(self, service: str, operation: str, region: str, /, **parameters: Any) -> Any:
        """Call an operation inside the account, as its administrator; no socket is involved.

        Args:
            service: as boto3 names it.
            operation: as boto3's method is named, ``put_log_events``.
            region: where.
            parameters: as boto3 takes them.

        Raises:
            botocore.exceptions.ClientError: AWS's error.
        """

        def work() -> Any:
            return getattr(self._client(service, region), operation)(**parameters)

        return await self.run(work)

    def known_key(self, access_key: str) -> KnownKey | None:
        """Whose access key it is, when IAM or STS gave it out; None for the sandbox's own.

        It only reads, and never waits for the thread of moto.
        """
        iam, sts = (sys.modules.get(f"moto.{name}.models") for name in ("iam", "sts"))
        for area in _PARTITIONS if access_key != OWN_KEY else ():
            for assumed in getattr(self._state(sts, "sts", area), "assumed_roles", ()):
                if assumed.access_key_id == access_key:
                    name = assumed.arn.partition("assumed-role/")[2]
                    return KnownKey(
                        assumed.arn, "assumed-role", name, assumed.user_id, assumed.role_arn
                    )
            users = getattr(self._state(iam, "iam", area), "users", {})
            for user in list(users.values()):
                for key in user.access_keys:
                    if key.access_key_id == access_key:
                        active = key.status == "Active"
                        return KnownKey(user.arn, "user", user.name, user.id, None, active)
        return None

    def _state(self, module: Any, service: str, area: str) -> Any:
        """moto's state as far as it is there already; it is not made."""
        regions = (getattr(module, f"{service}_backends", None) or {}).get(self.account_id)
        return None if regions is None else regions.get(area)

    async def close(self) -> None:
        """Forget everything of the account; harmless when repeated."""
        if self._closed:
            return
        self._closed = True
        dropped = self._worker.submit(self._drop)
        dropped.add_done_callback(lambda _: _ACCOUNTS.leave(self._number))
        if self._loading is None or self._loading.done():
            await asyncio.wrap_future(dropped)
        # else moto is still being imported: nobody needs to wait for that

    # on the thread of moto

    def _moto(self) -> Any:
        if self._stubber is None:
            os.environ.setdefault("MOTO_EC2_LOAD_DEFAULT_AMIS", "false")
            os.environ.setdefault("MOTO_IAM_LOAD_MANAGED_POLICIES", "true")
            from moto.core.botocore_stubber import BotocoreStubber

            self._stubber = BotocoreStubber()
        return self._stubber

    def backend(self, service: str, region: str) -> Any:
        """moto's own state of a service and region; only inside :meth:`run`.

        Raises:
            Unserved: there is no such region.
        """
        self._moto()
        if service in ("iam", "sts", "s3"):
            region = partition(region)
        try:
            return _backends(service)[self.account_id][region]
        except KeyError:
            raise Unserved(f"no region {region}") from None

    def _process(self, method: str, url: str, headers: Mapping[str, str], body: bytes) -> Answer:
        from botocore.awsrequest import AWSPreparedRequest, HeadersDict

        return self._send(AWSPreparedRequest(method, url, HeadersDict(headers), body, False))

    def _send(self, request: Any) -> Answer:
        self._requests += 1
        if self._requests % _TIDY_AFTER == 0:
            _tidy()
        request.headers["x-moto-account-id"] = self.account_id
        try:
            found = self._moto().process_request(request)
        except Exception as error:
            partly = "action has not been implemented" not in str(error)
            raise Unserved(f"{type(error).__name__}: {error}", partly=partly) from error
        if found is None:
            raise Unserved("no such host")
        status, headers, body = found
        data = body.encode() if isinstance(body, str) else bytes(body or b"")
        if int(status) in _UNSERVED or (int(status) == 404 and data == b"Not yet implemented"):
            raise Unserved("not implemented")
        return Answer(int(status), {str(k): str(v) for k, v in dict(headers).items()}, data)

    def _client(self, service: str, region: str) -> Any:
        found = self._clients.get((service, region))
        if found is None:
            from botocore.config import Config

            config = Config(
                ignore_configured_endpoint_urls=True,
                retries={"total_max_attempts": 1, "mode": "standard"},
                use_dualstack_endpoint=False,
                use_fips_endpoint=False,
            )
            found = self._make_session().create_client(
                service,
                region,
                aws_access_key_id=OWN_KEY,
                aws_secret_access_key="sandbox",
                config=config,
            )
            self._clients[service, region] = found
        return found

    def _make_session(self) -> Any:
        if self._session is None:
            import botocore.session
            from botocore.awsrequest import AWSResponse
            from moto.core.botocore_stubber import MockRawResponse

            nothing = (None, None, None, None)  # neither files nor variables of the user
            self._session = botocore.session.Session(
                session_vars={
                    "profile": nothing,
                    "config_file": (None, None, os.devnull, None),
                    "credentials_file": (None, None, os.devnull, None),
                }
            )

            def answer(request: Any, **_given: Any) -> Any:
                found = self._send(request)
                raw = MockRawResponse(found.body)
                return AWSResponse(request.url, found.status, found.headers, raw)

            self._session.register("before-send", answer)
        return self._session

    def _prepare(self, region: str) -> None:
        if region in self._prepared or self._closed:
            return
        ec2 = self.backend("ec2", region)
        vpc = ec2.get_default_vpc()
        if vpc is not None:
            gateway = ec2.create_internet_gateway()
            ec2.attach_internet_gateway(gateway.id, vpc.id)
            main = {"association.main": "true", "vpc-id": vpc.id}
            for table in ec2.describe_route_tables(filters=main):
                ec2.create_route(table.id, "0.0.0.0/0", gateway_id=gateway.id)
            for subnet in ec2.describe_subnets(filters={"default-for-az": "true"}):
                subnet.map_public_ip_on_launch = True
        self._prepared.add(region)

    def _drop(self) -> None:
        if self._stubber is None:
            return
        buckets = _backends("s3")
        for backend in list(buckets[self.account_id].values()):
            _drop_buckets(backend, buckets)
        for service in _SERVICES:
            _backends(service).pop(self.account_id, None)
        for client in self._clients.values():
            client.close()
        self._clients.clear()
        self._session = None
        _tidy()


def _tidy() -> None:
    """Empty moto's list of every object that it ever made: it is for a page that is not served."""
    from moto.core.model_instances import reset_model_data

    reset_model_data()


def _backends(service: str) -> Any:
    """moto's state of a service, by account."""
    import moto.backends

    find: Any = moto.backends.get_backend
    return find(service)


def _drop_buckets(backend: Any, every: Any) -> None:
    """Close the files of objects, and give the names of buckets back."""
    for bucket in list(backend.buckets.values()):
        for name in list(bucket.keys):
            for key in bucket.keys.getlist(name, []):
                if hasattr(key, "dispose"):
                    key.dispose()
        for upload in bucket.multiparts.values():
            upload.dispose()
        every.bucket_accounts.pop(bucket.name, None)


def partition(region: str) -> str:
    """The partition of a region: ``aws``, ``aws-cn`` or ``aws-us-gov``."""
    for prefix in ("cn-", "us-gov-"):
        if region.startswith(prefix):
            return f"aws-{prefix.strip('-')}"
    return "aws"


@cache
def regions() -> frozenset[str]:
    """Every region there is, in the partitions that are served."""
    from botocore.loaders import Loader  # not a session: it would read the user's settings
    from botocore.regions import EndpointResolver

    find = EndpointResolver(Loader().load_data("endpoints")).get_available_endpoints
    return frozenset(name for area in _PARTITIONS for name in find("ec2", area))


def _host(service: str, region: str) -> str:
    """The name of the real AWS host of a service."""
    suffix = "amazonaws.com.cn" if region.startswith("cn-") else "amazonaws.com"
    if service == "iam" and suffix == "amazonaws.com":
        return f"iam.{suffix}"
    return f"{service}.{region}.{suffix}"
