"""What concerns all tests: a browser that is missing is said so where nobody overlooks it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pytest

NO_BROWSER = "no Chromium is installed"


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
