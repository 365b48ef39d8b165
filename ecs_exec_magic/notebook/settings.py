"""The settings of all magics, in one class that ``%config EcsExec`` shows.

Knows traits, and the nearest pyproject.toml. Never knows what the settings do.

A value set by ``%config`` or in ``ipython_config.py`` wins over ``[tool.ecs-exec-magic]``.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from traitlets import Bool, Enum, Float, Int, TraitError, Unicode, validate
from traitlets.config import Configurable

from ..address import parse_address
from ..errors import InvalidRequest

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["CLIENT", "Settings", "project_settings"]

CLIENT = ("region", "profile", "endpoint_url", "cluster")
"""Settings that make one client differ from another."""

_TABLE = "ecs-exec-magic"


class Settings(Configurable):
    """Settings of the magics; a base of the class that ``%config`` shows."""

    region = Unicode(None, allow_none=True, help="AWS region; None: as AWS is configured.").tag(
        config=True
    )
    profile = Unicode(None, allow_none=True, help="Profile of the AWS configuration.").tag(
        config=True
    )
    endpoint_url = Unicode(None, allow_none=True, help="Serve all AWS calls here.").tag(config=True)
    cluster = Unicode(
        None, allow_none=True, help="Cluster of addresses that name none; None: the account's."
    ).tag(config=True)
    target = Unicode("", help="Container to run in: [CLUSTER/]NAME[:CONTAINER].").tag(config=True)
    timeout = Float(None, allow_none=True, help="End commands after so many seconds.").tag(
        config=True
    )
    raise_on_error = Bool(True, help="Raise CommandFailed when an exit code is not 0.").tag(
        config=True
    )
    progress_after = Float(
        2.0, help="Show progress after so many seconds; 0: at once, -1: never."
    ).tag(config=True)
    fold_lines = Int(
        200, help="Lines of a command's output to show before the rest is folded; 0: all."
    ).tag(config=True)
    max_parallel = Int(50, help="Containers that --all runs a command in at once.").tag(config=True)
    confirm = Bool(
        True,
        help="Ask before a command runs in ten containers or more; never asked when headless.",
    ).tag(config=True)
    mask = Bool(True, help="Mask what looks like a secret in all that is shown and stored.").tag(
        config=True
    )
    history = Unicode(
        ".ecs-exec", help="Directory that keeps the record of all runs; empty: keep none."
    ).tag(config=True)
    bridge = Enum(
        ("thread", "nest"),
        "thread",
        help="Run on a loop of our own in a thread, or nested on the notebook's own loop.",
    ).tag(config=True)
    method = Enum(
        ("execute-command", "start-session"),
        "execute-command",
        help="The AWS API that starts sessions.",
    ).tag(config=True)

    @validate("target")
    def _valid_target(self, proposal: Mapping[str, Any]) -> str:
        text: str = proposal["value"].strip()
        if text:
            try:
                parse_address(text)
            except InvalidRequest as error:
                raise TraitError(f"{error}; {error.cure}") from None
        return text

    @validate("timeout")
    def _valid_timeout(self, proposal: Mapping[str, Any]) -> float | None:
        seconds: float | None = proposal["value"]
        if seconds is not None and not 0 < seconds < float("inf"):
            raise TraitError(f"{seconds} is not a number of seconds")
        return seconds

    @validate("fold_lines")
    def _valid_lines(self, proposal: Mapping[str, Any]) -> int:
        lines: int = proposal["value"]
        if lines < 0:
            raise TraitError(f"{lines} is not a number of lines; 0 shows all")
        return lines

    @validate("max_parallel")
    def _valid_parallel(self, proposal: Mapping[str, Any]) -> int:
        count: int = proposal["value"]
        if count < 1:
            raise TraitError(f"{count} containers at once are not possible; 1 is the least")
        return count


def project_settings(directory: Path | None = None) -> dict[str, Any]:
    """Settings of ``[tool.ecs-exec-magic]`` in the nearest pyproject.toml, by trait names.

    The nearest file counts, whether it has such a table or not, as with other tools.

    Args:
        directory: where to begin to look upward; the working directory when None.

    Raises:
        InvalidRequest: the file cannot be read, or it sets what is no setting, or to no value that
            the setting takes.
    """
    here = (directory or Path.cwd()).resolve()
    file = next((d / "pyproject.toml" for d in (here, *here.parents) if _has_project(d)), None)
    if file is None:
        return {}
    try:
        tools = tomllib.loads(file.read_text("utf-8")).get("tool", {})
    except (OSError, ValueError) as error:
        raise InvalidRequest(f"{file} cannot be read: {error}") from None
    table = tools.get(_TABLE, {}) if isinstance(tools, dict) else None
    if not isinstance(table, dict):
        raise InvalidRequest(f"[tool.{_TABLE}] of {file} is not a table")
    values = {name.replace("-", "_"): value for name, value in table.items()}
    known = sorted(Settings.class_trait_names(config=True))
    probe = Settings()
    for name, value in values.items():
        if name not in known:
            raise InvalidRequest(
                f"[tool.{_TABLE}] of {file} sets {name}, which is no setting",
                cure=f"the settings are {', '.join(known)}",
            )
        try:
            setattr(probe, name, value)
        except TraitError as error:
            raise InvalidRequest(f"[tool.{_TABLE}] of {file}: {name}: {error}") from None
    # An integer is good for a float, but only the trait knows that.
    return {name: getattr(probe, name) for name in values}


def _has_project(directory: Path) -> bool:
    try:
        return (directory / "pyproject.toml").is_file()
    except OSError:
        return False
