"""What main processes print, in CloudWatch Logs."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from ecs_exec_magic.sandbox import awslogs
from ecs_exec_magic.sandbox.awslogs import LogTarget

from .conftest import REGION, Ecs


def logged(group: str, *script: str, **options: str) -> dict[str, Any]:
    return {
        "name": "app",
        "image": "busybox",
        "command": ["sh", "-c", "\n".join(script)],
        "logConfiguration": {
            "logDriver": "awslogs",
            "options": {
                "awslogs-group": group,
                "awslogs-region": REGION,
                "awslogs-stream-prefix": "out",
                **options,
            },
        },
    }


def call(ecs: Ecs, operation: str, **given: Any) -> Any:
    return ecs.sandbox.call(ecs.world.account.call("logs", operation, REGION, **given))


def lines(ecs: Ecs, group: str, task: str) -> list[str]:
    stream = f"out/app/{task.rpartition('/')[2]}"
    found = call(ecs, "get_log_events", logGroupName=group, logStreamName=stream)
    return [event["message"] for event in found["events"]]


def test_output_arrives_in_order(ecs: Ecs) -> None:
    group = f"/test/{ecs.name('group')}"
    call(ecs, "create_log_group", logGroupName=group)
    cluster = ecs.cluster()
    definition = ecs.register(
        containers=[logged(group, "echo one; echo; echo two; printf three; exit 4")]
    )
    arn = ecs.run(cluster, definition)[0]["taskArn"]
    assert ecs.stopped(cluster, arn)["containers"][0]["exitCode"] == 4
    found = ecs.until(lambda: lines(ecs, group, arn), lambda seen: len(seen) >= 3)
    assert found == ["one", "two", "three"], "an empty line is no event"


def test_a_missing_group(ecs: Ecs) -> None:
    group = f"/test/{ecs.name('group')}"
    cluster = ecs.cluster()
    arn = ecs.run(cluster, ecs.register(containers=[logged(group, "true")]))[0]["taskArn"]
    gone = ecs.stopped(cluster, arn)
    assert gone["stopCode"] == "TaskFailedToStart"
    assert gone["stoppedReason"].startswith(
        "ResourceInitializationError: failed to validate logger args: create stream has been "
        "retried 1 times: failed to create Cloudwatch log stream: ResourceNotFoundException: The "
        "specified log group does not exist."
    )
    made = logged(group, "echo hello; sleep 60", **{"awslogs-create-group": "true"})
    arn = ecs.run(cluster, ecs.register(containers=[made]))[0]["taskArn"]
    ecs.running(cluster, arn)
    ecs.until(lambda: lines(ecs, group, arn), lambda seen: seen == ["hello"])
    ecs.client.stop_task(cluster=cluster, task=arn)
    assert ecs.stopped(cluster, arn)["containers"][0]["exitCode"] in (137, 143)


def test_streams_are_named_as_the_driver_names_them() -> None:
    definition = logged("/g")
    assert LogTarget.of(definition, "r", "t") == LogTarget(REGION, "/g", "out/app/t")
    del definition["logConfiguration"]["options"]["awslogs-stream-prefix"]
    target = LogTarget.of(definition, "r", "t")
    assert target is not None and target.stream == "t"
    definition["logConfiguration"]["logDriver"] = "splunk"
    assert LogTarget.of(definition, "r", "t") is None


@given(st.lists(st.binary(max_size=50), max_size=20))
def test_any_cut_of_the_output_gives_the_same_lines(pieces: list[bytes]) -> None:
    stream, whole = awslogs._Stream(), awslogs._Stream()
    for piece in pieces:
        stream.add(piece)
    whole.add(b"".join(pieces))
    stream.end()
    whole.end()
    messages = [e["message"] for e in stream.events]
    assert messages == [e["message"] for e in whole.events]
    expected = (line.rstrip(b"\r") for line in b"".join(pieces).split(b"\n"))
    assert messages == [line.decode("utf-8", "replace") for line in expected if line]


@settings(max_examples=30)
@given(st.lists(st.integers(0, 300_000), max_size=30))
def test_batches_keep_to_the_limits(sizes: list[int]) -> None:
    stream = awslogs._Stream()
    for size in sizes:
        stream.add(b"x" * size + b"\n")
    batches = awslogs._batches(stream.events) if stream.events else []
    assert [e for batch in batches for e in batch] == stream.events
    for batch in batches:
        assert sum(len(e["message"]) + 26 for e in batch) <= 1_048_576
        assert len(batch) <= 10_000 and all(len(e["message"]) <= 262_144 for e in batch)
