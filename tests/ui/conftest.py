"""JupyterLab, once for each file of tests."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

from ..conftest import NO_BROWSER
from .lab import PATIENCE, Lab, Notebook, chromium

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Open = Callable[..., Notebook]

expect.set_options(timeout=PATIENCE)

REQUIRED = "ECS_TEST_BROWSER"
"""Set where a missing browser is a failure: in CI."""


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    # Not once for all files: Playwright keeps a loop in this thread, and other tests have theirs.
    executable = chromium()
    if executable is None:
        if os.environ.get(REQUIRED):
            pytest.fail(f"{NO_BROWSER}, and {REQUIRED} is set")
        pytest.skip(NO_BROWSER)
    lab = Lab(executable)
    yield lab
    lab.close()


@pytest.fixture
def opened(lab: Lab) -> Iterator[Open]:
    """Opens notebooks, and closes them."""
    notebooks: list[Notebook] = []

    def opened(*cells: str, **how: object) -> Notebook:
        notebooks.append(lab.open(*cells, **how))  # type: ignore[arg-type]
        return notebooks[-1]

    yield opened
    for notebook in notebooks:
        notebook.close()
