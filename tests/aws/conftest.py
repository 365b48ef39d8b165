"""What a test has opened is closed behind it: one process runs hundreds of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True)
def _left(request: pytest.FixtureRequest) -> Iterator[None]:
    yield
    for name in {"world", "shop"}.intersection(request.fixturenames):
        request.getfixturevalue(name).leave()
