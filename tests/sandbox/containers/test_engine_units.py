"""What becomes of a pod when somebody else has removed what the engine held for it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

from ecs_exec_magic.sandbox.containers import Events
from ecs_exec_magic.sandbox.engine import EngineError, EnginePod

from .helpers import spec


class Gone:
    """An engine that makes containers, and finds them removed when it is to remove them."""

    api: Any = SimpleNamespace(
        create_container="create",
        start="start",
        remove_container="remove",
        create_host_config=lambda **given: given,
    )
    image = "image"
    is_podman = False

    def labels(self) -> dict[str, str]:
        return {}

    async def call(self, function: Any, *_args: Any, **_given: Any) -> Any:
        if function == "remove":
            raise EngineError("No such container")
        return ("tag", True) if function == "image" else {"Id": "x"}


async def test_a_removed_network_is_no_error() -> None:
    ignored = Events(lambda *_: None, lambda *_: None)
    pod = EnginePod(cast(Any, Gone()), [spec("a"), spec("b")], ignored)
    assert await pod.network_of(cast(Any, pod.containers["a"])) == "x"
    await pod.close()
