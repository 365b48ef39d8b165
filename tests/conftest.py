"""What concerns all tests.

A browser that is missing is said so where nobody overlooks it; how long an example of a property
test takes says something about the machine only; a process with hundreds of AWS sessions in it has
to stay quick; and no file changes asyncio for those behind it.
"""

from __future__ import annotations

import asyncio
import functools
import gc
from typing import TYPE_CHECKING, Any

import botocore.session
import pytest
from hypothesis import HealthCheck, settings

from ecs_exec_magic.errors import EcsExecError

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

NO_BROWSER = "no Chromium is installed"

settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")

# Every AWS session reads the descriptions of its services anew, 60,000 objects and a second of
# processor time; tests make hundreds, which would read the same files.
botocore.session.create_loader = functools.cache(botocore.session.create_loader)


@pytest.fixture(autouse=True, scope="module")
def _asyncio_as_it_came() -> Iterator[None]:
    """nest_asyncio patches asyncio for good: later tests would run on the patched one.

    Its asyncio.run leaves loops open, besides, whose warnings fail tests of other files.
    """
    before = hasattr(asyncio, "_nest_patched")
    yield
    assert before == hasattr(asyncio, "_nest_patched"), "a test in this file has patched asyncio"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(
    item: pytest.Item, nextitem: pytest.Item | None
) -> Generator[None, Any, Any]:
    """Behind every file, what is to stay is taken out of the garbage collector's sight.

    It stops all threads while it looks through millions of objects, for up to 16 s at the end of a
    run: clients, practice clusters and tests stand still then, and limits of seconds pass.
    """
    try:
        return (yield)
    finally:
        if nextitem is None or nextitem.path != item.path:
            gc.collect()
            gc.freeze()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    call: pytest.CallInfo[None],
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """An error of ours that ends a test is shown with all it has to say."""
    report = yield
    error = call.excinfo.value if call.excinfo is not None else None
    if isinstance(error, EcsExecError):
        said = [*error._lines(), f"result: {error.result!r}"]
        noise: bytes = getattr(error.result, "noise", b"")
        said += [f"noise: {noise[:2000]!r}"] if noise else []
        report.sections.append(("What the error says", "\n".join(said)))
    return report


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
