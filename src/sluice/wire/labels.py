"""What labels of pools, workspaces and agents may look like."""

import re
from typing import Annotated

from pydantic import AfterValidator, Field

MAX_LABELS = 32
KEY = r"[A-Za-z0-9](?:[A-Za-z0-9_./-]{0,61}[A-Za-z0-9])?"
VALUE = r"(?:[A-Za-z0-9](?:[A-Za-z0-9_./:@+-]{0,61}[A-Za-z0-9])?)?"
_KEY, _VALUE = re.compile(KEY), re.compile(VALUE)


def check_labels(labels: dict[str, str]) -> dict[str, str]:
    """The labels, if each may be one.

    Raises:
        ValueError: one may not; the text names it.
    """
    for key, value in labels.items():
        if not _KEY.fullmatch(key):
            raise ValueError(
                f"the label key {key[:80]!r} must have 1 to 63 letters, digits or _ . / -, "
                "and begin and end with a letter or digit"
            )
        if not _VALUE.fullmatch(value):
            raise ValueError(
                f"the value {value[:80]!r} of the label {key} must have at most 63 letters, "
                "digits or _ . / : @ + -, and begin and end with a letter or digit"
            )
    return labels


Labels = Annotated[
    dict[str, str], Field(max_length=MAX_LABELS), AfterValidator(check_labels)
]
