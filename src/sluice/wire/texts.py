"""Which texts a request may hold: those that every database can store."""

import re

_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


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
