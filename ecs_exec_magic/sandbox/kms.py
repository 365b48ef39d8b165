"""The practice KMS: keys, data keys and the encryption context.

Knows AES-GCM under master keys that never leave this process. Never knows HTTP or sessions.
"""

from __future__ import annotations

import base64
import json
import os
import time
import uuid
from dataclasses import dataclass, field
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from .api import ACCOUNT, ApiError, Caller, operation

__all__ = ["Key", "KeyStore"]

_NONCE = 12
_SIZES = {"AES_256": 32, "AES_128": 16}


@dataclass
class Key:
    """One KMS key; its material is shown nowhere."""

    key_id: str
    description: str
    created: float
    material: bytes = field(repr=False)

    def metadata(self, region: str) -> dict[str, Any]:
        """KeyMetadata, as DescribeKey gives it."""
        return {
            "AWSAccountId": ACCOUNT,
            "KeyId": self.key_id,
            "Arn": f"arn:aws:kms:{region}:{ACCOUNT}:key/{self.key_id}",
            "CreationDate": self.created,
            "Enabled": True,
            "Description": self.description,
            "KeyUsage": "ENCRYPT_DECRYPT",
            "KeyState": "Enabled",
            "Origin": "AWS_KMS",
            "KeyManager": "CUSTOMER",
            "CustomerMasterKeySpec": "SYMMETRIC_DEFAULT",
            "KeySpec": "SYMMETRIC_DEFAULT",
            "EncryptionAlgorithms": ["SYMMETRIC_DEFAULT"],
            "MultiRegion": False,
        }


def _associated(context: dict[str, str]) -> bytes:
    return json.dumps(sorted(context.items()), ensure_ascii=False).encode()


class KeyStore:
    """All keys of the account, and the KMS operations on them."""

    service = "kms"

    def __init__(self) -> None:
        self._keys: dict[str, Key] = {}
        self._aliases: dict[str, str] = {}

    def create(self, description: str = "") -> Key:
        """Make a key."""
        key = Key(str(uuid.uuid4()), description, time.time(), os.urandom(32))
        self._keys[key.key_id] = key
        return key

    def find(self, key_id: str) -> Key:
        """A key by its id, ARN, alias or alias ARN.

        Raises:
            ApiError: NotFoundException.
        """
        name = key_id.rpartition(":")[2] if key_id.startswith("arn:") else key_id
        name = name.removeprefix("key/")
        key = self._keys.get(self._aliases.get(name, name))
        if key is None:
            raise ApiError("NotFoundException", f"Key '{key_id}' does not exist")
        return key

    def decrypt(self, blob: bytes, context: dict[str, str], key_id: str | None = None) -> bytes:
        """Open a ciphertext; the context must be the one it was made with.

        Raises:
            ApiError: InvalidCiphertextException, IncorrectKeyException, NotFoundException.
        """
        try:
            name = str(uuid.UUID(bytes=blob[:16]))
            key = self._keys[name]
            nonce, sealed = blob[16 : 16 + _NONCE], blob[16 + _NONCE :]
            plaintext = AESGCM(key.material).decrypt(nonce, sealed, _associated(context))
        except (ValueError, KeyError, InvalidTag):
            raise ApiError("InvalidCiphertextException", "") from None
        if key_id is not None and self.find(key_id) is not key:
            raise ApiError(
                "IncorrectKeyException",
                "The key ID in the request does not identify a CMK that can perform this "
                "operation.",
            )
        return plaintext

    def _encrypt(self, key: Key, plaintext: bytes, context: dict[str, str]) -> bytes:
        nonce = os.urandom(_NONCE)
        sealed = AESGCM(key.material).encrypt(nonce, plaintext, _associated(context))
        return uuid.UUID(key.key_id).bytes + nonce + sealed

    # operations

    @operation("CreateKey")
    def op_create_key(self, given: dict[str, Any], caller: Caller) -> dict[str, Any]:
        """Make a key."""
        return {"KeyMetadata": self.create(given.get("Description", "")).metadata(caller.region)}

    @operation("DescribeKey")
    def op_describe_key(self, given: dict[str, Any], caller: Caller) -> dict[str, Any]:
        """Describe a key."""
        return {"KeyMetadata": self.find(given["KeyId"]).metadata(caller.region)}

    @operation("CreateAlias")
    def op_create_alias(self, given: dict[str, Any], caller: Caller) -> dict[str, Any]:
        """Name a key."""
        if given["AliasName"] in self._aliases:
            raise ApiError("AlreadyExistsException", "An alias with that name already exists")
        self._aliases[given["AliasName"]] = self.find(given["TargetKeyId"]).key_id
        return {}

    @operation("GenerateDataKey")
    def op_generate_data_key(self, given: dict[str, Any], caller: Caller) -> dict[str, Any]:
        """Make a data key: plaintext and ciphertext."""
        key = self.find(given["KeyId"])
        if ("NumberOfBytes" in given) == ("KeySpec" in given):
            raise ApiError(
                "ValidationException", "Please specify either number of bytes or key spec."
            )
        size = given.get("NumberOfBytes") or _SIZES[given["KeySpec"]]
        plaintext = os.urandom(size)
        blob = self._encrypt(key, plaintext, given.get("EncryptionContext", {}))
        return {
            "CiphertextBlob": base64.b64encode(blob).decode(),
            "Plaintext": base64.b64encode(plaintext).decode(),
            "KeyId": key.metadata(caller.region)["Arn"],
        }

    @operation("Decrypt")
    def op_decrypt(self, given: dict[str, Any], caller: Caller) -> dict[str, Any]:
        """Open a ciphertext."""
        try:
            blob = base64.b64decode(given["CiphertextBlob"], validate=True)
        except ValueError:
            raise ApiError("InvalidCiphertextException", "") from None
        plaintext = self.decrypt(blob, given.get("EncryptionContext", {}), given.get("KeyId"))
        key = self._keys[str(uuid.UUID(bytes=blob[:16]))]
        return {
            "KeyId": key.metadata(caller.region)["Arn"],
            "Plaintext": base64.b64encode(plaintext).decode(),
            "EncryptionAlgorithm": "SYMMETRIC_DEFAULT",
        }
