"""Who a caller is, by the access key of the signature.

Knows the sandbox's own administrator and the keys that IAM and STS gave out. Never knows policies.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .account import Account

__all__ = ["Identities", "Identity"]


@dataclass(frozen=True, slots=True)
class Identity:
    """A principal.

    Attributes:
        arn: of the user or the assumed role.
        kind: ``root``, ``user`` or ``assumed-role``.
        name: the user's name, or ``ROLE/SESSION``.
        role_arn: of an assumed role.
        user_id: the unique id (``AIDA...``; for a role ``AROA...:SESSION``).
    """

    arn: str
    kind: str
    name: str
    role_arn: str | None = None
    user_id: str = "AIDASANDBOXUSER000001"


class Identities:
    """Finds principals; a key that nobody gave out belongs to the sandbox's administrator."""

    def __init__(self, account: Account) -> None:
        self._account = account

    async def resolve(self, access_key: str, service: str = "") -> Identity:
        """The principal of an access key; the service matters only for an error's wording."""
        known = self._account.known_key(access_key)
        if known is None:
            arn = f"arn:aws:iam::{self._account.account_id}:user/sandbox"
            return Identity(arn, "user", "sandbox")
        return Identity(known.arn, known.kind, known.name, known.role_arn, known.identifier)
