"""What a test has opened is closed behind it: one process runs hundreds of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from .account import Account

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True)
def _left(request: pytest.FixtureRequest) -> Iterator[None]:
    yield
    for value in getattr(request.node, "funcargs", {}).values():
        if isinstance(value, Account):
            value.leave()
