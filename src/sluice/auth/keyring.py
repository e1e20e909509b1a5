"""Seals secrets at rest with AES-256-GCM; every sealed value is bound to what it belongs to."""

import base64
import binascii
import hashlib
import secrets
from collections.abc import Sequence

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from sluice.base.errors import SluiceError

KEY_BYTES = 32
_NONCE_BYTES = 12
_HEADER_BYTES = 1 + _NONCE_BYTES


class BadKeyError(SluiceError):
    """The encryption key is not 32 bytes in base64; make one with `openssl rand -base64 32`."""

    code = "bad_encryption_key"
    title = "Bad encryption key"


class UnsealError(SluiceError):
    """A stored secret cannot be opened: its key is missing, or the bytes were changed."""

    code = "cannot_unseal"
    title = "Cannot unseal"


def new_master_key() -> bytes:
    """A fresh random master key."""
    return secrets.token_bytes(KEY_BYTES)


def encode_key(key: bytes) -> str:
    """The written form of a master key."""
    return base64.b64encode(key).decode()


def parse_key(text: str) -> bytes:
    """The master key that ``text`` (base64, standard or URL-safe) means."""
    plain = text.strip().replace("-", "+").replace("_", "/").rstrip("=")
    try:
        key = base64.b64decode(plain + "=" * (-len(plain) % 4), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if len(key) != KEY_BYTES:
        raise BadKeyError(
            "The encryption key is not 32 bytes in base64; "
            "make one with `openssl rand -base64 32`."
        )
    return key


def derive(master: bytes, purpose: str) -> bytes:
    """A key of its own for ``purpose``, so that one master key serves several uses."""
    hkdf = HKDF(algorithm=SHA256(), length=KEY_BYTES, salt=None, info=purpose.encode())
    return hkdf.derive(master)


class KeyRing:
    """Seals with the first master key, opens with any of them.

    A sealed value is: key id (1 byte, derived from the key itself), nonce (12 bytes),
    ciphertext and tag. To rotate, put the new key first and keep the old one behind it.
    """

    def __init__(self, masters: Sequence[bytes]) -> None:
        if not masters:
            raise BadKeyError("No encryption key is set; give at least one.")
        self._ciphers: dict[int, AESGCM] = {}
        for master in dict.fromkeys(masters):
            key_id = _key_id(master)
            if key_id in self._ciphers:
                raise BadKeyError(
                    "Two encryption keys share an id (1 chance in 256); "
                    "make another new key and use that."
                )
            self._ciphers[key_id] = AESGCM(derive(master, "sluice seal v1"))
        self._primary = _key_id(masters[0])

    @property
    def mark(self) -> bytes:
        """The first byte of all that the present key seals; no former key has the same."""
        return bytes([self._primary])

    def seal(self, plaintext: bytes, aad: str) -> bytes:
        """Encrypt; ``aad`` names the thing, e.g. ``variable:var-…``, and must match on open."""
        nonce = secrets.token_bytes(_NONCE_BYTES)
        cipher = self._ciphers[self._primary]
        sealed = cipher.encrypt(nonce, plaintext, aad.encode())
        return bytes([self._primary]) + nonce + sealed

    def open(self, sealed: bytes, aad: str) -> bytes:
        """Decrypt what `seal` made for the same ``aad``.

        Raises:
            UnsealError: the key is not in the ring, or the bytes belong elsewhere.
        """
        cipher = self._ciphers.get(sealed[0]) if len(sealed) > _HEADER_BYTES else None
        if cipher is None:
            raise UnsealError(
                f"{aad} was sealed with a key that this server does not have; "
                "add the former key to SLUICE_FORMER_ENCRYPTION_KEYS."
            )
        try:
            return cipher.decrypt(
                sealed[1:_HEADER_BYTES], sealed[_HEADER_BYTES:], aad.encode()
            )
        except InvalidTag:
            raise UnsealError(
                f"The sealed bytes of {aad} are damaged or belong to something else; "
                "restore them from a backup."
            ) from None

    def reseal(self, sealed: bytes, aad: str) -> bytes:
        """The same plaintext under the present key.

        Raises:
            UnsealError: it cannot be opened.
        """
        return self.seal(self.open(sealed, aad), aad)


def _key_id(master: bytes) -> int:
    return hashlib.sha256(derive(master, "sluice key id v1")).digest()[0]
