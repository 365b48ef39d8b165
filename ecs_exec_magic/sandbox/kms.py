"""KMS: what the agent decrypts with, and the rules about unusable keys that moto leaves out.

Knows key states and AWS's texts about them. Never knows HTTP or sessions; keys live in the account.
"""

from __future__ import annotations

import base64
import re
from typing import TYPE_CHECKING, Any, Protocol

from .api import ApiError, operation
from .front import DEFAULT_REGION

if TYPE_CHECKING:
    from .account import Account
    from .api import Caller

__all__ = ["KeyRules", "Keys", "RolePermissions"]

_KEY_IN_BLOB = re.compile(rb"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}|mrk-[0-9a-f]{32}")
_WINDOW = range(7, 31)


class RolePermissions(Protocol):
    """Tells what a role may do."""

    async def role_allows(self, role_arn: str | None, action: str, resource: str) -> bool:
        """Whether a role's policies allow an action."""


class _States:
    """Looks keys up."""

    def __init__(self, account: Account) -> None:
        self._account = account

    async def usable(self, key_id: str, region: str) -> str:
        """The ARN of a key that may be used.

        Raises:
            ApiError: DisabledException, KMSInvalidStateException, NotFoundException.
        """
        key = await self.find(key_id, region)
        arn, state = str(key["Arn"]), key["KeyState"]
        if state == "Disabled":
            raise ApiError("DisabledException", f"{arn} is disabled.")
        if state != "Enabled":
            raise ApiError("KMSInvalidStateException", f"{arn} is {_in_words(state)}.")
        return arn

    async def find(self, key_id: str, region: str) -> dict[str, Any]:
        """A key's metadata by its id, ARN, alias or alias ARN."""
        from botocore.exceptions import ClientError

        try:
            found = await self._account.call("kms", "describe_key", region, KeyId=key_id)
        except ClientError as error:
            raise _told(error) from None
        metadata: dict[str, Any] = found["KeyMetadata"]
        return metadata


def _in_words(state: str) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", state).lower()


def _told(error: Any) -> ApiError:
    """A ClientError of the account as an error of ours."""
    told = error.response["Error"]
    status = error.response["ResponseMetadata"]["HTTPStatusCode"]
    return ApiError(told["Code"], told.get("Message", ""), status)


def _key_of(blob: bytes) -> str | None:
    """The key that a ciphertext names."""
    found = _KEY_IN_BLOB.match(blob)
    return found[0].decode() if found else None


class KeyRules:
    """Comes before the account's KMS; each operation ends in the account."""

    service = "kms"

    def __init__(self, account: Account) -> None:
        self._account = account
        self._states = _States(account)

    @operation("Encrypt")
    @operation("GenerateDataKey")
    @operation("GenerateDataKeyWithoutPlaintext")
    @operation("GenerateDataKeyPair")
    @operation("GenerateDataKeyPairWithoutPlaintext")
    @operation("GenerateMac")
    @operation("Sign")
    async def op_use(self, given: dict[str, Any], caller: Caller) -> None:
        """Refuse a key that may not be used."""
        await self._states.usable(given["KeyId"], caller.region)
        both = "NumberOfBytes" in given and "KeySpec" in given
        if both:
            raise ApiError(
                "ValidationException", "Please specify either number of bytes or key spec."
            )

    @operation("Decrypt")
    @operation("ReEncrypt")
    async def op_open(self, given: dict[str, Any], caller: Caller) -> None:
        """Refuse a ciphertext whose key may not be used."""
        try:
            blob = base64.b64decode(given["CiphertextBlob"], validate=True)
        except ValueError:
            raise ApiError("SerializationException", "The ciphertext is no base64") from None
        if key := _key_of(blob):
            try:
                await self._states.usable(key, caller.region)
            except ApiError as error:
                if error.code == "NotFoundException":
                    raise ApiError("InvalidCiphertextException", "") from None
                raise
        else:
            raise ApiError("InvalidCiphertextException", "")
        for name in {"DestinationKeyId"} & set(given):
            await self._states.usable(given[name], caller.region)

    @operation("ScheduleKeyDeletion")
    async def op_schedule_key_deletion(self, given: dict[str, Any], caller: Caller) -> None:
        """Refuse a second time, and a window that is too short or too long."""
        window = given.get("PendingWindowInDays", 30)
        if window not in _WINDOW:
            rule = "greater than or equal to 7" if window < 7 else "less than or equal to 30"
            raise ApiError(
                "ValidationException",
                f"1 validation error detected: Value '{window}' at 'pendingWindowInDays' failed "
                f"to satisfy constraint: Member must have value {rule}",
            )
        key = await self._states.find(given["KeyId"], caller.region)
        if key["KeyState"] == "PendingDeletion":
            raise ApiError("KMSInvalidStateException", f"{key['Arn']} is pending deletion.")


class Keys:
    """What the agent of a task does with KMS, by its task role.

    Args:
        account: where the keys are.
        permissions: what roles may do; None allows all.
    """

    def __init__(self, account: Account, permissions: RolePermissions | None = None) -> None:
        self._account = account
        self._states = _States(account)
        self.permissions = permissions

    async def decrypt(
        self,
        region: str,
        blob: bytes,
        context: dict[str, str],
        key_id: str,
        role_arn: str | None,
    ) -> bytes:
        """Open a data key; the context must be the one it was made with.

        Args:
            region: where the key is, unless its ARN says so.
            blob: the ciphertext.
            context: the encryption context.
            key_id: the cluster's key.
            role_arn: the task role.

        Raises:
            ApiError: AccessDeniedException, InvalidCiphertextException, IncorrectKeyException,
                DisabledException, KMSInvalidStateException, NotFoundException.
        """
        from botocore.exceptions import ClientError

        parts = key_id.split(":")
        region = parts[3] if len(parts) > 3 and parts[3] else region or DEFAULT_REGION
        arn = await self._states.usable(key_id, region)
        if self.permissions is not None and not await self.permissions.role_allows(
            role_arn, "kms:Decrypt", arn
        ):
            raise ApiError(
                "AccessDeniedException", _denied(self._account.account_id, role_arn, arn)
            )
        if _key_of(blob) is None:
            raise ApiError("InvalidCiphertextException", "")
        try:
            opened = await self._account.call(
                "kms",
                "decrypt",
                region,
                CiphertextBlob=blob,
                EncryptionContext=context,
                KeyId=arn,
            )
        except ClientError as error:
            raise _told(error) from None
        plaintext: bytes = opened["Plaintext"]
        return plaintext


def _denied(account: str, role_arn: str | None, arn: str) -> str:
    role = (role_arn or "role/none").rpartition("/")[2]
    return (
        f"User: arn:aws:sts::{account}:assumed-role/{role}/ecs-exec is not authorized to perform: "
        f"kms:Decrypt on resource: {arn} because no identity-based policy allows the kms:Decrypt "
        "action"
    )
