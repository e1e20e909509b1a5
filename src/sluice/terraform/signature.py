"""Decides whether a release's checksums were signed by the makers' key."""

import re
from functools import reduce

from pysequoia import Cert, Sig, verify

from sluice.base.errors import UnavailableError

_BLOCK = re.compile(
    rb"-----BEGIN PGP PUBLIC KEY BLOCK-----.*?-----END PGP PUBLIC KEY BLOCK-----",
    re.DOTALL,
)


def check_signature(
    data: bytes, signature: bytes, *, armored_keys: bytes, name: str
) -> None:
    """Check a detached OpenPGP signature.

    Args:
        data: what was signed.
        signature: the detached signature, binary or armored.
        armored_keys: trusted keys; blocks of one key with different validity periods (as
            HashiCorp publishes them) are taken together, because a signature counts as
            of the time at which it was made.
        name: what the data is, for the error.

    Raises:
        UnavailableError: no trusted key made this signature over this data.
    """
    keys = _load(armored_keys)
    trusted = ", ".join(key.fingerprint.upper() for key in keys)
    try:
        verify(
            bytes=data,
            store=lambda _ids: keys,
            signature=Sig.from_bytes(signature),
        )
    except (RuntimeError, ValueError, OSError) as error:
        raise UnavailableError(
            f"The signature of {name} does not fit the trusted key {trusted}"
            f" ({_first_line(error)}); nothing was installed."
        ) from None


def _load(armored: bytes) -> list[Cert]:
    blocks = _BLOCK.findall(armored) or [armored]
    merged: dict[str, list[Cert]] = {}
    try:
        for block in blocks:
            cert = Cert.from_bytes(block)
            merged.setdefault(cert.fingerprint, []).append(cert)
        return [
            reduce(lambda one, other: one.merge(other), same)
            for same in merged.values()
        ]
    except (RuntimeError, ValueError, OSError) as error:
        raise UnavailableError(
            f"The signing key cannot be read ({_first_line(error)});"
            " give an OpenPGP public key, armored or binary."
        ) from None


def _first_line(error: Exception) -> str:
    """The error without the native backtrace that follows it."""
    return str(error).partition("\n")[0].strip().rstrip(".") or type(error).__name__
