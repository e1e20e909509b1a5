"""What a state file says of itself: serial, lineage, resources and outputs."""

from typing import Annotated

import msgspec

_MAX_SERIAL = 2**63 - 1
_FORMAT = 4

Count = Annotated[int, msgspec.Meta(ge=0, le=_MAX_SERIAL)]
Word = Annotated[str, msgspec.Meta(max_length=200, pattern=r"^[^\x00-\x1f]*$")]


class BadStateError(ValueError):
    """The bytes are no state of terraform or OpenTofu; the message says why."""


class Output(msgspec.Struct, frozen=True):
    """An output of the root module; ``type`` and ``value`` are kept as they are written."""

    value: msgspec.Raw = msgspec.Raw(b"null")
    type: msgspec.Raw = msgspec.Raw(b"null")
    sensitive: bool = False


class Resource(msgspec.Struct, frozen=True):
    """A resource block with its instances."""

    mode: str = "managed"
    instances: list[msgspec.Raw] = []


class StateFile(msgspec.Struct, frozen=True):
    """The part of a state file that the server looks at."""

    version: int
    serial: Count
    lineage: Annotated[Word, msgspec.Meta(min_length=1)]
    terraform_version: Word = ""
    outputs: dict[str, Output] = {}
    resources: list[Resource] | None = None

    @property
    def resource_count(self) -> int:
        """How many instances of managed resources there are; data sources do not count."""
        return sum(
            len(resource.instances)
            for resource in self.resources or []
            if resource.mode == "managed"
        )


def parse_state(content: bytes) -> StateFile:
    """Read what `StateFile` names; all else is left alone.

    Raises:
        BadStateError: not JSON, not a state, or of a format other than version 4.
    """
    try:
        state = msgspec.json.decode(content, type=StateFile)
    except msgspec.ValidationError as error:
        raise BadStateError(f"it is no state file: {error}") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadStateError(f"it is not JSON: {error}") from None
    except RecursionError:
        raise BadStateError("it is nested too deeply") from None
    if state.version != _FORMAT:
        raise BadStateError(
            f"its format is version {state.version}; version {_FORMAT} "
            "(terraform 0.12 and later) is needed"
        )
    return state


def with_serial(content: bytes, serial: int) -> bytes:
    """The same state under another serial; every other value stays byte for byte."""
    fields = msgspec.json.decode(content, type=dict[str, msgspec.Raw])
    fields["serial"] = msgspec.Raw(str(serial).encode())
    return msgspec.json.encode(fields)
