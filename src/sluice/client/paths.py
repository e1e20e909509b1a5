"""Builds the paths of requests: whatever an id or a name holds, it stays one segment."""

from urllib.parse import quote

from sluice.base.errors import InvalidInputError

_ROOT = "/api/v1"


def api_path(*segments: str) -> str:
    """A path of the API; each segment is quoted.

    Raises:
        InvalidInputError: a segment is none that anything can be named by.
    """
    for segment in segments:
        # these are not quoted, and would lead to another route
        if segment in {"", ".", ".."}:
            raise InvalidInputError(
                f"{segment!r} is no id and no name; give one that a list shows."
            )
    return "/".join((_ROOT, *(quote(segment, safe="") for segment in segments)))
