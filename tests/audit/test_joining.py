"""The join: each event, log and run is in exactly one entry, and what is missing is said."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from ecs_exec_magic.address import ContainerRef
from ecs_exec_magic.audit import Audit
from ecs_exec_magic.audit.entries import AuditEntry, program_of
from ecs_exec_magic.audit.joining import Found, join
from ecs_exec_magic.aws.audit import HIDDEN, Call, Identity, Place, SessionLog
from ecs_exec_magic.aws.audit.calls import read
from ecs_exec_magic.journal import Record
from ecs_exec_magic.journal.processes import Process
from ecs_exec_magic.remote.wrapper import wrap

NOW = datetime(2026, 11, 28, 12, 0, tzinfo=timezone.utc)
LONG_AGO = NOW - timedelta(hours=1)
TASK = "0123456789abcdef0123456789abcdef"
ARN = f"arn:aws:ecs:eu-west-1:123456789012:task/prod/{TASK}"
ALICE = Identity("alice", "arn:aws:iam::123456789012:user/alice", "IAMUser")
BOB = Identity("ops/bob", "arn:aws:sts::123456789012:assumed-role/ops/bob", "AssumedRole")
HERE = Place("prod", "OVERRIDE", ("/exec",), "logs-bucket", "p")


def call(number: int, name: str = "ExecuteCommand", **more: Any) -> Call:
    given: dict[str, Any] = {
        "at": LONG_AGO + timedelta(seconds=number),
        "who": ALICE,
        "source_ip": "10.0.0.7",
        "cluster": "prod",
        "task_id": TASK,
        "container": "app",
        "command": "ls",
        "session_id": f"ecs-execute-command-{number:017x}",
        "request_id": f"request-{number}",
        **more,
    }
    return Call(f"event-{number}", name, **given)


def log(number: int, kind: str = "logs") -> SessionLog:
    session_id = f"ecs-execute-command-{number:017x}"
    place, name = (
        ("/exec", session_id) if kind == "logs" else ("logs-bucket", f"p/{session_id}.log")
    )
    return SessionLog(session_id, kind, place, name, LONG_AGO + timedelta(seconds=9), 0, "prod")


def run(number: int, **more: Any) -> Record:
    ref = ContainerRef("prod", "web", "web", TASK, ARN, "app", "r", "eu-west-1")
    given: dict[str, Any] = {
        "kind": "exec",
        "command": "ls",
        "started": LONG_AGO + timedelta(seconds=number),
        "ended": LONG_AGO + timedelta(seconds=number + 2),
        "state": "ended",
        "exit_code": 0,
        "duration": 2.0,
        "target": ref,
        "session_id": f"ecs-execute-command-{number:017x}",
        "request_id": f"request-{number}",
        "identity": ALICE.arn,
        **more,
    }
    return Record(number=number, id=f"run{number}", process=Process(1, "x", "h"), **given)


def one(**found: Any) -> AuditEntry:
    (entry,) = join(Found(**{"places": {"prod": HERE}, "now": NOW, **found}))
    return entry


# -- what belongs together -----------------------------------------------------------------------


def test_all_four_are_one() -> None:
    entry = one(calls=[call(1)], logs=[log(1), log(1, "s3")], records=[run(1)])
    assert (entry.kind, entry.who, entry.source_ip) == ("exec", "alice", "10.0.0.7")
    assert [each.where for each in entry.logs] == [
        f"/exec:{entry.session_id}",
        f"s3://logs-bucket/p/{entry.session_id}.log",
    ]
    assert (entry.exit_code, entry.duration, entry.outcome) == (0, 2.0, "exit 0")
    assert entry.service == "web" and entry.address == f"prod/{TASK}:app"
    assert entry.notes == ()


def test_the_users_command_and_not_the_wrapper() -> None:
    for command, shown in (
        ("df -h | tail -1", "df -h | tail -1"),
        (["printf", "%s", "a b"], "printf %s 'a b'"),
    ):
        passed = wrap(command).api_command
        assert len(passed) > 2000
        assert one(calls=[call(1, command=passed)]).command == shown
    long = wrap("echo " + "x" * 9000).api_command
    assert one(calls=[call(1, command=long)]).command.startswith("sha256:")
    assert one(calls=[call(1, command=long)], records=[run(1)]).command == "ls"


def test_a_hidden_command_is_taken_from_the_record() -> None:
    entry = one(calls=[call(1, command=HIDDEN)], records=[run(1)])
    assert entry.command == "ls" and "CloudTrail hides the command" in entry.notes
    assert one(calls=[call(1, command=HIDDEN)]).command == ""


def test_secrets_in_commands_are_masked() -> None:
    found = Found(calls=[call(1, command="export API_TOKEN=abcdefgh12345678")])
    assert "abcdefgh" not in join(found)[0].command
    assert "abcdefgh" in join(found, masked=False)[0].command


def test_a_refused_call_meets_its_run_by_the_request() -> None:
    refused = call(
        1, session_id="", error="AccessDenied", error_message="no, password=hunter2hunter2"
    )
    entry = one(
        calls=[refused], records=[run(1, session_id="", exit_code=None, error="AccessDenied")]
    )
    assert entry.denied and entry.outcome == "denied"
    assert entry.records[0].number == 1
    assert entry.notes == ("AWS said: no, password=[masked]",)


def test_a_session_of_several_commands() -> None:
    runs = [run(1), run(2, session_id=run(1).session_id, command="pwd", exit_code=4)]
    entry = one(calls=[call(1, command="sh")], records=runs)
    assert entry.command == "ls\npwd" and entry.exit_code == 4 and entry.duration == 4.0


def test_somebody_else_ended_it() -> None:
    ended = call(1, "TerminateSession", who=BOB, at=LONG_AGO + timedelta(minutes=3))
    entry = one(calls=[call(1), replace(ended, id="other")], logs=[])
    assert "ended by ops/bob from 10.0.0.7" in entry.notes
    assert entry.seconds == 179.0
    assert join(Found(calls=[ended])) == []  # an instance's, for all that is known


# -- what is missing -----------------------------------------------------------------------------


def test_why_there_is_no_event() -> None:
    recent = replace(run(1), started=NOW - timedelta(minutes=2))
    assert "up to 15 minutes late" in one(records=[recent], logs=[log(1)]).notes[0]
    assert "has no event of it" in one(records=[run(1)], logs=[log(1)]).notes[0]
    assert one(records=[run(1)], logs=[log(1)], readable=False).notes == (
        "CloudTrail could not be asked",
    )
    alone = one(logs=[log(1)])
    assert alone.kind == "log" and alone.who == "" and alone.cluster == "prod"
    assert "began before" in alone.notes[0]


def test_why_there_is_no_log() -> None:
    ended = [call(1), replace(call(1, "TerminateSession"), id="end")]

    def why(place: Place | None, **more: Any) -> str:
        places = {"prod": place} if place else {}
        return "; ".join(one(**{"calls": ended, "places": places, **more}).notes)

    assert "logging is off in cluster prod" in why(Place("prod", "NONE"))
    assert "not known" in why(None)
    assert "is not there any more" in why(Place("prod", "GONE"))
    assert "no log group" in why(Place("prod", "DEFAULT"))
    assert "not all places" in why(HERE, looked_for_logs=False)
    assert "the task role may not write there" in why(HERE)
    assert "when the session ends" in why(HERE, calls=[call(1)])
    assert "no log yet" in why(HERE, now=ended[1].at + timedelta(seconds=20))
    assert "never logged" in why(HERE, calls=[call(1, "StartSession", session_id="alice-1")])


def test_programs_by_their_user_agents() -> None:
    for agent, name in (
        ("aws-cli/2.15.0 Python/3.11 Linux/5 source/x86_64", "aws-cli"),
        ("Boto3/1.40.1 md/Botocore#1 Botocore/1.40 ecs-exec-magic/0.1.0", "ecs-exec-magic"),
        ("Boto3/1.40.1 md/Botocore#1", "Boto3"),
        ("aws-sdk-go-v2/1.2 os/linux", "aws-sdk-go-v2"),
        ("signin.amazonaws.com", "signin.amazonaws.com"),
        ("", ""),
    ):
        assert program_of(agent) == name


def test_the_newest_of_many_are_shown() -> None:
    many = [AuditEntry(LONG_AGO, "exec", command=f"echo {n}") for n in range(250)]
    shown = repr(Audit(many))
    assert "echo 249" in shown and "echo 50\n" in shown and "echo 49\n" not in shown
    assert "the oldest 50 are not shown" in shown


def test_strange_characters_reach_no_screen() -> None:
    passed = "echo \x1b[2J\u202e\ud800"
    told = read(event("ExecuteCommand", requestParameters={"command": passed}, userAgent=passed))
    assert told is not None
    audit = Audit(join(Found([told], [], [run(2, command=["printf", "\udce9"])])))
    for text in (*audit._repr_mimebundle_().values(), repr(audit[0]), repr(audit[1])):
        assert "\x1b" not in text and "\u202e" not in text
        text.encode()
    audit.json().encode()


# -- any mix -------------------------------------------------------------------------------------

FEW = st.integers(1, 6)
CALLS = st.lists(
    st.tuples(
        FEW,
        st.sampled_from(["ExecuteCommand", "StartSession", "TerminateSession", "ResumeSession"]),
        st.sampled_from(["", "AccessDenied"]),
    ),
    max_size=10,
)
RECORDS = st.lists(st.tuples(FEW, st.booleans(), st.booleans()), max_size=8)
LOGS = st.lists(st.tuples(FEW, st.sampled_from(["logs", "s3"])), max_size=8, unique=True)


@given(CALLS, LOGS, RECORDS, st.booleans())
def test_each_is_in_exactly_one_entry(
    calls: list[tuple[int, str, str]],
    logs: list[tuple[int, str]],
    records: list[tuple[int, bool, bool]],
    readable: bool,
) -> None:
    made = [
        replace(
            call(number, name, error=error, **({"session_id": ""} if error else {})),
            id=f"{index}",
        )
        for index, (number, name, error) in enumerate(calls)
    ]
    there = [log(*each) for each in logs]
    runs = [
        replace(
            run(number, **({} if session else {"session_id": ""})),
            id=f"r{index}",
            request_id=f"request-{number}" if request else "",
        )
        for index, (number, session, request) in enumerate(records)
    ]
    entries = join(Found(made, there, runs, {"prod": HERE}, readable=readable, now=NOW))
    starts = [each.id for each in made if each.name in ("ExecuteCommand", "StartSession")]
    assert sorted(e.event_id for e in entries if e.event_id) == sorted(starts)
    assert sorted(x.where for e in entries for x in e.logs) == sorted(x.where for x in there)
    assert sorted(r.id for e in entries for r in e.records) == sorted(r.id for r in runs)
    assert all(e.event_id or e.logs or e.records for e in entries)
    assert [e.time for e in entries] == sorted(e.time for e in entries)
    for entry in entries:
        sessions = {each.session_id for each in entry.logs}
        sessions |= {each.session_id for each in entry.records if each.session_id}
        assert sessions <= {entry.session_id} or entry.error or not entry.session_id
        assert entry.event_id or any("event" in n or "CloudTrail" in n for n in entry.notes)
        json.dumps(entry.row())


# -- events --------------------------------------------------------------------------------------


def event(name: str, **record: Any) -> dict[str, Any]:
    whole = {
        "eventName": name,
        "userIdentity": {"type": "IAMUser", "arn": ALICE.arn, "userName": "alice"},
        "sourceIPAddress": "10.0.0.7",
        "userAgent": "[aws-cli/2.15]",
        "awsRegion": "eu-west-1",
        "requestID": "q",
        **record,
    }
    return {
        "EventId": "e",
        "EventName": name,
        "EventTime": NOW,
        "Username": "alice",
        "CloudTrailEvent": json.dumps(whole),
    }


def test_an_event_as_the_announcement_shows_it() -> None:
    found = read(
        event(
            "ExecuteCommand",
            requestParameters={
                "cluster": "prod", "task": TASK, "command": "/bin/bash", "interactive": True,
            },
            responseElements={
                "clusterArn": "arn:aws:ecs:eu-west-1:123456789012:cluster/prod",
                "containerName": "app",
                "taskArn": ARN,
                "session": {"sessionId": "ecs-execute-command-0a", "tokenValue": HIDDEN},
            },
        )
    )  # fmt: skip
    assert found is not None
    assert (found.cluster, found.task_id, found.container) == ("prod", TASK, "app")
    assert (found.command, found.session_id) == ("/bin/bash", "ecs-execute-command-0a")
    assert found.who == ALICE and found.user_agent == "aws-cli/2.15"


def test_a_refused_call_says_where_in_its_message_only() -> None:
    message = (
        f"User: {BOB.arn} is not authorized to perform: ecs:ExecuteCommand on resource: {ARN} "
        "because no identity-based policy allows the ecs:ExecuteCommand action"
    )
    found = read(
        event(
            "ExecuteCommand",
            errorCode="AccessDenied",
            errorMessage=message,
            requestParameters=None,
            responseElements=None,
            userIdentity={
                "type": "AssumedRole",
                "arn": BOB.arn,
                "sessionContext": {"sessionIssuer": {"userName": "ops"}},
            },
        )
    )
    assert found is not None
    assert (found.cluster, found.task_id, found.error) == ("prod", TASK, "AccessDenied")
    assert found.who == BOB and found.who.names == (BOB.arn, "ops/bob", "ops", "bob")


def test_sessions_of_session_manager() -> None:
    found = read(
        event(
            "StartSession",
            requestParameters={
                "target": f"ecs:my_prod_{TASK}_{TASK}-77",
                "documentName": "AWS-StartPortForwardingSessionToRemoteHost",
                "parameters": {"portNumber": ["5432"], "host": ["db.internal"]},
            },
            responseElements={"sessionId": "alice-1"},
        )
    )
    assert found is not None
    assert (found.cluster, found.task_id, found.runtime_id) == ("my_prod", TASK, f"{TASK}-77")
    assert found.command == "forward port 5432 of db.internal"
    assert read(event("StartSession", requestParameters={"target": "i-0123"})) is None
    assert read(event("RunTask", requestParameters={})) is None


ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.sampled_from(["cluster", "task", "session", "sessionId", "target", "arn", "type",
                         "parameters", "command", "sessionContext", "sessionIssuer", "x"]),
        inner, max_size=4),
    max_leaves=8,
)  # fmt: skip
KEYS = st.sampled_from(
    ["userIdentity", "requestParameters", "responseElements", "errorCode", "errorMessage",
     "userAgent", "eventTime", "eventID", "requestID"]
)  # fmt: skip


@given(
    st.sampled_from(["ExecuteCommand", "StartSession", "TerminateSession", "ResumeSession", "X"]),
    st.dictionaries(KEYS, ANY, max_size=6),
    st.booleans(),
)
def test_no_event_raises(name: str, record: dict[str, Any], broken: bool) -> None:
    given = event(name, **record)
    if broken:
        given["CloudTrailEvent"] = given["CloudTrailEvent"][:-2]
    found = read(given)
    assert found is None or isinstance(join(Found([found])), list)
    assert read({"EventName": name, "CloudTrailEvent": record}) is None or name != "X"
