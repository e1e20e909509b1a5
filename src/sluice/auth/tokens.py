"""Opaque tokens: a prefix that names the kind, 32 random bytes, and only a hash is stored."""

import hashlib
import secrets

from sluice.auth.model import TokenKind

_PREFIXES = {
    TokenKind.USER: "slu_",
    TokenKind.POOL: "slp_",
    TokenKind.SETUP: "sls_",
    TokenKind.SESSION: "sle_",
    TokenKind.TICKET: "slt_",
}
_RANDOM_BYTES = 32


def new_secret(kind: TokenKind) -> str:
    """A fresh token of ``kind``, such as ``slu_8fQ2…``."""
    return _PREFIXES[kind] + secrets.token_urlsafe(_RANDOM_BYTES)


def kind_of(bearer: str) -> TokenKind | None:
    """The kind that the prefix claims; None where it is no opaque token of ours."""
    for kind, prefix in _PREFIXES.items():
        if bearer.startswith(prefix):
            return kind
    return None


def hash_secret(secret: str) -> str:
    """What is stored and looked up. A plain SHA-256 is right: the secret has 256 bits."""
    return hashlib.sha256(secret.encode()).hexdigest()
