"""Labels as options take them and tables show them."""

from collections.abc import Mapping, Sequence

from sluice.base.errors import InvalidInputError


def parsed_labels(pairs: Sequence[str]) -> dict[str, str]:
    """``["region=eu", …]`` as labels.

    Raises:
        InvalidInputError: one is not written as key=value.
    """
    labels = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or not key:
            raise InvalidInputError(f"--label {pair!r}: write it as key=value.")
        labels[key] = value
    return labels


def changed_labels(pairs: Sequence[str] | None, *, none: bool) -> dict[str, str] | None:
    """The labels that shall be there from now on; None to leave them.

    Raises:
        InvalidInputError: the options contradict each other, or cannot be read.
    """
    if none and pairs:
        raise InvalidInputError("Give --label or --no-labels, not both.")
    if none:
        return {}
    return parsed_labels(pairs) if pairs else None


def label_words(labels: Mapping[str, str]) -> str:
    """``region=eu ssd=yes``; a dash where there are none."""
    return " ".join(f"{key}={value}" for key, value in sorted(labels.items())) or "-"
