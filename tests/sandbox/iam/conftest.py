"""Accounts and authorizers for the tests of this folder."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ecs_exec_magic.sandbox.iam import Authorizer, Identities

from .practice import MotoAccount, Shop


@pytest.fixture
def account() -> Iterator[MotoAccount]:
    made = MotoAccount()
    yield made
    made.close()


@pytest.fixture
def shop() -> Shop:
    return Shop()


@pytest.fixture
def identities(account: MotoAccount) -> Identities:
    return Identities(account, strict=True)


@pytest.fixture
def authorizer(account: MotoAccount, identities: Identities, shop: Shop) -> Authorizer:
    return Authorizer(account, identities, enabled=True, facts=shop)
