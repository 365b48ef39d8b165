"""The list of all checks, and how they are run beside each other.

Knows ids, and what becomes of a check whose look-ups are refused. Never knows what a check looks
at.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from ...errors import AccessDenied, CredentialsError, EcsExecError
from ...findings import Finding

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from .scene import Scene

    Run = Callable[["Scene"], Awaitable[Finding | None]]
    Tell = Callable[[str, int, int], object]

__all__ = ["CHECKS", "Check", "check", "fail", "ok", "run_checks", "unknown", "warn"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Check:
    """One check.

    Attributes:
        id: ``SUBJECT.WHAT``.
        about: what it looks at, in a few words.
        needs: permissions of the caller.
        run: gives a finding, whose id is filled in; None when it does not concern what is there.
    """

    id: str
    about: str
    needs: tuple[str, ...]
    run: Run


CHECKS: dict[str, Check] = {}
"""All checks by id, in the order in which they are told."""


def check(id: str, about: str, *needs: str) -> Callable[[Run], Run]:
    """Make a function a check."""

    def mark(run: Run) -> Run:
        assert id not in CHECKS, f"there are two checks {id}"
        CHECKS[id] = Check(id, about, needs, run)
        return run

    return mark


# -- what a check says ---------------------------------------------------------------------------


def ok(title: str, evidence: str = "") -> Finding:
    """All is well."""
    return Finding("", "ok", title, evidence)


def warn(title: str, evidence: str = "", cure: str = "", call: str = "") -> Finding:
    """Exec works, or may work, but something should be looked at."""
    return Finding("", "warn", title, evidence, cure, call)


def fail(title: str, evidence: str = "", cure: str = "", call: str = "") -> Finding:
    """Exec cannot work, or not as the cluster's settings want it."""
    return Finding("", "fail", title, evidence, cure, call)


def unknown(title: str, evidence: str = "", cure: str = "", call: str = "") -> Finding:
    """It could not be looked at."""
    return Finding("", "unknown", title, evidence, cure, call)


# -- running them --------------------------------------------------------------------------------


async def run_checks(
    scene: Scene, ids: Iterable[str] | None = None, tell: Tell | None = None
) -> list[Finding]:
    """Run checks beside each other; they share what they look up.

    A permission that is missing makes one finding unknown, which names the checks that it leaves
    undone as well.

    Args:
        ids: of the checks; None for all.
        tell: called with the id of each that is done, how many are done, and of how many.

    Raises:
        CredentialsError: nothing can be looked up.
    """
    chosen = [CHECKS[each] for each in (CHECKS if ids is None else ids)]
    done = 0

    async def run(one: Check) -> Finding | Exception | None:
        nonlocal done
        outcome: Finding | Exception | None
        try:
            found = await one.run(scene)
            outcome = found if found is None else replace(found, id=one.id)
        except CredentialsError:
            raise
        except Exception as error:  # noqa: BLE001 - one check that breaks must not take the others
            outcome = error
        done += 1
        if tell is not None:
            told = tell(one.id, done, len(chosen))
            if inspect.isawaitable(told):
                await told
        return outcome

    outcomes = await asyncio.gather(*map(run, chosen))
    findings = [each for each in outcomes if isinstance(each, Finding)]
    undone: dict[Any, list[tuple[Check, Exception]]] = {}
    for one, outcome in zip(chosen, outcomes, strict=True):
        if isinstance(outcome, Exception):
            undone.setdefault(_reason(outcome), []).append((one, outcome))
    return findings + [_undone(several) for several in undone.values()]


def _reason(error: Exception) -> Any:
    """The same for errors that are cured by the same."""
    if isinstance(error, AccessDenied):
        return action_of(error)
    return id(error)


def action_of(error: AccessDenied) -> str:
    """The permission that is missing."""
    return error.message.partition(" is denied")[0]


def _undone(several: list[tuple[Check, Exception]]) -> Finding:
    first, error = several[0]
    others = ", ".join(one.id for one, _ in several[1:])
    also = f"for the same reason not looked at: {others}" if others else ""
    if not isinstance(error, EcsExecError):
        logger.debug("check %s failed", first.id, exc_info=error)
        title = f"{first.about}: the check itself failed"
        said = f"{type(error).__name__}: {error}"
        return Finding(first.id, "unknown", title, _joined(said, also), "please report it")
    why = f"{action_of(error)} is denied" if isinstance(error, AccessDenied) else error.message
    title = f"{first.about}: not known, since {why}"
    return Finding(first.id, "unknown", title, _joined(error.cause, also), error.cure)


def _joined(*parts: str) -> str:
    return "; ".join(part for part in parts if part)
