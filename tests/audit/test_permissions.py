"""An auditor who may not see everything sees the rest, and is told what is missing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from ecs_exec_magic import sandbox as package
from ecs_exec_magic.audit import Audit
from ecs_exec_magic.client import Client
from ecs_exec_magic.errors import AccessDenied

from ..runtimes import WITHOUT_ENGINE
from .conftest import Site, site_of

ALL = (
    "cloudtrail:LookupEvents", "ecs:ListClusters", "ecs:DescribeClusters", "ecs:DescribeTasks",
    "logs:DescribeLogStreams", "logs:GetLogEvents", "s3:ListBucket", "s3:GetObject",
)  # fmt: skip


def allow(*actions: str) -> dict[str, Any]:
    return {"Effect": "Allow", "Action": list(actions), "Resource": "*"}


class Place:
    """A practice cluster with policies, on which two commands were run, one of them refused."""

    def __init__(self, site: Site) -> None:
        self.site = site
        site.client.target("demo/worker").run("echo seen")
        intruder = site.user("mallory", allow("ecs:List*", "ecs:Describe*"))
        with pytest.raises(AccessDenied):
            intruder.target("demo/worker").run("cat /etc/shadow")
        site.settled()
        self._count = 0

    def auditor(self, without: str = "") -> Client:
        self._count += 1
        return self.site.user(f"auditor{self._count}", allow(*(a for a in ALL if a != without)))

    def audit(self, without: str) -> Audit:
        audit = self.auditor(without).audit(
            "demo" if "List" not in without else None, transcripts=True
        )
        told = [source for source in audit.sources if source.permission]
        if without != "logs:GetLogEvents" and without != "s3:GetObject":
            assert [source.permission for source in told] == [without]
            assert [source.state for source in told] == ["denied"]
            assert f"{without} is denied" in repr(audit)
        return audit


@pytest.fixture(scope="module")
def place() -> Iterator[Place]:
    with package.start(pace="fast", runtime=WITHOUT_ENGINE, iam=True) as sandbox:
        yield Place(site_of(sandbox))


def test_all_that_an_audit_needs(place: Place) -> None:
    audit = place.auditor().audit(transcripts=True)
    assert audit.complete
    seen, refused = audit
    assert seen.transcript is not None and seen.transcript.text == "seen\n"
    assert (refused.who, refused.command, refused.outcome) == (
        "mallory",
        "cat /etc/shadow",
        "denied",
    )
    assert refused.denied and "ecs:ExecuteCommand" in refused.error_message
    assert "denied" in repr(audit) and "1 session and 1 refused call" in repr(audit)


def test_without_cloudtrail(place: Place) -> None:
    (entry,) = place.audit("cloudtrail:LookupEvents")
    assert entry.kind == "log" and entry.transcript is not None
    assert entry.transcript.text == "seen\n" and entry.service == "worker"
    assert entry.notes == ("CloudTrail could not be asked",)


def test_without_a_list_of_clusters(place: Place) -> None:
    audit = place.audit("ecs:ListClusters")
    assert [entry.who for entry in audit] == ["sandbox", "mallory"]
    assert len(audit[0].logs) == 2  # the events name the cluster


def test_without_the_clusters_settings(place: Place) -> None:
    audit = place.audit("ecs:DescribeClusters")
    assert [entry.who for entry in audit] == ["sandbox", "mallory"]
    assert audit[0].logs == ()
    assert audit[0].notes == ("no log: where cluster demo logs sessions is not known",)


def test_without_tasks(place: Place) -> None:
    audit = place.audit("ecs:DescribeTasks")
    assert [entry.service for entry in audit] == ["", ""]
    assert audit[0].container == "worker" and len(audit[0].logs) == 2
    narrow = place.auditor("ecs:DescribeTasks").audit("demo/worker")
    assert list(narrow) == []
    assert narrow.sources[-1].text == "2 sessions in tasks that AWS does not know any more"


def test_without_a_look_at_streams(place: Place) -> None:
    audit = place.audit("logs:DescribeLogStreams")
    assert [log.kind for log in audit[0].logs] == ["s3"]
    assert audit[0].transcript is not None


def test_without_a_look_at_keys(place: Place) -> None:
    audit = place.audit("s3:ListBucket")
    assert [log.kind for log in audit[0].logs] == ["logs", "s3"]  # known ones can be asked for


def test_without_objects(place: Place) -> None:
    entry = place.audit("s3:GetObject")[0]
    assert entry.transcript is not None and entry.transcript.text == "seen\n"
    (note,) = entry.notes
    assert note.startswith("s3://exec-logs/out/") and "s3:GetObject" in note


def test_without_log_events(place: Place) -> None:
    audit = place.audit("logs:GetLogEvents")
    assert audit[0].transcript is not None and audit[0].notes == ()


def test_with_nothing(place: Place) -> None:
    audit = place.site.user("visitor", allow("sts:GetCallerIdentity")).audit()
    assert list(audit) == []
    assert {source.permission for source in audit.sources} == {
        "cloudtrail:LookupEvents", "ecs:ListClusters",
    }  # fmt: skip
