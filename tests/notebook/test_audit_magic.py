"""``%ecs_audit``: what it asks for, and what it prints."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

import pytest
from IPython.core.error import UsageError

from ecs_exec_magic.audit import Audit, AuditEntry
from ecs_exec_magic.notebook.auditing import AUDIT_LINE

from .conftest import FakeClient, World

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

pytestmark = pytest.mark.kernel

AT = datetime(2026, 11, 28, 12, 0, tzinfo=timezone.utc)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, dict[str, Any]]]:
    calls: list[tuple[Any, dict[str, Any]]] = []

    def audit(self: FakeClient, target: Any = None, **how: Any) -> Audit:
        calls.append((target, how))
        return Audit([AuditEntry(AT, "exec", who="alice", command="ls")], (), "demo")

    monkeypatch.setattr(FakeClient, "audit", audit, raising=False)
    return calls


def test_what_is_asked(
    shell: InteractiveShell, world: World, asked: list[tuple[Any, dict[str, Any]]]
) -> None:
    found = shell.run_line_magic("ecs_audit", "")
    assert [entry.who for entry in found] == ["alice"]
    target, how = asked[0]
    assert target is None
    assert (how["since"], how["until"], how["who"], how["limit"]) == ("2h", None, None, 100)
    assert how["transcripts"] is False and how["mask"] is True
    assert how["journal"].directory.name == ".ecs-exec"
    line = (
        "prod/web:nginx --since 3d --until 1h --who 'ops/*' -n 5 --transcripts --region eu-west-3"
    )
    shell.run_line_magic("ecs_audit", f"{line} --out kept")
    target, how = asked[1]
    assert (target, how["who"], how["limit"], how["transcripts"]) == (
        "prod/web:nginx", "ops/*", 5, True,
    )  # fmt: skip
    assert timedelta(hours=70) < how["until"] - how["since"] < timedelta(hours=72)
    assert shell.user_ns["kept"][0].command == "ls"
    assert world.client.settings["region"] == "eu-west-3"


def test_settings_count(
    shell: InteractiveShell, asked: list[tuple[Any, dict[str, Any]]], magics: Any
) -> None:
    magics.history, magics.mask = "", False
    shell.run_line_magic("ecs_audit", "")
    assert asked[0][1]["journal"] is None and asked[0][1]["mask"] is False


def test_json(
    shell: InteractiveShell,
    asked: list[tuple[Any, dict[str, Any]]],
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert shell.run_line_magic("ecs_audit", "--json") is None
    read = json.loads(capsys.readouterr().out)
    assert read["entries"][0]["who"] == "alice" and read["sources"] == []


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("--since soon", "soon"),
        ("--newest 0", "whole number"),
        ("a b", "one CLUSTER/NAME is enough"),
        ("--whom x", "--who"),
    ],
)
def test_slips(
    shell: InteractiveShell, asked: list[tuple[Any, dict[str, Any]]], line: str, told: str
) -> None:
    with pytest.raises(UsageError, match=told):
        shell.run_line_magic("ecs_audit", line)
    assert asked == []


def test_help(shell: InteractiveShell, capsys: pytest.CaptureFixture[str]) -> None:
    shell.run_line_magic("ecs_audit", "--help")
    assert capsys.readouterr().out == AUDIT_LINE.help()
    assert max(map(len, AUDIT_LINE.help().splitlines())) <= 100
