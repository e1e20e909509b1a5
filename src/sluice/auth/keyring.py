"""Seals secrets at rest in envelopes (AES-256-GCM), each bound to what it belongs to."""

import base64
import binascii
import contextlib
import hashlib
import secrets
from collections.abc import Sequence
from dataclasses import dataclass

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from sluice.base.errors import SluiceError

KEY_BYTES = 32
_NONCE_BYTES = 12
_TAG_BYTES = 16
_ID_BYTES = 8
_MAGIC = b"SLE\x02"
_MARK_BYTES = len(_MAGIC) + _ID_BYTES
_HEAD_BYTES = _MARK_BYTES + _NONCE_BYTES + KEY_BYTES + _TAG_BYTES
_VALUE = b"sluice value v2:"


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

    Each value is encrypted with a random key of its own, and that key with the master key
    (an envelope): a master key never touches the value, and to rotate it only the small
    wrapped key is made anew. A sealed value is:

        "SLE" 2   master's id   nonce, wrapped key   nonce, ciphertext and tag
        4 bytes   8             12 + 48              12 + as long as the value + 16

    Both layers are bound to what the value belongs to. To rotate, put the new key first and
    keep the old one behind it. What versions before the envelope sealed still opens: key id
    (1 byte), nonce, ciphertext and tag, directly under a key derived from the master.
    """

    def __init__(self, masters: Sequence[bytes]) -> None:
        if not masters:
            raise BadKeyError("No encryption key is set; give at least one.")
        self._masters = {made.id: made for made in map(_master, dict.fromkeys(masters))}
        self._primary = _master(masters[0])

    @property
    def mark(self) -> bytes:
        """How all that the present key seals begins, and nothing else does."""
        return _MAGIC + self._primary.id

    def seal(self, plaintext: bytes, aad: str) -> bytes:
        """Encrypt; ``aad`` names the thing, e.g. ``variable:var-…``, and must match on open."""
        key = secrets.token_bytes(KEY_BYTES)
        nonce = secrets.token_bytes(_NONCE_BYTES)
        sealed = AESGCM(key).encrypt(nonce, plaintext, _VALUE + aad.encode())
        return self._wrapped(key, aad) + nonce + sealed

    def open(self, sealed: bytes, aad: str) -> bytes:
        """Decrypt what `seal` made for the same ``aad``.

        Raises:
            UnsealError: the key is not in the ring, or the bytes belong elsewhere.
        """
        if not self._is_envelope(sealed):
            return self._opened_directly(sealed, aad)
        key = self._unwrapped(sealed, aad)
        nonce = sealed[_HEAD_BYTES : _HEAD_BYTES + _NONCE_BYTES]
        ciphertext = sealed[_HEAD_BYTES + _NONCE_BYTES :]
        try:
            return AESGCM(key).decrypt(nonce, ciphertext, _VALUE + aad.encode())
        except InvalidTag:
            raise _damaged(aad) from None

    def reseal(self, sealed: bytes, aad: str) -> bytes:
        """The same value under the present key; where it has an envelope, only that is new.

        Raises:
            UnsealError: it cannot be opened.
        """
        if not self._is_envelope(sealed):
            return self.seal(self._opened_directly(sealed, aad), aad)
        return self._wrapped(self._unwrapped(sealed, aad), aad) + sealed[_HEAD_BYTES:]

    def _wrapped(self, key: bytes, aad: str) -> bytes:
        nonce = secrets.token_bytes(_NONCE_BYTES)
        bound = self.mark + aad.encode()
        return self.mark + nonce + self._primary.wrapping.encrypt(nonce, key, bound)

    def _unwrapped(self, sealed: bytes, aad: str) -> bytes:
        mark, rest = sealed[:_MARK_BYTES], sealed[_MARK_BYTES:_HEAD_BYTES]
        master = self._masters.get(mark[len(_MAGIC) :])
        if master is None:
            raise _missing(aad)
        if len(sealed) < _HEAD_BYTES + _NONCE_BYTES + _TAG_BYTES:
            raise _damaged(aad)
        try:
            return master.wrapping.decrypt(
                rest[:_NONCE_BYTES], rest[_NONCE_BYTES:], mark + aad.encode()
            )
        except InvalidTag:
            raise _damaged(aad) from None

    def _is_envelope(self, sealed: bytes) -> bool:
        """Whether it has an envelope; by chance (1 in 2^32) an old value looks as if."""
        if not sealed.startswith(_MAGIC):
            return False
        known = sealed[len(_MAGIC) : _MARK_BYTES] in self._masters
        return known or not self._direct(sealed)

    def _direct(self, sealed: bytes) -> list[AESGCM]:
        """The keys that may have sealed a value without an envelope: two can share an id."""
        if len(sealed) <= 1 + _NONCE_BYTES:
            return []
        return [
            master.direct
            for master in self._masters.values()
            if master.short_id == sealed[0]
        ]

    def _opened_directly(self, sealed: bytes, aad: str) -> bytes:
        ciphers = self._direct(sealed)
        if not ciphers:
            raise _missing(aad)
        nonce, ciphertext = sealed[1 : 1 + _NONCE_BYTES], sealed[1 + _NONCE_BYTES :]
        for cipher in ciphers:
            with contextlib.suppress(InvalidTag):
                return cipher.decrypt(nonce, ciphertext, aad.encode())
        raise _damaged(aad)


@dataclass(frozen=True, slots=True)
class _Master:
    """A master key as it is used: to wrap keys of values, and as it was used before."""

    id: bytes
    wrapping: AESGCM
    short_id: int
    direct: AESGCM


def _master(key: bytes) -> _Master:
    return _Master(
        id=hashlib.sha256(derive(key, "sluice key id v2")).digest()[:_ID_BYTES],
        wrapping=AESGCM(derive(key, "sluice wrap v2")),
        short_id=hashlib.sha256(derive(key, "sluice key id v1")).digest()[0],
        direct=AESGCM(derive(key, "sluice seal v1")),
    )


def _missing(aad: str) -> UnsealError:
    return UnsealError(
        f"{aad} was sealed with a key that this server does not have; "
        "add the former key to SLUICE_FORMER_ENCRYPTION_KEYS."
    )


def _damaged(aad: str) -> UnsealError:
    return UnsealError(
        f"The sealed bytes of {aad} are damaged or belong to something else; "
        "restore them from a backup."
    )
