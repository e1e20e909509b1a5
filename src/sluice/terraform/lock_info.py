"""The lock document that terraform sends to and expects from an `http` state backend."""

import msgspec

MAX_BYTES = 64 * 1024


class BadLockInfoError(ValueError):
    """The bytes are no lock document; the message says why."""


class LockInfo(msgspec.Struct, frozen=True, rename="pascal"):
    """Who holds a state lock, as terraform writes it; ``id`` is the holder's secret handle."""

    id: str = msgspec.field(name="ID")
    operation: str = ""
    info: str = ""
    who: str = ""
    version: str = ""
    created: str = ""
    path: str = ""


def parse_lock_info(body: bytes) -> LockInfo:
    """The lock document in a request's body.

    Raises:
        BadLockInfoError: not JSON, no ``ID``, or fields of other types.
    """
    try:
        info = msgspec.json.decode(body, type=LockInfo)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise BadLockInfoError(f"it is no lock document: {error}") from None
    if not info.id:
        raise BadLockInfoError("its ID is empty")
    if any("\x00" in text for text in msgspec.structs.astuple(info)):
        raise BadLockInfoError("it holds a NUL character")
    return info


def encode_lock_info(info: LockInfo) -> bytes:
    """The JSON form, as terraform reads it."""
    return msgspec.json.encode(info)
