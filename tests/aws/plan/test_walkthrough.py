"""AWS's walkthrough from end to end: made, checked, used, found in the logs, audited, removed."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ecs_exec_magic.client import AuditEntry

from .conftest import World

LIMIT = 60.0


def awaited(found: Callable[[], Any]) -> Any:
    """What a function returns once that is something."""
    end = time.monotonic() + LIMIT
    while not (value := found()):
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.1)
    return value


def test_from_an_empty_account_and_back(world: World, tmp_path: Path) -> None:
    before, client = world.listing(), world.client()
    plan = client.plan(
        "trip",
        kms_key="new",
        bucket="round-trip-4711",
        encrypt_logs=True,
        tags={"environment": "production"},
        state=tmp_path / "state.json",
    )
    plan.apply()

    checked = client.check(plan.address)
    assert checked.ok, checked
    # An administrator may also start sessions past ECS: that is all there is to say.
    assert {each.id for each in checked if each.status != "ok"} == {"caller.start-session"}

    result = client.target(plan.address).run("echo kept-for-ever")
    assert result.stdout == "kept-for-ever\n"

    def told() -> AuditEntry | None:
        audit = client.audit("trip/trip", transcripts=True)
        (entry,) = (each for each in audit if each.session_id == result.session_id)
        return entry if entry.transcript and entry.event_id else None

    entry = awaited(told)
    assert entry.command == "echo kept-for-ever"
    assert entry.transcript.text == "kept-for-ever\n"
    assert entry.container == "nginx"
    assert entry.source_ip

    logs, s3 = world.aws("logs"), world.aws("s3")
    assert world.sandbox.wait_idle()  # one of both may have been enough for the audit
    streams = logs.describe_log_streams(logGroupName="/aws/ecs/trip")["logStreams"]
    assert result.session_id in [each["logStreamName"] for each in streams]
    objects = s3.list_objects_v2(Bucket="round-trip-4711")["Contents"]
    assert f"exec-output/{result.session_id}.log" in [each["Key"] for each in objects]

    plan.destroy(empty_bucket=True)
    assert world.listing() == before
    assert plan.leftovers() == ()
