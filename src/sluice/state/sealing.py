"""How a state's content and outputs are sealed: each bound to its version."""

from collections.abc import Mapping

import msgspec

from sluice.auth.keyring import KeyRing
from sluice.base.ids import StateVersionId
from sluice.terraform.statefile import Output


def seal_content(keyring: KeyRing, version_id: StateVersionId, content: bytes) -> bytes:
    """The state as it lies in the blob store."""
    return keyring.seal(content, f"state:{version_id}")


def open_content(keyring: KeyRing, version_id: StateVersionId, sealed: bytes) -> bytes:
    """The state as it was sent."""
    return keyring.open(sealed, f"state:{version_id}")


def seal_outputs(
    keyring: KeyRing, version_id: StateVersionId, outputs: Mapping[str, Output]
) -> bytes:
    """The outputs as they lie in the database."""
    return keyring.seal(msgspec.json.encode(outputs), f"outputs:{version_id}")


def open_outputs(
    keyring: KeyRing, version_id: StateVersionId, sealed: bytes
) -> dict[str, Output]:
    """The outputs as the state had them."""
    plain = keyring.open(sealed, f"outputs:{version_id}")
    return msgspec.json.decode(plain, type=dict[str, Output])
