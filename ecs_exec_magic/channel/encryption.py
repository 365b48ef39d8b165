"""Encryption of payloads with a KMS data key (PROTOCOL 4.4).

Knows AES-GCM and how the data key is split. Never knows KMS itself, frames or the handshake.
"""

from __future__ import annotations

import os

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

__all__ = ["DATA_KEY_BYTES", "DecryptionError", "SessionCipher"]

DATA_KEY_BYTES = 64
"""Bytes to ask of ``kms:GenerateDataKey``: one AES-256 key for each direction."""

_NONCE = 12


class DecryptionError(ValueError):
    """A payload was not encrypted with this session's key, or was altered on its way."""


class SessionCipher:
    """AES-256-GCM in both directions; on the wire ``nonce || ciphertext || tag``.

    Args:
        data_key: the 64-byte plaintext of the data key. The agent encrypts with bytes 0 to 31,
            the client with bytes 32 to 63.
        agent: whether this is the agent's side, which uses the halves the other way round.
    """

    __slots__ = ("_decrypt", "_encrypt")

    def __init__(self, data_key: bytes, *, agent: bool = False) -> None:
        if len(data_key) != DATA_KEY_BYTES:
            raise ValueError(f"a data key has {DATA_KEY_BYTES} bytes, not {len(data_key)}")
        theirs, ours = data_key[:32], data_key[32:]
        if agent:
            theirs, ours = ours, theirs
        self._decrypt = AESGCM(theirs)
        self._encrypt = AESGCM(ours)

    def __repr__(self) -> str:
        return "<SessionCipher>"

    def encrypt(self, plaintext: bytes, nonce: bytes | None = None) -> bytes:
        """Return nonce, ciphertext and tag. A nonce is given only to reproduce a recording."""
        nonce = nonce or os.urandom(_NONCE)
        return nonce + self._encrypt.encrypt(nonce, plaintext, None)

    def decrypt(self, data: bytes) -> bytes:
        """Return the plaintext.

        Raises:
            DecryptionError: wrong key, or altered bytes.
        """
        try:
            return self._decrypt.decrypt(data[:_NONCE], data[_NONCE:], None)
        except (InvalidTag, ValueError):
            raise DecryptionError("a payload could not be decrypted") from None
