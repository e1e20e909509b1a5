"""Keys with which this server signs tokens for other services: which one signs, which are shown."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from joserfc.jwk import RSAKey

from sluice.auth.keyring import KeyRing

ALGORITHM = "RS256"
"""The one algorithm; it is what the clouds take."""

MAX_TOKEN_SECONDS = 24 * 3600
"""No token lives longer, whatever the settings say."""

PUBLISHED_AHEAD = timedelta(hours=1)
"""A new key is shown so long before it signs: others may keep what they have fetched."""

_STAYS = timedelta(seconds=MAX_TOKEN_SECONDS + 600)
_RSA_BITS = 2048


@dataclass(frozen=True, slots=True)
class IssuerKey:
    """A key pair.

    Attributes:
        id: the thumbprint of the public half (RFC 7638), which tokens name.
        public: the public half as a JWK.
        private_sealed: the private half, sealed.
        retired_at: from when on it signs nothing any more; None for the present one.
    """

    id: str
    public: Mapping[str, str]
    private_sealed: bytes
    created_at: datetime
    retired_at: datetime | None = None


def new_issuer_key(keyring: KeyRing, now: datetime) -> IssuerKey:
    """A fresh key pair; making one takes a good part of a second of the processor."""
    made = RSAKey.generate_key(_RSA_BITS)
    key_id = made.thumbprint()
    public = made.as_dict(private=False)
    public |= {"kid": key_id, "use": "sig", "alg": ALGORITHM}
    sealed = keyring.seal(made.as_pem(private=True), _name(key_id))
    return IssuerKey(
        id=key_id,
        public={name: str(value) for name, value in public.items()},
        private_sealed=sealed,
        created_at=now,
    )


def private_half(keyring: KeyRing, key: IssuerKey) -> RSAKey:
    """The key as it signs.

    Raises:
        UnsealError: its master key is gone.
    """
    return RSAKey.import_key(keyring.open(key.private_sealed, _name(key.id)))


def signing_key(keys: Sequence[IssuerKey], now: datetime) -> IssuerKey | None:
    """The one that signs now, the same on all servers: the first to be retired."""
    active = [key for key in keys if key.retired_at is None or now < key.retired_at]
    return min(active, key=_order, default=None)


def _order(key: IssuerKey) -> tuple[bool, datetime, str]:
    return key.retired_at is None, key.retired_at or key.created_at, key.id


def is_published(key: IssuerKey, now: datetime) -> bool:
    """Whether others still need it: until the last token that it signed has expired."""
    return key.retired_at is None or now < key.retired_at + _STAYS


def retired(key: IssuerKey, now: datetime) -> IssuerKey:
    """The key once a newer one is there: it signs until that one is known everywhere."""
    return key if key.retired_at else replace(key, retired_at=now + PUBLISHED_AHEAD)


def _name(key_id: str) -> str:
    return f"issuer-key:{key_id}"
