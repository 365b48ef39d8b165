"""KMS: what the agent decrypts with, and the rules about unusable keys that moto leaves out.

Knows key states and AWS's texts about them. Never knows HTTP or sessions; keys live in the account.
"""

from __future__ import annotations

import base64
import re
from typing import TYPE_CHECKING, Any, Protocol

from .api import ApiError, operation
from .front import DEFAULT_REGION
from .protocols import told

if TYPE_CHECKING:
    from .account import Account
    from .api import Caller

__all__ = ["KeyRules", "Keys", "RolePermissions"]

_KEY_IN_BLOB = re.compile(rb"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}|mrk-[0-9a-f]{32}")
_WINDOW = range(7, 31)
_INCORRECT = "The key ID in the request does not identify a CMK that can perform this operation."
_UNKNOWN = (
    "The ciphertext refers to a customer master key that does not exist, does not exist in this "
    "region, or you are not allowed to access."
)


class RolePermissions(Protocol):
    """Tells what a role may do."""

    async def role_allows(self, role_arn: str | None, action: str, resource: str) -> bool:
        """Whether a role's policies allow an action."""


class _States:
    """Looks keys up."""

    def __init__(self, account: Account) -> None:
        self._account = account

    async def usable(self, key_id: str, region: str) -> dict[str, Any]:
        """The metadata of a key that may be used.

        Raises:
            ApiError: DisabledException, KMSInvalidStateException, NotFoundException.
        """
        key = await self.find(key_id, region)
        arn, state = str(key["Arn"]), key["KeyState"]
        if state == "Disabled":
            raise ApiError("DisabledException", f"{arn} is disabled.")
        if state != "Enabled":
            raise ApiError("KMSInvalidStateException", f"{arn} is {_in_words(state)}.")
        return key

    async def openable(self, blob: bytes, key_id: str | None, region: str) -> None:
        """Refuse a ciphertext that cannot be opened, or not with the key that is named.

        Raises:
            ApiError: InvalidCiphertextException, AccessDeniedException, IncorrectKeyException and
                those of :meth:`usable`.
        """
        found = _KEY_IN_BLOB.match(blob)
        if found is None:
            raise ApiError("InvalidCiphertextException", "")
        made_with = found[0].decode()
        if key_id is not None and (await self.find(key_id, region))["KeyId"] != made_with:
            raise ApiError("IncorrectKeyException", _INCORRECT)
        try:
            await self.usable(made_with, region)
        except ApiError as error:
            if error.code == "NotFoundException":
                raise ApiError("AccessDeniedException", _UNKNOWN) from None
            raise

    async def find(self, key_id: str, region: str) -> dict[str, Any]:
        """A key's metadata by its id, ARN, alias or alias ARN."""
        from botocore.exceptions import ClientError

        try:
            found = await self._account.call("kms", "describe_key", region, KeyId=key_id)
        except ClientError as error:
            raise told(error) from None
        metadata: dict[str, Any] = found["KeyMetadata"]
        return metadata


def _in_words(state: str) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", state).lower()


class KeyRules:
    """Comes before the account's KMS; each operation ends in the account."""

    service = "kms"

    def __init__(self, account: Account) -> None:
        self._account = account
        self._states = _States(account)

    @operation(
        "Encrypt",
        "GenerateDataKey",
        "GenerateDataKeyWithoutPlaintext",
        "GenerateDataKeyPair",
        "GenerateDataKeyPairWithoutPlaintext",
        "GenerateMac",
        "Sign",
    )
    async def op_use(self, given: dict[str, Any], caller: Caller) -> None:
        """Refuse a key that may not be used."""
        await self._states.usable(given["KeyId"], caller.region)
        if {"NumberOfBytes", "KeySpec"} <= set(given):
            raise ApiError(
                "ValidationException", "Please specify either number of bytes or key spec."
            )

    @operation("Decrypt", "ReEncrypt")
    async def op_open(self, given: dict[str, Any], caller: Caller) -> None:
        """Refuse a ciphertext whose key may not be used."""
        try:
            blob = base64.b64decode(given["CiphertextBlob"], validate=True)
        except ValueError:
            raise ApiError("SerializationException", "The ciphertext is no base64") from None
        named = given.get("KeyId") or given.get("SourceKeyId")
        await self._states.openable(blob, named, caller.region)
        if "DestinationKeyId" in given:
            await self._states.usable(given["DestinationKeyId"], caller.region)

    @operation("ScheduleKeyDeletion")
    async def op_schedule_key_deletion(
        self, given: dict[str, Any], caller: Caller
    ) -> dict[str, Any]:
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
        answer = await self._by_id("schedule_key_deletion", given, caller, key)
        return {**answer, "KeyState": "PendingDeletion", "PendingWindowInDays": window}

    @operation("CancelKeyDeletion")
    async def op_cancel_key_deletion(self, given: dict[str, Any], caller: Caller) -> dict[str, Any]:
        """Refuse for a key that is not pending deletion."""
        key = await self._states.find(given["KeyId"], caller.region)
        if key["KeyState"] != "PendingDeletion":
            raise ApiError("KMSInvalidStateException", f"{key['Arn']} is not pending deletion.")
        return await self._by_id("cancel_key_deletion", given, caller, key)

    @operation("DisableKey")
    async def op_disable_key(self, given: dict[str, Any], caller: Caller) -> dict[str, Any]:
        """Refuse for a key that is pending deletion."""
        return await self._switch("disable_key", given, caller)

    @operation("EnableKey")
    async def op_enable_key(self, given: dict[str, Any], caller: Caller) -> dict[str, Any]:
        """Refuse for a key that is pending deletion."""
        return await self._switch("enable_key", given, caller)

    async def _switch(self, name: str, given: dict[str, Any], caller: Caller) -> dict[str, Any]:
        key = await self._states.find(given["KeyId"], caller.region)
        if key["KeyState"] == "PendingDeletion":
            raise ApiError("KMSInvalidStateException", f"{key['Arn']} is pending deletion.")
        return await self._by_id(name, given, caller, key)

    async def _by_id(
        self, name: str, given: dict[str, Any], caller: Caller, key: dict[str, Any]
    ) -> dict[str, Any]:
        """Let the account do it; it takes no ARN here."""
        given = {**given, "KeyId": key["KeyId"]}
        found: dict[str, Any] = await self._account.call("kms", name, caller.region, **given)
        found.pop("ResponseMetadata", None)
        if "KeyId" in found:
            found["KeyId"] = key["Arn"]
        return found


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
        arn = str((await self._states.usable(key_id, region))["Arn"])
        if self.permissions is not None and not await self.permissions.role_allows(
            role_arn, "kms:Decrypt", arn
        ):
            raise ApiError(
                "AccessDeniedException", _denied(self._account.account_id, role_arn, arn)
            )
        await self._states.openable(blob, arn, region)
        try:
            opened = await self._account.call(
                "kms", "decrypt", region, CiphertextBlob=blob, EncryptionContext=context
            )
        except ClientError as error:
            raise told(error) from None
        plaintext: bytes = opened["Plaintext"]
        return plaintext


def _denied(account: str, role_arn: str | None, arn: str) -> str:
    role = (role_arn or "role/none").rpartition("/")[2]
    return (
        f"User: arn:aws:sts::{account}:assumed-role/{role}/ecs-exec is not authorized to perform: "
        f"kms:Decrypt on resource: {arn} because no identity-based policy allows the kms:Decrypt "
        "action"
    )
