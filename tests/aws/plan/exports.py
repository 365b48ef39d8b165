"""Plans to be written down without an account, and readers of what is written."""

from __future__ import annotations

import base64
import itertools
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

import hcl2
from cfnlint.decode import decode_str

from ecs_exec_magic.aws.plan.building import parts_of
from ecs_exec_magic.aws.plan.export_draft import Draft, drafted
from ecs_exec_magic.aws.plan.names import Names
from ecs_exec_magic.aws.plan.options import PlanOptions
from ecs_exec_magic.aws.plan.part import Pause, Site

KEY = "arn:aws:kms:eu-west-1:123456789012:key/0a1b2c3d-0000-4000-8000-0123456789ab"
LOGS: tuple[dict[str, Any], ...] = (
    {"logging": "none", "log_group": ""},
    {"logging": "none"},
    {"logging": "default"},
    {},
    {"log_group": "", "bucket": "sessions-4711"},
    {"log_group": "/team/logs", "bucket": "sessions-4711", "prefix": ""},
)
KEYS: tuple[dict[str, Any], ...] = (
    {},
    {"kms_key": "new"},
    {"kms_key": "new", "encrypt_logs": True},
    {"kms_key": "alias/ours", "encrypt_logs": True},
)
PLACES: tuple[dict[str, Any], ...] = (
    {},
    {"launch_type": "EC2", "instance_type": "t4g.small"},
    {"launch_type": "EC2", "instance_type": None},
)
RUNS: tuple[dict[str, Any], ...] = (
    {"tags": {"team": "ops + co", "Name": "x"}},
    {
        "service": False,
        "command": ("sh", "-c", 'echo "${HOME}" %{x} \\\\b \\ \n\t\x08é'),
        "port": None,
    },
)
FOREIGN: tuple[frozenset[str], ...] = (
    frozenset(),
    frozenset({"cluster", "log group", "S3 bucket", "security group"}),
    frozenset({"execution role", "task role", "instance role", "instance profile", "service"}),
)


def combinations() -> Iterator[tuple[PlanOptions, frozenset[str]]]:
    """Options, and the kinds of what is there and somebody else's."""
    for logs, key, place, run, foreign in itertools.product(LOGS, KEYS, PLACES, RUNS, FOREIGN):
        given = {**logs, **key, **place, **run}
        if "execution role" in foreign:
            given |= {"execution_role": "their-execution", "task_role": "their-task"}
            given["image"] = "123456789012.dkr.ecr.eu-west-1.amazonaws.com/team/app:1"
        options = PlanOptions("demo", **given)
        assert options.problems() == {}
        yield options, foreign


def draft(options: PlanOptions, foreign: frozenset[str] = frozenset(), tool: str = "X") -> Draft:
    """A plan in an account that has only these, and a default VPC."""
    site = Site(None, options, Names("demo", "aws", "eu-west-1", "123456789012"), Pause())  # type: ignore[arg-type]  # no calls
    site.vpc_id, site.subnets, site.public = "vpc-01234567", ("subnet-01234567",), True
    site.parts = parts_of(site)
    for part in site.parts:
        part.there = part.kind in foreign
        if part.kind == "KMS key" and options.kms_key != "new":
            part.there, site.key_arn = True, KEY
        if part.kind == "security group" and part.there:
            site.group_id = "sg-01234567"
    for kind in ("task role", "execution role"):
        if kind in foreign:
            arn = f"arn:aws:iam::123456789012:role/their-{kind.split()[0]}"
            setattr(site, f"{kind.replace(' ', '_')}_arn", arn)
    return drafted(site, tool)


# -- reading -------------------------------------------------------------------------------------


def read_template(text: str) -> dict[str, Any]:
    """A template with the long forms of its functions, as CloudFormation sees it."""
    found, wrong = decode_str(text)
    assert not wrong, wrong
    plain: dict[str, Any] = _plain(found)
    return plain


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(name): _plain(each) for name, each in value.items()}
    return [_plain(each) for each in value] if isinstance(value, list) else _scalar(value)


def _scalar(value: Any) -> Any:
    return str(value) if isinstance(value, str) else value


def resolved(value: Any, known: Mapping[str, Any]) -> Any:
    """The same with all functions worked out.

    Args:
        known: what references mean: ``Key.Arn``, ``AWS::Region``.
    """
    if isinstance(value, list):
        return [resolved(each, known) for each in value]
    if not isinstance(value, dict):
        return value
    if len(value) == 1:
        ((name, given),) = value.items()
        if name == "Ref":
            return known[given]
        if name == "Fn::GetAtt":
            return known[given if isinstance(given, str) else ".".join(given)]
        if name == "Fn::Base64":
            return base64.b64encode(str(resolved(given, known)).encode()).decode()
        if name == "Fn::Select":
            return resolved(given[1], known)[int(given[0])]
        if name == "Fn::Join":
            return given[0].join(resolved(given[1], known))
        if name == "Fn::Sub":
            text, more = (given, {}) if isinstance(given, str) else given
            inner = {**known, **resolved(more, known)}
            whole = re.sub(r"\$\{(?!!)([^}]+)\}", lambda found: str(inner[found[1]]), text)
            return whole.replace("${!", "${")
    return {name: resolved(each, known) for name, each in value.items()}


def read_hcl(text: str) -> dict[str, Any]:
    """A configuration: types to labels to bodies, with strings as they are written."""
    found: dict[str, Any] = hcl2.loads(text)
    return found


def hcl_resources(text: str) -> dict[str, dict[str, Any]]:
    """Bodies by address, as in ``aws_iam_role.task``."""
    found = {}
    for kind in ("resource", "data"):
        for each in read_hcl(text).get(kind, ()):
            for type_, labels in each.items():
                for label, body in labels.items():
                    prefix = "data." if kind == "data" else ""
                    found[f"{prefix}{_unquoted(type_)}.{_unquoted(label)}"] = body
    return found


def hcl_document(text: str, known: Mapping[str, str]) -> Any:
    """What ``jsonencode`` is given, with references worked out."""
    inner = re.fullmatch(r"\$\{jsonencode\((.*)\)\}", text, re.DOTALL)
    assert inner, text
    return _hcl_value(hcl2.loads(f"x = {inner[1]}\n")["x"], known)


def _hcl_value(value: Any, known: Mapping[str, str]) -> Any:
    if isinstance(value, dict):
        names = {name: _unquoted(name) for name in value if not name.startswith("__")}
        return {names[name]: _hcl_value(value[name], known) for name in names}
    if isinstance(value, list):
        return [_hcl_value(each, known) for each in value]
    return hcl_text(value, known) if isinstance(value, str) else value


def hcl_text(value: str, known: Mapping[str, str]) -> Any:
    """A string or a bare reference, worked out."""
    if not value.startswith('"'):
        return known[re.sub(r"^\$\{(.*)\}$", r"\1", value)]
    inside = re.sub(r"(?<!\$)\$\{([^}]+)\}", lambda found: known[found[1]], value[1:-1])
    text: str = json.loads(f'"{inside}"')
    return text.replace("$${", "${").replace("%%{", "%{")


def _unquoted(text: str) -> str:
    return text.strip('"')


def pairwise() -> list[tuple[PlanOptions, frozenset[str]]]:
    """So few combinations that any two choices still meet in one of them."""
    axes = (LOGS, KEYS, PLACES, RUNS, FOREIGN)
    rows = list(itertools.product(*(range(len(axis)) for axis in axes)))
    meetings = [set(itertools.combinations(enumerate(row), 2)) for row in rows]
    missing = set().union(*meetings)
    chosen = []
    while missing:
        best = max(range(len(rows)), key=lambda n: len(meetings[n] & missing))
        missing -= meetings[best]
        chosen.append(best)
    every = list(combinations())
    return [every[n] for n in sorted(chosen)]
