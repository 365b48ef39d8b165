"""Where session logs lie: many of them, among others, encrypted, and in broken places."""

from __future__ import annotations

import time
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from ecs_exec_magic.audit import reading
from ecs_exec_magic.aws.audit.objects import objects_in, read_object
from ecs_exec_magic.aws.audit.streams import streams_in
from ecs_exec_magic.client import Client

from .conftest import BUCKET, GROUP, Site


def session_id(number: int) -> str:
    return f"ecs-execute-command-{number:017x}"


def put(site: Site, name: str, text: str, ago: timedelta = timedelta(0)) -> None:
    logs = site.aws("logs")
    logs.create_log_stream(logGroupName=GROUP, logStreamName=name)
    at = int((time.time() - ago.total_seconds()) * 1000)
    event = {"timestamp": at, "message": text}
    logs.put_log_events(logGroupName=GROUP, logStreamName=name, logEvents=[event])


SINCE = datetime.now(timezone.utc) - timedelta(hours=2)


async def test_streams_among_many(site: Site) -> None:
    api = site.client._api
    for number in range(70):
        put(site, session_id(number), f"log {number}")
    put(site, session_id(99), "old", timedelta(days=2))
    put(site, "container-stdout/nginx/abc", "GET /")
    try:
        new = await streams_in(api, GROUP, "demo", SINCE, [])
        assert {log.name for log in new.items} == set(map(session_id, range(70)))
        known = await streams_in(api, GROUP, "demo", SINCE, [session_id(99), session_id(100)])
        assert {log.name for log in known.items} == set(map(session_id, [*range(70), 99]))
        assert known.sources == () and all(log.cluster == "demo" for log in known.items)
        audit = site.client.audit("demo", limit=10, transcripts=True)
        assert len(audit) == 10
        assert all(e.transcript and e.transcript.text.startswith("log ") for e in audit)
    finally:
        site.aws("logs").delete_log_stream(
            logGroupName=GROUP, logStreamName="container-stdout/nginx/abc"
        )


async def test_a_log_of_many_events(site: Site) -> None:
    name = session_id(1)
    logs = site.aws("logs")
    logs.create_log_stream(logGroupName=GROUP, logStreamName=name)
    now = int(time.time() * 1000)
    for start in range(0, 12_000, 3000):
        events = [{"timestamp": now, "message": f"line {start + n}"} for n in range(3000)]
        logs.put_log_events(logGroupName=GROUP, logStreamName=name, logEvents=events)
    (whole,) = site.client.audit(transcripts=True)
    assert whole.transcript is not None and not whole.transcript.cut
    assert whole.transcript.text.split("\n") == [f"line {n}" for n in range(12_000)]
    (short,) = site.client.audit(transcripts=True, max_bytes=1000)
    assert short.transcript is not None and short.transcript.cut
    assert whole.transcript.text.startswith(short.transcript.text)
    assert "only the beginning of the log was read" in repr(
        site.client.audit(transcripts=True, max_bytes=1000)
    )


async def test_objects_among_others(site: Site) -> None:
    s3, api = site.aws("s3"), site.client._api
    keys = [f"out/{session_id(1)}.log", f"out/{session_id(2)}.log", "out/report.log",
            "out/ecs-execute-command-x.log", f"out/{session_id(3)}.log.gz",
            f"else/{session_id(4)}.log"]  # fmt: skip
    for key in keys:
        s3.put_object(Bucket=BUCKET, Key=key, Body=b"Script started on x\nhi\n")
    try:
        found = await objects_in(api, BUCKET, "out", "demo", SINCE, [])
        assert sorted(log.name for log in found.items) == keys[:2]
        assert found.items[0].size == 23
        later = datetime.now(timezone.utc) + timedelta(hours=1)
        known = await objects_in(api, BUCKET, "out", "demo", later, [session_id(2), session_id(9)])
        assert [log.name for log in known.items] == [keys[1]] and known.sources == ()
        assert not (await objects_in(api, BUCKET, "", "demo", SINCE, [])).items
    finally:
        for key in keys:
            s3.delete_object(Bucket=BUCKET, Key=key)


class Answer:
    """An HTTP answer, as far as botocore looks at it."""

    def __init__(self, status: int) -> None:
        self.status_code, self.headers = status, dict[str, str]()


def denied(client: Client, operation: str, message: str) -> None:
    """Let AWS refuse an operation to a client."""
    error = {"Code": "AccessDenied", "Message": message}
    answer = {"Error": error, "ResponseMetadata": {"HTTPStatusCode": 403}}

    def refuse(**_: Any) -> Any:
        return Answer(403), answer

    events: Any = client._api.session.events
    events.register(f"before-call.{operation}", refuse)


KEY = "arn:aws:kms:us-east-1:123456789012:key/0123"
NO_KEY = (
    "User: arn:aws:iam::123456789012:user/sandbox is not authorized to perform: kms:Decrypt on "
    f"resource: {KEY} because no identity-based policy allows the kms:Decrypt action"
)


def test_logs_under_a_key_that_the_auditor_may_not_use(site: Site) -> None:
    site.client.target("demo/worker").run("echo secret")
    site.settled()
    auditor = site.user("auditor-without-key")
    denied(auditor, "s3.GetObject", NO_KEY)
    (entry,) = auditor.audit(transcripts=True)
    assert entry.transcript is not None and entry.transcript.text == "secret\n"
    (note,) = entry.notes
    assert note.startswith(f"s3://{BUCKET}/out/ecs-execute-command-")
    assert "kms:Decrypt" in note and KEY in note
    another = site.user("another-without-key")
    denied(another, "s3.GetObject", NO_KEY)
    denied(another, "cloudwatch-logs.GetLogEvents", NO_KEY)
    (entry,) = another.audit(transcripts=True)
    assert entry.transcript is None and len(entry.notes) == 2
    assert len(entry.logs) == 2  # where they are is known all the same


def test_an_object_that_is_gone_by_now(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.client.target("demo/worker").run("echo x")
    site.settled()
    (entry,) = site.client.audit()

    async def delete_and_read(api: Any, log: Any, at_most: int) -> Any:
        site.aws("s3").delete_object(Bucket=BUCKET, Key=log.name)
        return await read_object(api, log, at_most)

    monkeypatch.setattr(reading, "read_object", delete_and_read)
    (entry,) = site.client.audit(transcripts=True)
    assert entry.transcript is not None and "cannot be read" in entry.notes[0]
