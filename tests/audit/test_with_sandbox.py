"""Audits of real sessions: real events, real logs, and what is missing of them."""

from __future__ import annotations

import dataclasses
import json
import pickle
import threading
from datetime import datetime, timedelta, timezone

import pytest
from botocore.exceptions import ClientError

from ecs_exec_magic.audit import Audit
from ecs_exec_magic.aws.audit import trail
from ecs_exec_magic.errors import InvalidRequest
from ecs_exec_magic.journal import Journal
from ecs_exec_magic.results import CommandResult

from .conftest import BUCKET, GROUP, Site, recorded


def test_who_what_where_and_what_it_printed(site: Site, journal: Journal) -> None:
    target = site.client.target("demo/web:nginx")
    command = "echo hello; echo oops >&2; printf 'API_TOKEN=abcdefgh12345678\\n'; exit 3"
    result = recorded(journal, target, command)
    site.settled()
    audit = site.client.audit("demo/web", journal=journal, transcripts=True)
    (entry,) = audit
    assert (entry.who, entry.source_ip, entry.program) == ("sandbox", "127.0.0.1", "ecs-exec-magic")
    assert entry.arn.endswith(":user/sandbox") and entry.address == target.address
    assert (entry.cluster, entry.service, entry.container) == ("demo", "web", "nginx")
    assert entry.command == command.replace("abcdefgh12345678", "[masked]")
    assert entry.session_id == result.session_id and entry.request_id == result.request_id
    assert (entry.exit_code, entry.outcome) == (3, "exit 3")
    assert entry.duration == pytest.approx(result.duration, abs=0.001)
    assert [log.where for log in entry.logs] == [
        f"{GROUP}:{result.session_id}",
        f"s3://{BUCKET}/out/{result.session_id}.log",
    ]
    assert entry.transcript is not None
    assert sorted(entry.transcript.text.split()) == ["API_TOKEN=[masked]", "hello", "oops"]
    assert entry.notes == () and audit.complete
    assert {source.name for source in audit.sources} == {
        "CloudTrail", f"log group {GROUP}", f"bucket {BUCKET}", "recorded runs",
    }  # fmt: skip
    assert entry.records[0].result().exit_code == 3


def test_both_copies_of_a_log_say_the_same(site: Site) -> None:
    site.client.target("demo/worker").run("seq 1 300; printf 'a\\r\\nb\\tc\\n'; exit 7")
    site.settled()
    (whole,) = site.client.audit(transcripts=True)
    s3 = site.aws("s3")
    s3.delete_object(Bucket=BUCKET, Key=whole.logs[1].name)
    (other,) = site.client.audit(transcripts=True)
    assert [log.kind for log in other.logs] == ["logs"]
    assert whole.transcript is not None and other.transcript is not None
    assert whole.transcript.text == other.transcript.text
    assert other.transcript.text.startswith("1\n2\n") and "a\nb\tc" in other.transcript.text
    # No record: the exit code comes out of the log.
    assert other.exit_code == 7 and other.outcome == "exit 7"
    (short,) = site.client.audit(transcripts=True, max_bytes=700)
    assert short.transcript is not None and short.transcript.cut
    assert whole.transcript.text.startswith(short.transcript.text.rstrip("\n"))


def test_users_roles_and_refused_calls(site: Site) -> None:
    site.client.target("demo/worker").run("true")
    site.user("bob").target("demo/worker").run("id")
    site.role("oncall", "carol").target("demo/worker").run(["hostname"])
    with pytest.raises(Exception, match="not found"):
        site.aws("ecs").execute_command(
            cluster="demo", task="f" * 32, interactive=True, command="rm -rf /"
        )
    site.settled()
    audit = site.client.audit("demo")
    assert [(e.who, e.command) for e in audit] == [
        ("sandbox", "true"), ("bob", "id"), ("oncall/carol", "hostname"), ("sandbox", "rm -rf /"),
    ]  # fmt: skip
    refused = audit[3]
    assert refused.error == "InvalidParameterException" and not refused.session_id
    assert "AWS said: The referenced task was not found." in refused.notes
    for who, count in (
        ("bob", 1), ("BOB", 1), ("carol", 1), ("oncall", 1), ("oncall/*", 1), ("*user/*", 3),
        (audit[2].arn, 1), ("nobody", 0), ("sandbox", 2),
    ):  # fmt: skip
        assert len(site.client.audit(who=who)) == count, who
    assert [e.command for e in site.client.audit("demo/worker:worker")] == [
        "true",
        "id",
        "hostname",
    ]
    for name in ("demo/web", "demo/wroker"):
        nothing = site.client.audit(name)
        assert not nothing and str(nothing.sources[-1]) == "elsewhere: there are sessions of worker"
    nothing = site.client.audit("other")
    assert not nothing
    assert str(nothing.sources[-1]) == "cluster: there is no other in this region now"


def test_names_that_nothing_has(site: Site) -> None:
    site.client.target("demo/worker").run("true")
    ecs = site.aws("ecs")
    for cluster, task in (("demo", "abc"), ("no such!", "e" * 32), ("nowhere", "x y\x1b[2J")):
        with pytest.raises(ClientError):
            ecs.execute_command(cluster=cluster, task=task, interactive=True, command="id")
    site.settled()
    audit = site.client.audit()
    assert audit.complete and [entry.service for entry in audit] == ["worker", "", "", ""]
    assert {entry.error for entry in audit[1:]} == {
        "InvalidParameterException", "ClusterNotFoundException",
    }  # fmt: skip
    assert "\x1b" not in repr(audit)


def test_a_terminal_session(site: Site) -> None:
    shown = bytearray()
    came = threading.Condition()

    def take(data: bytes) -> None:
        with came:
            shown.extend(data)
            came.notify_all()

    terminal = site.client.target("demo/worker").terminal(["sh"], on_output=take)

    def type_in(text: bytes, until: bytes) -> None:
        terminal.write(text)
        with came:
            assert came.wait_for(lambda: until in shown, 60)

    type_in(b"echo on''e\n", b"one\r\n")
    type_in(b"printf '\\033[1mbold\\033[0m %s\\n' tw''o\n", b"two\r\n")
    terminal.write(b"exit\n")
    assert terminal.wait(60) is not None
    site.settled()
    (entry,) = site.client.audit(transcripts=True)
    assert entry.command == "sh" and entry.transcript is not None
    text = entry.transcript.text
    assert "echo on''e\none\n" in text and "bold two\n" in text
    assert "\x1b" not in text and "\r" not in text and "Script" not in text
    assert entry.exit_code is None and entry.outcome == "ended"


def test_a_fleet(site: Site) -> None:
    found = site.client.run("demo/web:*", "hostname")
    assert len(found) == 6
    site.settled()
    audit = site.client.audit("demo/web", transcripts=True)
    assert {entry.address for entry in audit} == set(found)
    for entry in audit:
        result = found.succeeded[entry.address]
        assert entry.transcript is not None and entry.transcript.text == result.stdout
        assert entry.session_id == result.session_id
    assert len(site.client.audit("demo/web:sidecar")) == 3
    one = audit[0]
    assert [e.address for e in site.client.audit(one.address)] == [one.address]
    assert len(site.client.audit(f"demo/{one.task_id[:8]}")) == 2
    assert len(site.client.audit(task=one.task_arn)) == 2
    assert len(site.client.audit(service="web", cluster="demo", container="nginx")) == 3


def test_sessions_without_a_terminal_are_not_logged(site: Site) -> None:
    site.client.target("demo/worker").run("echo hidden", method="start-session")
    site.settled()
    (entry,) = site.client.audit("demo/worker:worker", transcripts=True)
    assert (entry.kind, entry.command, entry.container) == ("session", "echo hidden", "worker")
    assert entry.transcript is None and "never logged" in entry.notes[0]


# -- what is missing -----------------------------------------------------------------------------


def test_cloudtrail_is_late(site: Site, journal: Journal) -> None:
    site.sandbox._server.trail._delay = 3600.0
    recorded(journal, site.client.target("demo/worker"), "echo early")
    site.client.target("demo/worker").run("echo unrecorded")
    site.settled()
    ours, theirs = site.client.audit(journal=journal, transcripts=True)
    assert (ours.kind, ours.command, ours.exit_code) == ("exec", "echo early", 0)
    assert (theirs.kind, theirs.command, theirs.who) == ("log", "", "")
    # The log's own first line says where it was.
    assert (theirs.cluster, theirs.service, theirs.container) == ("demo", "worker", "worker")
    assert theirs.transcript is not None and theirs.transcript.text == "unrecorded\n"
    for entry in (ours, theirs):
        assert entry.notes == ("CloudTrail has no event yet: it is up to 15 minutes late",)
        assert len(entry.logs) == 2 and not entry.event_id
    assert len(site.client.audit("demo/worker:worker")) == 2 and not site.client.audit("demo/web")
    left = site.client.audit(who="sandbox").sources[-1]
    assert left.text == "2 sessions with a log alone: who began them is not known"
    site.sandbox._server.trail._delay = 0.0
    audit = site.client.audit(journal=journal)
    assert [(e.kind, e.command) for e in audit] == [
        ("exec", "echo early"),
        ("exec", "echo unrecorded"),
    ]
    assert all(e.who == "sandbox" and e.notes == () for e in audit)


def test_records_of_other_places_and_of_runs_without_a_session(
    site: Site, journal: Journal
) -> None:
    ref = site.client.target("demo/worker").ref
    account = ref.task_arn.split(":")[4]
    ours = CommandResult(0, "echo here", session_id="ecs-execute-command-0000000000000000a")
    journal.begin("exec", "echo here", target=ref).finish(ours)
    for changed in (
        {"task_arn": ref.task_arn.replace(account, "999999999999")},
        {"region": "eu-west-1"},
    ):
        other = dataclasses.replace(ref, **changed)
        result = CommandResult(0, "x", session_id="ecs-execute-command-0000000000000000b")
        journal.begin("exec", "echo elsewhere", target=other).finish(result)
    journal.begin("exec", "echo nowhere").finish(None, InvalidRequest("no target"))
    journal.begin("exec", "sleep 100", target=ref)
    audit = site.client.audit(journal=journal)
    assert [entry.command for entry in audit] == ["echo here"]
    assert "1 without a recorded end" in str(audit.sources[-1])
    audit = site.client.audit(journal=journal.directory)
    assert len(audit) == 1
    assert list(site.client.audit(journal=journal.directory / "nothing")) == []


@pytest.mark.parametrize(
    ("logging", "where", "logs", "note"),
    [
        ("NONE", {}, [], "no log: logging is off in cluster demo"),
        ("DEFAULT", {}, ["/aws/ecs/worker"], ""),
        ("OVERRIDE", {"s3BucketName": BUCKET}, [BUCKET], ""),
        ("OVERRIDE", {"cloudWatchLogGroupName": GROUP}, [GROUP], ""),
    ],
)
def test_where_clusters_log(
    site: Site, journal: Journal, logging: str, where: dict[str, str], logs: list[str], note: str
) -> None:
    site.log(logging, **where)
    recorded(journal, site.client.target("demo/worker"), "echo here")
    site.settled()
    (entry,) = site.client.audit(transcripts=True, journal=journal)
    assert [log.place for log in entry.logs] == logs
    assert entry.notes == ((note,) if note else ())
    assert (entry.transcript.text if entry.transcript else "") == ("here\n" if logs else "")


def test_places_that_are_not_there(site: Site) -> None:
    site.client.target("demo/worker").run("true")
    site.settled()
    site.log("OVERRIDE", cloudWatchLogGroupName="/gone", s3BucketName="gone-bucket-4711")
    audit = site.client.audit()
    assert len(audit) == 1 and not audit.complete
    told = "\n".join(map(str, audit.sources))
    assert "log group /gone: session logs there are not known: there is no such log group" in told
    assert "there is no such bucket" in told
    assert audit[0].notes == ("no log: not all places could be looked through",)


def test_many_events_and_a_limit(site: Site) -> None:
    ecs = site.aws("ecs")
    for number in range(130):
        with pytest.raises(ecs.exceptions.InvalidParameterException):
            ecs.execute_command(
                cluster="demo", task=f"{number:032x}", interactive=True, command=f"echo {number}"
            )
    site.client.target("demo/worker").run("true")
    site.settled()
    audit = site.client.audit("demo")
    assert [entry.command for entry in audit] == [*(f"echo {n}" for n in range(130)), "true"]
    before = len(list(site.sandbox.counters.calls()))
    newest = site.client.audit("demo", limit=20)
    assert list(newest) == list(audit)[-20:]
    calls = [c.operation for c in list(site.sandbox.counters.calls())[before:]]
    assert calls.count("LookupEvents") == 4  # one page of each kind is enough
    assert "were not looked up" in newest.sources[0].text
    assert "were not looked up" not in site.client.audit("demo", limit=131).sources[0].text
    assert "not shown" not in repr(audit) and len(repr(audit).splitlines()) > 130


def test_it_keeps_to_two_lookups_a_second(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.client.target("demo/worker").run("true")
    site.settled()
    monkeypatch.setattr(trail, "INTERVAL", 0.5)
    monkeypatch.setattr(site.sandbox._server.trail, "lookups", 2)
    audit = site.client.audit()
    assert len(audit) == 1 and audit.complete


def test_throttling_is_waited_for_and_then_told(site: Site) -> None:
    site.client.target("demo/worker").run("true")
    site.settled()
    site.sandbox.faults.throttle = {"LookupEvents": 3}
    assert len(site.client.audit()) == 1
    site.sandbox.faults.throttle = {"LookupEvents": 10**6}
    audit = site.client.audit()
    assert [entry.kind for entry in audit] == ["log"]
    assert audit.sources[0].state == "failed" and "throttled" in audit.sources[0].text
    assert audit[0].notes == ("CloudTrail could not be asked",)


def test_times(site: Site) -> None:
    site.client.target("demo/worker").run("true")
    site.settled()
    now = datetime.now(timezone.utc)
    assert len(site.client.audit(since=timedelta(minutes=5))) == 1
    assert len(site.client.audit(since=now - timedelta(minutes=5), until=now)) == 1
    assert len(site.client.audit(since=now)) == 0
    assert len(site.client.audit(since="3h", until="2h")) == 0
    far = site.client.audit(since="200d")
    assert len(far) == 1 and "90 days ago" in far.sources[0].text
    for wrong in ({"since": "soon"}, {"since": "1h", "until": "2h"}, {"limit": 0}):
        with pytest.raises(InvalidRequest):
            site.client.audit(**wrong)
    with pytest.raises(InvalidRequest, match="us-west-2"):
        site.client.audit("arn:aws:ecs:us-west-2:123456789012:cluster/demo")


def test_an_audit_is_data(site: Site, journal: Journal) -> None:
    recorded(journal, site.client.target("demo/worker"), "echo x")
    site.client.target("demo/web:nginx").run("exit 2")
    site.settled()
    audit = site.client.audit(journal=journal, transcripts=True)
    read = json.loads(audit.json())
    assert [each["command"] for each in read["entries"]] == ["echo x", "exit 2"]
    assert read["entries"][0]["runs"] == [1] and read["entries"][0]["time"].endswith("+00:00")
    frame = audit.dataframe()
    assert list(frame["exit_code"]) == [0, 2] and str(frame["time"].dtype).startswith("datetime64")
    assert [e.command for e in audit.filter(exit_code=2)] == ["exit 2"]
    assert len(audit.filter(lambda entry: entry.service == "worker")) == 1
    with pytest.raises(InvalidRequest, match="colour"):
        audit.filter(colour="red")
    assert isinstance(audit[:1], Audit) and len(audit[:1]) == 1
    again = pickle.loads(pickle.dumps(audit))
    assert again.table() == audit.table()


def test_how_it_looks(site: Site, journal: Journal) -> None:
    recorded(journal, site.client.target("demo/worker"), "echo '<b>x</b>'  two")
    site.aws("ecs")
    site.settled()
    shown = site.client.audit(journal=journal, transcripts=True)._repr_mimebundle_()
    text, markup = shown["text/plain"], shown["text/html"]
    lines = text.splitlines()
    assert lines[0].startswith("1 session in every cluster (us-east-1) since ")
    assert max(map(len, lines)) <= 120
    head = lines[2].split("  ")
    assert [each for each in map(str.strip, head) if each][1:] == [
        "WHO", "FROM", "WHERE", "TASK", "COMMAND", "TOOK", "OUTCOME", "LOG",
    ]  # fmt: skip
    assert "exit 0" in lines[3] and "CW, S3" in lines[3] and "demo/worker:worker" in lines[3]
    assert "  | <b>x</b> two" in lines
    assert "<b>x</b>" not in markup and "&lt;b&gt;x&lt;/b&gt; two" in markup
    assert "<script" not in markup and "<style" not in markup
    nothing = site.client.audit("demo/web")
    assert repr(nothing).startswith("no sessions in demo/web (us-east-1) since ")
