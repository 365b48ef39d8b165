"""What concerns all tests.

A browser that is missing is said so where nobody overlooks it; and how long an example of a
property test takes says something about the machine only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hypothesis import HealthCheck, settings

if TYPE_CHECKING:
    import pytest

NO_BROWSER = "no Chromium is installed"

settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")


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
