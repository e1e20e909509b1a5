"""Which texts a request may hold, and which a line of the server's own may hold."""

import re

_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
# all control characters but tab and newline; what ends lines or turns their order elsewhere
_UNSHOWN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff"
    "\U000e0000-\U000e007f]"
)


def check_texts(value: object) -> None:
    """Refuse a NUL and half a surrogate pair in a text, or in the texts of a list or map.

    Raises:
        ValueError: there is one; the message is for people.
    """
    match value:
        case str():
            found = _UNSTORABLE.search(value)
            if found is not None:
                what = (
                    "a NUL character" if found[0] == "\0" else "half a surrogate pair"
                )
                raise ValueError(f"may not hold {what}")
        case list():
            for one in value:
                check_texts(one)
        case dict():
            for key, one in value.items():
                check_texts(key)
                check_texts(one)
        case _:
            pass


def storable(text: str) -> str:
    """The text with U+FFFD in the place of what cannot be stored."""
    return _UNSTORABLE.sub("\N{REPLACEMENT CHARACTER}", text)


def harmless(text: str) -> str:
    """The text with spaces in the place of what moves a terminal's cursor, or hides words."""
    return _UNSHOWN.sub(" ", storable(text))


def one_line(text: str) -> str:
    """What somebody wrote as one harmless line, whatever lines it had."""
    return " ".join(harmless(text).split())
