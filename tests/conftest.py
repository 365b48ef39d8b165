"""What concerns all tests.

A browser that is missing is said so where nobody overlooks it; and how long an example of a
property test takes says something about the machine only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, settings

from ecs_exec_magic.errors import EcsExecError

if TYPE_CHECKING:
    from collections.abc import Generator

NO_BROWSER = "no Chromium is installed"

settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(call: pytest.CallInfo[None]) -> Generator[None, Any, None]:
    """An error of ours that ends a test is shown with all it has to say."""
    outcome = yield
    error = call.excinfo.value if call.excinfo is not None else None
    if isinstance(error, EcsExecError):
        said = [*error._lines(), f"result: {error.result!r}"]
        noise: bytes = getattr(error.result, "noise", b"")
        said += [f"noise: {noise[:2000]!r}"] if noise else []
        outcome.get_result().sections.append(("What the error says", "\n".join(said)))


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    missed = [
        report
        for report in terminalreporter.stats.get("skipped", [])
        if NO_BROWSER in str(getattr(report, "longrepr", ""))
    ]
    if missed:
        terminalreporter.section("NOT TESTED", sep="!", red=True, bold=True)
        terminalreporter.line(
            f"{len(missed)} tests of the widgets in a real JupyterLab did not run: {NO_BROWSER}. "
            "On Debian: apt-get install chromium",
            red=True,
        )
