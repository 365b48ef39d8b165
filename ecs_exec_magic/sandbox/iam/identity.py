"""Who an access key is.

Knows users, assumed roles and the errors for keys that nobody gave out. Never knows policies.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, TypeAlias

from ..account import OWN_ID, OWN_KEY
from ..api import ApiError

__all__ = ["SANDBOX_KEY", "SANDBOX_USER", "AccountLike", "Identities", "Identity", "Kind"]

SANDBOX_KEY = OWN_KEY
"""The key that a practice cluster prints: its holder may do everything."""

SANDBOX_USER = "sandbox"

Kind: TypeAlias = Literal["root", "user", "assumed-role"]


class KnownKeyLike(Protocol):
    """What the account tells of a key that IAM or STS gave out."""

    @property
    def arn(self) -> str: ...
    @property
    def kind(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def identifier(self) -> str: ...
    @property
    def role_arn(self) -> str | None: ...
    @property
    def active(self) -> bool: ...


class AccountLike(Protocol):
    """The part of the account that authorisation needs."""

    account_id: str

    async def call(
        self, service: str, operation: str, region: str, /, **parameters: Any
    ) -> Any: ...

    def known_key(self, access_key: str, /) -> KnownKeyLike | None: ...


@dataclass(frozen=True, slots=True)
class Identity:
    """The holder of an access key.

    Args:
        arn: as STS tells it.
        kind: what it is.
        name: of the user; ``ROLE/SESSION`` of an assumed role.
        user_id: as STS tells it.
        role_arn: the role behind an assumed role.
        access_key: the key itself.
        administrator: the sandbox's own user, whom no policy limits.
    """

    arn: str
    kind: Kind
    name: str
    user_id: str = ""
    role_arn: str | None = None
    access_key: str = field(default="", repr=False)
    administrator: bool = False

    @property
    def entity_arn(self) -> str:
        """The user or role whose policies apply."""
        return self.role_arn or self.arn


class Identities:
    """Finds the holder of a key.

    Args:
        account: where users and roles are.
        strict: keys that nobody gave out are refused; otherwise they are the sandbox's user.
    """

    def __init__(self, account: AccountLike, *, strict: bool = False) -> None:
        self._account = account
        self.strict = strict

    async def resolve(self, access_key: str, service: str = "") -> Identity:
        """The holder of a key.

        Args:
            access_key: as the signature names it.
            service: whose form of an error is wanted.

        Raises:
            ApiError: nobody has the key, or it is inactive.
        """
        known = None if access_key == SANDBOX_KEY else self._account.known_key(access_key)
        if known is not None and known.active:
            kind: Kind = "assumed-role" if known.kind == "assumed-role" else "user"
            return Identity(
                known.arn, kind, known.name, known.identifier, known.role_arn, access_key
            )
        if self.strict and access_key != SANDBOX_KEY:
            raise _unknown(service)
        arn = f"arn:aws:iam::{self._account.account_id}:user/{SANDBOX_USER}"
        return Identity(arn, "user", SANDBOX_USER, OWN_ID, None, access_key, True)


def _unknown(service: str) -> ApiError:
    """The error for a key that nobody has, as each kind of service words it."""
    if service == "ec2":
        message = "AWS was not able to validate the provided access credentials"
        return ApiError("AuthFailure", message, 401)
    if service == "s3":
        message = "The AWS Access Key Id you provided does not exist in our records."
        return ApiError("InvalidAccessKeyId", message, 403)
    message = "The security token included in the request is invalid."
    if service in ("iam", "sts"):
        return ApiError("InvalidClientTokenId", message, 403)
    return ApiError("UnrecognizedClientException", message, 403)
