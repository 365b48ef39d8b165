"""A shell in this process, and a client that answers without any network."""

from __future__ import annotations

from dataclasses import dataclass, field
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import pytest
from IPython.core.interactiveshell import InteractiveShell
from traitlets.config import Config

import ecs_exec_magic
from ecs_exec_magic import sandbox
from ecs_exec_magic.address import ContainerRef
from ecs_exec_magic.capture import Capture
from ecs_exec_magic.errors import CommandTimeout, Interrupted, SessionLost, TargetNotFound
from ecs_exec_magic.notebook import extension
from ecs_exec_magic.results import CommandResult

from ..runtimes import WITHOUT_ENGINE
from .account import Account, container, task
from .kernels import practising

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from ecs_exec_magic.notebook.magics import EcsExec
    from ecs_exec_magic.sandbox import Sandbox

    from .kernels import Kernel


# What jupyter_client 7 causes: it makes a loop for its blocking calls and never closes that or its
# socket pair, and leaves its contexts to the garbage collector; and Python 3.12 and 3.13 advise
# against some of what it does.
OF_OLD_CLIENTS = (
    "unclosed event loop:ResourceWarning",
    r"Unclosed context <zmq\.asyncio\.Context:ResourceWarning",
    r"unclosed <socket\.socket fd=\d+, family=(1|AddressFamily\.AF_UNIX).*proto=0>:ResourceWarning",
    r"There is no current event loop:DeprecationWarning:jupyter_client\.utils",
    r"datetime\.datetime\.utcnow\(\):DeprecationWarning:jupyter_client\.session",
    r"Parsing dates involving a day of month:DeprecationWarning:jupyter_client\.jsonutil",
)


def pytest_configure(config: pytest.Config) -> None:
    if int(version("jupyter_client").split(".")[0]) < 8:
        for warning in OF_OLD_CLIENTS:
            config.addinivalue_line("filterwarnings", f"ignore:{warning}")


@dataclass(frozen=True)
class Event:
    stream: str
    data: bytes


@dataclass(frozen=True)
class FakeTarget(ContainerRef):
    client: FakeClient | None = None

    def run(self, command: str, **how: Any) -> CommandResult:
        assert self.client is not None
        return self.client.perform(self, "run", command, how)

    def script(self, body: str, shell: str = "/bin/sh", **how: Any) -> CommandResult:
        assert self.client is not None
        return self.client.perform(self, "script", body, {**how, "shell": shell})


@dataclass
class FakeClient:
    """Behaves as the command says, as a far end would."""

    settings: dict[str, Any]
    calls: list[tuple[str, str, dict[str, Any]]] = field(default_factory=list)
    asked: list[tuple[str | None, dict[str, Any]]] = field(default_factory=list)
    on_run: Callable[[], None] | None = None
    closed: bool = False
    account: Account = field(default_factory=Account)
    exact: bool = True

    def close(self) -> None:
        self.closed = True

    def caller(self, wait: float = 0.0) -> str:
        return "arn:aws:iam::123456789012:user/somebody"

    def target(self, address: str | None = None, **words: Any) -> FakeTarget:
        self.asked.append((address, words))
        if "nowhere" in (address or ""):
            raise TargetNotFound(f"there is no {address}")
        container = words.get("container") or (address or "").partition(":")[2] or "nginx"
        number = len(self.asked)
        return FakeTarget(
            cluster=words.get("cluster") or "demo",
            service="web",
            family="web",
            task_id=f"{number:032x}",
            task_arn=f"arn:aws:ecs:eu-west-1:123456789012:task/demo/{number:032x}",
            container=container,
            runtime_id="r-1",
            region="eu-west-1",
            client=self,
        )

    def unattended(self) -> FakeClient:
        return self

    def clusters(self) -> Any:
        return self.account.cluster_infos()

    def cluster_names(self) -> Any:
        return self.account.cluster_names()

    def services(self, cluster: str | None = None) -> Any:
        return self.account.services(cluster)

    def tasks(self, scope: str | None = None, **given: Any) -> Any:
        words = {"cluster", "service", "task", "family", "container"}
        return self.account.list(
            scope,
            {name: value for name, value in given.items() if name in words},
            {name: value for name, value in given.items() if name not in words},
        )

    def perform(
        self, target: FakeTarget, kind: str, command: str, how: dict[str, Any]
    ) -> CommandResult:
        self.calls.append((kind, command, how))
        if self.on_run is not None:
            self.on_run()
        word = command.split()[0]
        code = {"fail": 3, "timeout": None}.get(word, 0)
        out, err = (b"out of " + word.encode() + b"\n"), (b"oops\n" if word == "fail" else b"")
        if how.get("on_notice"):
            how["on_notice"]("waiting for a free session")
        if how.get("on_output"):
            for stream, data in (("stdout", out), ("stderr", err)):
                if data:
                    how["on_output"](Event(stream, data))
        result = CommandResult(
            code,
            command,
            target=ContainerRef(
                target.cluster,
                target.service,
                target.family,
                target.task_id,
                target.task_arn,
                target.container,
                target.runtime_id,
                target.region,
            ),
            timed_out=word == "timeout",
            exact=self.exact,
            missing="" if self.exact else "no cksum",
            captured_stdout=Capture(out),
            captured_stderr=Capture(err),
        )
        if word == "timeout" and how.get("check") is False and how.get("timeout") == 7:
            raise CommandTimeout("too slow", result=result)
        if word == "interrupt":
            raise Interrupted("ended by the user", result)
        if word == "lose":
            raise SessionLost("gone", result=result)
        if how.get("check"):
            result.check()
        return result


class World:
    """Every client that was made, and the newest of them."""

    def __init__(self) -> None:
        self.clients: list[FakeClient] = []
        self.exact = True
        self.account = Account(
            ["demo", "prod"],
            [
                task(0xA1, "prod", "web", "nginx", "sidecar"),
                task(0xA2, "prod", "web", "nginx", "sidecar"),
                task(0xB1, "prod", "worker", "main", container("aws-guardduty-agent")),
                task(0xC1, "prod", None, "app", exec_enabled=False, family="batch"),
                task(0xD1, "demo", "shop", "till"),
            ],
        )

    def connect(self, **settings: Any) -> FakeClient:
        self.clients.append(FakeClient(settings, account=self.account, exact=self.exact))
        return self.clients[-1]

    @property
    def client(self) -> FakeClient:
        return self.clients[-1]


@pytest.fixture(scope="module")
def cluster() -> Iterator[Sandbox]:
    """A practice cluster for the kernels of a file."""
    with sandbox.start(pace="fast", runtime=WITHOUT_ENGINE) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def kernel(cluster: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kernel]:
    """A kernel for all tests of a file, with the magics and a target."""
    with practising(cluster, tmp_path_factory.mktemp("ipython")) as kernel:
        yield kernel


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    world = World()
    monkeypatch.setattr(ecs_exec_magic, "connect", world.connect, raising=False)
    return world


@pytest.fixture
def shell(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[InteractiveShell]:
    monkeypatch.chdir(tmp_path)  # where runs are recorded
    config = Config()
    config.HistoryManager.enabled = False
    InteractiveShell.clear_instance()
    shell = InteractiveShell.instance(config=config)
    extension.load(shell)
    try:
        yield shell
    finally:
        extension.unload(shell)
        InteractiveShell.clear_instance()


@pytest.fixture
def magics(shell: InteractiveShell) -> EcsExec:
    found: EcsExec = shell.magics_manager.registry["EcsExec"]
    return found
