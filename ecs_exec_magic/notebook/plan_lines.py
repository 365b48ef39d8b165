"""The options of a plan as words of a line, both ways.

Knows how ``%ecs_provision`` spells them. Never knows what they mean.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from .options import ACCOUNT, Command, Option, key_values

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ..client import PlanOptions

__all__ = [
    "CLEANUP_LINE",
    "EXPORTS",
    "PROVISION_LINE",
    "enabling_options",
    "given_options",
    "provision_line",
]

_NONE = "none"
_YES, _NO = ("yes", "true", "on", "1"), ("no", "false", "off", "0")


def _yes_or_no(text: str) -> bool:
    if text.lower() in _YES:
        return True
    if text.lower() in _NO:
        return False
    raise ValueError(f"{text!r} is not yes or no")


def _number(text: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise ValueError(f"{text!r} is not a whole number")
    return int(text)


def _port(text: str) -> int | str:
    """A port, or the word for none: None would mean that the option was not given."""
    return _NONE if text.lower() == _NONE else _number(text)


def _names(text: str) -> tuple[str, ...]:
    return tuple(name for name in (part.strip() for part in text.split(",")) if name)


def _words(text: str) -> tuple[str, ...]:
    return tuple(shlex.split(text))


def _group(text: str) -> str:
    return "" if text.lower() == _NONE else text


def _export(text: str) -> str:
    if text.lower() not in EXPORTS:
        raise ValueError(f"{text!r} is none of {', '.join(EXPORTS)}")
    return text.lower()


def _instance_type(text: str) -> str:
    """A type, or the word for none: None would mean that the option was not given."""
    return text.lower()


def _launch_type(text: str) -> str:
    return text.upper()


def _option(
    field: str, help_text: str, metavar: str, convert: Callable[[str], Any] = str
) -> Option:
    return Option((f"--{field.replace('_', '-')}",), field, help_text, metavar, convert)


_OF_PLAN = (
    _option("image", "of the container; default: nginx", "NAME"),
    _option("container", "its name; default: nginx", "NAME"),
    _option("command", "of the container, as one quoted word; default: its own", "WORDS", _words),
    _option("port", "that it answers on, let in from anywhere; default: 80", "N|none", _port),
    _option("count", "of tasks; default: 1", "N", _number),
    _option(
        "service", "keep them running (yes, the default) or run them once", "yes|no", _yes_or_no
    ),
    _option("cpu", "CPU units of a task; 1024 are one vCPU; default: 256", "N", _number),
    _option("memory", "of a task, in MiB; default: 512", "N", _number),
    _option("launch_type", "where tasks run; default: FARGATE", "FARGATE|EC2", _launch_type),
    _option(
        "instance_type",
        "with EC2: of the instance that is made, default: t3.micro; none: the cluster has its own",
        "NAME|none",
        _instance_type,
    ),
    _option("vpc", "where tasks run; default: the default VPC", "ID"),
    _option("subnets", "default: two that lead to AWS", "ID,ID", _names),
    _option("assign_public_ip", "default: where the subnets need it", "yes|no", _yes_or_no),
    _option("logging", "of sessions; default: override", "none|default|override"),
    _option("log_group", "default: /aws/ecs/NAME", "NAME|none", _group),
    _option("bucket", "of session logs; default: none", "NAME"),
    _option("prefix", "of their objects; default: exec-output", "TEXT"),
    _option("encrypt_logs", "encrypt log group and bucket with the key", "yes|no", _yes_or_no),
    _option("kms_key", "of the data channel: `new`, or one that there is", "new|ID"),
    _option("execution_role", "one that there is; default: it is made", "NAME"),
    _option("task_role", "one that there is; default: it is made", "NAME"),
    _option("tags", "on everything that is made", "KEY=VALUE,…", key_values),
)
EXPORTS = {"cloudformation": "yaml", "terraform": "terraform"}
"""What a plan can be written down for, and the language of that."""

_YES_OPTION = Option(("-y", "--yes"), "yes", "do not ask")
_STATE = Option(
    ("--state",), "state", "a file that remembers what was made; tags decide in any case", "PATH"
)

_OF_ENABLING = (
    "logging",
    "log_group",
    "bucket",
    "prefix",
    "encrypt_logs",
    "kms_key",
    "task_role",
)
"""Of them those that say something to a service that is there."""

PROVISION_LINE = Command(
    "%ecs_provision",
    "[NAME | CLUSTER/SERVICE]",
    "Make what exec needs, from cluster and roles to tasks that run; show the plan first, and ask.",
    (
        Option(("--dry-run",), "dry_run", "show the plan, and make nothing"),
        _YES_OPTION,
        *_OF_PLAN,
        Option(
            ("--export",),
            "export",
            "make nothing, and show the plan as a template for another tool",
            "cloudformation|terraform",
            _export,
        ),
        Option(("--to",), "to", "with --export: the file to write it to", "FILE"),
        _STATE,
        *ACCOUNT,
    ),
    """
    NAME is that of cluster, task family and service, so that commands run in NAME/NAME afterwards;
    it becomes this notebook's target. Without NAME a form is shown.

    What is there already and as wanted is kept; what has other settings stops it before anything
    is touched. It can be repeated after a failure and goes on where that was. %ecs_cleanup NAME
    removes what it has made.

    CLUSTER/SERVICE is a service that is there: its task role gets the permissions that it lacks,
    exec is switched on, and its tasks are replaced. --logging, --log-group, --bucket, --prefix,
    --encrypt-logs and --kms-key change the cluster, and without them it stays as it is;
    --task-role is for task definitions that have none. %ecs_cleanup CLUSTER/SERVICE puts back
    what was before.
    """,
    takes_words=True,
)

CLEANUP_LINE = Command(
    "%ecs_cleanup",
    "NAME | CLUSTER/SERVICE",
    "Undo what %ecs_provision has done with the same word, and no more; show it first, and ask.",
    (
        Option(("--dry-run",), "dry_run", "show what would be removed, and remove nothing"),
        Option(("-y", "--yes"), "yes", "do not ask, not even before a bucket is emptied"),
        _STATE,
        *ACCOUNT,
    ),
    """
    What belongs to the plan is known by its tags. A KMS key is deleted by AWS after seven days.
    """,
    takes_words=True,
)


def given_options(values: Mapping[str, Any]) -> dict[str, Any]:
    """The options that a line gives, for ``client.plan``."""
    found = {each.dest: values[each.dest] for each in _OF_PLAN if values[each.dest] is not None}
    for name in ("port", "instance_type"):
        if found.get(name) == _NONE:
            found[name] = None
    return found


def enabling_options(values: Mapping[str, Any]) -> dict[str, Any]:
    """The options that a line gives, for ``client.enable_exec``.

    Raises:
        UsageError: one is there that only plans have.
    """
    given = given_options(values)
    for name in given:
        if name not in _OF_ENABLING:
            raise PROVISION_LINE.error(
                f"--{name.replace('_', '-')} goes with a NAME, and not with a service that is there"
            )
    return given


def provision_line(options: PlanOptions, region: str = "") -> str:
    """The line that means these options; what is as by default is left out.

    Args:
        region: empty: as AWS is configured.
    """
    words = ["%ecs_provision", options.name, *(("--region", region) if region else ())]
    defaults = type(options)(options.name)  # its module is not loaded for the help alone
    for field in fields(options):
        value = getattr(options, field.name)
        if value != getattr(defaults, field.name):
            words += [f"--{field.name.replace('_', '-')}", _text(field.name, value)]
    return " ".join(map(_word, words))


def _text(field: str, value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value is None or value == "":
        return _NONE if field in ("port", "log_group", "instance_type") else ""
    if field == "tags":
        return ",".join(f"{key}={text}" for key, text in value.items())
    if field == "command":
        return shlex.join(value)
    return ",".join(value) if isinstance(value, tuple) else str(value)


def _word(text: str) -> str:
    """One word of a magic's line, in which braces and dollars mean variables."""
    if "{" in text or "$" in text:
        text = text.replace("{", "{{").replace("}", "}}")
        # Elsewhere a dollar stands for itself. Two of them mean one, but not in single quotes.
        text = re.sub(r"\$(?=[\w.])", "{chr(36)}", text)
    return shlex.quote(text)
