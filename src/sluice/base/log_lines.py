"""Makes what a program logs of itself stay on its line and off the terminal's controls."""

import re
from collections.abc import Mapping, MutableMapping, Sequence

# control characters, ends of lines, and what turns the order of a line or hides within it
_UNSHOWN = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff"
    "\ud800-\udfff\U000e0000-\U000e007f]"
)
_IN_TRACES = frozenset({"exception", "stack"})


def escaped(text: str) -> str:
    r"""The text with escapes such as `\n` and `\x1b` in the place of what is not shown."""
    return _UNSHOWN.sub(_escape, text)


def escape_fields(
    logger: object, name: str, event: MutableMapping[str, object]
) -> MutableMapping[str, object]:
    """A processor for structlog: no value can forge a line, or reach the terminal.

    Tracebacks keep their lines, set in; put it behind what formats them.
    """
    for key, value in event.items():
        if key in _IN_TRACES and isinstance(value, str):
            event[key] = "\n".join(f"  {escaped(line)}" for line in value.split("\n"))
        elif not key.startswith("_"):
            event[key] = _harmless(value)
    return event


def _harmless(value: object) -> object:
    match value:
        case str():
            return escaped(value)
        case bool() | int() | float() | None:
            return value
        case Mapping():
            return {escaped(str(key)): _harmless(one) for key, one in value.items()}
        case bytes():
            return repr(value)
        case Sequence() | set() | frozenset():
            return [_harmless(one) for one in value]
        case _:
            return escaped(str(value))


def _escape(found: re.Match[str]) -> str:
    return found[0].encode("unicode_escape", "backslashreplace").decode("ascii")
